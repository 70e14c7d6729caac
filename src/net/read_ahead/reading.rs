//! The body as its reader sees it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::ahead::{Ahead, End, Taken};
use crate::net::body::{Body, BoxError};

/// The body as its reader sees it.
pub(super) struct ReadAhead {
    pub(super) ahead: Arc<Ahead>,
    /// The bytes that are still to be handed out, as far as they are known.
    pub(super) left: SizeHint,
    /// The most bytes that are handed out at once.
    pub(super) piece: usize,
    /// Whether what goes before an error had a turn to be written.
    pub(super) has_paused: bool,
    pub(super) reading: Option<AbortHandle>,
}

impl ReadAhead {
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
        let bytes = state.pieces.pop(self.piece)?;
        state.unwritten += bytes.len();
        state.count();
        Some(bytes)
    }

    /// How the body goes on where there is no piece of it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.ahead.lock();
        let is_unwritten = state.unwritten > 0;
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
        Poll::Pending
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
