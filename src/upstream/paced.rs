//! Watching a body on its way: when its last piece passed, and whether it has ended.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::clock::{Clock, Instant};
use crate::net::body::{Body, BoxError};
use crate::net::http1::Fault;
use crate::net::paced::BrokenOff;

/// How far a request's body has got.
pub(super) struct Progress {
    start: Instant,
    /// None for a body in memory, which has as good as ended.
    marks: Option<Arc<Marks>>,
}

struct Marks {
    start: Instant,
    last_ms: AtomicU64,
    ended: AtomicBool,
    awaits_caller: AtomicBool,
    broken: OnceLock<BrokenBy>,
}

/// Why the body of a request did not come whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BrokenBy {
    /// The caller stopped sending, or as good as stopped.
    Stalling(BrokenOff),
    /// The caller's connection broke.
    Error,
    /// The caller sent what is no body.
    Fault(Fault),
}

impl Progress {
    /// That of a body, which is watched from here on.
    pub(super) fn of(body: &mut Body, now: Instant, clock: &Clock) -> Self {
        if matches!(body, Body::Full(_)) {
            return Self { start: now, marks: None };
        }
        let marks = Arc::new(Marks {
            start: now,
            last_ms: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            awaits_caller: AtomicBool::new(false),
            broken: OnceLock::new(),
        });
        let watched = Watched { body: std::mem::take(body), marks: marks.clone(), clock: clock.clone() };
        *body = Body::stream(watched);
        Self { start: now, marks: Some(marks) }
    }

    /// When the last piece passed.
    pub(super) fn last(&self) -> Instant {
        let last_ms = self.marks.as_ref().map_or(0, |marks| marks.last_ms.load(Ordering::Relaxed));
        self.start + Duration::from_millis(last_ms)
    }

    /// Whether all has been sent.
    pub(super) fn has_ended(&self) -> bool {
        self.marks.as_ref().is_none_or(|marks| marks.ended.load(Ordering::Relaxed))
    }

    /// Whether the next piece is to come from the caller; if not, it is Zoho that takes no more.
    pub(super) fn awaits_caller(&self) -> bool {
        self.marks.as_ref().is_some_and(|marks| marks.awaits_caller.load(Ordering::Relaxed))
    }

    /// Why it broke off, if it did.
    pub(super) fn broken(&self) -> Option<BrokenBy> {
        self.marks.as_ref()?.broken.get().copied()
    }
}

impl Marks {
    fn note(&self, error: &BoxError) {
        let by = match error.downcast_ref::<BrokenOff>() {
            Some(why) => BrokenBy::Stalling(*why),
            None => Fault::behind(&**error).map_or(BrokenBy::Error, BrokenBy::Fault),
        };
        let _ = self.broken.set(by);
    }

    fn mark(&self, now: Instant) {
        let since = now.saturating_duration_since(self.start).as_millis();
        self.last_ms.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

struct Watched {
    body: Body,
    marks: Arc<Marks>,
    clock: Clock,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.marks.awaits_caller.store(polled.is_pending(), Ordering::Relaxed);
        if polled.is_ready() {
            self.marks.mark(self.clock.now());
            if let Poll::Ready(Some(Err(error))) = &polled {
                self.marks.note(error);
            }
            if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
                self.marks.ended.store(true, Ordering::Relaxed);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    /// hyper drops a body of known length after its last byte without asking for the end.
    fn drop(&mut self) {
        self.marks.ended.store(true, Ordering::Relaxed);
    }
}
