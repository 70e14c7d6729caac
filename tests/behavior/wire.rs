//! Peers that write bytes by hand, in memory: callers on this side of the sidecar, and Zoho's API host on the
//! other. Time is paused on both.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::client::conn::http2;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tower_service::Service;
use zoho_sidecar::admin::Access;
use zoho_sidecar::emulator::Emulator;
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::buffers::Buffers;
use zoho_sidecar::net::client::{HttpClient, Settings};
use zoho_sidecar::net::egress::Egress;
use zoho_sidecar::net::transport::{BoxFuture, Transport, TransportError};

use crate::world::{Making, World};

/// What one side may have written before the other reads.
const BUFFER: usize = 64 * 1024;

/// Longer than every limit of a connection that is not the test's.
pub const LONG: Duration = Duration::from_secs(600);

/// A peer that writes bytes by hand.
pub struct Peer(pub DuplexStream);

impl Peer {
    /// Writes, as far as the other side takes it.
    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next head, up to the empty line after it; `None` if the connection ends before that.
    pub async fn head(&mut self) -> Option<String> {
        self.up_to(b"\r\n\r\n").await
    }

    /// All that comes up to this.
    pub async fn up_to(&mut self, end: &[u8]) -> Option<String> {
        let mut heard = Vec::new();
        while !heard.ends_with(end) {
            heard.push(self.0.read_u8().await.ok()?);
        }
        Some(String::from_utf8_lossy(&heard).into_owned())
    }

    /// A whole answer with a length: its head.
    pub async fn answer(&mut self) -> Option<String> {
        self.head_and_body().await.map(|(head, _)| head)
    }

    /// The same with its body.
    pub async fn whole_answer(&mut self) -> Option<String> {
        self.head_and_body().await.map(|(head, body)| head + &body)
    }

    async fn head_and_body(&mut self) -> Option<(String, String)> {
        let head = self.head().await?;
        let length = match head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
            Some(length) => length.parse().expect("a length is a number"),
            None if head.starts_with("HTTP/1.1 304") => 0,
            None => panic!("it has no length: {head}"),
        };
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        Some((head, String::from_utf8_lossy(&body).into_owned()))
    }

    /// All that comes until the other side ends the connection.
    pub async fn rest(&mut self) -> String {
        let mut heard = Vec::new();
        let _ = self.0.read_to_end(&mut heard).await;
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// Says nothing more, and stays.
    pub async fn stays(mut self) {
        let _ = self.rest().await;
        std::future::pending::<()>().await;
    }
}

impl World {
    /// A connection of a caller.
    pub fn connect(&self) -> Peer {
        let (caller, ours) = duplex(BUFFER);
        let (handler, settings) = (self.handler(), self.server().clone());
        tokio::spawn(async move { zoho_sidecar::server::serve_connection(ours, handler, &settings).await });
        Peer(caller)
    }

    /// A connection to the admin listener.
    pub fn connect_to_admin(&self) -> Peer {
        let (asker, ours) = duplex(BUFFER);
        let access = Access { token: None, is_local: true };
        tokio::spawn(zoho_sidecar::admin::serve_connection(ours, self.admin(), access));
        Peer(asker)
    }

    /// A connection of a caller over HTTP/2.
    pub async fn connect_by_http2(&self) -> http2::SendRequest<Body> {
        let io = TokioIo::new(self.connect().0);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// What a caller hears on a connection of its own, to the connection's end, who asks for this path.
    pub async fn heard_by(&self, version: &str, path: &str) -> String {
        let mut caller = self.connect();
        caller.say(format!("GET {path} {version}\r\nhost: sidecar\r\nconnection: close\r\n\r\n")).await;
        caller.rest().await
    }
}

impl Making {
    /// Lets this function play Zoho's API host: it is given each connection with its number, from 0. Tokens
    /// come from the emulator all the same.
    pub fn api(self, speak: impl Script) -> Self {
        self.host(|uri| uri.path() != TOKENS, false, speak)
    }

    /// The same over HTTP/2.
    pub fn api_by_http2(self, speak: impl Script) -> Self {
        self.host(|uri| uri.path() != TOKENS, true, speak)
    }

    /// Lets this function play the accounts server of the tenant acme, which is in the US; all else is the
    /// emulator.
    pub fn accounts(self, speak: impl Script) -> Self {
        self.host(|uri| uri.path() == TOKENS && uri.host() == Some("accounts.zoho.com"), false, speak)
    }

    fn host(self, is_by_hand: fn(&Uri) -> bool, http2: bool, speak: impl Script) -> Self {
        let (made, mut connections) = unbounded_channel();
        tokio::spawn(async move {
            let mut number = 0;
            while let Some(connection) = connections.recv().await {
                tokio::spawn(speak(number, Peer(connection)));
                number += 1;
            }
        });
        let settings = Settings {
            connect_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(60),
            max_connections: 100,
            max_connections_per_host: 100,
            max_connection_age: Duration::from_mins(10),
            pool_idle_timeout: Duration::from_secs(25),
            pool_max_idle_per_host: 32,
            max_response_headers: 256,
            max_response_header_bytes: 64 * 1024,
            ca_file: None,
            egress: Egress::direct(),
            buffers: Buffers::new(1 << 20),
        };
        let by_hand =
            HttpClient::over(Host { made: made.clone(), http2 }, Host { made, http2: false }, &settings);
        self.around(move |emulator| Arc::new(Partly { is_by_hand, by_hand, emulator }))
    }
}

const TOKENS: &str = "/oauth/v2/token";

/// What a host does on a connection.
pub trait Script: Fn(usize, Peer) -> BoxFuture<()> + Send + 'static {}

impl<S: Fn(usize, Peer) -> BoxFuture<()> + Send + 'static> Script for S {}

/// Some hosts speak by hand, the others are the emulator.
struct Partly {
    is_by_hand: fn(&Uri) -> bool,
    by_hand: HttpClient,
    emulator: Emulator,
}

impl Transport for Partly {
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        if (self.is_by_hand)(request.uri()) {
            self.by_hand.send(request)
        } else {
            self.emulator.send(request)
        }
    }
}

/// Makes connections to a host in memory.
#[derive(Clone)]
pub struct Host {
    made: UnboundedSender<DuplexStream>,
    http2: bool,
}

impl Service<Uri> for Host {
    type Response = Line;
    type Error = Infallible;
    type Future = Ready<Result<Line, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (ours, theirs) = duplex(BUFFER);
        self.made.send(theirs).unwrap();
        ready(Ok(Line(TokioIo::new(ours), self.http2)))
    }
}

/// A connection to a host in memory, and whether HTTP/2 was agreed on.
pub struct Line(TokioIo<DuplexStream>, bool);

impl Connection for Line {
    fn connected(&self) -> Connected {
        if self.1 { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
