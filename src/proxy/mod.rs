//! The life of a request, told once, in the order in which it happens.
//!
//! A request is read; a fresh entry answers it at once. Otherwise it becomes a [`call`]: one that a rule
//! covers joins the fetch of its key, any other is relayed. Both fetch in the same way: leave to call, a
//! token, Zoho's answer, and once more with a new token if Zoho withdrew the old one early.
//!
//! - [`inspect`]: requests that are refused before they touch cache or credential
//! - [`call`]: a request once it is understood
//! - [`answer`]: an answer, and what it says about where it came from
//! - [`delivery`]: the body on its way
//! - [`ending`]: every answer counted, and its line in the log
//! - [`refusal`]: every way a request ends badly
//! - [`fetch`]: the exchange with Zoho
//! - [`fill`]: a fetch that many share
//! - `write`: what writes make untrue

mod account;
pub mod answer;
mod call;
mod delivery;
mod ending;
mod fetch;
mod fill;
mod inspect;
pub mod refusal;
mod request_id;
mod write;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use http::header::HeaderValue;
use http::{HeaderMap, Request, Response};
use http_body::Body as HttpBody;

use crate::admission::Admission;
use crate::cache::Cache;
use crate::cache::decision::{Decision, Fallback, Served, WhyFetch, decide};
use crate::cache::entry::Entry;
use crate::cache::key::Key;
use crate::cache::purge::{Depth, Purge};
use crate::cache::wishes::Wishes;
use crate::clock::{Clock, Instant};
use crate::net::body::Body;
use crate::net::transport::BoxFuture;
use crate::oauth::Tokens;
use crate::rulebook::Rulebook;
use crate::telemetry::metrics::{Metrics, UpstreamMetrics};
use crate::telemetry::request_log::RequestLog;
use crate::upstream::Upstream;

use account::{Books, Counters, Facts};
use answer::{CacheStatus, Kept, WhyPassed};
use call::{CacheSlot, Call, Plan, Reading};
use ending::Unanswered;
use fill::Landed;
use refusal::Refusal;

/// How requests are handled.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A request body of at most this many bytes is kept until Zoho has answered, so that it can be sent
    /// again with a new token.
    pub replay_max_bytes: usize,
    /// A longer path with its query is refused.
    pub max_uri_bytes: usize,
}

/// What all workers share.
pub struct Shared {
    rules: Arc<Rulebook>,
    cache: Cache<Landed>,
    tokens: Vec<Arc<Tokens>>,
    admission: Admission,
    settings: Settings,
    metrics: Arc<Metrics>,
    upstream_metrics: Vec<UpstreamMetrics>,
    counters: Counters,
    books: Arc<Books>,
    clock: Clock,
}

/// Answers requests. Each worker has one, with connections of its own to Zoho.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    upstream: Upstream,
}

impl Shared {
    /// Wires the rooms together. `tokens` are by tenant number.
    #[expect(clippy::too_many_arguments, reason = "one room each; only the composition root calls it")]
    pub fn new(
        rules: Arc<Rulebook>,
        cache: crate::cache::Settings,
        tokens: Vec<Arc<Tokens>>,
        admission: Admission,
        settings: Settings,
        metrics: Arc<Metrics>,
        log: RequestLog,
        clock: Clock,
    ) -> Arc<Self> {
        let names = |all: &[crate::tenants::Tenant]| all.iter().map(|tenant| tenant.name.clone()).collect();
        let books = Books {
            log,
            clock: clock.clone(),
            tenant_names: names(rules.tenants.all()),
            route_names: rules.routes.all().iter().map(|route| route.name.clone()).collect(),
        };
        Arc::new(Self {
            cache: Cache::new(cache, rules.tenants.all().len(), rules.routes.groups().len()),
            upstream_metrics: rules.tenants.all().iter().map(|t| metrics.upstream(&t.name)).collect(),
            counters: Counters::new(&metrics, &rules.tenants, rules.routes.all()),
            books: Arc::new(books),
            rules,
            tokens,
            admission,
            settings,
            metrics,
            clock,
        })
    }

    /// Entries in the cache, and the bytes they weigh.
    pub fn cache_size(&self) -> (u64, u64) {
        self.cache.size()
    }

