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
//! A caller whose table for compressed heads is smaller than usual must be sent an update of its size by the first head after
//! the acknowledgement of its settings (RFC 7541 section 4.2). So there the frame waits for that, and begins with the update.
//!
//! Since every frame is seen here in both directions, what the HTTP/2 library has no setting for is done here too:
//! - Paths with a `#`, which hyper would cut off, are replaced so that they are refused ([`hpack`]).
//! - Frames that are no work end the connection when there are too many ([`flood`]).
//! - Small DATA frames are joined, since the library takes too many of them for a flood ([`small_data`]).
//! - Responses whose caller opens no window for them are given up ([`responses`]): their streams are reset in both
//!   directions, so that the library lets go of what it holds; where the window of the whole connection stays closed, the
//!   connection ends.

mod came;
mod expect;
mod flood;
mod frames;
mod hpack;
mod responses;
mod small_data;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::clock::Clock;
use crate::net::standing::Standing;

use came::{CANCEL, Came};
use expect::Table;
use frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_HEAD, Frame, Frames, GOAWAY, HEADERS, RST_STREAM,
    SETTINGS, short_frame,
};
use responses::Unread;

/// The caller may be trying to overload the sidecar (RFC 9113 section 7).
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// How long data of small frames waits for more of it, at the most. No request is sent to Zoho before its body has come
/// whole or is long, so that nothing waits for this data.
const SMALL_DATA_WAIT: Duration = Duration::from_millis(250);

/// What an open stream takes, with its refusal: some 2.2 KiB as measured.
const STREAM_BYTES: usize = 2560;

/// Why a connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Ended {
    #[error("the caller floods the connection with frames that carry neither requests nor their bodies")]
    Flooded,
    #[error("the head of a request is far longer than heads may be")]
    HeadTooLong,
    #[error("the caller opens streams without end after it was told to open no more")]
    TooManyStreams,
    #[error("the caller left its responses unread for too long")]
    Unread,
}

/// The bounds of a connection of HTTP/2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How many bytes a head may have as it comes.
    pub(super) longest_head: usize,
    /// How many streams may be open that have no whole response.
    pub(super) most_streams: usize,
    /// How long a response may wait for its caller.
    pub(super) unread: Duration,
}

/// A connection of HTTP/2 whose callers are told to continue.
pub(super) struct Continues<T> {
    io: T,
    came: Came,
    sent: Sent,
    /// The streams that are still to be told to continue.
    queue: VecDeque<u32>,
    /// Frames that tell the caller which streams were given up.
    resets: Vec<u8>,
    /// What is left of frames that are put in here, of which a part was written: nothing else may be written before it.
    begun: Vec<u8>,
    /// How long a response may wait for its caller, and when it is looked next whether one does.
    limit: Duration,
    unread: Option<Pin<Box<Sleep>>>,
    /// Until when data of small frames waits.
    small_data: Option<Pin<Box<Sleep>>>,
    /// Where it counts what is held for the caller, how much that is, and how many open streams are a part of it.
    standing: Standing,
    counted: usize,
    streams: usize,
}

impl<T> Continues<T> {
    /// Around a connection of which nothing was read, not even its preface.
    pub(super) fn around(io: T, standing: Standing, bounds: Bounds) -> Self {
        Self {
            io,
            came: Came::new(bounds.longest_head, bounds.most_streams),
            sent: Sent::default(),
            queue: VecDeque::new(),
            resets: Vec::new(),
            begun: Vec::new(),
            limit: bounds.unread,
            unread: None,
            small_data: None,
            standing,
            counted: 0,
            streams: 0,
        }
    }

