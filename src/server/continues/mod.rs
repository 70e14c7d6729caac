//! `100 Continue` over HTTP/2.
//!
//! hyper tells callers of HTTP/1.1 to continue and has no way to tell those of HTTP/2, who would wait for as long as
//! their own patience lasts. So the frame that tells them is put between hyper's frames here. It is sent as soon as the
//! head of the request has come: before hyper has seen the head, and so before anything else is sent on its stream.
//!
//! Heads are compressed and not read here. The text `100-continue` stands in a connection's first such head as it is
//! or in Huffman's code; later heads may refer to it, so that from then on whoever is about to send a body is told to
//! continue. A caller that did not ask ignores it (RFC 9110 section 15.2).
//!
//! What comes is read here anyway, so that paths with a `#`, which hyper would cut off, are found here too.
//!
//! A caller whose table for compressed heads is smaller than usual must be sent an update of its size by the first head after
//! the acknowledgement of its settings (RFC 7541 section 4.2). So there the frame waits for that, and begins with the update.
//!
//! Since every frame is seen here, frames that are no work are counted here too: [`flood`].

mod came;
mod flood;
mod frames;
mod hpack;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::standing::Standing;

use came::{Came, Table};
use flood::Flood;
use frames::{ACK, CONTINUATION, DATA, END_HEADERS, FRAME_HEAD, Frames, GOAWAY, HEADERS, SETTINGS};

/// The caller may be trying to overload the sidecar (RFC 9113 section 7).
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// A caller sends frames without end that are no work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller floods the connection with frames that carry neither requests nor their bodies")]
struct Flooded;

/// A connection of HTTP/2 whose callers are told to continue.
pub(super) struct Continues<T> {
    io: T,
    came: Came,
    sent: Sent,
    /// The streams that are still to be told to continue.
    queue: VecDeque<u32>,
    /// What is left of a frame that tells one, of which a part was written: nothing else may be written before it.
    begun: Vec<u8>,
    /// Where a head that is not whole counts, and how much of it does.
    standing: Standing,
    counted: usize,
}

impl<T> Continues<T> {
    /// Around a connection of which nothing was read, not even its preface.
    pub(super) fn around(io: T, standing: Standing) -> Self {
        let (came, sent) = (Came::default(), Sent::default());
        Self { io, came, sent, queue: VecDeque::new(), begun: Vec::new(), standing, counted: 0 }
    }

    /// Counts the memory of a head that is not whole. The HTTP/2 library holds it a second time.
    fn count_head(&mut self) {
        let held = 2 * self.came.head_bytes();
        if self.counted != held {
            self.counted = held;
            self.standing.hold_head(held);
        }
    }
}

/// What is sent to the caller, frame by frame.
#[derive(Default)]
struct Sent {
    frames: Frames,
    /// Whether the first frame has been sent, which must be the server's settings (RFC 9113 section 3.4).
    has_begun: bool,
    /// Whether the last frame's head goes on in another.
    is_in_headers: bool,
    /// How many of the caller's settings were acknowledged.
    acknowledged: u32,
}

impl Sent {
    fn note(&mut self, mut bytes: &[u8], flood: &mut Flood) {
        while !bytes.is_empty() {
            let was_head = self.frames.is_in_head();
            let (Some(frame), payload) = self.frames.next(&mut bytes) else { return };
            if was_head && frame.kind == DATA {
                flood.send(payload.len() + self.frames.left);
            }
            self.has_begun |= self.frames.is_in_head();
            self.acknowledged += u32::from(was_head && frame.kind == SETTINGS && frame.flags & ACK != 0);
            if matches!(frame.kind, HEADERS | CONTINUATION) {
                self.is_in_headers = frame.flags & END_HEADERS == 0;
            }
        }
    }

    /// Whether a head may be put in here for a caller with this table.
    fn may_be_told(&self, table: Table) -> bool {
        let is_acknowledged = match table {
            Table::Usual => true,
            Table::Small { since, .. } => self.acknowledged >= since,
            Table::Changing => false,
        };
        is_acknowledged && self.has_begun && self.frames.is_at_start() && !self.is_in_headers
    }
}

impl<T: AsyncWrite + Unpin> Continues<T> {
    /// Finishes a frame that has begun, and writes those that wait, if they may be put in here.
    fn poll_tell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.queue.is_empty() && self.begun.is_empty() {
            return Poll::Ready(Ok(()));
        }
        loop {
            while !self.begun.is_empty() {
                let wrote = ready!(Pin::new(&mut self.io).poll_write(cx, &self.begun))?;
                if wrote == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.begun.drain(..wrote);
            }
            if self.came.table == Table::Changing {
                self.queue.clear();
            }
            if !self.sent.may_be_told(self.came.table) {
                return Poll::Ready(Ok(()));
            }
            let Some(stream) = self.queue.pop_front() else { return Poll::Ready(Ok(())) };
            self.begun = came::frame(stream, self.came.table);
        }
    }

    /// Says why the connection ends, if that can be said at once, and gives the error that ends it.
    fn end_flood(&mut self, cx: &mut Context<'_>) -> io::Error {
        if self.begun.is_empty() && self.sent.may_be_told(Table::Usual) {
            let payload = [self.came.last.to_be_bytes(), ENHANCE_YOUR_CALM.to_be_bytes()].concat();
            let frame = [&[0, 0, 8, GOAWAY, 0, 0, 0, 0, 0], &payload[..]].concat();
            let _ = Pin::new(&mut self.io).poll_write(cx, &frame);
        }
        io::Error::new(io::ErrorKind::InvalidData, Flooded)
    }

    fn note_sent(&mut self, bytes: &[u8]) {
        self.sent.note(bytes, &mut self.came.flood);
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
        this.came.read(&mut buffer.filled_mut()[before..], &mut this.queue)?;
        this.count_head();
        if this.came.flood.is_over() {
            return Poll::Ready(Err(this.end_flood(cx)));
        }
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
        self.note_sent(&bytes[..wrote]);
        Poll::Ready(Ok(wrote))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.queue.is_empty() || !self.begun.is_empty() {
            let first = bytes.iter().find(|bytes| !bytes.is_empty());
            return self.poll_write(cx, first.map_or(&[], |bytes| bytes));
        }
        let wrote = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bytes))?;
        let mut left = wrote;
        for bytes in bytes {
            let part = bytes.len().min(left);
            self.note_sent(&bytes[..part]);
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
mod tests;
