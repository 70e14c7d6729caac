use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::came::HEADER_TABLE_SIZE;
use super::expect::{EXPECTATIONS, STATUS_100};
use super::frames::{PADDED, PRIORITY, WINDOW_UPDATE};
use super::*;
use crate::clock::Instant;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const SERVERS_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const ACKNOWLEDGEMENT: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
const TOLD: &[u8] = &[0, 0, 5, 1, 4, 0, 0, 0, 1, 8, 3, b'1', b'0', b'0'];
const PREFACE_TEXT: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const BOUNDS: Bounds =
    Bounds { longest_head: 64 * 1024, most_streams: 1000, unread: Duration::from_secs(60) };

/// Reads this in pieces of so many bytes: what read it, who is to be told to continue, and what goes on.
fn read(came: &[u8], piece: usize) -> (Came, VecDeque<u32>, Vec<u8>) {
    let mut reading = Came::new(BOUNDS.longest_head, BOUNDS.most_streams);
    let (mut queue, mut out) = (VecDeque::new(), Vec::new());
    for piece in [PREFACE_TEXT, came].concat().chunks_mut(piece) {
        let passed = reading.read(piece, &mut queue);
        out.extend_from_slice(&piece[..passed]);
        take_ready(&mut reading, &mut out);
    }
    assert!(out.starts_with(PREFACE_TEXT));
    out.drain(..PREFACE_TEXT.len());
    (reading, queue, out)
}

fn take_ready(reading: &mut Came, out: &mut Vec<u8>) {
    let mut buffer = [0; 100];
    let mut buffer = ReadBuf::new(&mut buffer);
    while reading.hand_over(&mut buffer) {
        out.extend_from_slice(buffer.filled());
        buffer.clear();
    }
}

