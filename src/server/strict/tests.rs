use std::future::Ready;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::Repeat;
use super::super::shell::Shell;
use super::*;
use crate::clock::Clock;
use crate::net::body::Body;

const GET: &[u8] = b"GET /crm HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

/// Knows one head, and is never asked by hyper.
struct Parrot;

const KNOWN: &[u8] = b"GET /known HTTP/1.1\r\nhost: a\r\n\r\n";

impl Handler for Parrot {
    type Answering = Ready<Response<Body>>;

    fn handle(&self, _: Request<Incoming>) -> Self::Answering {
        unreachable!("there is no hyper")
    }

    fn repeat(&self, head: &[u8], answer: &mut Vec<u8>) -> Repeat {
        if head != KNOWN {
            return Repeat::Unknown;
        }
        answer.extend_from_slice(ANSWER);
        Repeat::Done
    }
}

const ANSWER: &[u8] = b"an answer that was given before, and is longer than the head";

fn strict() -> (DuplexStream, Strict<DuplexStream, Parrot>) {
    strict_over(64 * 1024)
}

fn strict_over(room: usize) -> (DuplexStream, Strict<DuplexStream, Parrot>) {
    let (theirs, ours) = duplex(room);
    let repeats = Repeats::by(Arc::new(Shell::around(Parrot)));
    (
        theirs,
        Strict::new(
            ours,
            repeats,
            Versions::Any,
            Standing::default(),
            Limits { bytes: 1024, headers: 10 },
            Arc::default(),
        ),
    )
}

/// What can be read before nothing more comes.
async fn read(strict: &mut Strict<DuplexStream, Parrot>) -> Vec<u8> {
    let mut read = Vec::new();
    while let Ok(Ok(1..)) = tokio::time::timeout(Duration::from_secs(1), strict.read_buf(&mut read)).await {}
    read
}

#[tokio::test(start_paused = true)]
async fn requests_pass_unchanged_however_they_come() {
    for size in [1, 7, 1000] {
        let (mut theirs, mut ours) = strict();
        let sent = [GET, POST, b"5\r\nhello\r\n0\r\n\r\n", GET].concat();
        for piece in sent.chunks(size) {
            theirs.write_all(piece).await.unwrap();
            // Each piece is a read of its own.
            tokio::task::yield_now().await;
        }
        assert_eq!(read(&mut ours).await, sent, "by {size}");
        assert_eq!(ours.course.fault_of(1), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_must_not_pass_is_replaced_in_its_turn() {
    for size in [1, 7, 1000] {
        let (mut theirs, mut ours) = strict();
        let sent = [GET, b"GET / HTTP/1.1\nhost: a\n\n", GET].concat();
        for piece in sent.chunks(size) {
            theirs.write_all(piece).await.unwrap();
        }
        assert_eq!(read(&mut ours).await, [GET, STAND_IN].concat(), "by {size}");
        let found: Vec<_> = (0..4).map(|number| ours.course.fault_of(number)).collect();
        assert_eq!(found, [None, None, Some(Fault::BareLineFeed), None]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_malformed_ends_in_an_error() {
    let (mut theirs, mut ours) = strict();
    theirs.write_all(&[POST, b"5\r\nhello\n0\r\n\r\n"].concat()).await.unwrap();
    let mut read = Vec::new();
    let error = ours.read_to_end(&mut read).await.unwrap_err();
    assert_eq!(error.to_string(), Fault::ChunkEnd.to_string());
    assert_eq!(read, [POST, b"5\r\nhello"].concat());
}

#[tokio::test(start_paused = true)]
async fn what_is_still_sent_after_the_end_is_taken_in_for_a_while() {
    let (mut theirs, mut ours) = strict();
    theirs.write_all(&[POST, b"5\r\nhel"].concat()).await.unwrap();
    let mut passed = [0; 8];
    ours.read_exact(&mut passed).await.unwrap();
    ours.course.begin(http::Version::HTTP_11);

    let closing = tokio::spawn(async move { ours.shutdown().await });
    theirs.write_all(&vec![0; 200 * 1024]).await.unwrap();
    drop(theirs);
    closing.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_on_and_on_is_not_listened_to_for_ever() {
    let (mut theirs, mut ours) = strict();
    ours.course.begin(http::Version::HTTP_11);
    theirs.write_all(&POST[..20]).await.unwrap();
    assert!(read(&mut ours).await.is_empty());
    let clock = Clock::system();
    let began = clock.now();
    ours.shutdown().await.unwrap();
    assert_eq!(clock.now() - began, LINGER);
    drop(theirs);
}

#[tokio::test(start_paused = true)]
async fn a_connection_between_requests_closes_at_once() {
    let (mut theirs, mut ours) = strict();
    theirs.write_all(GET).await.unwrap();
    assert_eq!(read(&mut ours).await, GET);
    let clock = Clock::system();
    let began = clock.now();
    ours.shutdown().await.unwrap();
    assert_eq!(clock.now() - began, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_known_is_answered_and_passes_nobody() {
    for size in [1, 7, 1000] {
        let (mut theirs, mut ours) = strict();
        for _ in 0..3 {
            for piece in KNOWN.chunks(size) {
                theirs.write_all(piece).await.unwrap();
                assert_eq!(read(&mut ours).await, b"", "by {size}");
            }
            let mut answer = [0; ANSWER.len()];
            theirs.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, *ANSWER);
        }
        assert_eq!(ours.course.begun(), 3);
        assert!(ours.course.is_at_rest());
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_known_waits_for_those_before_it() {
    let (mut theirs, mut ours) = strict();
    theirs.write_all(GET).await.unwrap();
    assert_eq!(read(&mut ours).await, GET);
    // hyper has begun with the first, and is not done when the second comes.
    theirs.write_all(KNOWN).await.unwrap();
    assert_eq!(read(&mut ours).await, KNOWN);
    for _ in 0..2 {
        ours.course.begin(http::Version::HTTP_11);
    }
    theirs.write_all(KNOWN).await.unwrap();
    assert_eq!(read(&mut ours).await, b"", "now it is free");
    ours.course.wind_down();
    theirs.write_all(KNOWN).await.unwrap();
    assert_eq!(read(&mut ours).await, KNOWN, "each answer is to say that it is the last");
}

#[tokio::test(start_paused = true)]
async fn of_heads_that_come_together_none_is_answered_out_of_turn() {
    let (mut theirs, mut ours) = strict();
    let together = [KNOWN, GET, KNOWN].concat();
    theirs.write_all(&together).await.unwrap();
    assert_eq!(read(&mut ours).await, together);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_before_the_caller_has_taken_what_was_answered() {
    let (mut theirs, mut ours) = strict_over(KNOWN.len());
    theirs.write_all(KNOWN).await.unwrap();
    assert_eq!(read(&mut ours).await, b"");
    theirs.write_all(GET).await.unwrap();
    assert_eq!(read(&mut ours).await, b"", "the answer is longer than what there is room for");
    assert!(ours.course.is_answering());
    // As hyper does, which knows nothing of the answer.
    let flush = std::future::poll_fn(|cx| std::task::Poll::Ready(Pin::new(&mut ours).poll_flush(cx))).await;
    assert!(flush.is_pending() && ours.course.is_answering());
    let mut answer = [0; ANSWER.len()];
    let (taken, passed) = tokio::join!(theirs.read_exact(&mut answer), read(&mut ours));
    taken.unwrap();
    assert_eq!(answer, *ANSWER);
    assert_eq!(passed, GET);
}
