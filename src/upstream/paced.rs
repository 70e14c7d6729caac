//! Watching a body on its way: when its last piece passed, and whether it has ended.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
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
    clock: Clock,
    /// When a piece last passed, or arrived and was not taken yet.
    last_ms: AtomicU64,
    has_begun: AtomicBool,
    ended: AtomicBool,
    awaits_caller: AtomicBool,
    broken: OnceLock<BrokenBy>,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A connection, or room on it: nothing of the body was asked for yet since then.
    Begin(Instant),
    /// The caller: the next piece of the body has not arrived.
    Caller,
    /// Zoho: a piece of the body has been there since then, and is not taken.
    Upload(Instant),
    /// Zoho: the whole request has been sent since then.
    Answer(Instant),
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
            clock: clock.clone(),
            last_ms: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            awaits_caller: AtomicBool::new(false),
            broken: OnceLock::new(),
        });
        let watched = Watched { body: std::mem::take(body), marks: marks.clone(), arrival: None };
        *body = Body::stream(watched);
        Self { start: now, marks: Some(marks) }
    }

    /// What the request waits for.
    pub(super) fn stage(&self) -> Stage {
        let Some(marks) = &self.marks else { return Stage::Answer(self.start) };
        let last = self.start + Duration::from_millis(marks.last_ms.load(Ordering::Relaxed));
        if !marks.has_begun.load(Ordering::Relaxed) {
            Stage::Begin(self.start)
        } else if marks.ended.load(Ordering::Relaxed) {
            Stage::Answer(last)
        } else if marks.awaits_caller.load(Ordering::Relaxed) {
            Stage::Caller
        } else {
            Stage::Upload(last)
        }
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

    fn mark(&self) {
        let since = self.clock.now().saturating_duration_since(self.start).as_millis();
        self.last_ms.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

struct Watched {
    body: Body,
    marks: Arc<Marks>,
    /// Notices the next piece of the body.
    arrival: Option<Arc<Arrival>>,
}

/// Wakes the task that sends a body, and notes that the body has more for it. That task may not ask for more at once: it
/// waits for room first where Zoho does not read.
struct Arrival {
    marks: Arc<Marks>,
    task: Waker,
}

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.marks.mark();
        self.marks.awaits_caller.store(false, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

impl Watched {
    /// The waker for the body, made anew only when another task asks.
    fn waker(&mut self, task: &Waker) -> Waker {
        let known = self.arrival.take().filter(|arrival| arrival.task.will_wake(task));
        let arrival =
            known.unwrap_or_else(|| Arc::new(Arrival { marks: self.marks.clone(), task: task.clone() }));
        self.arrival = Some(arrival.clone());
        arrival.into()
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.marks.has_begun.store(true, Ordering::Relaxed);
        // Before the body is asked: a piece may arrive while it answers that there is none.
        self.marks.awaits_caller.store(true, Ordering::Relaxed);
        let waker = self.waker(cx.waker());
        let polled = Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.marks.awaits_caller.store(false, Ordering::Relaxed);
            self.marks.mark();
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    struct Pieces(tokio::sync::mpsc::UnboundedReceiver<Bytes>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_that_arrives_and_is_not_taken_is_what_zoho_is_waited_for() {
        let (clock, second) = (Clock::system(), Duration::from_secs(1));
        let (sender, pieces) = unbounded_channel();
        let (mut body, start) = (Body::stream(Pieces(pieces)), clock.now());
        let progress = Progress::of(&mut body, start, &clock);
        assert_eq!(progress.stage(), Stage::Begin(start));

        tokio::time::sleep(second).await;
        let mut asking = Box::pin(body.frame());
        assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(progress.stage(), Stage::Caller);

        tokio::time::sleep(second).await;
        sender.send(Bytes::from_static(b"made up")).unwrap();
        assert_eq!(progress.stage(), Stage::Upload(start + second * 2));

        tokio::time::sleep(second).await;
        asking.await.unwrap().unwrap();
        assert_eq!(progress.stage(), Stage::Upload(start + second * 3));
        tokio::time::sleep(second).await;
        drop(sender);
        assert!(body.frame().await.is_none());
        assert_eq!(progress.stage(), Stage::Answer(start + second * 4));
    }
}
