//! HTTP/2 frame by frame (RFC 9113), for peers that do with it what no library would.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, split};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::wire::Peer;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const NO_ERROR: [u8; 4] = [0; 4];
pub const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];
pub const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a request, none of them compressed (RFC 7541 section 6.2.2).
pub fn request_headers(method: &str, path: &str) -> Vec<u8> {
    let pairs = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "sidecar")];
    pairs.iter().flat_map(|(name, value)| header(name, value)).collect()
}

/// One header, not compressed; both parts shorter than 127 bytes.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// A whole GET.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &request_headers("GET", path))
}

/// A frame that came: kind, flags, stream, payload.
pub type Frame = (u8, u8, u32, Vec<u8>);

/// A caller of HTTP/2 that reads all that comes, answers pings, and does nothing else by itself.
pub struct Caller {
    writer: Arc<Mutex<WriteHalf<DuplexStream>>>,
    frames: UnboundedReceiver<Frame>,
}

impl Caller {
    /// Begins a connection with these settings.
    pub async fn begin(peer: Peer, settings: &[(u16, u32)]) -> Self {
        let (reader, writer) = split(peer.0);
        let writer = Arc::new(Mutex::new(writer));
        let (came, frames) = unbounded_channel();
        tokio::spawn(read(reader, writer.clone(), came));
        let caller = Self { writer, frames };
        caller.say(preface(settings)).await;
        caller
    }

    pub async fn say(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.writer.lock().await.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next frame of this kind, whatever comes before it; `None` if the connection ends.
    pub async fn next(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.frames.recv().await?;
            if frame.0 == kind {
                return Some(frame);
            }
        }
    }
}

/// What a connection begins with.
pub fn preface(settings: &[(u16, u32)]) -> Vec<u8> {
    let pairs = settings.iter();
    let payload: Vec<u8> =
        pairs.flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &payload)].concat()
}

async fn read(
    mut reader: ReadHalf<DuplexStream>,
    writer: Arc<Mutex<WriteHalf<DuplexStream>>>,
    came: UnboundedSender<Frame>,
) -> Option<()> {
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        reader.read_exact(&mut payload).await.ok()?;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if kind == PING && flags & ACK == 0 {
            // Answered as a living caller does, however little it reads otherwise.
            let answer = frame(PING, ACK, 0, &payload);
            writer.lock().await.write_all(&answer).await.ok()?;
        }
        came.send((kind, flags, stream, payload)).ok()?;
    }
}

/// Longer than every limit of a connection that is not the test's.
pub const LONG: Duration = Duration::from_secs(600);
