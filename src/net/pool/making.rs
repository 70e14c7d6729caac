//! How a connection is made, and driven to its end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tower::ServiceExt;
use tower_service::Service;

use super::head::HeadLimits;
use super::host::{Shared, Wanted};
use super::line::{self, Line, Link};
use super::stay::Stay;
use super::stream::Share;
use super::{Limits, NoConnection, Place, Pool, driving};
use crate::net::body::{Body, BoxError};
use crate::net::buffers::Buffers;
use crate::net::limited_reads::LimitedReads;
use crate::net::patient::Patience;
use crate::net::transport::BoxFuture;

/// How much of an answer is read ahead at most on a connection of HTTP/1.1. hyper begins with 8 KiB and doubles as long
/// as reads fill them, and as [`LimitedReads`] lets them. Long reads save CPU on long bodies: 64, 256 and 400 KiB cost
/// 0.74, 0.58 and 0.46 of nginx's CPU per byte, more gains nothing.
const READ_BUFFER: usize = 400 * 1024;

/// A connection, ready for requests, and what drives it.
pub(super) enum Made {
    Http1(http1::SendRequest<Body>, BoxFuture<hyper::Result<()>>),
    Http2(http2::SendRequest<Body>, Arc<Share>, BoxFuture<hyper::Result<()>>),
}

/// Makes a connection to an origin; it holds its place for as long as it is open.
pub(super) type Connect = Box<dyn Fn(Uri, Place, Wanted) -> BoxFuture<Result<Made, BoxError>> + Send + Sync>;

/// Makes connections by `connector`, or by `http1` where only that is wanted, and gives them up when the server takes
/// nothing of what is written to it for as long as `write_timeout`: hyper looks at a body's limits only when there is
/// room for more of it.
pub(super) fn connecting<C>(connector: C, http1: C, limits: Limits, buffers: Buffers) -> Connect
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Unpin + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    Box::new(move |uri, place, wanted| {
        let connector = match wanted {
            Wanted::Any => connector.clone(),
            Wanted::Http1 => http1.clone(),
        };
        let buffers = buffers.clone();
        Box::pin(async move {
            let io = connector.oneshot(uri).await.map_err(Into::into)?;
            let is_http2 = io.connected().is_negotiated_h2();
            let (pool, host) = (place.pool.clone(), place.host);
            let io = LimitedReads::new(TokioIo::new(io), &buffers);
            let io = TokioIo::new(Placed { io, patience: Patience::new(limits.write_timeout), place });
            if !is_http2 {
                return Ok(speak_http1(io, limits.head).await?);
            }
            let (sender, share, driving) = driving::speak(io, limits.head, pool, host).await?;
            Ok(Made::Http2(sender, share, Box::pin(driving)))
        })
    })
}

async fn speak_http1<T>(io: T, head: HeadLimits) -> hyper::Result<Made>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(READ_BUFFER.max(head.http1_bytes())).max_header_size(head.http1_bytes());
    if let Some(fields) = head.http1_fields() {
        builder.max_headers(fields);
    }
    let (sender, connection) = builder.handshake(io).await?;
    Ok(Made::Http1(sender, Box::pin(connection)))
}

/// A connection that is being made. However that ends, the pool is told: who waits for it would wait in vain, and no
/// other would be made in its place.
pub(super) struct Making {
    pool: Arc<Pool>,
    host: usize,
    /// Until the connection has it.
    place: Option<Place>,
    is_over: bool,
}

impl Making {
    /// Of what [`super::places::Places`] wants to have made.
    pub(super) fn of(pool: Arc<Pool>, host: usize) -> Self {
        let place = Some(Place { pool: Arc::downgrade(&pool), host, stay: Arc::default() });
        Self { pool, host, place, is_over: false }
    }

    /// Makes it, hands it over, and drives it to its end. One deadline is over name look-up, TCP, `CONNECT` and TLS
    /// together: none of the parts has one for the whole.
    pub(super) async fn make(mut self) {
        let host = self.host;
        let (uri, wanted) = {
            let places = self.pool.lock();
            let host = places.host(host);
            (host.site.uri(None), host.wanted)
        };
        let place = self.place.take().expect("one connection is made");
        let stay = place.stay.clone();
        let made = timeout(self.pool.connect_timeout, (self.pool.connect)(uri, place, wanted)).await;
        match made {
            Ok(Ok(made)) => drive(host, stay, made, self.succeed()).await,
            Ok(Err(error)) => self.fail(&NoConnection::Failed(error.into())),
            Err(_) => self.fail(&NoConnection::TooLate),
        }
    }

    fn fail(&mut self, why: &NoConnection) {
        self.is_over = true;
        self.pool.with(|places| places.fail(self.host, why));
    }

    fn succeed(mut self) -> Arc<Pool> {
        self.is_over = true;
        self.pool.clone()
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.is_over {
            self.fail(&NoConnection::BrokenOff);
        }
    }
}

async fn drive(host: usize, stay: Arc<Stay>, made: Made, pool: Arc<Pool>) {
    let (now, weak) = (pool.clock.now(), Arc::downgrade(&pool));
    match made {
        Made::Http1(sender, driving) => {
            let link = pool.with(|places| {
                let dies = places.next_death(now);
                let (site, suspensions) = (places.host(host).site.clone(), places.suspensions());
                let link = Arc::new(Link::new(site, stay, dies, suspensions));
                places.add_line(host, Line { sender, link: link.clone() }, now);
                link
            });
            drop(pool);
            line::drive(driving, link, weak, host).await;
        }
        Made::Http2(sender, share, driving) => {
            pool.with(|places| {
                let dies = places.next_death(now);
                places.add_shared(host, Shared { sender, share, stay, since: now, dies });
            });
            drop(pool);
            if let Err(error) = driving.await {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection of HTTP/2 broke");
            }
        }
    }
}

/// A connection with its place among all, whose server must take what is written to it.
struct Placed<T> {
    io: LimitedReads<TokioIo<T>>,
    patience: Patience,
    place: Place,
}

impl<T: Read + Unpin> AsyncRead for Placed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        self.place.stay.note_long_buffer(self.io.reserved() > 0);
        read
    }
}

impl<T: Read + Write + Unpin> AsyncWrite for Placed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.patience.watch(cx, wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.patience.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.patience.watch(cx, shut)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.patience.watch(cx, wrote)
    }
}