    /// Forgets entries by hand, and everything of a group: its epochs move, so that fetches under way are not
    /// kept either.
    pub fn purge(&self, purge: &Purge, group: Option<usize>) -> u64 {
        if let (Some(group), Depth::Hard) = (group, purge.depth) {
            let tenants = purge.tenant.map_or(0..self.rules.tenants.all().len(), |tenant| tenant..tenant + 1);
            tenants.for_each(|tenant| self.cache.epochs.advance(tenant, &[group]));
        }
        self.cache.purge(purge)
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rulebook {
        &self.rules
    }

    /// The tokens of all tenants, by tenant number.
    pub fn tokens(&self) -> &[Arc<Tokens>] {
        &self.tokens
    }
}

/// A request being handled: answered at once from the cache, or on its way.
pub enum Handling {
    /// The answer; `None` once it was taken.
    Now(Option<Response<Body>>),
    /// Everything that has to wait. Boxed, so that a connection does not carry the longest story around.
    Later(BoxFuture<Response<Body>>),
}

impl Future for Handling {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(answer) => Poll::Ready(Ok(answer.take().expect("a future is polled to its end once"))),
            Self::Later(answer) => answer.as_mut().poll(cx).map(Ok),
        }
    }
}

/// When a request came, and its id.
#[derive(Clone)]
struct Arrival {
    at: Instant,
    wall: SystemTime,
    request_id: HeaderValue,
}

impl Proxy {
    /// A proxy that calls Zoho by `upstream`.
    pub fn new(shared: Arc<Shared>, upstream: Upstream) -> Self {
        Self { shared, upstream }
    }

    /// Handles a request.
    pub fn handle<B>(&self, request: Request<B>) -> Handling
    where
        B: HttpBody + Into<Body>,
    {
        let arrival = Arrival {
            at: self.shared.clock.now(),
            wall: self.shared.clock.wall(),
            request_id: request_id::of(request.headers()),
        };
        let reading = match call::read(&self.shared.rules, self.shared.settings.max_uri_bytes, &request) {
            Ok(reading) => reading,
            Err(refusal) => return Handling::now(self.refuse_unread(&request, &arrival, &refusal)),
        };
        let found = match reading.plan {
            Plan::Cached(route) => self.look_up(route, &reading, &request, &arrival),
            Plan::Pass(why, _) => Found::Pass(why),
        };
        if let Found::Answer(answer) = found {
            return Handling::now(answer);
        }
        let is_shared = !matches!(found, Found::Pass(_));
        let request_id = arrival.request_id.clone();
        let call = match Call::new(&self.shared.rules, &reading, &request, request_id, is_shared) {
            Ok(call) => Arc::new(call),
            Err(refusal) => return Handling::now(self.refuse_unread(&request, &arrival, &refusal)),
        };
        if let Found::AnswerAndRenew(answer, slot) = found {
            // The fetch goes on in its own task; nobody has to wait for it.
            drop(self.begin_fetch(&call, slot));
            return Handling::now(answer);
        }
        let (proxy, (head, body)) = (self.clone(), request.into_parts());
        let body: Body = body.into();
        Handling::Later(Box::pin(async move {
            let unanswered = Unanswered::new(&proxy, &call, &arrival);
            let answered = match found {
                Found::Fetch(slot, why, fallback) => {
                    proxy.fill(&call, slot, why, fallback, &head.headers, &arrival).await
                }
                Found::Pass(why) => proxy.relay(&call, body, why, &arrival).await,
                Found::Answer(answer) | Found::AnswerAndRenew(answer, _) => Ok(answer),
            };
            unanswered.answered();
            answered.unwrap_or_else(|refusal| proxy.refuse(&call, &head.headers, &arrival, &refusal))
        }))
    }

