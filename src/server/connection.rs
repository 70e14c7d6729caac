//! One connection of a caller, and its limits.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::watch;

use super::address::Stream;
use super::conversation::serve;
use super::severable::{Severable, Severed};
use super::tls::{self, Tls};
use super::{Greet, Phase, Settings};
use crate::net::body::BoxError;
use crate::net::http1::head;
use crate::net::peer::Peer;
use crate::net::transport::BoxFuture;
use crate::net::unread::HTTP2_SEND_BUFFER;

/// The limits of a connection.
pub(super) struct Limits {
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    pub(super) head: head::Limits,
    /// How long there may be no request.
    pub(super) first_request: Duration,
    pub(super) write_timeout: Duration,
}

/// How long a connection that has just come may take for its first request when the sidecar stops.
const GRACE: Duration = Duration::from_millis(250);

/// An HTTP/2 connection without a sign of life is asked for one after this long, and closed after as long
/// again without an answer.
const HTTP2_PING: Duration = Duration::from_secs(30);

/// How much of a long body is read ahead at most on a connection of HTTP/1.1. hyper begins with 8 KiB and doubles as
/// long as reads fill them; that a head is not too long is seen to before. Uploads cost 0.7 times as much CPU per byte
/// with 256 KiB as with 32 KiB, and no less with more.
const READ_BUFFER: usize = 256 * 1024;

impl Limits {
    pub(super) fn of(settings: &Settings) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            // A head is whole before hyper gets it, and its time is watched over from outside.
            .header_read_timeout(None)
            .max_headers(settings.max_headers)
            .max_buf_size(settings.max_header_bytes.max(READ_BUFFER));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.max_concurrent_streams)
            .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(HTTP2_SEND_BUFFER)
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING);
        Self {
            http1,
            http2,
            head: head::Limits { bytes: settings.max_header_bytes, headers: settings.max_headers },
            first_request: settings.header_read_timeout,
            write_timeout: settings.write_timeout,
        }
    }
}

/// Serves a connection to its end, by the handler that `host` makes for who is at the other end. Each way of serving is
/// in a box of its own, so that a connection has only as much room as its own way needs: TLS needs several times what a
/// plain one at rest does.
pub(super) fn serve_stream<G: Greet>(
    stream: Stream,
    tls: Option<Arc<Tls>>,
    host: &G,
    limits: Arc<Limits>,
    phases: watch::Receiver<Phase>,
) -> io::Result<BoxFuture<Result<(), BoxError>>> {
    let stream = match stream {
        Stream::Tcp(stream) => {
            // Answers are small and written whole; waiting for more to send would only delay them.
            stream.set_nodelay(true)?;
            tokio::net::TcpStream::from_std(stream)?
        }
        Stream::Unix(stream) => {
            let stream = tokio::net::UnixStream::from_std(stream)?;
            let peer = Peer { uid: Some(stream.peer_cred()?.uid()), ..Peer::default() };
            return Ok(Box::pin(serve(stream, host.greet(peer), limits, phases, Severed::default())));
        }
    };
    let severed = Severed::default();
    let stream = Severable::new(stream, severed.clone());
    Ok(match tls {
        None => Box::pin(serve(stream, host.greet(Peer::default()), limits, phases, severed)),
        Some(tls) => Box::pin(serve_tls(stream, tls, host.clone(), limits, phases, severed)),
    })
}

async fn serve_tls<G: Greet>(
    stream: Severable,
    tls: Arc<Tls>,
    host: G,
    limits: Arc<Limits>,
    mut phases: watch::Receiver<Phase>,
    severed: Severed,
) -> Result<(), BoxError> {
    let handshake = Box::pin(tokio::time::timeout(limits.first_request, tls.acceptor().accept(stream)));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = stopping(&mut phases) => return Ok(()),
    };
    let Ok(Ok(stream)) = shaken else {
        // It has a counter of its own, and is no error of HTTP.
        tls.counts.failed.inc();
        return Ok(());
    };
    let peer = tls::peer(stream.get_ref().1);
    Box::pin(serve(stream, host.greet(peer), limits, phases, severed)).await
}

/// Ends when the sidecar stops and a handshake that is under way has had its grace.
async fn stopping(phases: &mut watch::Receiver<Phase>) {
    let _ = phases.wait_for(|phase| *phase != Phase::Serving).await;
    tokio::time::sleep(GRACE).await;
}
