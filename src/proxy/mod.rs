//! The life of a request, told once, in the order in which it happens.
//!
//! A request is read; a fresh entry answers it at once. Otherwise it becomes a [`call`]: one that a rule
//! covers joins the fetch of its key, any other is relayed. Both fetch in the same way: leave to call, a
//! token, Zoho's answer, and once more with a new token if Zoho withdrew the old one early.
//!
//! - [`inspect`]: requests that are refused before they touch cache or credential
//! - [`call`]: a request once it is understood
//! - [`answer`]: an answer, and what it says about where it came from
//! - [`delivery`]: the body on its way, and the end of the story
//! - [`refusal`]: every way a request ends badly
//! - [`fetch`]: the exchange with Zoho
//! - [`fill`]: a fetch that many share

mod account;
pub mod answer;
mod call;
mod delivery;
mod fetch;
mod fill;
mod inspect;
pub mod refusal;
mod request_id;

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use http::header::HeaderValue;
use http::{Method, Request, Response};
use http_body::Body as HttpBody;

use crate::admission::Admission;
use crate::cache::freshness::Freshness;
use crate::cache::{Cache, Lookup};
use crate::clock::{Clock, Instant};
use crate::net::body::Body;
use crate::net::transport::BoxFuture;
use crate::oauth::Tokens;
use crate::rulebook::Rulebook;
use crate::telemetry::metrics::{Metrics, UpstreamMetrics};
use crate::telemetry::request_log::{Outcome, RequestLog};
use crate::upstream::Upstream;

use account::{Account, Books, Counters, Facts, Label};
use answer::{CacheStatus, WhyForwarded, WhyStale};
use call::{CacheSlot, Call, Plan, Reading};
use delivery::Delivery;
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
    Now(Option<Box<Response<Body>>>),
    /// Everything that has to wait. Boxed, so that a connection does not carry the longest story around.
    Later(BoxFuture<Response<Body>>),
}

