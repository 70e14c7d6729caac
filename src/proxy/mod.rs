//! The life of a request, told once, in the order in which it happens.
//!
//! A request is read; a fresh entry answers it at once. Otherwise it becomes a [`call`]: one that a rule
//! covers joins the fetch of its key, any other is relayed. Both fetch in the same way: leave to call, a
//! token, Zoho's answer, and once more with a new token if Zoho withdrew the old one early. A read that comes again in
//! the same bytes need not be read again (`repeat`).
//!
//! - `accounts`: what is answered in the place of Zoho's accounts server
//! - [`inspect`]: requests that are refused before they touch cache or credential
//! - [`call`]: a request once it is understood
//! - [`answer`]: an answer, and what it says about where it came from
//! - `attempt`: what the outcome of a fetch means for the next ones
//! - [`delivery`]: the body on its way
//! - [`ending`]: every answer counted, and its line in the log
//! - [`handling`]: how the server has a request handled
//! - `kinds`: which kinds of headers a request has
//! - `look_up`: a read looked up in the cache
//! - `late`: invalidations that are repeated later
//! - `lately`: header values that were said lately
//! - `options`: what `OPTIONS` is told about the sidecar itself
//! - `permission`: what a caller asks beyond what it may
//! - [`refusal`]: every way a request ends badly
//! - `repeat`: a read that is asked again in the same bytes
//! - `resend`: whether a call that failed is sent again
//! - `rest`: what is left of a body when its request is refused
//! - `room`: what a request holds while it waits
//! - [`settings`]: how requests are handled
//! - `shape`: what heads have in common that differ only in an id
//! - [`shared`]: what all workers share
//! - [`fetch`]: the exchange with Zoho
//! - [`fill`]: a fetch that many share
//! - `timing`: how long the parts of a call took
//! - `unknown_write`: requests that could be any write
//! - `write`: what writes make untrue
//! - `written`: an answer from an entry, as HTTP/1.1 writes it

mod account;
mod accounts;
pub mod answer;
mod arrival;
mod attempt;
mod call;
mod delivery;
mod ending;
mod fate;
mod fetch;
mod fill;
mod handling;
mod inspect;
mod kinds;
mod late;
mod lately;
mod look_up;
mod options;
mod panics;
mod permission;
pub mod refusal;
mod repeat;
mod request_id;
mod resend;
mod rest;
mod room;
mod settings;
mod shape;
mod shared;
mod timing;
mod unknown_write;
mod write;
mod written;

pub use handling::Handling;
pub use settings::Settings;
pub use shared::Shared;

use std::pin::pin;
use std::sync::Arc;

use http::{HeaderMap, Request, Response};
use http_body::Body as HttpBody;

use crate::cache::decision::{Fallback, Served, WhyFetch};
use crate::cache::purge::Depth;
use crate::callers::Identity;
use crate::net::body::Body;
use crate::net::peer::Peer;
use crate::net::standing::Standing;
use crate::net::whole::whole;
use crate::supervisor::caught_now;
use crate::upstream::Upstream;
use crate::upstream::outbound::Received;

use account::Facts;
use accounts::Ask;
use answer::{CacheStatus, Kept, WhyPassed};
use arrival::Arrival;
use call::{CacheSlot, Call, Plan, Read};
use ending::Unanswered;
use fill::Landed;
use panics::{refused_on_panic, take};
use refusal::Refusal;
use rest::Rest;

/// Answers requests. Each worker has one, with connections of its own to Zoho; each of its connections has a copy
/// that knows who is at the other end.
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    upstream: Upstream,
    peer: Arc<Peer>,
    standing: Standing,
}

impl Proxy {
    /// A proxy that calls Zoho by `upstream`.
    pub fn new(shared: Arc<Shared>, upstream: Upstream) -> Self {
        Self { shared, upstream, peer: Arc::default(), standing: Standing::default() }
    }

    /// The same for requests of this peer.
    #[must_use]
    pub fn for_peer(self, peer: Peer) -> Self {
        Self { peer: Arc::new(peer), ..self }
    }

    /// The same for requests on a connection with this standing.
    #[must_use]
    pub fn with_standing(self, standing: Standing) -> Self {
        Self { standing, ..self }
    }

    /// Handles a request. A panic on the way is answered, counted and logged like any other refusal.
    pub fn handle<B>(&self, mut request: Request<B>) -> Handling
    where
        B: HttpBody + Into<Body>,
    {
        let arrival = Arrival::of(&mut request, self.shared.clock.boot_time());
        let mut held = Some(request);
        let begun = caught_now(|| self.begin(&mut held, &arrival));
        begun.unwrap_or_else(|panicked| self.refuse_panic(held, &arrival, &panicked))
    }

