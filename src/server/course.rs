//! What a connection tells of itself: to its answers, and to whoever watches over it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use http::Version;
use tokio::sync::Notify;

use super::severable::Severed;
use crate::net::http1::Fault;

/// How far a connection has got. All of it is written and read by the one task that the connection is.
#[derive(Debug, Default)]
pub(super) struct Course {
    begun: AtomicU64,
    /// How many heads have come whole.
    heads: AtomicU64,
    under_way: AtomicUsize,
    is_old: AtomicBool,
    is_midway: AtomicBool,
    is_full: AtomicBool,
    is_winding_down: AtomicBool,
    /// Which request is only the stand-in for one that must not pass, and why.
    fault: OnceLock<(u64, Fault)>,
    /// The bytes of the next request's head, for a handler that wants to know them again; looked at only if they are
    /// there, so that a request need not take the lock.
    shown: Mutex<Option<Bytes>>,
    is_shown: AtomicBool,
    is_stirred: AtomicBool,
    stirred: Notify,
    severed: Severed,
}

impl Course {
    /// The course of a connection that can be severed.
    pub(super) fn of(severed: Severed) -> Self {
        Self { severed, ..Self::default() }
    }

    /// How many requests have come.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    /// Whether an answer is still being made or sent.
    pub(super) fn is_answering(&self) -> bool {
        self.under_way.load(Relaxed) > 0 || self.is_full.load(Relaxed)
    }

    /// Whether nothing is under way in either direction, and no head waits for its turn.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.is_answering() && !self.is_midway.load(Relaxed) && self.heads.load(Relaxed) == self.begun()
    }

    /// A request has come: what is wrong with it, if it is only a stand-in.
    pub(super) fn begin(&self, version: Version) -> Option<Fault> {
        let number = self.begun.load(Relaxed) + 1;
        self.begun.store(number, Relaxed);
        if version == Version::HTTP_10 {
            self.is_old.store(true, Relaxed);
        }
        self.fault_of(number)
    }

    /// What is wrong with the request of this number, counted from 1.
    pub(super) fn fault_of(&self, number: u64) -> Option<Fault> {
        self.fault.get().filter(|(found, _)| *found == number).map(|(_, fault)| *fault)
    }

    /// The request of this number must not pass.
    pub(super) fn set_fault(&self, number: u64, fault: Fault) {
        self.fault.set((number, fault)).expect("nothing is looked at after the first fault");
    }

    /// The head of the request that comes next is to be shown to its handler.
    pub(super) fn show_head(&self, head: Bytes) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
        self.is_shown.store(true, Relaxed);
    }

    /// The head to show, if it is.
    pub(super) fn shown_head(&self) -> Option<Bytes> {
        if !self.is_shown.load(Relaxed) {
            return None;
        }
        self.is_shown.store(false, Relaxed);
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the only thing under way is the request whose head, one of so many, has just come; and whether its
    /// answer need not be the last.
    pub(super) fn is_free_for(&self, heads: u64) -> bool {
        heads == self.begun() + 1 && !self.is_answering() && !self.is_winding_down()
    }

    /// Notes how many heads have come, and whether a request has begun to come and not come whole.
    pub(super) fn note(&self, heads: u64, is_midway: bool) {
        self.heads.store(heads, Relaxed);
        self.is_midway.store(is_midway, Relaxed);
    }

    /// Notes whether something that was written waits for the caller to take it.
    pub(super) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Relaxed);
    }

    /// A connection has a request; whoever watches over one at rest is told.
    pub(super) fn stir(&self) {
        if !self.is_stirred.swap(true, Relaxed) {
            self.stirred.notify_one();
        }
    }

    /// From here on the connection counts as at rest, until it is stirred.
    pub(super) fn calm(&self) {
        self.is_stirred.store(false, Relaxed);
    }

    /// Waits for [`Self::stir`].
    pub(super) async fn stirred(&self) {
        self.stirred.notified().await;
    }

    /// From here on each answer is the connection's last.
    pub(super) fn wind_down(&self) {
        self.is_winding_down.store(true, Relaxed);
    }

    /// Whether an answer is to be the last.
    pub(super) fn is_winding_down(&self) -> bool {
        self.is_winding_down.load(Relaxed)
    }

    /// Sees to it that what breaks off does not look like an end. To HTTP/1.0 it would.
    pub(super) fn break_off(&self) {
        if self.is_old.load(Relaxed) {
            self.severed.sever();
        }
    }
}

/// A request under way, for as long as this lives.
pub(super) struct UnderWay(Arc<Course>);

impl UnderWay {
    pub(super) fn on(course: &Arc<Course>) -> Self {
        course.under_way.fetch_add(1, Relaxed);
        Self(course.clone())
    }

    pub(super) fn course(&self) -> &Course {
        &self.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}
