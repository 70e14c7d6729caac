//! Connections that can be severed, so that what breaks off does not look like an end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Whether a connection is to be reset when it is dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Severed(Arc<AtomicBool>);

impl Severed {
    pub(super) fn sever(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A TCP connection that ends by a reset if it was severed, and closes properly otherwise.
///
/// The end of an answer to HTTP/1.0 whose length is not known is the end of the connection (RFC 9112 section
/// 6.3), so that closing it properly would make a whole answer of half a one.
pub(super) struct Severable {
    stream: TcpStream,
    severed: Severed,
}

impl Severable {
    pub(super) fn new(stream: TcpStream, severed: Severed) -> Self {
        Self { stream, severed }
    }
}

impl Drop for Severable {
    fn drop(&mut self) {
        if self.severed.0.load(Ordering::Relaxed) {
            // A socket that does not take the option is gone already.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Severable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Severable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