    /// Takes the request from `held` only when it has been looked at for the last time.
    fn begin<B>(&self, held: &mut Option<Request<B>>, arrival: &Arrival) -> Handling
    where
        B: HttpBody + Into<Body>,
    {
        let request = held.as_ref().expect("a request is held until it is taken");
        let (rules, settings, kinds) = (&*self.shared.rules, &self.shared.settings, arrival.kinds);
        let caller = rules.callers.identify(&self.peer, request.headers());
        let is_anybody = rules.callers.is_anybody(caller);
        if caller != Identity::Unknown && !is_anybody {
            self.standing.identify();
        }
        if options::is_about_us(request) {
            return self.tell_options(held, caller, arrival);
        }
        let reading = match call::read(rules, caller, settings, &self.peer, request, kinds) {
            Ok(Read::Call(reading)) => reading,
            Ok(Read::Accounts(bare)) => {
                // Before anything is allocated for it.
                let room = self.room(caller, Ask::bytes_of(request, caller));
                let ask = Ask::read(self.peer.is_tls, request, bare, caller, arrival);
                return match room {
                    Ok(room) => self.stand_in(ask, room, take(held), arrival.clone()),
                    Err(crowded) => Handling::now(self.answer_refusal(
                        ask.into_facts(),
                        request.headers(),
                        &crowded.into(),
                    )),
                };
            }
            Err(refusal) => {
                let answer = self.refuse_unread(request, caller, arrival, &refusal);
                return self.turn_away(take(held), caller, answer, &refusal);
            }
        };
        if let Err(refusal) = self.permit(&reading, request, arrival) {
            let answer = self.refuse_read(request, &reading, arrival, &refusal);
            return self.turn_away(take(held), caller, answer, &refusal);
        }
        if is_anybody {
            self.standing.admit();
        }
        let found = match reading.plan {
            Plan::Cached(route) => self.look_up(route, &reading, request, arrival),
            Plan::Pass(why, _) => Found::Nothing(Errand::Pass(why)),
        };
        let call = |is_shared| {
            Call::new(rules, &reading, request, arrival.request_id.clone(), is_shared).map(Arc::new)
        };
        let errand = match found {
            Found::Answer(answer) => return Handling::now(answer),
            Found::AnswerAndRenew(answer, slot) => {
                // The fetch goes on in its own task; nobody has to wait for it.
                self.beside(|| drop(call(true).map(|call| self.begin_fetch(&call, slot))));
                return Handling::now(answer);
            }
            Found::Nothing(errand) => errand,
        };
        let call = match call(matches!(errand, Errand::Fetch(_))) {
            Ok(call) => call,
            Err(refusal) => {
                let answer = self.refuse_read(request, &reading, arrival, &refusal);
                return self.turn_away(take(held), caller, answer, &refusal);
            }
        };
        let place = match self.shared.admission.admit() {
            Ok(place) => place,
            // Whoever is one too many does not stay for the rest of its body either.
            Err(crowded) => {
                return Handling::now(self.refuse_read(request, &reading, arrival, &crowded.into()));
            }
        };
        let (proxy, arrival) = (self.clone(), arrival.clone());
        let (parts, body) = take(held).into_parts();
        let (body, rest) = self.keep_hold_of(whole(parts.version, body.into()));
        let headers = parts.headers;
        Handling::Later(Box::pin(async move {
            let unanswered = Unanswered::new(&proxy, || Self::facts_of(&call, &arrival));
            // In a box, so that who is passed on need not be as long.
            let answering = pin!(async {
                match errand {
                    Errand::Fetch(fetch) => Box::pin(proxy.fill(&call, *fetch, &headers, &arrival)).await,
                    Errand::Pass(why) => proxy.relay(&call, body, why, &arrival).await,
                    Errand::PassAlone(read) => {
                        let Fetch { slot, fallback, .. } = *read;
                        let asked = Received { headers: &headers, version: call.version };
                        Box::pin(proxy.relay_read(&call, &slot, fallback.as_ref(), asked, &arrival)).await
                    }
                }
            });
            let answered = refused_on_panic(&arrival, answering).await;
            unanswered.answered();
            let answer = match answered {
                Ok(answer) => answer,
                Err(refusal) => proxy.refuse(&call, &headers, rest, &arrival, &refusal).await,
            };
            drop(place);
            answer
        }))
    }

