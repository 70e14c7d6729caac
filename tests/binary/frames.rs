//! HTTP/2 spoken frame by frame (RFC 9113 section 4), for what no well-behaved library sends.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::caller::tcp;
use crate::within;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A header as it is to stand in a block, whatever HTTP thinks of it.
pub(crate) type Field<'a> = (&'a str, &'a str);

/// What came of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// An answer began, with this status where its code is a short one.
    Answered(Option<u16>),
    /// The stream was reset, with this error code.
    Reset(u32),
    /// The connection ends, with this error code.
    GoneAway(u32),
    /// The connection ended without a word.
    Closed,
}

/// A connection after its preface.
pub(crate) struct Frames(TcpStream);

impl Frames {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut frames = Self(tcp(address).await);
        let _ = frames.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        frames.send(SETTINGS, 0, 0, &[]).await;
        frames
    }

    /// Sends a frame; the other side may have closed the connection.
    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let _ = within("sending a frame", self.0.write_all(&frame(kind, flags, stream, payload))).await;
    }

    /// Begins a request, and ends it too if it has no body.
    pub(crate) async fn ask(&mut self, stream: u32, fields: &[Field<'_>], body: Option<&[u8]>) {
        let end = if body.is_none() { END_STREAM } else { 0 };
        self.send(HEADERS, END_HEADERS | end, stream, &block(fields)).await;
        if let Some(body) = body {
            self.send(DATA, END_STREAM, stream, body).await;
        }
    }

    /// Begins requests and resets each at once, so that both come in one piece.
    pub(crate) async fn ask_and_reset(&mut self, streams: &[u32], fields: &[Field<'_>]) {
        const CANCEL: u32 = 8;
        let block = block(fields);
        let pair = |stream: &u32| {
            let asked = frame(HEADERS, END_HEADERS | END_STREAM, *stream, &block);
            [asked, frame(RST_STREAM, 0, *stream, &CANCEL.to_be_bytes())].concat()
        };
        let all: Vec<u8> = streams.iter().flat_map(pair).collect();
        let _ = within("sending frames", self.0.write_all(&all)).await;
    }

    /// Waits for what comes of a stream.
    pub(crate) async fn fate_of(&mut self, stream: u32) -> Fate {
        loop {
            let Some((kind, flags, of, payload)) = within("a frame", self.next()).await else {
                return Fate::Closed;
            };
            match kind {
                SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]).await,
                HEADERS if of == stream => return Fate::Answered(short_status(payload[0])),
                RST_STREAM if of == stream => return Fate::Reset(number(&payload)),
                // Error 0 says that no new streams are taken; those that are open go on.
                GOAWAY if number(&payload[4..]) != 0 => return Fate::GoneAway(number(&payload[4..])),
                _ => {}
            }
        }
    }

    async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], number(&head[5..]) & 0x7fff_ffff, payload))
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// The statuses that have an entry of their own in HPACK's static table (RFC 7541 appendix A).
fn short_status(first: u8) -> Option<u16> {
    let status = [200, 204, 206, 304, 400, 404, 500];
    status.get(usize::from(first).checked_sub(0x88)?).copied()
}

/// A block of literal fields without indexing and without Huffman's code (RFC 7541 section 6.2.2).
fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            push_length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    if let Some(short) = u8::try_from(length).ok().filter(|short| *short < 0x7f) {
        return block.push(short);
    }
    block.push(0x7f);
    let mut rest = length - 0x7f;
    while rest >= 0x80 {
        block.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
        rest /= 0x80;
    }
    block.push(u8::try_from(rest).unwrap());
}
