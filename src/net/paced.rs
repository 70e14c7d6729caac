//! Bodies held to time limits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};

use super::body::{Body, BoxError};
use crate::clock::{Clock, Instant};

/// Why a body was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenOff {
    /// Nothing came for too long.
    #[error("the body stopped coming for {0:?}")]
    Idle(Duration),
    /// It came, but with so few bytes a second that it might never have ended.
    #[error("the body came more slowly than {0} bytes a second")]
    Slow(u64),
    /// The call as a whole took too long.
    #[error("the call took longer than {0:?}")]
    Total(Duration),
}

/// The limits of a body.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long nothing may come.
    pub idle: Duration,
    /// How many bytes a second must come, beyond the first `idle` of waiting; 0 for any. Only time in which the
    /// body was waited for counts, so that it is not blamed for a slow reader.
    pub least_rate: u64,
    /// How long the whole may take, for messages.
    pub total: Duration,
    /// When that time is up.
    pub deadline: Instant,
}

/// A body held to its limits. A body that breaks one ends in an error, so that the caller's connection is
/// broken off too, and never looks complete.
pub struct Paced<G> {
    body: Body,
    pace: Pace,
    clock: Clock,
    /// The wait for the next piece; `None` while the body flows, which needs no timer at all.
    wait: Option<Wait>,
    /// How many bytes have come, and how long they were waited for.
    came: u64,
    waited: Duration,
    /// How the body ended, until the task that sends it has had a chance to write what came before.
    ends_with: Option<BoxError>,
    _guard: G,
}

struct Wait {
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl<G> Paced<G> {
    /// Holds `body` to `pace`; `guard` is dropped with it.
    pub fn new(body: Body, pace: Pace, clock: Clock, guard: G) -> Self {
        Self {
            body,
            pace,
            clock,
            wait: None,
            came: 0,
            waited: Duration::ZERO,
            ends_with: None,
            _guard: guard,
        }
    }

    /// How long may be waited for the next piece.
    fn patience(&self) -> Duration {
        let Pace { idle, least_rate, .. } = self.pace;
        match self.came.checked_div(least_rate) {
            Some(worth) => (idle + Duration::from_secs(worth)).saturating_sub(self.waited).min(idle),
            None => idle,
        }
    }

    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<BrokenOff> {
        let (now, patience, deadline) = (self.clock.now(), self.patience(), self.pace.deadline);
        let wait = self.wait.get_or_insert_with(|| Wait {
            since: now,
            timer: Box::pin(sleep_until((now + patience).min(deadline))),
        });
        if wait.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(if now >= deadline {
            BrokenOff::Total(self.pace.total)
        } else if now >= wait.since + self.pace.idle {
            BrokenOff::Idle(self.pace.idle)
        } else {
            BrokenOff::Slow(self.pace.least_rate)
        })
    }

    /// Lets the task that sends the body write what it has before it hears of the error: hyper throws away what is not
    /// written by then, the head of an answer too.
    fn break_off_next(
        &mut self,
        error: BoxError,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.ends_with = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Notes a piece that came. One that comes after its time, with more to follow, is one too many: a body that
    /// flows and never ends is bounded too.
    fn note(&mut self, data: &Bytes) -> Result<(), BrokenOff> {
        self.came += data.len() as u64;
        let (wait, is_last) = (self.wait.take(), self.body.is_end_stream());
        if wait.is_none() && is_last {
            return Ok(()); // the time would change nothing
        }
        let now = self.clock.now();
        if let Some(wait) = wait {
            self.waited += now.saturating_duration_since(wait.since);
        }
        if now >= self.pace.deadline && !is_last {
            return Err(BrokenOff::Total(self.pace.total));
        }
        Ok(())
    }
}

impl<G: Unpin> HttpBody for Paced<G> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(error) = self.ends_with.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => self.break_off_next(error, cx),
            Poll::Ready(frame) => {
                if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
                    self.note(data)?;
                }
                Poll::Ready(frame)
            }
            Poll::Pending => self.poll_limits(cx).map(|broken| Some(Err(broken.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
