//! A fetch that many share, and what it ends with.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, Method, StatusCode};
use http_body::Body as _;

use super::Proxy;
use super::answer::{Kept, Timing, retain_for_callers};
use super::attempt::Attempt;
use super::call::{CacheSlot, Call};
use super::fetch::{Reply, Scopes};
use super::panics::SHARED_FETCH;
use super::refusal::Refusal;
use crate::cache::Lookup;
use crate::cache::content::{self, Extent, Invalid};
use crate::cache::entry::{Entry, Fetched};
use crate::cache::flight::{Lost, Ticket};
use crate::cache::key::{self, Key};
use crate::cache::media::ContentTypes;
use crate::cache::origin;
use crate::cache::rule::Rule;
use crate::cache::vary::{self, Variant};
use crate::net::body::{Beginning, Body, BoxError};
use crate::net::buffers::{Purpose, Reservation};
use crate::net::headers::{copy_if, is_of_one_call};
use crate::supervisor::caught;
use crate::upstream::outbound::stays_here;

/// What a shared fetch ends with. Cheap to clone: everybody who waited gets one.
#[derive(Clone)]
pub(super) enum Landed {
    /// The whole answer in memory.
    Whole {
        entry: Arc<Entry>,
        kept: Kept,
        timing: Option<Timing>,
        /// Fields about the call that brought it, if Zoho sent some: an entry does not have them.
        of_call: Option<Arc<HeaderMap>>,
    },
    /// An answer too long to be stored; one of those who waited can have the stream.
    TooLong {
        reply: OneReply,
        /// Whether it is an error, or by its first bytes no answer.
        is_failure: bool,
    },
    /// No answer.
    Refused(Arc<Refusal>),
}

/// A reply that only one can take.
#[derive(Clone)]
pub(super) struct OneReply(Arc<Mutex<Option<Box<Reply>>>>);

