//! Bodies of requests that can be sent again, as long as all that was sent of them is still held.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::net::body::{Beginning, Body, BoxError, after};
use crate::net::buffers::Reservation;

/// How long a piece may be while it is held: a frame of HTTP/2 (RFC 9113 section 4.2). hyper takes one piece more than
/// it can send, so that there is room for one beyond the limit.
const PIECE: usize = 16 * 1024;

/// How long pieces are at least, on average, while they are held: a body that comes in many tiny ones would take many times
/// its bytes.
const LEAST_PIECE: usize = 256;

/// The body of a request that may have to be sent more than once.
pub enum Replay {
    /// All of it is in memory.
    Whole(Bytes),
    /// It streams past, and what was sent of it is held up to a limit.
    Streamed(Arc<Source>),
}

/// The body was sent again, so that this attempt gets no more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request is sent again elsewhere")]
struct TakenBack;

impl Replay {
    /// A body that streams past, of which up to `limit` bytes are held once they were sent, and one piece more: fewer
    /// where memory is short.
    pub fn streamed(beginning: Beginning, limit: usize) -> Self {
        Self::in_pieces(beginning, limit, PIECE.min(limit))
    }

    fn in_pieces(beginning: Beginning, limit: usize, piece: usize) -> Self {
        let Beginning { mut read, mut reservation, rest } = beginning;
        let room = limit.saturating_add(piece);
        let beyond = read.split_off(read.len().min(room));
        // A copy, since what arrives is a slice of the connection's buffer, all of which it would keep.
        let held = Bytes::copy_from_slice(&read);
        reservation.set(held.len());
        let next = (!beyond.is_empty()).then(|| reservation.buffers().hold(beyond));
        let state = State {
            body: rest.unwrap_or_default(),
            next,
            pieces: held.chunks(piece.max(1)).map(|piece| held.slice_ref(piece)).collect(),
            at: 0,
            room: room - held.len(),
            most_pieces: room / LEAST_PIECE + 16,
            piece,
            is_held: true,
            held: held.len(),
            reservation,
            attempts: 0,
            waits: None,
        };
        Self::Streamed(Arc::new(Source(Mutex::new(state))))
    }

    /// Whether [`Self::attempt`] gives the body from its first byte.
    pub fn can_be_sent(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Streamed(source) => source.lock().is_held,
        }
    }

    /// The body for an attempt, from its first byte; `None` if a part of it is not held any more. An earlier attempt
    /// gets nothing more.
    pub fn attempt(&self) -> Option<Body> {
        match self {
            Self::Whole(bytes) => Some(Body::full(bytes.clone())),
            Self::Streamed(source) => {
                let mut state = source.lock();
                if !state.is_held {
                    return None;
                }
                state.attempts += 1;
                state.at = 0;
                if let Some(waker) = state.waits.take() {
                    waker.wake();
                }
                Some(Body::stream(Attempt { source: source.clone(), number: state.attempts }))
            }
        }
    }
}

impl Drop for Replay {
    /// Nobody will send it again, so that nothing need be held.
    fn drop(&mut self) {
        if let Self::Streamed(source) = self {
            source.lock().let_go();
        }
    }
}

/// What all attempts at sending a body draw from.
pub struct Source(Mutex<State>);

struct State {
    body: Body,
    /// What has come of the body and was not sent yet.
    next: Option<Bytes>,
    /// The body from its first byte while it is held; then what of it the last attempt has not sent yet.
    pieces: VecDeque<Bytes>,
    /// How many of these the last attempt has sent.
    at: usize,
    /// How many more bytes can be held.
    room: usize,
    /// How long a piece may be while it is held, and how many there may be.
    piece: usize,
    most_pieces: usize,
    is_held: bool,
    /// How many bytes are held.
    held: usize,
    reservation: Reservation,
    attempts: u32,
    /// The attempt that waits for more of the body.
    waits: Option<Waker>,
}

impl Source {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn let_go(&mut self) {
        self.is_held = false;
        self.pieces.drain(..self.at);
        self.at = 0;
        self.held = self.pieces.iter().map(Bytes::len).sum();
        self.reservation.set(self.held);
    }

    /// The next of the pieces that are held.
    fn held_piece(&mut self) -> Option<Bytes> {
        if !self.is_held {
            let piece = self.pieces.pop_front()?;
            self.held -= piece.len();
            self.reservation.set(self.held);
            return Some(piece);
        }
        let piece = self.pieces.get(self.at)?.clone();
        self.at += 1;
        Some(piece)
    }

    /// The next piece, which is held if it can be. Pieces are short as long as they are held: a server that
    /// refuses the request at once has then not been sent more than is held.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        let mut piece = match self.next.take() {
            Some(piece) => piece,
            None => match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => data,
                    // Trailers are not passed on.
                    Err(_) => return Poll::Ready(None),
                },
                Poll::Ready(Some(Err(error))) => {
                    self.let_go();
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    self.waits = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            },
        };
        if self.is_held && !piece.is_empty() {
            let most = self.piece.min(self.room);
            let next = self.held + piece.len().min(most);
            if most == 0 || self.pieces.len() >= self.most_pieces || !self.reservation.try_set(next) {
                self.let_go();
            } else {
                if piece.len() > most {
                    self.next = Some(piece.split_off(most));
                }
                self.room -= piece.len();
                self.held = next;
                // A copy, as of the beginning.
                self.pieces.push_back(Bytes::copy_from_slice(&piece));
                self.at += 1;
            }
        }
        Poll::Ready(Some(Ok(piece)))
    }
}

/// An attempt at sending a body.
struct Attempt {
    source: Arc<Source>,
    number: u32,
}

impl HttpBody for Attempt {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.source.lock();
        if state.attempts != self.number {
            return Poll::Ready(Some(Err(TakenBack.into())));
        }
        match state.held_piece() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => state.poll_next(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.source.lock();
        state.at >= state.pieces.len() && state.next.is_none() && state.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.source.lock();
        let unsent = state.pieces.iter().skip(state.at);
        let ready: usize = unsent.chain(&state.next).map(Bytes::len).sum();
        after(ready, &state.body.size_hint())
    }
}

#[cfg(test)]
mod tests;
