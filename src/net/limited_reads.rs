//! A connection that is read in long pieces only while the process has memory for them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

use super::buffers::{Buffers, Purpose, Reservation};

/// What may be read at once without asking. One less than 8 KiB: hyper doubles its buffer whenever a read fills it, and
/// so stays at the 8 KiB with which it begins.
const SHORT: usize = 8 * 1024 - 1;

/// Limits how much of a connection is read at once, and counts the buffer that is read into.
///
/// hyper reads a connection of HTTP/1 only when it has handed out all of the body that it read before, and makes its
/// buffer longer only when a read has filled it. So there is one buffer at a time, as long as what it was last let read,
/// and it stays while a body is slow, or its reader: it is counted from one read to the next, whatever comes of them.
pub struct LimitedReads<T> {
    io: Take<T>,
    buffer: Reservation,
}

impl<T: AsyncRead> LimitedReads<T> {
    /// Reads of `io` come out of this budget.
    pub fn new(io: T, buffers: &Buffers) -> Self {
        Self { io: io.take(0), buffer: buffers.reservation(Purpose::Stream) }
    }

    /// How many bytes of the budget its buffer takes.
    pub fn reserved(&self) -> usize {
        self.buffer.bytes()
    }

    /// What is read and written.
    pub fn get_mut(&mut self) -> &mut T {
        self.io.get_mut()
    }

    /// How many bytes may be read at once where there is space for so many.
    fn allow(&mut self, space: usize) -> usize {
        // hyper's first buffer is not counted, so that short messages need not ask.
        if space <= SHORT + 1 {
            self.buffer.set(0);
            return space;
        }
        self.buffer.set_up_to_half(space).max(SHORT)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for LimitedReads<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let allowed = this.allow(buffer.remaining());
        this.io.set_limit(allowed as u64);
        Pin::new(&mut this.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + AsyncRead + Unpin> AsyncWrite for LimitedReads<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().get_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().get_mut()).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.get_ref().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().get_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const LONG: usize = 100 * 1024;

    #[tokio::test]
    async fn reads_are_long_while_there_is_room_and_short_when_there_is_none() {
        let buffers = Buffers::new(2 * LONG);
        let mut buffer = vec![0; LONG];
        let mut first = LimitedReads::new(Cursor::new(vec![1; 2 * LONG]), &buffers);
        assert_eq!(first.read(&mut buffer).await.unwrap(), LONG);
        assert_eq!(buffers.used(), LONG);

        let mut second = LimitedReads::new(Cursor::new(vec![2; 2 * LONG]), &buffers);
        assert_eq!(second.read(&mut buffer).await.unwrap(), SHORT, "half of the budget is for others");
        assert_eq!(buffers.used(), LONG);

        assert_eq!(first.read(&mut buffer[..LONG / 2]).await.unwrap(), LONG / 2);
        assert_eq!(second.read(&mut buffer).await.unwrap(), LONG / 2);
        assert_eq!(buffers.used(), LONG);
        assert_eq!(first.read(&mut buffer[..=SHORT]).await.unwrap(), SHORT + 1);
        assert_eq!(buffers.used(), LONG / 2, "a short buffer is not counted");
        drop(second);
        assert_eq!(buffers.used(), 0);
    }

    #[tokio::test]
    async fn a_long_buffer_counts_while_nothing_comes() {
        let buffers = Buffers::new(2 * LONG);
        let (near, _far) = tokio::io::duplex(1);
        let mut near = LimitedReads::new(near, &buffers);
        let mut buffer = vec![0; LONG];
        tokio::select! {
            biased;
            _ = near.read(&mut buffer) => panic!("nothing was written"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(buffers.used(), LONG);
        drop(near);
        assert_eq!(buffers.used(), 0);
    }
}
