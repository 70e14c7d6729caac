//! [`Transport`] over hyper's pooled client and rustls.

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use http::header::TRANSFER_ENCODING;
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tower_service::Service;

use super::body::Body;
use super::connector::{Bounded, ConnectDeadline, EgressProxy, MaybeTunnel, NoPlace, Use};
use super::tls::{TlsError, client_config};
use super::transport::{BoxFuture, Transport, TransportError};
use super::whole::whole;

/// How connections to the outside are made and kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limit for name look-up, TCP, proxy and TLS together.
    pub connect_timeout: Duration,
    /// How long a server may leave what is written to it unread.
    pub write_timeout: Duration,
    /// How many connections there may be, those that are being made included.
    pub max_connections: usize,
    /// How long an unused connection is kept.
    pub pool_idle_timeout: Duration,
    /// How many unused connections are kept per host and worker.
    pub pool_max_idle_per_host: usize,
    /// Certificate authorities beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The way out of the company's network.
    pub proxy: EgressProxy,
}

/// How often HTTP/2 asks a silent server whether it is still there.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);

/// How much of an answer is read ahead on a connection of HTTP/1.1, and how long its head may be. hyper would take some
/// 400 KiB, for each of many answers that nobody may be reading.
const READ_BUFFER: usize = 64 * 1024;

/// Sends over connections that are kept: sockets, unless another connector is given. Cheap to clone; clones share
/// the pool.
#[derive(Clone)]
pub struct HttpClient<C = HttpsConnector<MaybeTunnel>> {
    client: Client<Bounded<C>, Body>,
}

impl HttpClient {
    /// A client with a pool of its own. Its connections live on the runtime that first uses them, so each
    /// worker makes its own.
    pub fn new(settings: &Settings) -> Result<Self, TlsError> {
        Ok(Self::trusting(client_config(settings.ca_file.as_deref())?, settings))
    }

    /// The same with what [`client_config`] made: reading the system's certificates takes milliseconds, and once is
    /// enough for all clients. What it remembers of past connections is shared too.
    pub fn trusting(tls: ClientConfig, settings: &Settings) -> Self {
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            // Plain http only ever reaches loopback: `Origin` admits nothing else.
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(MaybeTunnel::new(&settings.proxy, settings.connect_timeout));
        Self::over(https, settings)
    }
}

impl<C: Clone> HttpClient<C>
where
    C: Service<Uri>,
    Bounded<C>: Connect,
{
    /// The same over connections of any kind.
    pub fn over(connector: C, settings: &Settings) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            // Without a timer the pool looks at idle times only when a connection is taken out.
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(settings.pool_idle_timeout)
            .pool_max_idle_per_host(settings.pool_max_idle_per_host)
            .http1_max_buf_size(READ_BUFFER)
            .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
            .http2_adaptive_window(true)
            .build(Bounded::new(
                connector,
                settings.connect_timeout,
                settings.max_connections,
                settings.write_timeout,
            ));
        Self { client }
    }
}

impl<C> Transport for HttpClient<C>
where
    Bounded<C>: Connect + Clone + Send + Sync + 'static,
{
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        let sending = self.client.request(request);
        Box::pin(async move {
            let response = sending.await.map_err(classify)?;
            if let Some(uses) = response.extensions().get::<Use>() {
                uses.count();
            }
            check(&response).map_err(|error| TransportError::Broken(error.into()))?;
            let version = response.version();
            Ok(response.map(|body| whole(version, body.into())))
        })
    }
}

/// What cannot be the answer to a request of ours, though it is HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum NoAnswer {
    /// No request asks for another protocol.
    #[error("the server changed the protocol unasked")]
    OtherProtocol,
    /// No request admits a transfer coding but chunked (RFC 9112 section 7.4). The header belongs to the hop and
    /// does not go on to callers, so that they would take coded bytes for the content.
    #[error("the body has a transfer coding that nobody asked for")]
    OtherCoding,
}

fn check(response: &Response<Incoming>) -> Result<(), NoAnswer> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(NoAnswer::OtherProtocol);
    }
    let mut codings = response.headers().get_all(TRANSFER_ENCODING).iter();
    let (first, second) = (codings.next(), codings.next());
    let is_plain = first.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if is_plain && second.is_none() { Ok(()) } else { Err(NoAnswer::OtherCoding) }
}

/// Sorts an error by whether the server may have seen the request.
fn classify(error: ClientError) -> TransportError {
    if error.is_connect() {
        return if find::<ConnectDeadline>(&error).is_some() {
            TransportError::ConnectTimeout
        } else if find::<NoPlace>(&error).is_some() {
            TransportError::TooManyConnections
        } else {
            TransportError::Connect(Box::new(error))
        };
    }
    let reused = error.connect_info().is_some_and(|connected| {
        let mut extensions = http::Extensions::new();
        connected.get_extras(&mut extensions);
        extensions.get::<Use>().is_some_and(Use::is_reused)
    });
    if reused && broke_without_an_answer(&error) {
        TransportError::Stale(Box::new(error))
    } else {
        TransportError::Broken(Box::new(error))
    }
}

fn broke_without_an_answer(error: &ClientError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    find::<hyper::Error>(error).is_some_and(|e| e.is_incomplete_message() || e.is_closed())
        || find::<std::io::Error>(error).is_some_and(|e| matches!(e.kind(), BrokenPipe | ConnectionReset))
}

/// The first error of type `E` among the causes.
fn find<E: std::error::Error + 'static>(error: &ClientError) -> Option<&E> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