impl OneReply {
    fn of(reply: Reply) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(reply)))))
    }

    pub(super) fn take(&self) -> Option<Box<Reply>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Proxy {
    /// Waits for the fetch of a key, and says whether it was begun here.
    pub(super) async fn share_fetch(
        &self,
        call: &Arc<Call>,
        slot: CacheSlot,
    ) -> Result<(Landed, bool), Refusal> {
        let ticket = self.begin_fetch(call, slot);
        let leads = ticket.leads;
        match ticket.landed().await {
            Ok(landed) => Ok((landed, leads)),
            Err(Lost::TooSlow(limit)) => Err(Refusal::TotalTimeout(limit)),
            Err(Lost::Ended) => Err(Refusal::Internal),
        }
    }

    /// Joins the fetch of a key, or begins it in a task of its own.
    pub(super) fn begin_fetch(&self, call: &Arc<Call>, slot: CacheSlot) -> Ticket<Landed> {
        let (proxy, call) = (self.clone(), call.clone());
        let cache = &self.shared.cache;
        let (key, epoch, purges) = (slot.key.clone(), slot.epoch, slot.purges);
        let (joined_key, route) = (key.clone(), slot.route);
        let is_current = |since| cache.purged_since(since, &joined_key, route).is_none();
        let fetch = move || async move { proxy.land(&call, slot).await };
        cache.flights.join(key, epoch, purges, is_current, fetch)
    }

    async fn land(&self, call: &Call, slot: CacheSlot) -> Landed {
        let shared = &*self.shared;
        let rule = &shared.rules.routes.route(slot.route).rule;
        // Another fetch may have landed between the look-up that led here and this one's start.
        if let Lookup::Fresh(entry, _) =
            shared.cache.lookup(slot.key.as_bytes(), rule, slot.epoch, shared.clock.boot_time())
            && slot.not_before.is_none_or(|not_before| entry.stored() >= not_before)
        {
            return Landed::Whole { entry, kept: Kept::Stored, timing: None, of_call: None };
        }
        let attempt = Attempt::of(&shared.cache, &shared.clock, &slot);
        // Everybody who waits is told at once, and the next fetch of the key waits like after any other failure.
        let landed = caught(pin!(self.fetch_whole(call, slot, rule))).await.unwrap_or_else(|panicked| {
            shared.supervisor.note_panic(SHARED_FETCH, &panicked);
            Landed::Refused(Arc::new(Refusal::Internal))
        });
        attempt.ended(landed.is_failure());
        landed
    }

    async fn fetch_whole(&self, call: &Call, slot: CacheSlot, rule: &Rule) -> Landed {
        let shared = &*self.shared;
        let asked_at = shared.clock.moment();
        let (reply, validated) = match self.ask(call, slot.validates.as_ref()).await {
            Ok(asked) => asked,
            Err(refusal) => return Landed::Refused(Arc::new(refusal)),
        };
        let Reply { head, body, timing, identity, scopes } = reply;
        // Types are looked at where the status says that this is an answer; what was validated was looked at before.
        let types = rule.content_types.as_ref();
        let types = types.filter(|_| head.status == StatusCode::OK && validated.is_none());
        let limit = shared.cache.max_entry_bytes();
        let reservation = self.upstream.settings().buffers.reservation(Purpose::Store);
        let (bytes, mut memory, verdict) =
            match read_and_check(body, limit, reservation, types, &head.headers).await {
                Ok((Beginning { read, reservation, rest: None }, verdict)) => {
                    (read, reservation.becomes(Purpose::Entry), verdict)
                }
                Ok((beginning, verdict)) => {
                    let body = beginning.into_body();
                    // It may also be one that there is no memory for at the moment.
                    let is_too_long = body.size_hint().lower() > limit as u64;
                    let is_failure = verdict.is_err() || is_trouble(head.status) || scopes == Scopes::Missing;
                    if let Err(why) = &verdict {
                        self.report_invalid(call, &slot, why);
                    }
                    if !is_failure && is_too_long {
                        shared.cache.remember_uncacheable(slot.key.as_bytes(), shared.clock.boot_time());
                    }
                    let reply = OneReply::of(Reply { head, body, timing, identity, scopes });
                    return Landed::TooLong { reply, is_failure };
                }
                Err(error) => return Landed::Refused(Arc::new(Refusal::of_answer_body(&error))),
            };
        let mut headers = head.headers.clone();
        retain_for_callers(&mut headers, false);
        // What Zoho says is unchanged has the stored bytes, and the stored headers with the news.
        let (status, headers, bytes) = match &validated {
            Some(entry) => {
                (entry.status(), origin::updated(&entry.zohos_head(), &headers), entry.body().clone())
            }
            None => (head.status, headers, bytes),
        };
        memory.set(bytes.len());
        let came_at = shared.clock.moment();
        let terms = rule.obeys_origin.then(|| {
            let told = if validated.is_some() { &headers } else { &head.headers };
            origin::terms(status, told, came_at.now - asked_at.now, shared.clock.wall())
        });
        let terms = terms.flatten();
        let fate = match verdict {
            Err(why) => {
                self.report_invalid(call, &slot, &why);
                Err(Kept::Invalid)
            }
            Ok(()) if scopes == Scopes::Missing => Err(Kept::ScopesMissing),
            Ok(()) if !rule.may_store(status, terms.as_ref()) => Err(Kept::NotStorable),
            Ok(()) => self.selection(call.asked.as_ref(), &slot, rule, &headers),
        };
        let (is_unfit, variant) = (fate.is_err(), fate.as_ref().ok().cloned().flatten());
        // If the machine was suspended meanwhile, the response may have been sent before that.
        let at = came_at.boot_time - asked_at.suspended_until(came_at);
        let epoch = slot.epoch;
        let fetched = Fetched {
            status,
            head: &headers,
            body: bytes,
            memory: Some(memory),
            at,
            epoch,
            terms,
            is_unfit,
            variant,
        };
        let entry = Arc::new(Entry::new(rule, slot.route, fetched));
        let kept = match fate {
            Ok(_) => self.keep(call, &slot, rule, &entry, identity),
            Err(why) => {
                let may_be_stored = rule.may_store(status, terms.as_ref());
                let is_for_who_asked = may_be_stored || rule.obeys_origin;
                // By what the response says, and not only because this request's headers are too long for a key.
                let is_for_nobody_else = !may_be_stored || selecting_names(rule, &headers).is_none();
                if why == Kept::NotStorable && is_for_who_asked && is_for_nobody_else && !is_trouble(status) {
                    // No request may share another's fetch of this key, so none should wait for one.
                    shared.cache.remember_uncacheable(slot.key.as_bytes(), shared.clock.boot_time());
                }
                why
            }
        };
        let of_call = head.headers.keys().any(is_of_one_call);
        let of_call = of_call.then(|| Arc::new(copy_if(&head.headers, 0, is_of_one_call)));
        Landed::Whole { entry, kept, timing: Some(timing), of_call }
    }

    /// The key under which an answer that has these headers is found: the plain one, or one with the values of the request
    /// headers that select it.
    fn selection(
        &self,
        asked: Option<&HeaderMap>,
        slot: &CacheSlot,
        rule: &Rule,
        answer: &HeaderMap,
    ) -> Result<Option<Variant>, Kept> {
        let names = selecting_names(rule, answer).ok_or(Kept::NotStorable)?;
        if names.is_empty() {
            return Ok(None);
        }
        let limit = self.shared.cache.max_key_header_bytes();
        let key = asked.and_then(|asked| vary::longer_key(slot.plain(), &names, asked, limit));
        Ok(Some(Variant::of(names, key.ok_or(Kept::NotStorable)?)))
    }

    /// Logs why a 200 is not stored.
    fn report_invalid(&self, call: &Call, slot: &CacheSlot, why: &Invalid) {
        let shared = &*self.shared;
        tracing::warn!(
            tenant = shared.tokens[call.tenant].tenant(),
            route = shared.rules.routes.route(slot.route).name,
            request_id = call.request_id.to_str().unwrap_or_default(),
            reason = %why,
            "Zoho answered 200 with something that is no answer; it is passed on and not stored"
        );
    }

    /// Looks whether a read that was passed on alone failed, by the same rules as a shared fetch, and notes it for the
    /// next one. An answer that could be a success keeps its bytes.
    pub(super) async fn examine(
        &self,
        call: &Call,
        slot: &CacheSlot,
        fetched: Result<Reply, Refusal>,
    ) -> (Result<Reply, Refusal>, bool) {
        let shared = &*self.shared;
        let (fetched, is_failure) = match fetched {
            Ok(reply) => match self.check_beginning(call, slot, reply).await {
                Ok((reply, verdict)) => {
                    let is_failure =
                        verdict.is_err() || is_trouble(reply.head.status) || reply.scopes == Scopes::Missing;
                    (Ok(reply), is_failure)
                }
                Err(refusal) => (Err(refusal), true),
            },
            Err(refusal) => (Err(refusal), true),
        };
        // Not before: a caller who hangs up is no failure of Zoho's.
        Attempt::of(&shared.cache, &shared.clock, slot).ended(is_failure);
        (fetched, is_failure)
    }

    /// Checks the first bytes of a 200.
    async fn check_beginning(
        &self,
        call: &Call,
        slot: &CacheSlot,
        reply: Reply,
    ) -> Result<(Reply, Result<(), Invalid>), Refusal> {
        let types = self.shared.rules.routes.route(slot.route).rule.content_types.as_ref();
        let has_body = call.outbound.method() != Method::HEAD;
        let Some(types) = types.filter(|_| has_body && reply.head.status == StatusCode::OK) else {
            return Ok((reply, Ok(())));
        };
        let Reply { head, body, timing, identity, scopes } = reply;
        let reservation = self.upstream.settings().buffers.reservation(Purpose::Stream);
        let read = read_and_check(body, content::LOOKED_AT, reservation, Some(types), &head.headers).await;
        let (beginning, verdict) = read.map_err(|error| Refusal::of_answer_body(&error))?;
        if let Err(why) = &verdict {
            self.report_invalid(call, slot, why);
        }
        Ok((Reply { head, body: beginning.into_body(), timing, identity, scopes }, verdict))
    }

    /// Asks Zoho; for an entry that has a validator, whether it is still right. A 304 that is about something
    /// else is no answer, and the question is asked anew without a condition.
    async fn ask(
        &self,
        call: &Call,
        validates: Option<&Arc<Entry>>,
    ) -> Result<(Reply, Option<Arc<Entry>>), Refusal> {
        let deadline = self.upstream.deadline();
        if let Some(entry) = validates {
            let call = call.validating(entry.head());
            let reply = self.fetch(&call, Body::empty(), deadline, &mut |_| {}).await?;
            if reply.head.status != StatusCode::NOT_MODIFIED {
                return Ok((reply, None));
            }
            if origin::is_about(&reply.head.headers, entry.head()) {
                return Ok((reply, Some(entry.clone())));
            }
        }
        Ok((self.fetch(call, Body::empty(), deadline, &mut |_| {}).await?, None))
    }

    /// Stores an answer that may be stored, unless a write, a purge or another credential overtook its fetch.
    fn keep(&self, call: &Call, slot: &CacheSlot, rule: &Rule, entry: &Arc<Entry>, identity: u64) -> Kept {
        let cache = &self.shared.cache;
        let current_epoch = || self.shared.epoch(call.tenant, rule, slot.url);
        let key = Key::from_bytes(slot.plain());
        if identity == key.identity() && cache.store(key, entry.clone(), slot.purges, current_epoch) {
            Kept::Stored
        } else {
            Kept::Overtaken
        }
    }

    /// Whether an answer that another request's fetch brought is not for one with these headers.
    pub(super) fn is_anothers(
        &self,
        slot: &CacheSlot,
        entry: &Entry,
        kept: Kept,
        headers: &HeaderMap,
    ) -> bool {
        let rule = &self.shared.rules.routes.route(slot.route).rule;
        if let Some(variant) = entry.variant() {
            return self.own_key(slot, variant, headers).as_ref() != variant.key();
        }
        match kept {
            Kept::Stored | Kept::Invalid => false,
            _ if rule.obeys_origin => true,
            _ => {
                rule.stores(entry.status())
                    && selecting_names(rule, entry.head()).is_none_or(|names| !names.is_empty())
            }
        }
    }

    /// Where a request belongs that has joined the fetch of an answer which other values of its headers select.
    pub(super) fn slot_beside(
        &self,
        landed: &Landed,
        slot: &CacheSlot,
        headers: &HeaderMap,
    ) -> Option<CacheSlot> {
        let Landed::Whole { entry, kept: Kept::Stored, .. } = landed else { return None };
        let variant = entry.variant()?;
        let key = self.own_key(slot, variant, headers).filter(|own| Some(own) != variant.key())?;
        Some(CacheSlot { key, validates: None, ..slot.clone() })
    }

    fn own_key(&self, slot: &CacheSlot, variant: &Variant, headers: &HeaderMap) -> Option<Key> {
        let limit = self.shared.cache.max_key_header_bytes();
        vary::longer_key(slot.plain(), variant.names(), headers, limit)
    }
}

