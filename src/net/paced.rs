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
    /// The call as a whole took too long.
    #[error("the call took longer than {0:?}")]
    Total(Duration),
}

/// The limits of a body.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long nothing may come.
    pub idle: Duration,
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
    timer: Option<Pin<Box<Sleep>>>,
    _guard: G,
}

impl<G> Paced<G> {
    /// Holds `body` to `pace`; `guard` is dropped with it.
    pub fn new(body: Body, pace: Pace, clock: Clock, guard: G) -> Self {
        Self { body, pace, clock, timer: None, _guard: guard }
    }

    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<BrokenOff> {
        let now = self.clock.now();
        let until = (now + self.pace.idle).min(self.pace.deadline);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(if now >= self.pace.deadline {
            BrokenOff::Total(self.pace.total)
        } else {
            BrokenOff::Idle(self.pace.idle)
        })
    }
}

impl<G: Unpin> HttpBody for Paced<G> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                // The idle time starts anew with the next wait; a body that flows needs no timer at all.
                self.timer = None;
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
