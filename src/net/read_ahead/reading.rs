//! The body as its reader sees it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep};

use super::Reader;
use super::ahead::{Ahead, End, Taken};
use crate::net::body::{Body, BoxError};
use crate::net::unread::LeftUnread;

/// The body as its reader sees it.
pub(super) struct ReadAhead {
    pub(super) ahead: Arc<Ahead>,
    /// The bytes that are still to be handed out, as far as they are known.
    pub(super) left: SizeHint,
    pub(super) reader: Reader,
    /// The turn after which the reader has taken nothing, and when that is too long ago.
    pub(super) unread: Option<(u64, Pin<Box<Sleep>>)>,
    /// Whether what goes before an error had a turn to be written.
    pub(super) has_paused: bool,
    pub(super) reading: Option<AbortHandle>,
}

impl ReadAhead {
    /// Ready when for too long nothing of what was handed out has been written.
    fn poll_unread(&mut self, turn: u64, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.reader.limit;
        let timer = match &mut self.unread {
            Some((since, timer)) if *since == turn => timer,
            other => &mut other.insert((turn, Box::pin(sleep(limit)))).1,
        };
        timer.as_mut().poll(cx)
    }

    /// Stops reading, and keeps nothing that was not handed out.
    fn give_up(&mut self) {
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
        let mut state = self.ahead.lock();
        let pieces = std::mem::take(&mut state.pieces);
        state.count();
        drop(state);
        drop(pieces);
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        let mut state = self.ahead.lock();
        let bytes = state.pieces.pop(self.reader.piece)?;
        state.unwritten += bytes.len();
        state.turns += 1;
        state.count();
        Some(bytes)
    }

    /// How the body goes on where there is no piece of it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.ahead.lock();
        let (turn, is_unwritten) = (state.turns, state.unwritten > 0);
        if matches!(state.end, Some(End::Complete)) {
            return Poll::Ready(None);
        }
        if matches!(state.end, Some(End::Broken(_))) {
            // hyper drops what it has not written when a body breaks, the head too.
            let had_its_turn = std::mem::replace(&mut self.has_paused, true);
            if !is_unwritten && had_its_turn {
                return Poll::Ready(state.take_error().map(Err));
            }
            if !is_unwritten {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        state.reader = Some(cx.waker().clone());
        drop(state);
        if !is_unwritten {
            self.unread = None;
            return Poll::Pending;
        }
        ready!(self.poll_unread(turn, cx));
        self.give_up();
        let error = self.ahead.lock().take_error();
        Poll::Ready(Some(Err(error.unwrap_or_else(|| LeftUnread(self.reader.limit).into()))))
    }
}

impl HttpBody for ReadAhead {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(bytes) = this.next_piece() else { return this.poll_end(cx) };
        this.left = less(&this.left, bytes.len() as u64);
        let taken = Taken { bytes, ahead: this.ahead.clone() };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(taken)))))
    }

    fn is_end_stream(&self) -> bool {
        let state = self.ahead.lock();
        state.pieces.is_empty() && matches!(state.end, Some(End::Complete))
    }

    fn size_hint(&self) -> SizeHint {
        self.left
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// A body whose length is not announced, and whose end neither.
pub(super) struct OfUnknownLength(pub(super) Body);

impl HttpBody for OfUnknownLength {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// The hint without bytes that were handed out.
fn less(hint: &SizeHint, bytes: u64) -> SizeHint {
    let mut left = SizeHint::new();
    left.set_lower(hint.lower().saturating_sub(bytes));
    if let Some(upper) = hint.upper() {
        left.set_upper(upper.saturating_sub(bytes).max(left.lower()));
    }
    left
}