impl Future for Handling {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(answer) => Poll::Ready(Ok(*answer.take().expect("a future is polled to its end once"))),
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
            return Handling::Now(Some(answer));
        }
        let is_shared = !matches!(found, Found::Pass(_));
        let request_id = arrival.request_id.clone();
        let call = match Call::new(&self.shared.rules, &reading, &request, request_id, is_shared) {
            Ok(call) => call,
            Err(refusal) => return Handling::now(self.refuse_unread(&request, &arrival, &refusal)),
        };
        let (proxy, (head, body)) = (self.clone(), request.into_parts());
        let body: Body = body.into();
        Handling::Later(Box::pin(async move {
            let call = Arc::new(call);
            let answered = match found {
                Found::Pass(why) => proxy.relay(&call, body, why, &arrival).await,
                Found::Miss(slot) => proxy.fill(&call, slot, &arrival, WhyForwarded::Miss).await,
                Found::Stale(slot, entry, stale) => {
                    proxy.answer_stale(&call, slot, &entry, stale, &arrival).await
                }
                Found::Answer(answer) => Ok(*answer),
            };
            answered.unwrap_or_else(|refusal| proxy.refuse(&call, &head.headers, &arrival, &refusal))
        }))
    }

    /// Looks a read up in the cache, and answers it there and then if a fresh entry is found.
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
        reading.with_key(identity, request.headers(), &rule.vary_by, |key| {
            let slot = || CacheSlot { key: crate::cache::key::Key::from_bytes(key), route, epoch };
            match shared.cache.lookup(key, rule, epoch, arrival.at) {
                Lookup::Fresh(entry, ttl) => {
                    let facts = Self::facts(request.method(), reading, arrival);
                    Found::Answer(Box::new(self.answer_entry(&entry, CacheStatus::Hit { ttl }, facts)))
                }
                Lookup::Stale(entry, stale) => Found::Stale(slot(), entry, stale),
                Lookup::Miss if shared.cache.is_uncacheable(key, arrival.at) => {
                    Found::Pass(WhyForwarded::Uncacheable)
                }
                Lookup::Miss => Found::Miss(slot()),
            }
        })
    }

    /// Answers a read that a rule covers from a fetch: this caller's own, or one under way.
    async fn fill(
        &self,
        call: &Arc<Call>,
        slot: CacheSlot,
        arrival: &Arrival,
        why: WhyForwarded,
    ) -> Result<Response<Body>, Refusal> {
        let (landed, leads) = self.share_fetch(call, slot).await?;
        match landed {
            Landed::Whole { entry, stored, timing } => {
                let status = CacheStatus::Forwarded { why, stored, collapsed: !leads };
                // Who joined late waited for less than that.
                let upstream = timing.as_ref().filter(|_| leads).map(|timing| timing.upstream);
                let facts = Facts { upstream, ..Self::facts_of(call, arrival) };
                let mut response = self.answer_entry(&entry, status, facts);
                answer::label(response.headers_mut(), status, timing.as_ref(), call.request_id.clone());
                Ok(response)
            }
            Landed::TooLong(reply) => match reply.take() {
                Some(reply) => Ok(self.deliver(call, *reply, WhyForwarded::Uncacheable, arrival)),
                // Somebody else took the one stream there is.
                None => self.relay(call, Body::empty(), WhyForwarded::Uncacheable, arrival).await,
            },
            Landed::Refused(refusal) => Err((*refusal).clone()),
        }
    }

    /// Answers from a stale entry if it may: at once while a new one is fetched, or because none can be had.
    async fn answer_stale(
        &self,
        call: &Arc<Call>,
        slot: CacheSlot,
        entry: &crate::cache::entry::Entry,
        stale: Freshness,
        arrival: &Arrival,
    ) -> Result<Response<Body>, Refusal> {
        let Freshness::Stale { by, while_revalidate, if_error } = stale else {
            return self.fill(call, slot, arrival, WhyForwarded::Stale).await;
        };
        if while_revalidate {
            // The fetch goes on in its own task; nobody has to wait for it.
            drop(self.begin_fetch(call, slot));
            let status = CacheStatus::Stale { by, why: WhyStale::Revalidating };
            return Ok(self.answer_entry(entry, status, Self::facts_of(call, arrival)));
        }
        let (route, epoch) = (slot.route, slot.epoch);
        let answered = self.fill(call, slot, arrival, WhyForwarded::Stale).await;
        let failed = answered.as_ref().map_or(true, |answer| {
            answer.status().is_server_error() || answer.status() == http::StatusCode::TOO_MANY_REQUESTS
        });
        // What a write has made untrue meanwhile is not served, whatever happened to Zoho.
        let groups = &self.shared.rules.routes.route(route).rule.groups;
        let still_true = self.shared.cache.epochs.current(call.tenant, groups) == epoch;
        if failed && if_error && still_true {
            let status = CacheStatus::Stale { by, why: WhyStale::Error };
            return Ok(self.answer_entry(entry, status, Self::facts_of(call, arrival)));
        }
        answered
    }

    /// Passes a request through, streaming both ways, and forgets what a write makes untrue.
    async fn relay(
        &self,
        call: &Arc<Call>,
        body: Body,
        why: WhyForwarded,
        arrival: &Arrival,
    ) -> Result<Response<Body>, Refusal> {
        let reply = self.fetch_for(call, body).await?;
        Ok(self.deliver(call, reply, why, arrival))
    }

    /// Sends Zoho's answer on its way to the caller.
    fn deliver(
        &self,
        call: &Call,
        reply: fetch::Reply,
        why: WhyForwarded,
        arrival: &Arrival,
    ) -> Response<Body> {
        let fetch::Reply { head, body, timing, .. } = reply;
        let is_head = call.method == Method::HEAD;
        let has_no_body = is_head || head.status == http::StatusCode::NOT_MODIFIED;
        let status = CacheStatus::Forwarded { why, stored: false, collapsed: false };
        let mut headers = answer::headers_for_callers(&head.headers, has_no_body);
        answer::label(&mut headers, status, Some(&timing), call.request_id.clone());

        self.shared.counters.of(Some(call.tenant), call.label).count(head.status, status.outcome());
        let account = Account::open(&self.shared.books, || Facts {
            status: head.status,
            outcome: status.outcome(),
            upstream: Some(timing.upstream),
            ..Self::facts_of(call, arrival).into_owned()
        });
        let body = match (is_head, account.is_open()) {
            (true, _) => Body::stream(Delivery::new(Body::empty(), account)),
            (false, true) => Body::stream(Delivery::new(body, account)),
            (false, false) => Body::stream(body),
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = headers;
        response
    }

    /// Answers from an entry, counted and logged.
    fn answer_entry(
        &self,
        entry: &crate::cache::entry::Entry,
        status: CacheStatus,
        facts: Facts<'_>,
    ) -> Response<Body> {
        let shared = &*self.shared;
        shared.counters.of(facts.tenant, facts.label).count(entry.status(), status.outcome());
        let request_id = facts.request_id.clone().into_owned();
        let now = shared.clock.now();
        let response = answer::from_entry(entry, status, &facts.method, request_id, now);
        if shared.books.log.is_on() {
            let bytes = if *facts.method == Method::HEAD { 0 } else { entry.body().len() as u64 };
            let facts = Facts { status: entry.status(), outcome: status.outcome(), ..facts };
            account::write(&shared.books, &facts, bytes, false);
        }
        response
    }

    fn refuse(
        &self,
        call: &Call,
        headers: &http::HeaderMap,
        arrival: &Arrival,
        refusal: &Refusal,
    ) -> Response<Body> {
        self.answer_refusal(Self::facts_of(call, arrival), Some(headers), refusal)
    }

    fn refuse_unread<B>(&self, request: &Request<B>, arrival: &Arrival, refusal: &Refusal) -> Response<Body> {
        let facts = Facts {
            arrived: arrival.at,
            arrived_wall: arrival.wall,
            request_id: Cow::Borrowed(&arrival.request_id),
            method: Cow::Borrowed(request.method()),
            path: Cow::Borrowed(request.uri().path()),
            tenant: None,
            label: Label::Unknown,
            status: refusal.status(),
            outcome: Outcome::Refused,
            refusal: None,
            upstream: None,
        };
        self.answer_refusal(facts, Some(request.headers()), refusal)
    }

    fn answer_refusal(
        &self,
        facts: Facts<'_>,
        headers: Option<&http::HeaderMap>,
        refusal: &Refusal,
    ) -> Response<Body> {
        let shared = &*self.shared;
        shared.metrics.count_refusal(refusal.code());
        shared.counters.of(facts.tenant, facts.label).count(refusal.status(), Outcome::Refused);
        let mut response = refusal.response(&facts.request_id, headers);
        let bytes = response.body().size_hint().exact().unwrap_or_default();
        if *facts.method == Method::HEAD {
            // hyper takes the length of an answer without a body from its header (RFC 9110 section 9.3.2).
            response.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from(bytes));
            *response.body_mut() = Body::empty();
        }
        if shared.books.log.is_on() {
            let facts = Facts {
                status: refusal.status(),
                outcome: Outcome::Refused,
                refusal: Some(refusal.code()),
                ..facts
            };
            account::write(&shared.books, &facts, bytes, false);
        }
        response
    }

    /// What the log tells of a request that was just read.
    fn facts<'a>(method: &'a Method, reading: &Reading<'a>, arrival: &'a Arrival) -> Facts<'a> {
        Facts {
            arrived: arrival.at,
            arrived_wall: arrival.wall,
            request_id: Cow::Borrowed(&arrival.request_id),
            method: Cow::Borrowed(method),
            path: Cow::Borrowed(reading.path),
            tenant: Some(reading.tenant),
            label: reading.label(),
            status: http::StatusCode::OK,
            outcome: Outcome::Hit,
            refusal: None,
            upstream: None,
        }
    }

    /// What the log tells of a call.
    fn facts_of<'a>(call: &'a Call, arrival: &'a Arrival) -> Facts<'a> {
        Facts {
            arrived: arrival.at,
            arrived_wall: arrival.wall,
            request_id: Cow::Borrowed(&call.request_id),
            method: Cow::Borrowed(&call.method),
            path: Cow::Borrowed(call.target.path()),
            tenant: Some(call.tenant),
            label: call.label,
            status: http::StatusCode::OK,
            outcome: Outcome::Pass,
            refusal: None,
            upstream: None,
        }
    }
}

/// What a look-up led to.
enum Found {
    Answer(Box<Response<Body>>),
    Stale(CacheSlot, Arc<crate::cache::entry::Entry>, Freshness),
    Miss(CacheSlot),
    Pass(WhyForwarded),
}

impl Handling {
    fn now(answer: Response<Body>) -> Self {
        Self::Now(Some(Box::new(answer)))
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
