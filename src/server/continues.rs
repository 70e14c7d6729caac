//! `100 Continue` over HTTP/2.
//!
//! hyper tells callers of HTTP/1.1 to continue and has no way to tell those of HTTP/2, who would wait for as long as
//! their own patience lasts. So the frame that tells them is put between hyper's frames here. It is sent as soon as the
//! head of the request has come: before hyper has seen the head, and so before anything else is sent on its stream.
//!
//! Heads are compressed and not read here. The text `100-continue` stands in a connection's first such head as it is
//! or in Huffman's code; later heads may refer to it, so that from then on whoever is about to send a body is told to
//! continue. A caller that did not ask ignores it (RFC 9110 section 15.2).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: usize = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const FRAME_HEAD: usize = 9;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The expectation as it stands in a head: its text, and the same in Huffman's code (RFC 7541 appendix B).
const EXPECTATIONS: [&[u8]; 2] = [b"100-continue", &[0x08, 0x00, 0xb1, 0x0f, 0x52, 0x4d, 0x55, 0xa5]];

/// `:status: 100` as a literal that is not indexed, by the name of entry 8 of the static table.
const STATUS_100: [u8; 5] = [0x08, 3, b'1', b'0', b'0'];

/// More of one head is not looked through; heads have limits of their own.
const LONGEST_HEAD: usize = 64 * 1024;

/// So much may wait to be written to a caller that does not read. Beyond it nobody is told.
const LONGEST_QUEUE: usize = 16 * 1024;

/// A connection of HTTP/2 whose callers are told to continue.
pub(super) struct Continues<T> {
    io: T,
    came: Came,
    sent: Sent,
    /// What tells callers to continue, and was not written yet.
    queue: VecDeque<u8>,
}

impl<T> Continues<T> {
    /// Around a connection of which nothing was read, not even its preface.
    pub(super) fn around(io: T) -> Self {
        Self { io, came: Came::default(), sent: Sent::default(), queue: VecDeque::new() }
    }
}

/// What comes from the caller, frame by frame.
#[derive(Default)]
struct Came {
    frames: Frames,
    has_preface: bool,
    preface: usize,
    /// Whether a head has held the expectation.
    expects: bool,
    /// The last stream that was opened.
    last: u32,
    /// The stream whose head is coming, if a body follows it, and what has come of the head.
    opening: Option<u32>,
    head: Vec<u8>,
}

impl Came {
    /// Reads on; whoever is to be told to continue goes to `queue`.
    fn read(&mut self, mut bytes: &[u8], queue: &mut VecDeque<u8>) {
        if !self.has_preface {
            let rest = bytes.len().min(PREFACE - self.preface);
            self.preface += rest;
            self.has_preface = self.preface == PREFACE;
            bytes = &bytes[rest..];
        }
        while !bytes.is_empty() {
            let was_head = self.frames.is_in_head();
            let (frame, payload) = self.frames.next(&mut bytes);
            let Some(frame) = frame else { return };
            if was_head && frame.kind == HEADERS && frame.flags & END_STREAM == 0 && frame.stream > self.last
            {
                self.opening = Some(frame.stream);
            }
            if was_head && frame.kind == HEADERS {
                self.last = self.last.max(frame.stream);
            }
            let Some(stream) = self.opening else { continue };
            if !matches!(frame.kind, HEADERS | CONTINUATION) {
                continue;
            }
            if !self.expects && self.head.len() + payload.len() <= LONGEST_HEAD {
                self.head.extend_from_slice(payload);
            }
            if frame.flags & END_HEADERS != 0 && self.frames.is_in_head() {
                self.expects |= EXPECTATIONS.iter().any(|text| memmem::find(&self.head, text).is_some());
                (self.opening, self.head) = (None, Vec::new());
                if self.expects && queue.len() < LONGEST_QUEUE {
                    tell(stream, queue);
                }
            }
        }
    }
}

fn tell(stream: u32, queue: &mut VecDeque<u8>) {
    let length = u8::try_from(STATUS_100.len()).expect("a frame this short has a length of one byte");
    queue.extend([0, 0, length, HEADERS, END_HEADERS]);
    queue.extend(stream.to_be_bytes());
    queue.extend(STATUS_100);
}

/// What is sent to the caller, frame by frame.
#[derive(Default)]
struct Sent {
    frames: Frames,
    /// Whether the first frame has been sent, which must be the server's settings (RFC 9113 section 3.4).
    has_begun: bool,
    /// Whether the last frame's head goes on in another.
    is_in_headers: bool,
}

