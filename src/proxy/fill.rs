//! A fetch that many share, and what it ends with.

use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use super::Proxy;
use super::answer::{Kept, Timing, headers_for_callers};
use super::call::{CacheSlot, Call};
use super::fetch::Reply;
use super::refusal::Refusal;
use crate::cache::Lookup;
use crate::cache::entry::Entry;
use crate::cache::flight::{Lost, Ticket};
use crate::cache::freshness::Rule;
use crate::net::body::{Body, Prefix};

/// What a shared fetch ends with. Cheap to clone: everybody who waited gets one.
#[derive(Clone)]
pub(super) enum Landed {
    /// The whole answer in memory.
    Whole { entry: Arc<Entry>, kept: Kept, timing: Option<Timing> },
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
            return Landed::Whole { entry, kept: Kept::Stored, timing: None };
        }
        let key = slot.key.clone();
        let landed = self.fetch_whole(call, slot, rule).await;
        if landed.is_failure() {
            shared.cache.note_setback(&key, shared.clock.now());
        } else {
            shared.cache.clear_setback(&key);
        }
        landed
    }

    async fn fetch_whole(&self, call: &Call, slot: CacheSlot, rule: &Rule) -> Landed {
        let shared = &*self.shared;
        let reply = match self.fetch(call, Body::empty(), &mut |_| {}).await {
            Ok(reply) => reply,
            Err(refusal) => return Landed::Refused(Arc::new(refusal)),
        };
        let Reply { head, body, timing, identity } = reply;
        let status = head.status;
        let bytes = match body.read_up_to(shared.cache.max_entry_bytes()).await {
            Ok(Prefix::Whole(bytes)) => bytes,
            Ok(Prefix::Partial(body)) => {
                shared.cache.remember_uncacheable(slot.key, shared.clock.now());
                let reply = Box::new(Reply { head, body, timing, identity });
                return Landed::TooLong(OneReply(Arc::new(Mutex::new(Some(reply)))));
            }
            Err(error) => return Landed::Refused(Arc::new(Refusal::of_answer_body(&error))),
        };
        let headers = headers_for_callers(&head.headers, false);
        let entry =
            Arc::new(Entry::new(slot.route, status, &headers, bytes, shared.clock.now(), slot.epoch, rule));
        let current_epoch = || shared.cache.epochs.current(call.tenant, &rule.groups);
        let kept = if !rule.stores(status) {
            Kept::NotStorable
        } else if identity == slot.key.identity()
            && shared.cache.store(slot.key, entry.clone(), slot.purges, current_epoch)
        {
            Kept::Stored
        } else {
            Kept::Overtaken
        };
        Landed::Whole { entry, kept, timing: Some(timing) }
    }
}

impl Landed {
    /// Whether Zoho could not answer: not that it refused the request, but that it might not have, were it
    /// well.
    pub(super) fn is_failure(&self) -> bool {
        let is_trouble =
            |status: StatusCode| status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        match self {
            Self::Whole { entry, .. } => is_trouble(entry.status()),
            Self::TooLong(_) => false,
            Self::Refused(_) => true,
        }
    }
}
