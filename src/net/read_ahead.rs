//! Reading a body ahead of whoever it is for, so that its sender is done with it soon.
//!
//! What is there when the head is there is taken at once; a body that has then ended needs nothing more. Any other is
//! read by a task of its own: up to 256 KiB ahead while the process has memory for it, 16 KiB when it has
//! not. The body itself, with whatever guards it holds, is dropped as soon as its last byte is in memory.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::body::{Body, BoxError};
use super::buffers::{Buffers, OWN, Purpose, Reservation};
use crate::supervisor::Supervisor;

/// How often a body that waits for memory looks whether others have left some.
const NEXT_LOOK: Duration = Duration::from_millis(500);

/// Takes what is there of a body, and has the rest read by a task. It hands out pieces of at most `piece` bytes.
pub async fn read_ahead(mut body: Body, piece: usize, buffers: &Buffers, supervisor: &Supervisor) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    if matches!(body, Body::Full(_)) {
        return body;
    }
    let left = body.size_hint();
    let mut there = There::default();
    let mut may_wait = true;
    let state = std::future::poll_fn(|cx| there.poll_take(&mut body, &mut may_wait, buffers, cx)).await;
    let end = match state {
        Found::Whole if there.pieces.len() <= 1 || there.bytes <= OWN => {
            let whole = Body::full(buffers.hold(there.join()));
            // A response that came in chunks leaves in chunks: hyper would announce a length that it knows.
            return if left.exact().is_some() { whole } else { Body::stream(OfUnknownLength(whole)) };
        }
        Found::Whole => Some(End::Complete),
        Found::Broken(error) => Some(End::Broken(error)),
        Found::More => None,
    };
    let goes_on = end.is_none();
    let ahead = Ahead::new(there, end, buffers);
    let reading = goes_on.then(|| supervisor.once("read-ahead", read(Reading(ahead.clone()), body)));
    Body::stream(ReadAhead { ahead, left, piece, has_paused: false, reading })
}

/// What has come of a body so far.
#[derive(Default)]
struct There {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

enum Found {
    Whole,
    More,
    Broken(BoxError),
}

impl There {
    /// Takes what needs no waiting. After a first piece whoever brings the body gets one turn (`may_wait`) to say that
    /// it was the last: that costs far less than a task.
    fn poll_take(
        &mut self,
        body: &mut Body,
        may_wait: &mut bool,
        buffers: &Buffers,
        cx: &mut Context<'_>,
    ) -> Poll<Found> {
        loop {
            if !buffers.have_room_for_more(self.bytes) {
                return Poll::Ready(Found::More);
            }
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.push(data);
                    }
                    if body.is_end_stream() {
                        return Poll::Ready(Found::Whole);
                    }
                }
                Poll::Ready(None) => return Poll::Ready(Found::Whole),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Found::Broken(error)),
                Poll::Pending if self.pieces.is_empty() || !*may_wait => return Poll::Ready(Found::More),
                Poll::Pending => {
                    *may_wait = false;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.bytes += data.len();
            self.pieces.push_back(data);
        }
    }

    fn join(mut self) -> Bytes {
        if self.pieces.len() <= 1 {
            return self.pieces.pop_front().unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity(self.bytes);
        self.pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
        joined.freeze()
    }
}

/// How a body ended.
enum End {
    Complete,
    Broken(BoxError),
}

/// What was read ahead, and is not written yet.
struct Ahead {
    state: Mutex<State>,
    /// Some of it was taken or written.
    progress: Notify,
    buffers: Buffers,
}

struct State {
    /// What waits to be taken.
    pieces: VecDeque<Bytes>,
    /// How many bytes that are, with those that were taken and are not written yet.
    held: usize,
    reservation: Reservation,
    end: Option<End>,
    reader: Option<Waker>,
}

impl Ahead {
    fn new(there: There, end: Option<End>, buffers: &Buffers) -> Arc<Self> {
        let reservation = buffers.reservation(Purpose::Stream);
        let mut state = State { pieces: there.pieces, held: 0, reservation, end, reader: None };
        state.set_held(there.bytes);
        Arc::new(Self { state: Mutex::new(state), progress: Notify::new(), buffers: buffers.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, bytes: Bytes) {
        let mut state = self.lock();
        let held = state.held + bytes.len();
        state.set_held(held);
        state.pieces.push_back(bytes);
        state.wake();
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        state.end = Some(end);
        state.wake();
    }

    /// Whether the next piece may be read.
    fn has_room(&self) -> bool {
        let held = self.lock().held;
        self.buffers.have_room_for_more(held)
    }

    async fn room(&self) {
        while !self.has_room() {
            // Whether it is time or progress that ends the wait, there is something to look at.
            let _ = timeout(NEXT_LOOK, self.progress.notified()).await;
        }
    }
}

impl State {
    fn set_held(&mut self, held: usize) {
        self.held = held;
        self.reservation.set(held);
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The task stopped before the end of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reading the body failed")]
struct Stopped;

/// What the task fills. Dropped before the end, it breaks the body off, so that its reader does not wait for ever.
struct Reading(Arc<Ahead>);

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if state.end.is_none() {
            state.end = Some(End::Broken(Stopped.into()));
            state.wake();
        }
    }
}

/// Reads a body to its end, as far ahead as may be.
async fn read(reading: Reading, mut body: Body) {
    let ahead = &reading.0;
    loop {
        ahead.room().await;
        match body.frame().await {
            Some(Ok(frame)) => {
                let is_last = body.is_end_stream();
                if let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) {
                    ahead.push(data);
                }
                if !is_last {
                    continue;
                }
                ahead.end(End::Complete);
            }
            Some(Err(error)) => ahead.end(End::Broken(error)),
            None => ahead.end(End::Complete),
        }
        return;
    }
}

/// A piece that counts as held until its last byte is written.
struct Taken {
    bytes: Bytes,
    ahead: Arc<Ahead>,
}

impl AsRef<[u8]> for Taken {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.ahead.lock();
        let held = state.held - self.bytes.len();
        state.set_held(held);
        if held == 0 {
            state.wake();
        }
        drop(state);
        self.ahead.progress.notify_one();
    }
}

/// The body as its reader sees it.
struct ReadAhead {
    ahead: Arc<Ahead>,
    /// The bytes that are still to be handed out, as far as they are known.
    left: SizeHint,
    piece: usize,
    /// Whether what goes before an error had a turn to be written.
    has_paused: bool,
    reading: Option<AbortHandle>,
}

impl HttpBody for ReadAhead {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut state = this.ahead.lock();
        let Some(mut bytes) = state.pieces.pop_front() else {
            return match state.end.take() {
                None => {
                    state.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
                Some(End::Complete) => {
                    state.end = Some(End::Complete);
                    Poll::Ready(None)
                }
                Some(broken) if state.held > 0 || !this.has_paused => {
                    // hyper drops what it has not written when a body breaks, the head too.
                    this.has_paused = true;
                    state.end = Some(broken);
                    if state.held > 0 {
                        state.reader = Some(cx.waker().clone());
                    } else {
                        cx.waker().wake_by_ref();
                    }
                    Poll::Pending
                }
                Some(End::Broken(error)) => Poll::Ready(Some(Err(error))),
            };
        };
        if bytes.len() > this.piece {
            let rest = bytes.split_off(this.piece);
            state.pieces.push_front(rest);
        }
        drop(state);
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
        if let Some(reading) = &self.reading {
            reading.abort();
        }
    }
}

/// A body whose length is not announced, and whose end neither.
struct OfUnknownLength(Body);

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
