//! A connection whose HTTP/1 framing is looked at before hyper reads it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::Handler;
use super::course::Course;
use super::repeats::Repeats;
use crate::net::http1::head::Limits;
use crate::net::http1::{Fault, Inspector, Verdict, Versions};
use crate::net::standing::Standing;

/// What hyper gets to read in place of a head that must not pass, so that the refusal goes the way of every
/// answer: in its turn behind those of earlier requests, counted and logged.
const STAND_IN: &[u8] = b"- * HTTP/1.1\r\nhost: -\r\n\r\n";

/// How long what a caller still sends is taken in and thrown away after its connection was closed for writing.
/// A system that closes a socket with unread bytes resets the connection, and the caller loses an answer
/// that it has not read yet (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(5);

/// Bytes that are read at once where hyper's own buffer cannot be used.
const PIECE: usize = 4096;

/// Passes on what is framed as RFC 9112 wants it, and nothing else; a head that is known is answered and does not pass.
pub(super) struct Strict<T, H> {
    io: T,
    repeats: Repeats<H>,
    inspector: Inspector,
    stage: Stage,
    /// The beginning of a head.
    held: Vec<u8>,
    /// Where a head that is held counts.
    standing: Standing,
    /// How much of it does.
    counted: usize,
    /// What hyper may read, and how much of it it has.
    ready: Vec<u8>,
    taken: usize,
    course: Arc<Course>,
    /// What the course knows of writing.
    is_full: bool,
    lingering: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was wrong yet.
    Open,
    /// A head was replaced; nothing is read any more.
    Replaced,
    /// A body is malformed, and ends in an error.
    Broken(Fault),
}

/// What a connection, or the next part of one, begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// A whole head of HTTP/1.
    Http1,
    /// What a client of HTTP/2 says first.
    Http2,
}

impl<T, H> Strict<T, H> {
    pub(super) fn new(
        io: T,
        repeats: Repeats<H>,
        versions: Versions,
        standing: Standing,
        limits: Limits,
        course: Arc<Course>,
    ) -> Self {
        Self {
            io,
            repeats,
            inspector: Inspector::speaking(versions, limits),
            stage: Stage::Open,
            held: Vec::new(),
            standing,
            counted: 0,
            ready: Vec::new(),
            taken: 0,
            course,
            is_full: false,
            lingering: None,
        }
    }

    /// The connection's standing.
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Counts the memory of a head that is not whole.
    fn count_held(&mut self) {
        let held = if self.held.is_empty() { 0 } else { self.held.capacity() };
        if self.counted != held {
            self.counted = held;
            self.standing.hold(held);
        }
    }

    /// Keeps nothing that only saves work.
    pub(super) fn rest(&mut self) {
        self.inspector.forget();
    }

    /// Whether nobody has read what has come.
    pub(super) fn has_unread(&self) -> bool {
        !self.ready.is_empty()
    }

    fn note_full(&mut self, is_full: bool) {
        if self.is_full != is_full {
            self.is_full = is_full;
            self.course.set_full(is_full);
        }
    }

    /// Nothing more passes.
    fn refuse(&mut self, fault: Fault) {
        self.held = Vec::new();
        // A peer that has negotiated HTTP/2 could not read a refusal of HTTP/1.
        if self.inspector.is_within_body() || fault == Fault::NoPreface {
            self.stage = Stage::Broken(fault);
            return;
        }
        let number = self.inspector.heads() + 1;
        self.course.set_fault(number, fault);
        self.stage = Stage::Replaced;
        self.ready.extend_from_slice(STAND_IN);
    }

    fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) {
        let piece = (self.ready.len() - self.taken).min(buffer.remaining());
        buffer.put_slice(&self.ready[self.taken..self.taken + piece]);
        self.taken += piece;
        if self.taken == self.ready.len() {
            (self.ready, self.taken) = (Vec::new(), 0);
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, H: Handler> Strict<T, H> {
    /// Reads straight into hyper's buffer, and takes back what must not pass.
    fn poll_straight(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<Read>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let came = &buffer.filled()[before..];
        if came.is_empty() {
            return Poll::Ready(Ok(Read::End));
        }
        let (passed, verdict) = self.inspector.advance(came);
        match verdict {
            Verdict::Pass => {}
            Verdict::Hold => {
                self.held.extend_from_slice(&came[passed..]);
                self.count_held();
            }
            Verdict::Broken(fault) => self.refuse(fault),
        }
        let passed = if self.repeat(came, cx)? { 0 } else { passed };
        buffer.set_filled(before + passed);
        self.note_midway();
        Poll::Ready(Ok(if passed > 0 { Read::Passed } else { Read::Nothing }))
    }

    /// Reads more of a head that is held.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        let mut piece = [0; PIECE];
        let mut came = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut came))?;
        if came.filled().is_empty() {
            return Poll::Ready(Ok(Read::End));
        }
        self.held.extend_from_slice(came.filled());
        let (passed, verdict) = self.inspector.advance(&self.held);
        let rest = self.held.split_off(passed);
        let came = std::mem::replace(&mut self.held, rest);
        if !self.repeat(&came, cx)? {
            self.ready = came;
        }
        if let Verdict::Broken(fault) = verdict {
            self.refuse(fault);
        }
        self.count_held();
        self.note_midway();
        Poll::Ready(Ok(Read::Nothing))
    }

    /// Answers what has come, if it is one head, known, and no other request is under way.
    fn repeat(&mut self, came: &[u8], cx: &mut Context<'_>) -> io::Result<bool> {
        Ok(self.stage == Stage::Open
            && self.held.is_empty()
            && self.inspector.is_one_head(came)
            && self.course.is_free_for(self.inspector.heads())
            && self.repeats.answer(came, &mut self.io, &self.course, cx)?)
    }

    /// Sends what is left of an answer to a head that was known.
    fn poll_repeated(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.repeats.are_under_way() {
            return Poll::Ready(Ok(()));
        }
        let sent = self.repeats.poll_sent(&mut self.io, cx);
        self.note_full(sent.is_pending());
        sent
    }

    /// Waits for what a connection opens with, and keeps it for who reads next; `None` if nothing more comes.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Opening>>> {
        while self.ready.is_empty() {
            if self.repeats.are_under_way() {
                self.course.stir();
            }
            ready!(self.poll_repeated(cx))?;
            if let Read::End = ready!(self.poll_held(cx))? {
                return Poll::Ready(Ok(None));
            }
            // In a body, the head before it is answered.
            if let Stage::Broken(fault) = self.stage
                && self.ready.is_empty()
            {
                return Poll::Ready(Err(broken(fault)));
            }
        }
        let opening = if self.inspector.is_http2() { Opening::Http2 } else { Opening::Http1 };
        Poll::Ready(Ok(Some(opening)))
    }

    /// Takes in and throws away, until the caller has closed too or time is up.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let time = self.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if time.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let mut piece = [0; PIECE];
            let mut thrown = ReadBuf::new(&mut piece);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut thrown)) {
                Ok(()) if !thrown.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    fn note_midway(&self) {
        self.course.note(self.inspector.heads(), self.is_midway());
    }

    /// Whether the caller may still be sending what nobody will read.
    fn is_midway(&self) -> bool {
        self.stage != Stage::Open || !self.held.is_empty() || !self.inspector.is_between_requests()
    }
}

fn broken(fault: Fault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

/// What came of a read.
enum Read {
    /// Bytes that hyper has now.
    Passed,
    /// None that hyper may read straight away.
    Nothing,
    /// The end of the connection.
    End,
}

impl<T: AsyncRead + AsyncWrite + Unpin, H: Handler> AsyncRead for Strict<T, H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                this.hand_over(buffer);
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_repeated(cx))?;
            match this.stage {
                Stage::Open => {}
                // The refusal is made at once, and writing it needs no reading.
                Stage::Replaced => return Poll::Pending,
                Stage::Broken(fault) => {
                    return Poll::Ready(Err(broken(fault)));
                }
            }
            let read = if this.held.is_empty() {
                ready!(this.poll_straight(cx, buffer))
            } else {
                ready!(this.poll_held(cx))
            };
            match read? {
                Read::Passed | Read::End => return Poll::Ready(Ok(())),
                Read::Nothing => {}
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, H: Handler> AsyncWrite for Strict<T, H> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note_full(wrote.is_pending());
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.note_full(wrote.is_pending());
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes though it has written nothing; that is no sign that the caller takes what was written past it.
        ready!(self.poll_repeated(cx))?;
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.note_full(flushed.is_pending());
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(self.poll_repeated(cx))?;
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            // Who was never answered can lose no answer.
            if !self.is_midway() || self.course.begun() == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests;