/// Which request headers select an answer that has these headers, beside those in every key; `None` if no other request can
/// be known to be alike.
fn selecting_names(rule: &Rule, answer: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = vary::named(answer)?;
    if !rule.obeys_origin {
        // A field that is never sent cannot have selected the response.
        names.retain(|name| !(key::is_in_every_key(name) || rule.vary_by.contains(name) || stays_here(name)));
    }
    Some(names)
}

/// Reads a body up to a limit, and checks what was read by the types that the rule stores.
async fn read_and_check(
    body: Body,
    limit: usize,
    reservation: Reservation,
    types: Option<&ContentTypes>,
    head: &HeaderMap,
) -> Result<(Beginning, Result<(), Invalid>), BoxError> {
    let beginning = body.read_within(limit, content::LOOKED_AT, reservation).await?;
    let extent = if beginning.rest.is_none() { Extent::Whole } else { Extent::Beginning };
    let verdict = types.map_or(Ok(()), |types| content::check(types, head, &beginning.read, extent));
    Ok((beginning, verdict))
}

/// A status that is no answer to the request.
fn is_trouble(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

impl Landed {
    /// Whether Zoho could not answer: not that it refused the request, but that it might not have, were it
    /// well.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Whole { entry, kept, .. } => {
                matches!(kept, Kept::Invalid | Kept::ScopesMissing) || is_trouble(entry.status())
            }
            Self::TooLong { is_failure, .. } => *is_failure,
            Self::Refused(_) => true,
        }
    }
}
