use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::came::{EXPECTATIONS, HEADER_TABLE_SIZE, STATUS_100};
use super::frames::{END_STREAM, PADDED, PRIORITY};
use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const SERVERS_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const ACKNOWLEDGEMENT: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
const TOLD: &[u8] = &[0, 0, 5, 1, 4, 0, 0, 0, 1, 8, 3, b'1', b'0', b'0'];
const PREFACE_TEXT: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is sent when this comes, in pieces of so many bytes.
fn queued(came: &[u8], piece: usize) -> Vec<u8> {
    let (mut reading, mut queue) = (Came::default(), VecDeque::new());
    for piece in [PREFACE_TEXT, came].concat().chunks_mut(piece) {
        reading.read(piece, &mut queue).unwrap();
    }
    queue.into_iter().flat_map(|stream| came::frame(stream, reading.table)).collect()
}

#[test]
fn only_the_head_of_a_request_with_a_body_to_come_is_told_to_continue() {
    let expecting = EXPECTATIONS[0];
    for piece in [1, 7, 1000] {
        for expecting in EXPECTATIONS {
            assert_eq!(queued(&frame(HEADERS, END_HEADERS, 1, expecting), piece), TOLD);
        }
        let (head, rest) = expecting.split_at(5);
        let continued = [frame(HEADERS, 0, 1, head), frame(CONTINUATION, END_HEADERS, 1, rest)].concat();
        assert_eq!(queued(&continued, piece), TOLD);
        assert!(queued(&frame(HEADERS, END_HEADERS | END_STREAM, 1, expecting), piece).is_empty());
        assert!(queued(&frame(HEADERS, END_HEADERS, 1, b"made up"), piece).is_empty());
        assert!(queued(&frame(0, 0, 1, expecting), piece).is_empty(), "a body says nothing");
    }
}

#[test]
fn a_path_with_a_number_sign_is_mended_where_it_comes_at_once_and_an_error_where_not() {
    let head = |path: &[u8]| [&[0x82, 0x04, 4][..], path].concat();
    let whole = |path| frame(HEADERS, END_HEADERS | END_STREAM, 1, &head(path));
    let padded = |path| {
        let payload = [&[3][..], &[0; 5], &head(path), &[0; 3]].concat();
        frame(HEADERS, END_HEADERS | PADDED | PRIORITY, 1, &payload)
    };
    let read = |bytes: &[u8], piece: usize| {
        let (mut reading, mut all) = (Came::default(), [PREFACE_TEXT, bytes].concat());
        let mut pieces = all.chunks_mut(piece);
        pieces.try_for_each(|piece| reading.read(piece, &mut VecDeque::new()))?;
        Ok::<_, io::Error>(all.split_off(PREFACE_TEXT.len()))
    };
    for (bytes, mended) in [(whole(b"/a#b"), whole(b"/a|b")), (padded(b"/a#b"), padded(b"/a|b"))] {
        assert_eq!(read(&bytes, 1000).unwrap(), mended);
        assert!(read(&bytes, PREFACE_TEXT.len() + 12).is_err());
    }
    let whole_head = head(b"/a#b");
    let (first, rest) = whole_head.split_at(4);
    let continued = [frame(HEADERS, 0, 1, first), frame(CONTINUATION, END_HEADERS, 1, rest)].concat();
    assert!(read(&continued, 1000).is_err());
    for piece in [1, 12, 1000] {
        assert_eq!(read(&whole(b"/a?b"), piece).unwrap(), whole(b"/a?b"));
    }
}

#[test]
fn a_later_head_may_refer_to_the_first_and_trailers_are_none() {
    let first = frame(HEADERS, END_HEADERS, 1, EXPECTATIONS[0]);
    let [second, trailers] = [3, 1].map(|stream| frame(HEADERS, END_HEADERS, stream, &[0xbe]));
    assert_eq!(queued(&[first.clone(), second].concat(), 1000).len(), 2 * TOLD.len());
    assert_eq!(queued(&[first, trailers].concat(), 1000), TOLD);
}

#[test]
fn a_later_head_may_refer_to_one_without_a_body() {
    let first = frame(HEADERS, END_HEADERS | END_STREAM, 1, EXPECTATIONS[0]);
    let second = frame(HEADERS, END_HEADERS, 3, &[0xbe]);
    assert_eq!(queued(&[first, second].concat(), 1000).len(), TOLD.len());
}

/// Settings with this size of the table among others.
fn settings(table: u32) -> Vec<u8> {
    let table = [&HEADER_TABLE_SIZE.to_be_bytes()[..], &table.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &[&[0, 3, 0, 0, 0, 100], &table[..], &[0, 4, 0, 0, 255, 255]].concat())
}

