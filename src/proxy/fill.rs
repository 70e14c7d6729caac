//! A fetch that many share, and what it ends with.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, StatusCode};

use super::Proxy;
use super::answer::{Kept, Timing, headers_for_callers};
use super::call::{CacheSlot, Call};
use super::fetch::Reply;
use super::refusal::Refusal;
use crate::cache::Lookup;
use crate::cache::entry::{Entry, Fetched};
use crate::cache::flight::{Lost, Ticket};
use crate::cache::key::{self, Key, Parts};
use crate::cache::origin;
use crate::cache::rule::Rule;
use crate::net::body::{Body, Prefix};
use crate::net::headers::{copy_if, is_of_one_call};

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
    /// An answer too long to be kept; one of those who waited can have the stream.
    TooLong(OneReply),
    /// No answer.
    Refused(Arc<Refusal>),
}

/// A reply that only one can take.
#[derive(Clone)]
pub(super) struct OneReply(Arc<Mutex<Option<Box<Reply>>>>);

impl OneReply {
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
        let flights = &self.shared.cache.flights;
        flights.join(slot.key.clone(), slot.epoch, move || async move { proxy.land(&call, slot).await })
    }

    async fn land(&self, call: &Call, slot: CacheSlot) -> Landed {
        let shared = &*self.shared;
        let rule = &shared.rules.routes.route(slot.route).rule;
        // Another fetch may have landed between the look-up that led here and this one's start.
        if let Lookup::Fresh(entry, _) =
            shared.cache.lookup(slot.key.as_bytes(), rule, slot.epoch, shared.clock.now())
            && slot.not_before.is_none_or(|not_before| entry.stored() >= not_before)
        {
            return Landed::Whole { entry, kept: Kept::Stored, timing: None, of_call: None };
        }
        let key = slot.key.clone();
        let landed = self.fetch_whole(call, slot, rule).await;
        if landed.is_failure() {
            shared.cache.note_setback(key.as_bytes(), shared.clock.now());
        } else {
            shared.cache.clear_setback(key.as_bytes());
        }
        landed
    }

    async fn fetch_whole(&self, call: &Call, slot: CacheSlot, rule: &Rule) -> Landed {
        let shared = &*self.shared;
        let asked_at = shared.clock.wall();
        let (reply, validated) = match self.ask(call, slot.validates.as_ref()).await {
            Ok(asked) => asked,
            Err(refusal) => return Landed::Refused(Arc::new(refusal)),
        };
        let Reply { head, body, timing, identity } = reply;
        let bytes = match body.read_up_to(shared.cache.max_entry_bytes()).await {
            Ok(Prefix::Whole(bytes)) => bytes,
            Ok(Prefix::Partial(body)) => {
                shared.cache.remember_uncacheable(slot.key.as_bytes(), shared.clock.now());
                let reply = Box::new(Reply { head, body, timing, identity });
                return Landed::TooLong(OneReply(Arc::new(Mutex::new(Some(reply)))));
            }
            Err(error) => return Landed::Refused(Arc::new(Refusal::of_answer_body(&error))),
        };
        let headers = headers_for_callers(head.headers.clone(), false);
        // What Zoho says is unchanged has the stored bytes, and the stored headers with the news.
        let (status, headers, bytes) = match &validated {
            Some(entry) => {
                (entry.status(), origin::updated(&entry.zohos_head(), &headers), entry.body().clone())
            }
            None => (head.status, headers, bytes),
        };
        let terms = call.asked.as_ref().and_then(|asked| {
            let told = if validated.is_some() { &headers } else { &head.headers };
            origin::terms(asked, status, told, asked_at, shared.clock.wall())
        });
        let fetched =
            Fetched { status, head: &headers, body: bytes, at: shared.clock.now(), epoch: slot.epoch, terms };
        let entry = Arc::new(Entry::new(rule, slot.route, fetched));
        let kept = self.keep(call, slot, rule, &entry, identity);
        let of_call = head.headers.keys().any(is_of_one_call);
        let of_call = of_call.then(|| Arc::new(copy_if(&head.headers, 0, is_of_one_call)));
        Landed::Whole { entry, kept, timing: Some(timing), of_call }
    }

    /// Asks Zoho; for an entry that has a validator, whether it is still right. A 304 that is about something
    /// else is no answer, and the question is asked anew without a condition.
    async fn ask(
        &self,
        call: &Call,
        validates: Option<&Arc<Entry>>,
    ) -> Result<(Reply, Option<Arc<Entry>>), Refusal> {
        if let Some(entry) = validates {
            let reply = self.fetch(&call.validating(entry.head()), Body::empty(), &mut |_| {}).await?;
            if reply.head.status != StatusCode::NOT_MODIFIED {
                return Ok((reply, None));
            }
            if origin::is_about(&reply.head.headers, entry.head()) {
                return Ok((reply, Some(entry.clone())));
            }
        }
        Ok((self.fetch(call, Body::empty(), &mut |_| {}).await?, None))
    }

    /// Makes an entry of an answer, if it may be one.
    fn keep(&self, call: &Call, slot: CacheSlot, rule: &Rule, entry: &Arc<Entry>, identity: u64) -> Kept {
        let cache = &self.shared.cache;
        let is_refused = entry.status() == StatusCode::UNAUTHORIZED;
        if is_refused || !rule.may_store(entry.status(), entry.terms()) {
            if rule.obeys_origin && !is_trouble(entry.status()) {
                // Nobody may be answered from somebody else's fetch of it, so nobody should wait for one.
                cache.remember_uncacheable(slot.key.as_bytes(), self.shared.clock.now());
            }
            return Kept::NotStorable;
        }
        let current_epoch = || self.shared.epoch(call.tenant, rule, call.target.as_str());
        let key = match (&slot.url, &call.asked) {
            (Some(url), Some(asked)) => {
                let names = origin::vary(entry.head()).unwrap_or_default();
                let key = variant(call, url.identity(), asked, rule, &names);
                cache.note_vary(url.clone(), names);
                key
            }
            _ => slot.key,
        };
        if identity == key.identity() && cache.store(key, entry.clone(), slot.purges, current_epoch) {
            Kept::Stored
        } else {
            Kept::Overtaken
        }
    }
}

/// The key of an answer that depends on these headers of the request.
fn variant(call: &Call, identity: u64, asked: &HeaderMap, rule: &Rule, names: &[HeaderName]) -> Key {
    let mut bytes = Vec::new();
    let parts = Parts {
        tenant: call.tenant,
        identity,
        path_and_query: call.target.as_str(),
        headers: asked,
        vary_by: &rule.vary_by_with(names),
    };
    key::write(&parts, &mut bytes);
    Key::from_bytes(&bytes)
}

/// What is no answer to the request. A 401 that gets here is about the scopes of the sidecar's own credential.
fn is_trouble(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED)
}

impl Landed {
    /// Whether Zoho could not answer: not that it refused the request, but that it might not have, were it
    /// well.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Whole { entry, .. } => is_trouble(entry.status()),
            Self::TooLong(_) => false,
            Self::Refused(_) => true,
        }
    }
}