impl Sent {
    fn note(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(frame) = self.frames.next(&mut bytes).0 else { return };
            self.has_begun |= self.frames.is_in_head();
            if matches!(frame.kind, HEADERS | CONTINUATION) {
                self.is_in_headers = frame.flags & END_HEADERS == 0;
            }
        }
    }

    /// Whether another frame may be put in here.
    fn is_between_frames(&self) -> bool {
        self.has_begun && self.frames.is_at_start() && !self.is_in_headers
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Takes a stream of bytes apart into frames.
#[derive(Default)]
struct Frames {
    head: [u8; FRAME_HEAD],
    /// How much of the head has come.
    got: usize,
    /// How much of the payload is to come.
    left: usize,
    frame: Frame,
}

impl Frames {
    /// Whether nothing has come of the next frame.
    fn is_at_start(&self) -> bool {
        self.got == 0
    }

    /// Whether what comes next belongs to the head of a frame.
    fn is_in_head(&self) -> bool {
        self.got < FRAME_HEAD
    }

    /// Takes from `bytes` what belongs to one frame: the frame, once its head is whole, and a part of its payload.
    fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> (Option<Frame>, &'a [u8]) {
        if self.is_in_head() {
            let (part, rest) = bytes.split_at(bytes.len().min(FRAME_HEAD - self.got));
            self.head[self.got..self.got + part.len()].copy_from_slice(part);
            self.got += part.len();
            *bytes = rest;
            if self.is_in_head() {
                return (None, &[]);
            }
            let [a, b, c, kind, flags, stream @ ..] = self.head;
            self.left = u32::from_be_bytes([0, a, b, c]) as usize;
            self.frame = Frame { kind, flags, stream: u32::from_be_bytes(stream) & (u32::MAX >> 1) };
        }
        let (payload, rest) = bytes.split_at(bytes.len().min(self.left));
        *bytes = rest;
        self.left -= payload.len();
        if self.left == 0 {
            self.got = 0;
        }
        (Some(self.frame), payload)
    }
}

impl<T: AsyncWrite + Unpin> Continues<T> {
    /// Writes what waits, if a frame may be put in here.
    fn poll_tell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() && self.sent.is_between_frames() {
            let wrote = ready!(Pin::new(&mut self.io).poll_write(cx, self.queue.make_contiguous()))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.queue.drain(..wrote);
        }
        Poll::Ready(Ok(()))
    }

    /// How much may be written before another frame is put in: to the end of this frame, if one waits.
    fn most(&self) -> usize {
        match self.queue.is_empty() {
            true => usize::MAX,
            false if self.sent.frames.is_in_head() => FRAME_HEAD - self.sent.frames.got,
            false => self.sent.frames.left,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Continues<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        this.came.read(&buffer.filled()[before..], &mut this.queue);
        // Nobody writes on a connection that has nothing else to say. What cannot be written now is with the next frame.
        if let Poll::Ready(Err(error)) = this.poll_tell(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Continues<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_tell(cx))?;
        let most = self.most().min(bytes.len());
        let wrote = ready!(Pin::new(&mut self.io).poll_write(cx, &bytes[..most]))?;
        self.sent.note(&bytes[..wrote]);
        Poll::Ready(Ok(wrote))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.queue.is_empty() {
            let first = bytes.iter().find(|bytes| !bytes.is_empty());
            return self.poll_write(cx, first.map_or(&[], |bytes| bytes));
        }
        let wrote = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bytes))?;
        let mut left = wrote;
        for bytes in bytes {
            let part = bytes.len().min(left);
            self.sent.note(&bytes[..part]);
            left -= part;
        }
        Poll::Ready(Ok(wrote))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_tell(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const TOLD: &[u8] = &[0, 0, 5, 1, 4, 0, 0, 0, 1, 8, 3, b'1', b'0', b'0'];
    const PREFACE_TEXT: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// What is queued when this comes, in pieces of so many bytes.
    fn queued(came: &[u8], piece: usize) -> Vec<u8> {
        let (mut reading, mut queue) = (Came::default(), VecDeque::new());
        for piece in [PREFACE_TEXT, came].concat().chunks(piece) {
            reading.read(piece, &mut queue);
        }
        queue.into()
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
    fn a_later_head_may_refer_to_the_first_and_trailers_are_none() {
        let first = frame(HEADERS, END_HEADERS, 1, EXPECTATIONS[0]);
        let [second, trailers] = [3, 1].map(|stream| frame(HEADERS, END_HEADERS, stream, &[0xbe]));
        assert_eq!(queued(&[first.clone(), second].concat(), 1000).len(), 2 * TOLD.len());
        assert_eq!(queued(&[first, trailers].concat(), 1000), TOLD);
    }

    #[tokio::test]
    async fn a_caller_is_told_between_frames_and_after_the_settings() {
        let (near, mut far) = duplex(1024);
        let mut io = Continues::around(near);
        far.write_all(&[PREFACE_TEXT, &frame(HEADERS, END_HEADERS, 1, EXPECTATIONS[0])].concat())
            .await
            .unwrap();
        assert_ne!(io.read(&mut [0; 1024]).await.unwrap(), 0);
        // The head of an answer in two frames, written byte by byte.
        let answer = [frame(HEADERS, 0, 5, b"one"), frame(CONTINUATION, END_HEADERS, 5, b"two")].concat();
        for byte in [&SETTINGS[..], &answer].concat() {
            io.write_all(&[byte]).await.unwrap();
        }
        let mut heard = vec![0; SETTINGS.len() + TOLD.len() + answer.len()];
        far.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, [&SETTINGS[..], TOLD, &answer].concat());

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
}
