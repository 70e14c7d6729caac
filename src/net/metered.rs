//! Bodies of which little waits to be written while memory is short.
//!
//! hyper asks a body for more until it has several hundred KiB of it, or a whole window of HTTP/2, whether or not the
//! peer takes any. A metered body is pending while too much of it is not written yet.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::body::{Body, BoxError};
use super::buffers::{Buffers, Purpose, Reservation};

/// A body whose unwritten bytes are counted and limited.
pub struct Metered {
    body: Body,
    unwritten: Arc<Unwritten>,
    buffers: Buffers,
}

struct Unwritten(Mutex<State>);

struct State {
    bytes: usize,
    reservation: Reservation,
    /// The task to wake when something was written.
    asker: Option<Waker>,
}

impl Metered {
    /// The same body, which comes out of this budget while it waits to be written.
    pub fn new(body: Body, buffers: &Buffers) -> Self {
        let state = State { bytes: 0, reservation: buffers.reservation(Purpose::Stream), asker: None };
        Self { body, unwritten: Arc::new(Unwritten(Mutex::new(state))), buffers: buffers.clone() }
    }
}

impl Unwritten {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether more may be handed out; if not, `cx` is woken when something was written.
    fn poll_room(&self, buffers: &Buffers, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        // One piece at a time always gets on.
        if state.bytes == 0 || buffers.have_room_for_long(state.bytes) {
            return Poll::Ready(());
        }
        state.asker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn hand_out(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let mut state = self.lock();
        let unwritten = state.bytes + bytes.len();
        state.set(unwritten);
        drop(state);
        Bytes::from_owner(Piece { bytes, unwritten: self.clone() })
    }
}

impl State {
    fn set(&mut self, bytes: usize) {
        self.bytes = bytes;
        self.reservation.set(bytes);
    }
}

/// A piece that counts until its last byte is written.
struct Piece {
    bytes: Bytes,
    unwritten: Arc<Unwritten>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut state = self.unwritten.lock();
        let left = state.bytes - self.bytes.len();
        state.set(left);
        let asker = state.asker.take();
        drop(state);
        if let Some(asker) = asker {
            asker.wake();
        }
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        std::task::ready!(this.unwritten.poll_room(&this.buffers, cx));
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        polled.map_ok(|frame| frame.map_data(|bytes| this.unwritten.hand_out(bytes)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