/// What is sent when this comes, in pieces of so many bytes.
fn queued(came: &[u8], piece: usize) -> Vec<u8> {
    let (reading, queue, _) = read(came, piece);
    queue.into_iter().flat_map(|stream| expect::frame(stream, reading.expecting.table)).collect()
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
fn a_path_with_a_number_sign_is_mended_in_whatever_pieces_it_comes() {
    let head = |path: &[u8]| [&[0x82, 0x04, 4][..], path].concat();
    let whole = |path| frame(HEADERS, END_HEADERS | END_STREAM, 1, &head(path));
    let padded = |path| {
        let payload = [&[3][..], &[0; 5], &head(path), &[0; 3]].concat();
        frame(HEADERS, END_HEADERS | PADDED | PRIORITY, 1, &payload)
    };
    let continued = |path| {
        let head = head(path);
        let (first, rest) = head.split_at(5);
        let (rest, last) = rest.split_at(1);
        [
            frame(HEADERS, 0, 1, first),
            frame(CONTINUATION, 0, 1, rest),
            frame(CONTINUATION, 0, 1, &[]),
            frame(CONTINUATION, END_HEADERS, 1, last),
        ]
        .concat()
    };
    let forms: [&dyn Fn(&'static [u8]) -> Vec<u8>; 3] = [&whole, &padded, &continued];
    for form in forms {
        for (path, mended) in [(b"/a#b", b"/a|b"), (b"/#ab", b"/|ab"), (b"/ab#", b"/ab|"), (b"/a?b", b"/a?b")]
        {
            for piece in [1, 7, PREFACE_TEXT.len() + 12, 1000] {
                assert_eq!(read(&form(path), piece).2, form(mended), "{piece}");
            }
        }
    }
    // Named by an entry that another head has added.
    let first = frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82\x44\x02/a");
    let second =
        |path: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, 3, &[b"\x82\x0f\x2f\x04", path].concat());
    assert_eq!(read(&[first.clone(), second(b"/a#b")].concat(), 1000).2, [first, second(b"/a|b")].concat());
}

#[test]
fn a_head_goes_on_when_it_is_whole_and_is_bounded() {
    let head = frame(HEADERS, 0, 1, b"made up");
    let (reading, _, out) = read(&head, 7);
    assert!(out.is_empty() && reading.held() >= head.len());
    // Another frame has no place in it, which the library says.
    let ping = frame(6, 0, 0, &[0; 8]);
    assert_eq!(read(&[head.clone(), ping.clone()].concat(), 7).2, [head.clone(), ping].concat());
    let of_another = frame(CONTINUATION, END_HEADERS, 3, b"made up");
    assert_eq!(read(&[head.clone(), of_another.clone()].concat(), 7).2, [head.clone(), of_another].concat());

    let long = frame(CONTINUATION, 0, 1, &[0; 16_000]);
    let (reading, ..) = read(&[head.clone(), long.repeat(4)].concat(), 4096);
    assert_eq!(reading.ended(), None);
    let (reading, _, out) = read(&[head, long.repeat(5)].concat(), 4096);
    assert_eq!((reading.ended(), out.len()), (Some(Ended::HeadTooLong), 0));
}

#[test]
fn small_data_goes_on_joined_and_before_what_follows_on_its_stream() {
    let open = [1, 3].map(|stream| frame(HEADERS, END_HEADERS, stream, b"made up")).concat();
    let data = |stream, data: &[u8]| frame(DATA, 0, stream, data);
    let long = [7; 300];
    for (came, goes_on) in [
        (
            [data(1, b"a"), data(3, b"x"), data(1, b"b"), frame(DATA, END_STREAM, 1, b"c")].concat(),
            frame(DATA, END_STREAM, 1, b"abc"),
        ),
        ([data(1, b"a"), data(1, &long)].concat(), [data(1, b"a"), data(1, &long)].concat()),
        ([data(1, b"a"), data(3, &long)].concat(), data(3, &long)),
        (
            [data(1, b"a"), frame(RST_STREAM, 0, 1, &[0; 4])].concat(),
            [data(1, b"a"), frame(RST_STREAM, 0, 1, &[0; 4])].concat(),
        ),
        (
            [data(1, b"a"), frame(HEADERS, END_HEADERS | END_STREAM, 1, b"trailers")].concat(),
            [data(1, b"a"), frame(HEADERS, END_HEADERS | END_STREAM, 1, b"trailers")].concat(),
        ),
        ([data(1, b"a"), frame(6, 0, 0, &[0; 8])].concat(), frame(6, 0, 0, &[0; 8])),
        // What need not wait goes on as it is, and so does what is wrong.
        (frame(DATA, END_STREAM, 1, b"a"), frame(DATA, END_STREAM, 1, b"a")),
        (data(5, b"a"), data(5, b"a")),
        (data(0, b"a"), data(0, b"a")),
        (frame(DATA, PADDED, 1, &[9, 0]), frame(DATA, PADDED, 1, &[9, 0])),
    ] {
        for piece in [1, 7, 1000] {
            let (_, _, out) = read(&[open.clone(), came.clone()].concat(), piece);
            assert_eq!(out, [open.clone(), goes_on.clone()].concat(), "{piece}");
        }
    }
    let (mut reading, _, mut out) = read(&[open.clone(), data(1, b"a")].concat(), 1000);
    reading.end();
    take_ready(&mut reading, &mut out);
    assert_eq!(out, [open, data(1, b"a")].concat());
}

#[test]
fn padded_data_is_no_flood_if_there_is_data() {
    let open = frame(HEADERS, END_HEADERS, 1, b"made up");
    let padded = |data: &[u8]| frame(DATA, PADDED, 1, &[&[3][..], data, &[0; 3]].concat());
    assert_eq!(read(&[open.clone(), padded(&[1; 100]).repeat(2000)].concat(), 1000).0.ended(), None);
    let (reading, ..) = read(&[open, padded(&[]).repeat(2000)].concat(), 1000);
    assert_eq!(reading.ended(), Some(Ended::Flooded));
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
    let mut io = Continues::around(near, Standing::default(), BOUNDS);
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
    let mut io = Continues::around(near, Standing::default(), BOUNDS);
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
    let mut io = Continues::around(Narrow { io: near, at_once }, Standing::default(), BOUNDS);
    far.write_all(&[PREFACE_TEXT, came].concat()).await.unwrap();
    assert_ne!(io.read(&mut [0; 4096]).await.unwrap(), 0, "what came goes on");
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

/// A connection that has sent the heads of the responses on these streams, whose caller opens no windows for them.
async fn with_closed_windows(
    streams: &[u32],
    came: &[u8],
) -> (Continues<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
    let (near, mut far) = duplex(64 * 1024);
    let mut io = Continues::around(near, Standing::default(), BOUNDS);
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let heads: Vec<_> = streams
        .iter()
        .flat_map(|stream| frame(HEADERS, END_HEADERS | END_STREAM, *stream, b"made up"))
        .collect();
    far.write_all(&[PREFACE_TEXT, &settings, &heads, came].concat()).await.unwrap();
    let mut buffer = [0; 4096];
    assert_ne!(io.read(&mut buffer).await.unwrap(), 0);
    io.write_all(&SERVERS_SETTINGS).await.unwrap();
    for stream in streams {
        io.write_all(&frame(HEADERS, END_HEADERS, *stream, b"made up")).await.unwrap();
    }
    io.flush().await.unwrap();
    (io, far)
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_left_unread_is_reset_in_both_directions() {
    let began: Instant = Clock::system().now();
    let (mut io, mut far) = with_closed_windows(&[1, 3], &[]).await;
    far.write_all(&frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 9])).await.unwrap();
    let mut came = [0; 4096];
    assert_eq!(io.read(&mut came).await.unwrap(), 13, "the window of the other");
    let length = io.read(&mut came).await.unwrap();
    let reset = frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    assert_eq!(came[..length], reset);
    let took = Clock::system().now() - began;
    assert!((60..=90).contains(&took.as_secs()), "{took:?}");
    io.flush().await.unwrap();
    drop(io);
    let mut heard = Vec::new();
    far.read_to_end(&mut heard).await.unwrap();
    assert!(heard.ends_with(&reset));
}

#[tokio::test(start_paused = true)]
async fn a_reset_does_not_come_between_the_bytes_of_a_frame() {
    const LONG: usize = 20 * 1024;
    let half = &frame(0xfa, 0, 0, &vec![7; LONG])[..100];
    let (mut io, mut far) = with_closed_windows(&[1], half).await;
    let mut came = [0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(74), io.read(&mut came)).await;
    assert!(read.is_err(), "it waits for the end of the frame");
    // For so long, and then the connection ends.
    let error = io.read(&mut came).await.unwrap_err();
    assert_eq!(error.to_string(), Ended::Unread.to_string());
    let mut heard = Vec::new();
    drop(io);
    far.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard[heard.len() - 17..][3], GOAWAY);
}

#[tokio::test(start_paused = true)]
async fn data_of_a_small_frame_goes_on_after_a_moment() {
    let (near, mut far) = duplex(1024);
    let mut io = Continues::around(near, Standing::default(), BOUNDS);
    let open = frame(HEADERS, END_HEADERS, 1, b"made up");
    let data = frame(DATA, 0, 1, b"a");
    far.write_all(&[PREFACE_TEXT, &open, &data].concat()).await.unwrap();
    let mut came = [0; 4096];
    assert_eq!(io.read(&mut came).await.unwrap(), PREFACE_TEXT.len() + open.len());
    let began = Clock::system().now();
    let length = io.read(&mut came).await.unwrap();
    assert_eq!((&came[..length], Clock::system().now() - began), (&data[..], SMALL_DATA_WAIT));
    // The end of the connection does not lose it either.
    far.write_all(&data).await.unwrap();
    drop(far);
    assert_eq!(io.read(&mut came).await.unwrap(), data.len());
    assert_eq!(io.read(&mut came).await.unwrap(), 0);
}
