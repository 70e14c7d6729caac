//! The body of an answer on its way, and the one place where a request's story ends: its log line.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};

use super::account::Account;
use crate::admission::Permit;
use crate::clock::{Clock, Instant};
use crate::net::body::{Body, BoxError};

/// Why a body was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BrokenOff {
    /// Nothing came for too long.
    #[error("the answer stopped coming for {0:?}")]
    Idle(Duration),
    /// The call as a whole took too long.
    #[error("the call took longer than {0:?}")]
    Total(Duration),
}

/// The limits of a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) idle: Duration,
    pub(super) total: Duration,
    pub(super) deadline: Instant,
}

/// A body held to its limits. A body that breaks one ends in an error, so that the caller's connection is
/// broken off too, and never looks complete.
pub(super) struct Paced {
    body: Body,
    pace: Pace,
    clock: Clock,
    timer: Option<Pin<Box<Sleep>>>,
    _permit: Permit,
}

impl Paced {
    /// Holds `body` to `pace`; `permit` is given back at its end.
    pub(super) fn new(body: Body, pace: Pace, clock: Clock, permit: Permit) -> Self {
        Self { body, pace, clock, timer: None, _permit: permit }
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

impl HttpBody for Paced {
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

/// A body whose end closes the request's account, however it ends.
pub(super) struct Delivery {
    body: Body,
    account: Account,
    bytes: u64,
    complete: bool,
}

impl Delivery {
    pub(super) fn new(body: Body, account: Account) -> Self {
        let complete = body.is_end_stream();
        Self { body, account, bytes: 0, complete }
    }
}

impl HttpBody for Delivery {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                this.complete = this.body.is_end_stream();
            }
            Poll::Ready(None) => this.complete = true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
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

impl Drop for Delivery {
    fn drop(&mut self) {
        self.account.close(self.bytes, !self.complete);
    }
}