    /// Counts the memory that is held for the caller. A known caller's requests have bounds of their own.
    fn count_held(&mut self) {
        let held = self.came.held() + self.streams * STREAM_BYTES;
        if self.counted != held {
            self.counted = held;
            self.standing.hold(held);
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
    fn note(&mut self, mut bytes: &[u8], came: &mut Came) {
        while !bytes.is_empty() {
            let was_head = self.frames.is_in_head();
            let (Some(frame), payload) = self.frames.next(&mut bytes) else { return };
            if was_head {
                self.note_frame(frame, payload.len() + self.frames.left, came);
            }
            self.has_begun |= self.frames.is_in_head();
            if matches!(frame.kind, HEADERS | CONTINUATION) {
                self.is_in_headers = frame.flags & END_HEADERS == 0;
            }
        }
    }

    fn note_frame(&mut self, frame: Frame, length: usize, came: &mut Came) {
        let ends = frame.flags & END_STREAM != 0;
        match frame.kind {
            DATA => {
                came.flood.send(length);
                came.responses.data(frame.stream, length, ends);
            }
            HEADERS => came.responses.head(frame.stream, ends),
            RST_STREAM => came.responses.finish(frame.stream),
            SETTINGS => self.acknowledged += u32::from(frame.flags & ACK != 0),
            _ => {}
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
    #[inline]
    fn poll_tell(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_own_frames() { self.poll_own_frames(cx) } else { Poll::Ready(Ok(())) }
    }

    #[cold]
    fn poll_own_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.begun.is_empty() {
                let wrote = ready!(Pin::new(&mut self.io).poll_write(cx, &self.begun))?;
                if wrote == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.begun.drain(..wrote);
            }
            if !self.resets.is_empty() && self.sent.may_be_told(Table::Usual) {
                self.begun = std::mem::take(&mut self.resets);
                continue;
            }
            if self.came.expecting.table == Table::Changing {
                self.queue.clear();
            }
            if !self.sent.may_be_told(self.came.expecting.table) {
                return Poll::Ready(Ok(()));
            }
            let Some(stream) = self.queue.pop_front() else { return Poll::Ready(Ok(())) };
            self.begun = expect::frame(stream, self.came.expecting.table);
        }
    }

    /// Whether something is to be written that is put in here.
    fn has_own_frames(&self) -> bool {
        !self.queue.is_empty() || !self.begun.is_empty() || !self.resets.is_empty()
    }

    /// Says why the connection ends, if that can be said at once, and gives the error that ends it.
    fn end(&mut self, ended: Ended, cx: &mut Context<'_>) -> io::Error {
        if self.begun.is_empty() && self.sent.may_be_told(Table::Usual) {
            let payload = [self.came.last.to_be_bytes(), ENHANCE_YOUR_CALM.to_be_bytes()].concat();
            let _ = Pin::new(&mut self.io).poll_write(cx, &short_frame(GOAWAY, 0, 0, &payload));
        }
        io::Error::new(io::ErrorKind::InvalidData, ended)
    }

    fn note_sent(&mut self, bytes: &[u8]) {
        self.sent.note(bytes, &mut self.came);
    }

    /// Looks every now and then for responses that wait for their caller, while there may be one.
    #[inline]
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.unread.is_some() || self.may_have_unread() { self.look_for_unread(cx) } else { Ok(()) }
    }

    fn may_have_unread(&self) -> bool {
        self.came.responses.may_wait() || self.came.has_own_frames()
    }

    #[cold]
    fn look_for_unread(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.may_have_unread() {
            if self.unread.is_none() {
                self.give_up_unread(cx)?;
            }
            let pause = (self.limit / 4).max(Duration::from_millis(1));
            let timer = self.unread.get_or_insert_with(|| Box::pin(sleep(pause)));
            if timer.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            self.unread = None;
        }
        self.unread = None;
        Ok(())
    }

    fn give_up_unread(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.came.has_own_frames() {
            // The caller keeps the library from learning of the last time, by a frame of which it does not send the rest.
            return Err(self.end(Ended::Unread, cx));
        }
        let streams = match self.came.responses.unread(Clock::system().now(), self.limit) {
            Unread::Connection => return Err(self.end(Ended::Unread, cx)),
            Unread::Streams(streams) if streams.is_empty() => return Ok(()),
            Unread::Streams(streams) => streams,
        };
        self.came.reset(&streams);
        for stream in streams {
            self.resets.extend(short_frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
        }
        // The library has to read it.
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Lets data of small frames go on that has waited for more of it; whether there was some.
    fn poll_small_data(&mut self, cx: &mut Context<'_>) -> bool {
        while self.came.has_small_data() {
            let timer = self.small_data.get_or_insert_with(|| Box::pin(sleep(SMALL_DATA_WAIT)));
            if timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.small_data = None;
            self.came.flush_small_data();
            if self.came.is_ready() {
                return true;
            }
        }
        self.small_data = None;
        false
    }

    /// How much may be written before another frame is put in: to the end of this frame, if one waits.
    fn most(&self) -> usize {
        match self.queue.is_empty() && self.resets.is_empty() {
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
        loop {
            this.poll_unread(cx)?;
            if this.came.hand_over(buffer) {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            match Pin::new(&mut this.io).poll_read(cx, buffer)? {
                Poll::Pending if this.poll_small_data(cx) => continue,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => {}
            }
            if buffer.filled().len() == before {
                this.came.end();
                this.came.hand_over(buffer);
                return Poll::Ready(Ok(()));
            }
            let passed = this.came.read(&mut buffer.filled_mut()[before..], &mut this.queue);
            buffer.set_filled(before + passed);
            this.count_held();
            if let Some(ended) = this.came.ended() {
                return Poll::Ready(Err(this.end(ended, cx)));
            }
            // Nobody writes on a connection that has nothing else to say. What cannot be written now is with the next frame.
            if let Poll::Ready(Err(error)) = this.poll_tell(cx) {
                return Poll::Ready(Err(error));
            }
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
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
        if self.has_own_frames() {
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
        // What is written is seen by now, and who sent the requests.
        self.streams = self.came.responses.len();
        self.count_held();
        self.poll_unread(cx)?;
        ready!(self.poll_tell(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
