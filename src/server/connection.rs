//! One connection of a caller, and its limits.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Version};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::address::Stream;
use super::severable::{Severable, Severed};
use super::shell::{self, Shell};
use super::strict::Strict;
use super::tls::{self, Tls};
use super::{Greet, Handler, Phase, Settings};
use crate::net::body::BoxError;
use crate::net::http1::head;
use crate::net::patient::Patient;
use crate::net::peer::Peer;
use crate::net::unread::HTTP2_SEND_BUFFER;

/// The limits of a connection.
#[derive(Clone)]
pub(super) struct Limits {
    builder: auto::Builder<TokioExecutor>,
    head: head::Limits,
    first_request: Duration,
    write_timeout: Duration,
}

/// How long a connection that has just come may take for its first request when the sidecar stops.
const GRACE: Duration = Duration::from_millis(250);

/// An HTTP/2 connection without a sign of life is asked for one after this long, and closed after as long
/// again without an answer.
const HTTP2_PING: Duration = Duration::from_secs(30);

impl Limits {
    pub(super) fn of(settings: &Settings) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            // Without a timer the limit below would be silently off.
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_read_timeout)
            .max_headers(settings.max_headers)
            .max_buf_size(settings.max_header_bytes);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.max_concurrent_streams)
            .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(HTTP2_SEND_BUFFER)
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING);
        Self {
            builder,
            head: head::Limits { bytes: settings.max_header_bytes, headers: settings.max_headers },
            first_request: settings.header_read_timeout,
            write_timeout: settings.write_timeout,
        }
    }
}

/// Serves a connection to its end, by the handler that `host` makes for who is at the other end.
pub(super) async fn serve_stream<G: Greet>(
    stream: Stream,
    tls: Option<&Tls>,
    host: G,
    limits: &Limits,
    mut phases: watch::Receiver<Phase>,
) -> Result<(), BoxError> {
    let stream = match stream {
        Stream::Tcp(stream) => {
            // Answers are small and written whole; waiting for more to send would only delay them.
            stream.set_nodelay(true)?;
            tokio::net::TcpStream::from_std(stream)?
        }
        Stream::Unix(stream) => {
            let stream = tokio::net::UnixStream::from_std(stream)?;
            let peer = Peer { uid: Some(stream.peer_cred()?.uid()), ..Peer::default() };
            return serve(stream, shell::wrap(host.greet(peer)), limits, phases, &Severed::default()).await;
        }
    };
    let severed = Severed::default();
    let stream = Severable::new(stream, severed.clone());
    let Some(tls) = tls else {
        return serve(stream, shell::wrap(host.greet(Peer::default())), limits, phases, &severed).await;
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(limits.first_request, tls.acceptor().accept(stream)) => shaken,
        () = stopping(&mut phases) => return Ok(()),
    };
    let Ok(Ok(stream)) = shaken else {
        // It has a counter of its own, and is no error of HTTP.
        tls.counts.failed.inc();
        return Ok(());
    };
    let peer = tls::peer(stream.get_ref().1);
    serve(stream, shell::wrap(host.greet(peer)), limits, phases, &severed).await
}

/// Ends when the sidecar stops and a handshake that is under way has had its grace.
async fn stopping(phases: &mut watch::Receiver<Phase>) {
    let _ = phases.wait_for(|phase| *phase != Phase::Serving).await;
    tokio::time::sleep(GRACE).await;
}

pub(super) async fn serve<H: Handler>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    shell: Shell<H>,
    limits: &Limits,
    mut phases: watch::Receiver<Phase>,
    severed: &Severed,
) -> Result<(), BoxError> {
    let io = Strict::new(Patient::new(io, limits.write_timeout), limits.head);
    let (requests, is_old) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let is_http2 = Arc::new(AtomicBool::new(false));
    let service = hyper::service::service_fn({
        let (requests, is_old, is_http2) = (requests.clone(), is_old.clone(), is_http2.clone());
        let finding = io.finding();
        move |mut request: Request<Incoming>| {
            let number = requests.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(fault) = finding.of(number) {
                request.extensions_mut().insert(fault);
            }
            match request.version() {
                Version::HTTP_10 => is_old.store(true, Ordering::Relaxed),
                Version::HTTP_2 => is_http2.store(true, Ordering::Relaxed),
                _ => {}
            }
            shell.answer(request)
        }
    });
    let has_asked = || requests.load(Ordering::Relaxed) > 0;
    let connection = limits.builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    // hyper begins to watch the time only when it knows the protocol: a caller that connects and says
    // nothing would stay for ever.
    let silence = tokio::time::sleep(limits.first_request);
    tokio::pin!(silence);
    let mut asked_before = 0;
    let mut draining = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if ended.is_err() && is_old.load(Ordering::Relaxed) {
                    severed.sever();
                }
                return ended;
            }
            () = silence.as_mut(), if !silence.is_elapsed() => {
                if !has_asked() {
                    if draining {
                        return Ok(());
                    }
                    return Err(io::Error::from(io::ErrorKind::TimedOut).into());
                }
                // hyper ends a kept connection of HTTP/1 by itself. One of HTTP/2 lives as long as it answers
                // pings; without a new request for this long it may end once those under way have.
                let asked = requests.load(Ordering::Relaxed);
                if is_http2.load(Ordering::Relaxed) && !draining {
                    if asked == asked_before {
                        connection.as_mut().graceful_shutdown();
                    } else {
                        asked_before = asked;
                        silence.as_mut().reset(crate::clock::Clock::system().now() + limits.first_request);
                    }
                }
            }
            phase = phases.wait_for(|phase| *phase == Phase::Over || (!draining && *phase == Phase::Draining)) => {
                match phase.map(|phase| *phase) {
                    Ok(Phase::Draining) => {
                        draining = true;
                        connection.as_mut().graceful_shutdown();
                        if !has_asked() {
                            // Half a head, or nothing: hyper would wait for the rest. A whole one that lies
                            // unread in the socket is answered within the grace.
                            silence.as_mut().reset(crate::clock::Clock::system().now() + GRACE);
                        }
                    }
                    _ => {
                        if is_old.load(Ordering::Relaxed) {
                            severed.sever();
                        }
                        return Ok(());
                    }
                }
            }
        }
    }
}
