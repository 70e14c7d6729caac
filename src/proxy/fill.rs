//! A fetch that many share, and what it ends with.

use std::sync::{Arc, Mutex, PoisonError};

use super::Proxy;
use super::answer::{Timing, headers_for_callers};
use super::call::{CacheSlot, Call};
use super::fetch::Reply;
use super::refusal::Refusal;
use crate::cache::Lookup;
use crate::cache::entry::Entry;
use crate::cache::flight::{Lost, Ticket};
use crate::net::body::{Body, BoxError, Prefix};
use crate::net::paced::BrokenOff;

/// What a shared fetch ends with. Cheap to clone: everybody who waited gets one.
#[derive(Clone)]
pub(super) enum Landed {
    /// The whole answer in memory.
    Whole { entry: Arc<Entry>, stored: bool, timing: Option<Timing> },
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
        {
            return Landed::Whole { entry, stored: true, timing: None };
        }
        let reply = match self.fetch(call, Body::empty(), &mut |_| {}).await {
            Ok(reply) => reply,
            Err(refusal) => return Landed::Refused(Arc::new(refusal)),
        };
        let Reply { head, body, timing } = reply;
        let status = head.status;
        let bytes = match body.read_up_to(shared.cache.max_entry_bytes()).await {
            Ok(Prefix::Whole(bytes)) => bytes,
            Ok(Prefix::Partial(body)) => {
                shared.cache.remember_uncacheable(slot.key, shared.clock.now());
                let reply = Box::new(Reply { head, body, timing });
                return Landed::TooLong(OneReply(Arc::new(Mutex::new(Some(reply)))));
            }
            Err(error) => return Landed::Refused(Arc::new(broken_off(&error))),
        };
        let headers = headers_for_callers(&head.headers, false);
        let entry = Arc::new(Entry::new(status, &headers, bytes, shared.clock.now(), slot.epoch, rule));
        let current_epoch = || shared.cache.epochs.current(call.tenant, &rule.groups);
        let stored = rule.stores(status) && shared.cache.store(slot.key, entry.clone(), current_epoch);
        Landed::Whole { entry, stored, timing: Some(timing) }
    }
}

fn broken_off(error: &BoxError) -> Refusal {
    match error.downcast_ref::<BrokenOff>() {
        Some(BrokenOff::Idle(limit)) => Refusal::IdleTimeout(*limit),
        Some(BrokenOff::Total(limit)) => Refusal::TotalTimeout(*limit),
        None => Refusal::UpstreamBroken,
    }
}
