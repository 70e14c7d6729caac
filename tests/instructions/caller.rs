//! Who asks: over one connection, and gets the head of each answer as a text.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::scene::PATIENCE;

/// A connection of a caller.
pub(crate) enum Caller {
    Http1(TcpStream),
    Http2(Runtime, SendRequest<Empty<Bytes>>),
}

/// What every request says.
const USUAL: [(&str, &str); 3] = [
    ("user-agent", "python-requests/2.32"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate"),
];

impl Caller {
    pub(crate) fn connect(version: Version, address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        if version == Version::HTTP_11 {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            return Self::Http1(stream);
        }
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            stream.set_nonblocking(true).unwrap();
            let io = TokioIo::new(tokio::net::TcpStream::from_std(stream).unwrap());
            let (sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self::Http2(runtime, sender)
    }

    /// The head of the answer; its body is read to the end.
    pub(crate) fn ask(&mut self, path: &str, more: Option<&(&str, String)>) -> String {
        let headers = USUAL.iter().copied().chain(more.map(|(name, value)| (*name, value.as_str())));
        match self {
            Self::Http1(stream) => {
                let mut request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n");
                headers.for_each(|(name, value)| request.extend([name, ": ", value, "\r\n"]));
                stream.write_all((request + "\r\n").as_bytes()).unwrap();
                read_answer(stream)
            }
            Self::Http2(runtime, sender) => {
                let request = Request::get(format!("http://localhost{path}"));
                let request = headers.fold(request, |request, (name, value)| request.header(name, value));
                let exchange = async {
                    let answer = sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap();
                    let (head, body) = answer.into_parts();
                    body.collect().await.unwrap();
                    let mut text = format!("{:?} {}\r\n", head.version, head.status);
                    for (name, value) in &head.headers {
                        text.extend([name.as_str(), ": ", value.to_str().unwrap(), "\r\n"]);
                    }
                    text
                };
                runtime.block_on(async { timeout(PATIENCE, exchange).await }).unwrap()
            }
        }
    }
}

fn read_answer(stream: &mut TcpStream) -> String {
    let (mut read, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "the connection was closed");
        read.extend_from_slice(&piece[..length]);
        if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end + 4]).into_owned();
            let body: usize = match header(&head, "content-length") {
                Some(length) if !head.starts_with("HTTP/1.1 304 ") => length.parse().unwrap(),
                _ => 0,
            };
            if read.len() >= head.len() + body {
                return head;
            }
        }
    }
}

/// A header of a head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
