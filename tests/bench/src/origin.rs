//! Whom all peers ask: a Zoho so small that it is never what is measured. It lives on a thread of this process.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::zeros::Zeros;

/// The origin, its counters and its levers.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Requests that came, other than for tokens.
    pub(crate) calls: AtomicU64,
    /// Access tokens that were minted.
    pub(crate) mints: AtomicU64,
    /// Access tokens up to this one are refused.
    pub(crate) withdrawn: AtomicU64,
    /// How long tokens live, in seconds.
    pub(crate) expires_in: AtomicU64,
    /// How long every answer takes, in milliseconds.
    pub(crate) delay: AtomicU64,
}

/// What is cached: as long as Zoho's answer for an organisation of some size.
pub(crate) const COUNT_BYTES: usize = 1024;

const WITHDRAWN: &[u8] =
    br#"{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}"#;
const BROKEN: &[u8] =
    br#"{"code":"INTERNAL_ERROR","details":{},"message":"Internal Server Error","status":"error"}"#;
const BUSY: &[u8] =
    br#"{"code":"TOO_MANY_REQUESTS","details":{},"message":"Too many requests","status":"error"}"#;

/// What is not cached.
pub(crate) const RECORD: &[u8] = br#"{"data":[{"id":"100000000000001","Last_Name":"Example","Company":"Made Up","Email":"nobody@example.invalid","Lead_Status":"Not Contacted","Modified_Time":"2024-02-03T04:05:06+00:00"}]}"#;

impl Origin {
    /// Listens on a free port of loopback, from a thread of its own.
    pub(crate) fn start() -> Result<Arc<Self>> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("the origin cannot listen")?;
        listener.set_nonblocking(true)?;
        let origin = Arc::new(Self {
            address: listener.local_addr()?,
            calls: AtomicU64::new(0),
            mints: AtomicU64::new(0),
            withdrawn: AtomicU64::new(0),
            expires_in: AtomicU64::new(3600),
            delay: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&origin);
        std::thread::Builder::new().name("origin".into()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, serving.serve(listener));
        })?;
        Ok(origin)
    }

    async fn serve(self: Arc<Self>, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener).expect("the runtime has a driver for sockets");
        let dress = dress();
        let count = count();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::task::spawn_local(Arc::clone(&self).converse(stream, dress.clone(), count.clone()));
        }
    }

    async fn converse(self: Arc<Self>, stream: TcpStream, dress: HeaderMap, count: Bytes) {
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| {
            let (origin, dress, count) = (Arc::clone(&self), dress.clone(), count.clone());
            async move { Ok::<_, Infallible>(origin.answer(request, dress, count).await) }
        });
        // How a connection ends is the business of whoever made it.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(&self, request: Request<Incoming>, dress: HeaderMap, count: Bytes) -> Response<Body> {
        let (head, body) = request.into_parts();
        if head.method != Method::GET {
            drain(body).await;
        }
        let path = head.uri.path();
        if path == "/oauth/v2/token" {
            return self.mint(dress);
        }
        self.calls.fetch_add(1, Relaxed);
        let delay = self.delay.load(Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if self.is_withdrawn(&head.headers) {
            return reply(StatusCode::UNAUTHORIZED, dress, Bytes::from_static(WITHDRAWN));
        }
        match path.rsplit('/').next().unwrap_or_default() {
            "associated_users_count" => reply(StatusCode::OK, dress, count),
            "500" => reply(StatusCode::INTERNAL_SERVER_ERROR, dress, Bytes::from_static(BROKEN)),
            "429" => reply(StatusCode::TOO_MANY_REQUESTS, dress, Bytes::from_static(BUSY)),
            mebibytes if path.starts_with("/large/") => large(mebibytes.parse().unwrap_or(1), dress),
            _ => reply(StatusCode::OK, dress, Bytes::from_static(RECORD)),
        }
    }

    fn mint(&self, dress: HeaderMap) -> Response<Body> {
        let number = self.mints.fetch_add(1, Relaxed) + 1;
        let (address, expires_in) = (self.address, self.expires_in.load(Relaxed));
        let token = format!(
            r#"{{"access_token":"1000.made-up.{number}","api_domain":"http://{address}","token_type":"Bearer","expires_in":{expires_in}}}"#
        );
        reply(StatusCode::OK, dress, token.into())
    }

    fn is_withdrawn(&self, headers: &HeaderMap) -> bool {
        let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let number = token.and_then(|token| token.rsplit('.').next()?.parse::<u64>().ok());
        number.is_some_and(|number| number <= self.withdrawn.load(Relaxed))
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

fn reply(status: StatusCode, dress: HeaderMap, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    *response.status_mut() = status;
    *response.headers_mut() = dress;
    response
}

fn large(mebibytes: u64, dress: HeaderMap) -> Response<Body> {
    let mut response = Response::new(Zeros::new(mebibytes << 20).boxed_unsync());
    *response.headers_mut() = dress;
    response
}

/// Zoho's headers, but for cookies and the ban on storing: some caches cannot be told to overlook these.
pub(crate) fn dress() -> HeaderMap {
    let dress = [
        ("server", "ZGS"),
        ("content-type", "application/json;charset=UTF-8"),
        ("cache-control", "max-age=3600"),
        ("x-content-type-options", "nosniff"),
        ("x-xss-protection", "1; mode=block"),
        ("x-frame-options", "SAMEORIGIN"),
        ("referrer-policy", "strict-origin"),
        ("clientversion", "6007735"),
        ("clientsubversion", "5f8a3c1e9b7d4f02a6c8e0b1d3f5a7c9"),
        ("content-language", "en-US"),
        ("strict-transport-security", "max-age=63072000"),
    ];
    let header = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    dress.into_iter().map(header).collect()
}

/// How many users each territory has, in [`COUNT_BYTES`].
pub(crate) fn count() -> Bytes {
    let mut text = String::from(r#"{"associated_users_count":["#);
    let end = r#"],"info":{"count":9,"more_records":false}}"#;
    let mut number = 0;
    loop {
        let row = format!(
            r#"{{"count":"{number}","territory":{{"id":"1000000000000{number:02}","name":"Made up"}}}},"#
        );
        if text.len() + row.len() + end.len() > COUNT_BYTES {
            break;
        }
        text += &row;
        number += 1;
    }
    text.pop();
    text += end;
    text += &" ".repeat(COUNT_BYTES - text.len());
    text.into()
}
