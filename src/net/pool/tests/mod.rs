//! The pool over servers in memory that do what a test has them do; time is paused.

mod cancelling;
mod capacity;
mod heads;
mod lines;
mod making;
mod places;
mod scarcity;
mod server;
mod streams;
mod suspension;
mod unprocessed;
mod uploads;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_service::Service;

use super::{HeadLimits, Limits, Pool, exchange};
use crate::clock::Clock;
use crate::net::body::Body;
use crate::net::buffers::Buffers;
use crate::net::transport::{BoxFuture, TransportError};
use crate::supervisor::Supervisor;

const HOST: &str = "http://127.0.0.1:9400";
const TLS_HOST: &str = "https://www.zohoapis.test";

const LIMITS: Limits = Limits {
    connect_timeout: Duration::from_secs(5),
    write_timeout: Duration::from_secs(30),
    idle_timeout: Duration::from_secs(25),
    max_idle: 4,
    max_age: Duration::from_mins(10),
    head: HeadLimits { fields: 256, bytes: 64 * 1024 },
    most: 100,
    most_per_host: 100,
};

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// Long enough for all that needs no time to happen.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// A pool, and the servers that it knocks at.
struct Street {
    pool: Arc<Pool>,
    knocks: UnboundedReceiver<Knock>,
}

/// Somebody wants a connection.
struct Knock {
    uri: Uri,
    opens: oneshot::Sender<DuplexStream>,
}

impl Street {
    fn of(limits: Limits) -> Self {
        Self::speaking(limits, false)
    }

    fn speaking(limits: Limits, is_http2: bool) -> Self {
        Self::under(Clock::system(), limits, is_http2)
    }

    fn under(clock: Clock, limits: Limits, is_http2: bool) -> Self {
        let (sender, knocks) = unbounded_channel();
        let doors = |is_http2| Doors { knocks: sender.clone(), is_http2 };
        let (http1, buffers) = (doors(false), Buffers::new(1 << 20));
        let pool = Pool::new(doors(is_http2), http1, limits, &buffers, &Supervisor::unobserved(), clock);
        Self { pool, knocks }
    }

    /// Begins to ask for the root of this host.
    fn ask(&self, host: &str) -> Asking {
        self.send(Request::get(format!("{host}/")).body(Body::empty()).unwrap())
    }

    fn send(&self, request: Request<Body>) -> Asking {
        Asking(tokio::spawn(exchange(&self.pool, request)))
    }

    /// The next knock.
    async fn knock(&mut self) -> Knock {
        settle().await;
        self.knocks.try_recv().expect("somebody knocks")
    }

    /// The next connection.
    async fn connection(&mut self) -> Wire {
        self.knock().await.open()
    }

    async fn nobody_knocks(&mut self) -> bool {
        settle().await;
        self.knocks.try_recv().is_err()
    }

    /// Asks, and lets the server on `wire` answer.
    async fn exchange_on(&mut self, wire: &mut Wire) {
        let asking = self.ask(HOST);
        wire.answer(FINE).await;
        asking.text().await;
    }

    /// A connection of HTTP/1 that has carried an answer and rests.
    async fn rested(&mut self) -> Wire {
        let asking = self.ask(HOST);
        let mut wire = self.connection().await;
        wire.answer(FINE).await;
        asking.text().await;
        settle().await;
        wire
    }

    /// So many connections of HTTP/1 that have carried an answer.
    async fn all_rested(&mut self, count: usize) -> Vec<Wire> {
        let asking: Vec<_> = (0..count).map(|_| self.ask(HOST)).collect();
        let mut wires = Vec::new();
        for _ in 0..count {
            wires.push(self.connection().await);
        }
        settle().await;
        for wire in &mut wires {
            wire.answer(FINE).await;
        }
        for asking in asking {
            asking.text().await;
        }
        settle().await;
        wires
    }

    /// How many connections there are by the pool's count, and how many wait for one.
    fn counts(&self) -> (usize, usize) {
        let places = self.pool.lock();
        (places.open(), places.waiting())
    }
}

impl Knock {
    fn open(self) -> Wire {
        let (ours, theirs) = duplex(64 * 1024);
        // Who gave up waiting does not take it.
        let _ = self.opens.send(ours);
        Wire(theirs)
    }
}

/// A request under way.
struct Asking(JoinHandle<Result<Response<Body>, TransportError>>);

impl Asking {
    async fn head(self) -> Result<Response<Body>, TransportError> {
        tokio::time::timeout(LIMITS.max_age * 10, self.0).await.expect("it comes to an end").unwrap()
    }

    async fn text(self) -> Bytes {
        self.head().await.unwrap().into_body().collect().await.unwrap().to_bytes()
    }

    async fn error(self) -> TransportError {
        self.head().await.unwrap_err()
    }

    async fn leave(self) {
        self.0.abort();
        settle().await;
    }
}

/// A server's side of a connection.
struct Wire(DuplexStream);

impl Wire {
    /// Reads the next head, to its end; whether there is one now.
    async fn hears(&mut self) -> bool {
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            match tokio::time::timeout(Duration::from_millis(1), self.0.read_u8()).await {
                Ok(Ok(byte)) => heard.push(byte),
                _ => return false,
            }
        }
        true
    }

    async fn say(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Reads a head and says this.
    async fn answer(&mut self, bytes: &str) {
        assert!(self.hears().await, "a request comes");
        self.say(bytes).await;
        settle().await;
    }

    /// Whether the other side has ended the connection.
    async fn has_ended(&mut self) -> bool {
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_millis(1), self.0.read_to_end(&mut rest)).await.is_ok()
    }
}

#[derive(Clone)]
struct Doors {
    knocks: UnboundedSender<Knock>,
    is_http2: bool,
}

impl Service<Uri> for Doors {
    type Response = Io;
    type Error = io::Error;
    type Future = BoxFuture<io::Result<Io>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (opens, opened) = oneshot::channel();
        let is_http2 = self.is_http2 && uri.scheme() == Some(&Scheme::HTTPS);
        self.knocks.send(Knock { uri, opens }).unwrap();
        Box::pin(async move {
            let stream = opened.await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Io(TokioIo::new(stream), is_http2))
        })
    }
}

/// The pool's side of a connection, and whether HTTP/2 was agreed on.
struct Io(TokioIo<DuplexStream>, bool);

impl Connection for Io {
    fn connected(&self) -> Connected {
        if self.1 { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
