//! Two servers that know one answer, and a relay that knows none: what HTTP costs at all, with hyper and without. They
//! run as processes of their own, which is this program again.

mod relay;

use std::convert::Infallible;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::header::HeaderMap;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::load::poll::Poll;
use crate::origin;

/// Serves until it is killed: `hyper`, `relay` or `raw`, over `1` or `2`, on a port, and with this origin.
pub(crate) fn serve(arguments: &[String]) -> Result<()> {
    let [kind, version, port, origin] = arguments else {
        bail!("a ceiling is a kind, a version, a port and the address of an origin")
    };
    let listener =
        TcpListener::bind(("127.0.0.1", port.parse::<u16>()?)).context("a ceiling cannot listen")?;
    match kind.as_str() {
        "raw" => raw(&listener),
        "relay" => relay::relay(listener, version == "2", origin),
        _ => bare_hyper(listener, version == "2"),
    }
}

/// hyper on one thread, without a router, a timer or a log.
fn bare_hyper(listener: TcpListener, http2: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    listener.set_nonblocking(true)?;
    let (head, body) = (origin::dress(), origin::count());
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (head, body) = (head.clone(), body.clone());
            let service = service_fn(move |_: Request<Incoming>| {
                std::future::ready(Ok::<_, Infallible>(constant(&head, &body)))
            });
            tokio::spawn(async move {
                let io = TokioIo::new(stream);
                // How a connection ends is the business of whoever made it.
                let _ = if http2 {
                    http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
                } else {
                    http1::Builder::new().serve_connection(io, service).await
                };
            });
        }
    })
}

fn constant(head: &HeaderMap, body: &Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.clone()));
    *response.headers_mut() = head.clone();
    response
}

/// Sockets and nothing else: whatever ends like a head is answered with the same bytes.
fn raw(listener: &TcpListener) -> Result<()> {
    let answer = raw_answer();
    listener.set_nonblocking(true)?;
    let poll = Poll::new()?;
    poll.add(listener, 0)?;
    let mut streams = Vec::new();
    let mut scratch = vec![0; 16 << 10];
    let mut ready = Vec::with_capacity(256);
    loop {
        poll.wait(&mut ready, None)?;
        for &number in &ready {
            if number == 0 {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                poll.add(&stream, streams.len() as u64 + 1)?;
                streams.push(Some(stream));
                continue;
            }
            let at = usize::try_from(number)? - 1;
            let Some(stream) = &mut streams[at] else { continue };
            match stream.read(&mut scratch) {
                Ok(read) if read > 0 => {
                    if scratch[..read].ends_with(b"\r\n\r\n") {
                        stream.write_all(&answer)?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => streams[at] = None, // closed, and with it gone from the poll
            }
        }
    }
}

fn raw_answer() -> Vec<u8> {
    let body = origin::count();
    let mut answer = b"HTTP/1.1 200 OK\r\n".to_vec();
    for (name, value) in &origin::dress() {
        answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    answer.extend(format!("content-length: {}\r\n", body.len()).into_bytes());
    answer.extend_from_slice(b"date: Thu, 01 Feb 2024 00:00:00 GMT\r\n\r\n");
    answer.extend_from_slice(&body);
    answer
}