#[test]
fn a_smaller_table_is_updated_by_the_head_that_tells() {
    let expecting = frame(HEADERS, END_HEADERS, 1, EXPECTATIONS[0]);
    // The examples of RFC 7541 appendix C.1, in an update, and both ends.
    for (size, update) in
        [(0, &[0x20][..]), (10, &[0x2a]), (31, &[0x3f, 0]), (1337, &[0x3f, 0x9a, 0x0a]), (4096, &[])]
    {
        for piece in [1, 7, 1000] {
            let told = queued(&[settings(size), expecting.clone()].concat(), piece);
            assert_eq!(told, frame(HEADERS, END_HEADERS, 1, &[update, &STATUS_100].concat()), "{size}");
        }
    }
    assert!(!queued(&[settings(10), settings(10), expecting].concat(), 1000).is_empty());
}

#[tokio::test]
async fn a_caller_with_a_smaller_table_is_told_after_its_settings_were_acknowledged() {
    let (near, mut far) = duplex(1024);
    let mut io = Continues::around(near, Standing::default());
    let expecting = frame(HEADERS, END_HEADERS, 1, EXPECTATIONS[0]);
    far.write_all(&[PREFACE_TEXT, &settings(0), &expecting].concat()).await.unwrap();
    assert_ne!(io.read(&mut [0; 1024]).await.unwrap(), 0);
    io.write_all(&SERVERS_SETTINGS).await.unwrap();
    io.write_all(&SERVERS_SETTINGS).await.unwrap();
    io.write_all(&ACKNOWLEDGEMENT).await.unwrap();
    io.flush().await.unwrap();
    drop(io);
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    let told = frame(HEADERS, END_HEADERS, 1, &[&[0x20], &STATUS_100[..]].concat());
    assert_eq!(heard, [&SERVERS_SETTINGS[..], &SERVERS_SETTINGS, &ACKNOWLEDGEMENT, &told].concat());
}

#[tokio::test]
async fn a_caller_is_told_between_frames_and_after_the_settings() {
    let (near, mut far) = duplex(1024);
    let mut io = Continues::around(near, Standing::default());
    far.write_all(&[PREFACE_TEXT, &frame(HEADERS, END_HEADERS, 1, EXPECTATIONS[0])].concat()).await.unwrap();
    assert_ne!(io.read(&mut [0; 1024]).await.unwrap(), 0);
    // The head of an answer in two frames, written byte by byte.
    let answer = [frame(HEADERS, 0, 5, b"one"), frame(CONTINUATION, END_HEADERS, 5, b"two")].concat();
    for byte in [&SERVERS_SETTINGS[..], &answer].concat() {
        io.write_all(&[byte]).await.unwrap();
    }
    let mut heard = vec![0; SERVERS_SETTINGS.len() + TOLD.len() + answer.len()];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, [&SERVERS_SETTINGS[..], TOLD, &answer].concat());

    far.write_all(&frame(HEADERS, END_HEADERS, 3, b"made up")).await.unwrap();
    io.write_all(&answer[..14]).await.unwrap();
    assert_ne!(io.read(&mut [0; 1024]).await.unwrap(), 0);
    io.write_all(&answer[14..]).await.unwrap();
    io.flush().await.unwrap();
    let mut heard = vec![0; answer.len() + TOLD.len()];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard[..answer.len()], answer);
    assert_eq!((heard[answer.len() + 3], heard[answer.len() + 8]), (HEADERS, 3));
}

/// What a caller that sends this hears after the settings, with as many bytes to be written at once.
async fn heard(came: &[u8], at_once: usize) -> Vec<u8> {
    let (near, mut far) = duplex(64 * 1024);
    let mut io = Continues::around(Narrow { io: near, at_once }, Standing::default());
    far.write_all(&[PREFACE_TEXT, came].concat()).await.unwrap();
    assert_ne!(io.read(&mut [0; 4096]).await.unwrap(), 0);
    io.write_all(&SERVERS_SETTINGS).await.unwrap();
    for _ in 0..2 {
        io.write_all(&ACKNOWLEDGEMENT).await.unwrap();
    }
    io.flush().await.unwrap();
    drop(io);
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    heard
}

/// Takes few bytes at once.
struct Narrow<T> {
    io: T,
    at_once: usize,
}

impl<T: AsyncRead + Unpin> AsyncRead for Narrow<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Narrow<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let most = bytes.len().min(self.at_once);
        Pin::new(&mut self.io).poll_write(cx, &bytes[..most])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn settings_that_come_with_a_head_count_for_what_tells_its_caller() {
    let expecting = frame(HEADERS, END_HEADERS, 1, EXPECTATIONS[0]);
    for at_once in [1, 3, 1000] {
        let told = frame(HEADERS, END_HEADERS, 1, &[&[0x20], &STATUS_100[..]].concat());
        let all = [&SERVERS_SETTINGS[..], &ACKNOWLEDGEMENT, &told, &ACKNOWLEDGEMENT].concat();
        assert_eq!(heard(&[expecting.clone(), settings(0)].concat(), at_once).await, all, "{at_once}");

        let changing = [expecting.clone(), settings(10), settings(4096)].concat();
        let all = [&SERVERS_SETTINGS[..], &ACKNOWLEDGEMENT, &ACKNOWLEDGEMENT].concat();
        assert_eq!(heard(&changing, at_once).await, all, "nobody is told");
    }
}
