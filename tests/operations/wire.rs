//! HTTP/1.1 by hand (RFC 9112), so that nothing is hidden by a library: the caller, and a Zoho that records.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::exchange::{Arrived, Digesting, Headers, Message};
use crate::patience::within;

/// The largest piece that is written or read at once.
const PIECE: usize = 64 * 1024;

pub(crate) const TOKEN: &str = "1000.made-up-of-zoho.00000000";

/// How a body is sent.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// With its length told, by the headers that go along.
    Bytes(Bytes),
    /// In chunks.
    Chunked(Bytes),
    /// So many bytes of [`pattern`], with their length told, or in chunks.
    Pattern { size: usize, chunked: bool },
}

/// A connection, and what was read of it too early.
pub(crate) struct Connection(BufReader<TcpStream>);

/// A piece of the bytes that long bodies are made of.
pub(crate) fn pattern() -> Bytes {
    // 251 is no divisor of anything that the bytes pass through, so that a shift shows.
    (0..=250_u8).cycle().take(251 * 256).collect()
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    fn over(stream: TcpStream) -> Self {
        // Head and body are written one after the other; neither waits for an acknowledgement.
        stream.set_nodelay(true).unwrap();
        Self(BufReader::with_capacity(PIECE, stream))
    }

    /// Asks, and reads the answer.
    pub(crate) async fn ask(&mut self, message: &Message, payload: &Payload) -> Arrived {
        let start = format!("{} HTTP/1.1", message.start);
        within("sending a request", self.send(&start, &message.headers, payload)).await;
        let about = &message.start;
        let (start, headers) =
            within(about, self.head()).await.unwrap_or_else(|| panic!("{about}: no answer"));
        let status = start.split(' ').nth(1).unwrap().to_owned();
        let is_bodiless = ["204", "304"].contains(&status.as_str());
        let body = within(about, self.body(&headers, is_bodiless)).await;
        Arrived { start: status, headers, body: body.finish() }
    }

    async fn send(&mut self, start: &str, headers: &Headers, payload: &Payload) {
        let mut head = format!("{start}\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        let stream = self.0.get_mut();
        match payload {
            Payload::Chunked(_) | Payload::Pattern { chunked: true, .. } => {
                head.push_str("transfer-encoding: chunked\r\n");
            }
            Payload::Pattern { size, .. } => write!(head, "content-length: {size}\r\n").unwrap(),
            Payload::Bytes(_) => {}
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        match payload {
            Payload::Bytes(bytes) => stream.write_all(bytes).await.unwrap(),
            Payload::Chunked(bytes) => {
                for piece in bytes.chunks(100) {
                    chunk(stream, piece).await;
                }
                stream.write_all(b"0\r\n\r\n").await.unwrap();
            }
            Payload::Pattern { size, chunked } => {
                let piece = pattern();
                for at in (0..*size).step_by(piece.len()) {
                    let piece = &piece[..piece.len().min(size - at)];
                    if *chunked { chunk(stream, piece).await } else { stream.write_all(piece).await.unwrap() }
                }
                stream.write_all(if *chunked { b"0\r\n\r\n" } else { b"" }).await.unwrap();
            }
        }
    }

    /// The first line and the headers; `None` if the other side has closed.
    async fn head(&mut self) -> Option<(String, Headers)> {
        let start = self.line().await.filter(|line| !line.is_empty())?;
        let mut headers = Headers::new();
        while let Some(line) = self.line().await.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Some((start, headers))
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).await.ok().filter(|read| *read > 0)?;
        let line = line.strip_suffix(b"\r\n").expect("lines end with CR LF");
        Some(String::from_utf8(line.to_vec()).unwrap())
    }

    async fn body(&mut self, headers: &Headers, is_bodiless: bool) -> Digesting {
        let mut digesting = Digesting::new();
        let value = |wanted: &str| {
            headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.as_str())
        };
        match (value("transfer-encoding"), value("content-length")) {
            _ if is_bodiless => {}
            (Some(coding), None) => {
                assert_eq!(coding, "chunked");
                loop {
                    let size = usize::from_str_radix(&self.line().await.unwrap(), 16).unwrap();
                    self.take(size, &mut digesting).await;
                    assert_eq!(self.line().await.as_deref(), Some(""), "a chunk ends where it says");
                    if size == 0 {
                        break;
                    }
                }
            }
            (None, Some(length)) => self.take(length.parse().unwrap(), &mut digesting).await,
            (None, None) => {}
            (Some(_), Some(_)) => panic!("length and chunks: {headers:?}"),
        }
        digesting
    }

    async fn take(&mut self, mut size: usize, digesting: &mut Digesting) {
        while size > 0 {
            let read = self.0.fill_buf().await.unwrap();
            assert!(!read.is_empty(), "the body breaks off");
            let length = read.len().min(size);
            digesting.add(&read[..length]);
            self.0.consume(length);
            size -= length;
        }
    }
}

async fn chunk(stream: &mut TcpStream, piece: &[u8]) {
    stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.unwrap();
    stream.write_all(piece).await.unwrap();
    stream.write_all(b"\r\n").await.unwrap();
}

/// A host of Zoho's on a free port: it answers what it is told to, and remembers what it was asked. Requests
/// for a token it answers with one.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    record: Arc<Mutex<Record>>,
}

#[derive(Default)]
struct Record {
    answer: Option<(Message, Payload)>,
    seen: Vec<Arrived>,
}

impl Host {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let host = Self { address: listener.local_addr().unwrap(), record: Arc::default() };
        let serving = host.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(Connection::over(stream)));
            }
        });
        host
    }

    pub(crate) fn will_answer(&self, answer: Message, payload: Payload) {
        self.record.lock().unwrap().answer = Some((answer, payload));
    }

    /// What came since the last time.
    pub(crate) fn seen(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.record.lock().unwrap().seen)
    }

    async fn serve(self, mut connection: Connection) {
        while let Some((start, headers)) = connection.head().await {
            let body = connection.body(&headers, false).await.finish();
            let start = start.strip_suffix(" HTTP/1.1").unwrap().to_owned();
            if start.starts_with("POST /oauth/") {
                let (answer, payload) = self.token();
                connection.send("HTTP/1.1 200 OK", &answer, &payload).await;
                continue;
            }
            let (answer, payload) = {
                let mut record = self.record.lock().unwrap();
                record.seen.push(Arrived { start, headers, body });
                record.answer.clone().unwrap()
            };
            let start = format!("HTTP/1.1 {} Some", answer.start);
            connection.send(&start, &answer.headers, &payload).await;
        }
    }

    fn token(&self) -> (Headers, Payload) {
        let api = self.address;
        let token = format!(
            r#"{{"access_token":"{TOKEN}","expires_in":3600,"api_domain":"http://{api}","token_type":"Bearer"}}"#
        );
        let length = ("content-length".to_owned(), token.len().to_string());
        (vec![length], Payload::Bytes(token.into()))
    }
}