    /// Looks a read up in the cache, and answers it there and then if an entry does.
    fn look_up<B>(
        &self,
        route: usize,
        reading: &Reading<'_>,
        request: &Request<B>,
        arrival: &Arrival,
    ) -> Found {
        let shared = &*self.shared;
        let rule = &shared.rules.routes.route(route).rule;
        let epoch = shared.cache.epochs.current(reading.tenant, &rule.groups);
        let identity = shared.tokens[reading.tenant].identity();
        let wishes = Wishes::of(request.headers());
        let answer = |entry: &Entry, served| {
            let facts = Self::facts(request.method(), reading, arrival);
            self.answer_entry(entry, CacheStatus::Served(served), request.headers(), facts)
        };
        reading.with_key(identity, request.headers(), &rule.vary_by, |key| {
            let slot = |not_before| CacheSlot {
                key: Key::from_bytes(key),
                route,
                epoch,
                purges: shared.cache.purges(),
                not_before,
            };
            let found = shared.cache.lookup(key, rule, epoch, arrival.at);
            let is_set_back = || shared.cache.is_set_back(key, arrival.at);
            match decide(found, rule, &wishes, is_set_back, arrival.at) {
                Decision::Serve(entry, served) => Found::Answer(answer(&entry, served)),
                Decision::ServeAndRenew(entry, served) => {
                    Found::AnswerAndRenew(answer(&entry, served), slot(Some(arrival.at)))
                }
                Decision::Fetch(..) if shared.cache.is_uncacheable(key, arrival.at) => {
                    Found::Pass(WhyPassed::Uncacheable)
                }
                Decision::Fetch(WhyFetch::Forced, fallback) => {
                    Found::Fetch(slot(Some(arrival.at)), WhyFetch::Forced, fallback)
                }
                Decision::Fetch(why, fallback) => Found::Fetch(slot(None), why, fallback),
                Decision::PassUnstored => Found::Pass(WhyPassed::NoStore),
                Decision::NotCached => {
                    let facts = Self::facts(request.method(), reading, arrival);
                    Found::Answer(self.answer_refusal(facts, request.headers(), &Refusal::NotCached))
                }
            }
        })
    }

    /// Answers a read that a rule covers from a fetch, this caller's own or one under way; or from the
    /// fallback, if the fetch fails and what the fallback says is still true.
    async fn fill(
        &self,
        call: &Arc<Call>,
        slot: CacheSlot,
        why: WhyFetch,
        fallback: Option<Fallback>,
        asked: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<Response<Body>, Refusal> {
        let (route, epoch) = (slot.route, slot.epoch);
        let landed = self.share_fetch(call, slot).await;
        if let Some(Fallback { entry, served }) = fallback
            && landed.as_ref().map_or(true, |(landed, _)| landed.is_failure())
            && self.may_serve(served, call.tenant, route, epoch)
        {
            let status = CacheStatus::Served(served);
            return Ok(self.answer_entry(&entry, status, asked, Self::facts_of(call, arrival)));
        }
        let (landed, leads) = landed?;
        match landed {
            Landed::Whole { entry, kept, timing } => {
                let status = CacheStatus::Fetched { why, kept, collapsed: !leads };
                // Who joined late waited for less than that.
                let upstream = timing.as_ref().filter(|_| leads).map(|timing| timing.upstream);
                let facts = Facts { upstream, ..Self::facts_of(call, arrival) };
                let mut response = self.answer_entry(&entry, status, asked, facts);
                answer::label(response.headers_mut(), status, timing.as_ref(), call.request_id.clone());
                Ok(response)
            }
            Landed::TooLong(reply) => match reply.take() {
                Some(reply) => {
                    let status = CacheStatus::Fetched { why, kept: Kept::TooLong, collapsed: !leads };
                    Ok(self.deliver(call, *reply, status, arrival))
                }
                // Somebody else took the one stream there is.
                None => self.relay(call, Body::empty(), WhyPassed::Uncacheable, arrival).await,
            },
            Landed::Refused(refusal) => Err((*refusal).clone()),
        }
    }

    /// What a write has made untrue while its renewal failed is not served, whatever happened to Zoho,
    /// unless the rule prefers old to none.
    fn may_serve(&self, served: Served, tenant: usize, route: usize, epoch: u64) -> bool {
        let rule = &self.shared.rules.routes.route(route).rule;
        matches!(served, Served::AfterWrite(_))
            || rule.stale_after_write
            || self.shared.cache.epochs.current(tenant, &rule.groups) == epoch
    }

    /// Passes a request through, streaming both ways, and forgets what a write makes untrue.
    async fn relay(
        &self,
        call: &Arc<Call>,
        body: Body,
        why: WhyPassed,
        arrival: &Arrival,
    ) -> Result<Response<Body>, Refusal> {
        let reply = self.fetch_for(call, body).await?;
        Ok(self.deliver(call, reply, CacheStatus::Passed(why), arrival))
    }
}

/// What a look-up led to.
enum Found {
    Answer(Response<Body>),
    AnswerAndRenew(Response<Body>, CacheSlot),
    Fetch(CacheSlot, WhyFetch, Option<Fallback>),
    Pass(WhyPassed),
}

impl Handling {
    fn now(answer: Response<Body>) -> Self {
        Self::Now(Some(answer))
    }
}

impl<B> tower_service::Service<Request<B>> for Proxy
where
    B: HttpBody + Into<Body>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Handling;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Handling {
        self.handle(request)
    }
}
