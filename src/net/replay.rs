//! Bodies of requests that can be sent again, as long as all that was sent of them is still held.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::body::{Beginning, Body, BoxError};
use super::buffers::Reservation;

/// How long a piece may be while it is held: a frame of HTTP/2 (RFC 9113 section 4.2). hyper takes one piece more than
/// it can send, so that there is room for one beyond the limit.
const PIECE: usize = 16 * 1024;

/// How many pieces are held. A body that comes in many tiny ones would take many times its bytes.
const MOST_PIECES: usize = 256;

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
        let next = (!beyond.is_empty()).then(|| {
            let mut of_its_own = reservation.another();
            of_its_own.set(beyond.len());
            of_its_own.hold(beyond)
        });
        let state = State {
            body: rest.unwrap_or_default(),
            next,
            pieces: held.chunks(piece.max(1)).map(|piece| held.slice_ref(piece)).collect(),
            at: 0,
            room: room - held.len(),
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
    /// How long a piece may be while it is held.
    piece: usize,
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
        self.reservation.set(0);
        self.pieces.drain(..self.at);
        self.at = 0;
    }

    /// The next of the pieces that are held.
    fn held_piece(&mut self) -> Option<Bytes> {
        if !self.is_held {
            return self.pieces.pop_front();
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
            if most == 0 || self.pieces.len() >= MOST_PIECES || !self.reservation.try_set(next) {
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
        let (ready, rest) = (ready as u64, state.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ready));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(ready)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;
    use crate::net::buffers::{Buffers, OWN, Purpose};

    type Piece = Result<&'static str, BoxError>;

    /// A body that a test sends piece by piece.
    struct Pieces(UnboundedReceiver<Piece>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0.poll_recv(cx).map(|piece| piece.map(|piece| piece.map(|piece| Frame::data(piece.into()))))
        }
    }

    /// What was read of a body when it begins to be sent.
    fn beginning(read: impl Into<Bytes>, rest: Body, buffers: &Buffers) -> Beginning {
        let (read, mut reservation) = (read.into(), buffers.reservation(Purpose::Stream));
        reservation.set(read.len());
        Beginning { read, reservation, rest: Some(rest) }
    }

    fn in_pieces(body: Body, limit: usize) -> Replay {
        Replay::in_pieces(beginning("", body, &Buffers::new(0)), limit, limit)
    }

    fn channel() -> (UnboundedSender<Piece>, Body) {
        let (sender, pieces) = unbounded_channel();
        (sender, Body::stream(Pieces(pieces)))
    }

    async fn piece(body: &mut Body) -> Bytes {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    async fn rest(body: Body) -> Bytes {
        body.collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_body_is_sent_again_from_its_first_byte_while_all_that_was_sent_is_held() {
        let (sender, body) = channel();
        let replay = in_pieces(body, 4);
        sender.send(Ok("abcd")).unwrap();
        let mut first = replay.attempt().unwrap();
        assert_eq!(piece(&mut first).await, "abcd");

        let second = replay.attempt().unwrap();
        sender.send(Ok("ef")).unwrap();
        sender.send(Ok("ghijk")).unwrap();
        drop(sender);

        assert!(first.frame().await.unwrap().is_err(), "the first attempt gets nothing more");
        assert_eq!(rest(second).await, "abcdefghijk");
        assert!(!replay.can_be_sent() && replay.attempt().is_none());
    }

    #[tokio::test]
    async fn a_body_is_held_up_to_the_limit_and_one_piece_beyond() {
        let replay = in_pieces(Body::full("0123456789"), 2);
        let mut first = replay.attempt().unwrap();
        assert_eq!((piece(&mut first).await, piece(&mut first).await), ("01".into(), "23".into()));
        assert!(replay.can_be_sent());
        assert_eq!(rest(replay.attempt().unwrap()).await, "0123456789");
        assert!(!replay.can_be_sent());
    }

    #[tokio::test]
    async fn an_attempt_that_waits_for_the_body_is_woken_when_another_takes_over() {
        let (_sender, body) = channel();
        let replay = in_pieces(body, 4);
        let mut first = replay.attempt().unwrap();
        let waiting = tokio::spawn(async move { first.frame().await.unwrap().is_err() });
        tokio::task::yield_now().await;
        let _second = replay.attempt().unwrap();
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn the_length_of_a_body_is_known_in_every_attempt() {
        let replay = in_pieces(Body::full("0123456789"), 4);
        let mut first = replay.attempt().unwrap();
        assert_eq!(first.size_hint().exact(), Some(10));
        piece(&mut first).await;
        assert_eq!(first.size_hint().exact(), Some(6));
        let second = replay.attempt().unwrap();
        assert_eq!(second.size_hint().exact(), Some(10));
        assert!(!second.is_end_stream());
    }

    #[tokio::test]
    async fn nothing_is_held_of_a_body_that_nobody_will_send_again() {
        let replay = in_pieces(Body::full("0123456789"), 4);
        let Replay::Streamed(source) = &replay else { panic!("it streams") };
        let source = source.clone();
        let mut first = replay.attempt().unwrap();
        piece(&mut first).await;
        drop(replay);
        assert!(source.lock().pieces.is_empty());
        assert_eq!(rest(first).await, "456789");
    }

    #[tokio::test]
    async fn what_an_attempt_has_yet_to_send_again_stays_when_the_rest_is_let_go() {
        let (sender, body) = channel();
        let replay = in_pieces(body, 4);
        sender.send(Ok("ab")).unwrap();
        sender.send(Ok("cd")).unwrap();
        let mut first = replay.attempt().unwrap();
        piece(&mut first).await;
        piece(&mut first).await;
        let mut second = replay.attempt().unwrap();
        assert_eq!(piece(&mut second).await, "ab");
        drop(replay);
        sender.send(Ok("ef")).unwrap();
        drop(sender);
        assert_eq!(second.size_hint().lower(), 2);
        assert_eq!(rest(second).await, "cdef");
    }

    #[tokio::test]
    async fn a_body_that_broke_is_not_sent_again() {
        let (sender, body) = channel();
        sender.send(Ok("a")).unwrap();
        sender.send(Err("made up".into())).unwrap();
        let replay = in_pieces(body, 4);
        assert!(replay.attempt().unwrap().collect().await.is_err());
        assert!(!replay.can_be_sent());
    }

    #[tokio::test]
    async fn what_was_read_before_the_first_attempt_is_held_like_what_follows() {
        let buffers = Buffers::new(0);
        let replay = Replay::in_pieces(beginning("01234", Body::full("56789"), &buffers), 4, 2);
        let mut first = replay.attempt().unwrap();
        assert_eq!(first.size_hint().exact(), Some(10));
        for sent in ["01", "23", "4", "5"] {
            assert_eq!(piece(&mut first).await, sent);
        }
        assert!(replay.can_be_sent(), "as many as the limit and one piece");
        assert_eq!(rest(replay.attempt().unwrap()).await, "0123456789");
        assert!(!replay.can_be_sent());
        drop(replay);
        assert_eq!(buffers.used(), 0);
    }

    #[tokio::test]
    async fn a_longer_beginning_than_is_held_is_sent_whole() {
        for (limit, first_piece, is_held) in [(0, "0123456789", false), (2, "01", true)] {
            let replay =
                Replay::in_pieces(beginning("0123456789", Body::empty(), &Buffers::new(0)), limit, limit);
            let mut first = replay.attempt().unwrap();
            assert_eq!(piece(&mut first).await, first_piece);
            assert_eq!(replay.can_be_sent(), is_held, "{limit}");
            assert_eq!(first_piece.len() + rest(first).await.len(), 10);
        }
    }

    #[tokio::test]
    async fn a_beginning_keeps_nothing_alive_but_a_copy_of_itself() {
        let (buffer, buffers) = (Bytes::from(vec![7; 4 * OWN]), Buffers::new(0));
        let _replay = Replay::streamed(beginning(buffer.slice(..OWN), Body::empty(), &buffers), OWN);
        assert!(buffer.is_unique());
        assert_eq!(buffers.used(), OWN);
    }

    #[tokio::test]
    async fn a_body_in_tiny_pieces_is_held_as_far_as_their_number_goes() {
        let (sender, body) = channel();
        let replay = in_pieces(body, 10 * MOST_PIECES);
        let mut first = replay.attempt().unwrap();
        for n in 0..=MOST_PIECES {
            assert!(replay.can_be_sent(), "{n}");
            sender.send(Ok("x")).unwrap();
            piece(&mut first).await;
        }
        assert!(!replay.can_be_sent());
    }

    #[tokio::test]
    async fn where_memory_is_short_no_more_is_held_than_a_body_has_for_itself() {
        for (memory, is_held) in [(0, false), (4 * OWN, true)] {
            let buffers = Buffers::new(memory);
            let beginning = beginning(vec![7; OWN], Body::full(vec![7; 2 * OWN]), &buffers);
            let replay = Replay::streamed(beginning, 4 * OWN);
            assert_eq!(rest(replay.attempt().unwrap()).await.len(), 3 * OWN);
            assert_eq!(replay.can_be_sent(), is_held, "{memory}");
            drop(replay);
            assert_eq!(buffers.used(), 0);
        }
    }
}