    /// Answers a read that a rule covers from a fetch, this caller's own or one under way; or from the
    /// fallback, if the fetch fails and what the fallback says is still true.
    async fn fill(
        &self,
        call: &Arc<Call>,
        fetch: Fetch,
        asked: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<Response<Body>, Refusal> {
        let Fetch { slot, why, fallback } = fetch;
        let asked = Received { headers: asked, version: call.version };
        let mut landed = self.share_fetch(call, slot.clone()).await;
        if let Ok((joined, false)) = &landed
            && let Some(own) = self.slot_beside(joined, &slot, asked.headers)
        {
            landed = self.share_fetch(call, own).await;
        }
        let fallback = fallback.as_ref();
        if landed.as_ref().map_or(true, |(landed, _)| landed.is_failure())
            && let Some(answer) = self.fall_back(fallback, call, &slot, asked, arrival)
        {
            return Ok(answer);
        }
        let (landed, leads) = landed?;
        match landed {
            Landed::Whole { entry, kept, .. }
                if !leads && self.is_anothers(&slot, &entry, kept, asked.headers) =>
            {
                // By the answer's own word it is for who asked, or for who asks alike.
                Box::pin(self.relay_read(call, &slot, fallback, asked, arrival)).await
            }
            Landed::Whole { entry, kept, timing, of_call } => {
                let status = CacheStatus::Fetched { why, kept, collapsed: !leads };
                // Who joined late waited for less than that.
                let upstream = timing.as_ref().filter(|_| leads).map(|timing| timing.upstream);
                let facts = Facts { upstream, ..Self::facts_of(call, arrival) };
                let now = self.shared.clock.boot_time();
                let mut response = self.answer_entry(&entry, status, asked, facts, now);
                if let Some(of_call) =
                    of_call.filter(|_| !matches!(kept, Kept::NotStorable | Kept::ScopesMissing))
                {
                    response.headers_mut().extend(of_call.as_ref().clone());
                }
                answer::label(response.headers_mut(), status, timing.as_ref(), call.request_id.clone());
                Ok(response)
            }
            Landed::TooLong { reply, .. } => match reply.take() {
                Some(reply) => {
                    let status = CacheStatus::Fetched { why, kept: Kept::TooLong, collapsed: !leads };
                    Ok(self.deliver(call, *reply, status, arrival).await)
                }
                // Somebody else took the one stream there is.
                None => Box::pin(self.relay_read(call, &slot, fallback, asked, arrival)).await,
            },
            Landed::Refused(refusal) => Err((*refusal).clone()),
        }
    }

    /// Passes a read on whose answer cannot be shared. If that fails, the fallback may answer.
    async fn relay_read(
        &self,
        call: &Arc<Call>,
        slot: &CacheSlot,
        fallback: Option<&Fallback>,
        asked: Received<'_>,
        arrival: &Arrival,
    ) -> Result<Response<Body>, Refusal> {
        if fallback.is_none() {
            return self.relay(call, Body::empty(), WhyPassed::Uncacheable, arrival).await;
        }
        let fetched = self.fetch_for(call, Body::empty(), arrival).await;
        let (fetched, is_failure) = self.examine(call, slot, fetched).await;
        if is_failure && let Some(answer) = self.fall_back(fallback, call, slot, asked, arrival) {
            return Ok(answer);
        }
        Ok(self.deliver(call, fetched?, CacheStatus::Passed(WhyPassed::Uncacheable), arrival).await)
    }

    /// The answer from the fallback of a fetch that failed, if what it says may still be served.
    fn fall_back(
        &self,
        fallback: Option<&Fallback>,
        call: &Call,
        slot: &CacheSlot,
        asked: Received<'_>,
        arrival: &Arrival,
    ) -> Option<Response<Body>> {
        let Fallback { entry, served } = fallback.filter(|it| self.may_serve(it.served, call, slot))?;
        let facts = Self::facts_of(call, arrival);
        Some(self.answer_entry(
            entry,
            CacheStatus::Served(*served),
            asked,
            facts,
            self.shared.clock.boot_time(),
        ))
    }

    /// What a write has made untrue while its renewal failed is not served, whatever happened to Zoho,
    /// unless the rule prefers old to none; and what was purged for good is not served at all.
    fn may_serve(&self, served: Served, call: &Call, slot: &CacheSlot) -> bool {
        let rule = &self.shared.rules.routes.route(slot.route).rule;
        let purged = self.shared.cache.purged_since(slot.purges, &slot.key, slot.route);
        purged != Some(Depth::Hard)
            && (matches!(served, Served::AfterWrite(_))
                || rule.stale_after_write
                || self.shared.epoch(call.tenant, rule, slot.url) == slot.epoch)
    }

    /// Keeps hold of a body that is too long to be read before the call, in case it is given up.
    fn keep_hold_of(&self, body: Body) -> (Body, Option<Rest>) {
        let hint = body.size_hint();
        let is_kept = hint.upper().is_some_and(|most| most <= self.shared.settings.replay_max_bytes as u64);
        if is_kept {
            return (body, None);
        }
        let rest = Rest::default();
        (rest.of(body), Some(rest))
    }

    /// Passes a request through, streaming both ways, and forgets what a write makes untrue.
    async fn relay(
        &self,
        call: &Arc<Call>,
        body: Body,
        why: WhyPassed,
        arrival: &Arrival,
    ) -> Result<Response<Body>, Refusal> {
        let reply = self.fetch_for(call, body, arrival).await?;
        Ok(self.deliver(call, reply, CacheStatus::Passed(why), arrival).await)
    }
}

/// What a look-up led to.
enum Found {
    Answer(Response<Body>),
    AnswerAndRenew(Response<Body>, CacheSlot),
    Nothing(Errand),
}

/// What has to be got from Zoho.
enum Errand {
    Fetch(Box<Fetch>),
    Pass(WhyPassed),
    /// A read of a key whose answers cannot be stored: passed on alone, with a fallback.
    PassAlone(Box<Fetch>),
}

/// A read that a rule covers, and nothing kept answers.
struct Fetch {
    slot: CacheSlot,
    why: WhyFetch,
    /// What may be said if it fails.
    fallback: Option<Fallback>,
}
