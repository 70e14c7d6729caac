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
    let (limit, most_pieces) = (4 * LEAST_PIECE, 2 * 4 + 16);
    let replay = in_pieces(body, limit);
    let mut first = replay.attempt().unwrap();
    for n in 0..=most_pieces {
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
