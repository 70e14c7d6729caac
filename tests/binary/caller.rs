//! Who talks to the sidecar: well-behaved callers of HTTP/1.1 and HTTP/2, and one who writes bytes by hand.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use zoho_sidecar::net::body::Body;

use crate::within;

/// What a caller got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = within("the body of an answer", body.collect()).await.unwrap().to_bytes();
        Self { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A GET on a connection of its own.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, request("GET", path)).await
}

/// A request on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, request: Request<Body>) -> Answer {
    Answer::read(open(tcp(address).await, request).await).await
}

/// A GET by a unix socket.
pub(crate) async fn get_by_unix_socket(path: &std::path::Path, target: &str) -> Answer {
    let stream = within("a connection", UnixStream::connect(path)).await.unwrap();
    Answer::read(open(stream, request("GET", target)).await).await
}

/// A request whose answer is read by whoever asked.
pub(crate) async fn open(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Body>,
) -> Response<Incoming> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    within("an answer", sender.send_request(request)).await.unwrap()
}

/// A connection to a TCP address.
pub(crate) async fn tcp(address: SocketAddr) -> TcpStream {
    within("a connection", TcpStream::connect(address)).await.unwrap()
}

/// A request with a host, as every caller sends it.
pub(crate) fn request(method: &str, path: &str) -> Request<Body> {
    with_headers(method, path, &[("host", "localhost")])
}

/// A request with these headers.
pub(crate) fn with_headers(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    let named = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    named.body(Body::empty()).unwrap()
}

/// A connection of HTTP/2 with prior knowledge.
#[derive(Clone)]
pub(crate) struct Http2(http2::SendRequest<Body>, SocketAddr);

impl Http2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let io = TokioIo::new(tcp(address).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Self(sender, address)
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let request = with_headers("GET", &format!("http://{}{path}", self.1), &[]);
        Answer::read(within("an answer", self.0.send_request(request)).await.unwrap()).await
    }
}

/// A connection on which bytes are written by hand.
pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(tcp(address).await)
    }

    /// A new connection on which this was asked for, its answer not yet read.
    pub(crate) async fn asking(address: SocketAddr, target: &str) -> Self {
        let mut wire = Self::connect(address).await;
        wire.say(&format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        wire
    }

    pub(crate) async fn say(&mut self, bytes: &str) {
        within("sending", self.0.write_all(bytes.as_bytes())).await.unwrap();
    }

    /// All that comes until this has come.
    pub(crate) async fn hear(&mut self, end: &str) -> String {
        heard_on(&mut self.0, end).await
    }

    /// The same where the other side may have closed the connection.
    pub(crate) async fn try_say(&mut self, bytes: &str) -> std::io::Result<()> {
        within("sending", self.0.write_all(bytes.as_bytes())).await
    }

    /// An answer whose length is told, read while this is said again and again.
    pub(crate) async fn hear_answer_while_saying(&mut self, bytes: &str) -> String {
        let (mut reading, mut writing) = self.0.split();
        let saying = async {
            while writing.write_all(bytes.as_bytes()).await.is_ok() {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = answer_on(&mut reading) => answer,
            () = saying => unreachable!("it waits for ever"),
        }
    }

    /// An answer whose length is told.
    pub(crate) async fn hear_answer(&mut self) -> String {
        answer_on(&mut self.0).await
    }

    /// All that comes until the other side closes the connection.
    pub(crate) async fn hear_all(mut self) -> String {
        let mut heard = Vec::new();
        // What has come counts, also where a reset follows it.
        let _ = within("the end of the connection", self.0.read_to_end(&mut heard)).await;
        String::from_utf8(heard).unwrap()
    }
}

async fn heard_on(reading: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(end.as_bytes()) {
        match within(end, reading.read_u8()).await {
            Ok(byte) => heard.push(byte),
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&heard)),
        }
    }
    String::from_utf8(heard).unwrap()
}

async fn answer_on(reading: &mut (impl AsyncRead + Unpin)) -> String {
    let mut heard = heard_on(reading, "\r\n\r\n").await;
    let length = heard.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap_or("0").parse().unwrap()];
    within("the body of an answer", reading.read_exact(&mut body)).await.unwrap();
    heard.push_str(std::str::from_utf8(&body).unwrap());
    heard
}
