use super::*;
use crate::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const GET: &[u8] = b"GET /crm HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

fn strict() -> (DuplexStream, Strict<DuplexStream>) {
    let (theirs, ours) = duplex(64 * 1024);
    (theirs, Strict::new(ours, Limits { bytes: 1024, headers: 10 }, Arc::default()))
}

/// What can be read before nothing more comes.
async fn read(strict: &mut Strict<DuplexStream>) -> Vec<u8> {
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

    let closing = tokio::spawn(async move { ours.shutdown().await });
    theirs.write_all(&vec![0; 200 * 1024]).await.unwrap();
    drop(theirs);
    closing.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_on_and_on_is_not_listened_to_for_ever() {
    let (mut theirs, mut ours) = strict();
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
