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
#[derive(Clone)]
pub(super) struct Progress(Arc<Marks>);

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
    /// The caller stopped sending.
    Stalling(Duration),
    /// The caller's connection broke.
    Error,
    /// The caller sent what is no body.
    Fault(Fault),
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self(Arc::new(Marks {
            start: now,
            last_ms: AtomicU64::new(0),
            ended: AtomicBool::new(true),
            awaits_caller: AtomicBool::new(false),
            broken: OnceLock::new(),
        }))
    }

    /// Watches a body that is still to come; one in memory has as good as ended.
    pub(super) fn watch(&self, body: Body, clock: &Clock) -> Body {
        if matches!(body, Body::Full(_)) {
            return body;
        }
        self.0.ended.store(false, Ordering::Relaxed);
        Body::stream(Watched { body, progress: self.clone(), clock: clock.clone() })
    }

    /// When the last piece passed.
    pub(super) fn last(&self) -> Instant {
        self.0.start + Duration::from_millis(self.0.last_ms.load(Ordering::Relaxed))
    }

    /// Whether all has been sent.
    pub(super) fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// Whether the next piece is to come from the caller; if not, it is Zoho that takes no more.
    pub(super) fn awaits_caller(&self) -> bool {
        self.0.awaits_caller.load(Ordering::Relaxed)
    }

    /// Why it broke off, if it did.
    pub(super) fn broken(&self) -> Option<BrokenBy> {
        self.0.broken.get().copied()
    }

    fn note(&self, error: &BoxError) {
        let by = match error.downcast_ref::<BrokenOff>() {
            Some(BrokenOff::Idle(limit) | BrokenOff::Total(limit)) => BrokenBy::Stalling(*limit),
            None => Fault::behind(&**error).map_or(BrokenBy::Error, BrokenBy::Fault),
        };
        let _ = self.0.broken.set(by);
    }

    fn mark(&self, now: Instant) {
        let since = now.saturating_duration_since(self.0.start).as_millis();
        self.0.last_ms.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

struct Watched {
    body: Body,
    progress: Progress,
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
        self.progress.0.awaits_caller.store(polled.is_pending(), Ordering::Relaxed);
        if polled.is_ready() {
            self.progress.mark(self.clock.now());
            if let Poll::Ready(Some(Err(error))) = &polled {
                self.progress.note(error);
            }
            if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
                self.progress.0.ended.store(true, Ordering::Relaxed);
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
        self.progress.0.ended.store(true, Ordering::Relaxed);
    }
}
