//! HTTP/2 frame by frame (RFC 9113), for peers that do with it what no library would. The tests of the executable
//! speak it too.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const NO_ERROR: [u8; 4] = [0; 4];
pub(crate) const INTERNAL_ERROR: [u8; 4] = [0, 0, 0, 2];
pub(crate) const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header as it is to stand in a block, whatever HTTP thinks of it.
pub(crate) type Field<'a> = (&'a str, &'a str);

/// The headers of a request, none of them compressed.
pub(crate) fn request_headers(method: &str, path: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "http"), (":path", path), (":authority", "sidecar")])
}

/// Headers that are not compressed.
pub(crate) fn block(fields: &[Field<'_>]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| header(name, value)).collect()
}

/// One header as a literal without indexing and without Huffman's code (RFC 7541 section 6.2.2).
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [length_of(text), text.into()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// A length with a prefix of seven bits (RFC 7541 section 5.1).
fn length_of(text: &str) -> Vec<u8> {
    const PREFIX: usize = 0x7f;
    let Some(mut rest) = text.len().checked_sub(PREFIX) else {
        return vec![u8::try_from(text.len()).unwrap()];
    };
    let mut length = vec![0x7f];
    while rest >= 0x80 {
        length.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
        rest /= 0x80;
    }
    length.push(u8::try_from(rest).unwrap());
    length
}

/// A whole GET.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &request_headers("GET", path))
}

/// A frame that came: kind, flags, stream, payload.
pub(crate) type Frame = (u8, u8, u32, Vec<u8>);

/// A caller of HTTP/2 that reads all that comes, answers pings, and does nothing else by itself.
pub(crate) struct Caller<S> {
    writer: Arc<Mutex<WriteHalf<S>>>,
    frames: UnboundedReceiver<Frame>,
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Caller<S> {
    /// Begins a connection with these settings.
    pub(crate) async fn begin(stream: S, settings: &[(u16, u32)]) -> Self {
        let (reader, writer) = split(stream);
        let writer = Arc::new(Mutex::new(writer));
        let (came, frames) = unbounded_channel();
        tokio::spawn(read(reader, writer.clone(), came));
        let caller = Self { writer, frames };
        caller.say(preface(settings)).await;
        caller
    }

    pub(crate) async fn say(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.writer.lock().await.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next frame of this kind, whatever comes before it; `None` if the connection ends.
    pub(crate) async fn next(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.hear().await?;
            if frame.0 == kind {
                return Some(frame);
            }
        }
    }

    /// The next frame, whatever it is; `None` if the connection ends.
    pub(crate) async fn hear(&mut self) -> Option<Frame> {
        self.frames.recv().await
    }
}

/// What a connection begins with.
pub(crate) fn preface(settings: &[(u16, u32)]) -> Vec<u8> {
    let pairs = settings.iter();
    let payload: Vec<u8> =
        pairs.flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &payload)].concat()
}

async fn read<S: AsyncRead + AsyncWrite>(
    mut reader: ReadHalf<S>,
    writer: Arc<Mutex<WriteHalf<S>>>,
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
