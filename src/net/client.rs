//! [`Transport`] over kept connections, hyper and rustls.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tower_service::Service;

use super::body::{Body, BoxError};
use super::buffers::Buffers;
use super::connector::{MaybeTunnel, Secured};
use super::egress::Egress;
use super::pool::{HeadLimits, Limits, Pool, exchange};
use super::tls::{TlsError, Trust};
use super::transport::{BoxFuture, Transport, TransportError};
use crate::clock::Clock;
use crate::supervisor::Supervisor;

/// How connections to the outside are made and kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limit for name look-up, TCP, proxy and TLS together, and for waiting for a connection.
    pub connect_timeout: Duration,
    /// How long a server may leave what is written to it unread.
    pub write_timeout: Duration,
    /// How many connections there may be, those that are being made included.
    pub max_connections: usize,
    /// The same of one host.
    pub max_connections_per_host: usize,
    /// How old a connection may get before it carries no further request. Some end earlier, by up to a quarter, so
    /// that they do not all end at once.
    pub max_connection_age: Duration,
    /// How long an unused connection is kept.
    pub pool_idle_timeout: Duration,
    /// How many unused connections are kept per host and worker.
    pub pool_max_idle_per_host: usize,
    /// How many header fields an answer may have.
    pub max_response_headers: usize,
    /// How many bytes the names and values of an answer's header fields may have together, and four more for each.
    pub max_response_header_bytes: usize,
    /// Certificate authorities beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The way out of the company's network.
    pub egress: Egress,
    /// Out of which memory long pieces are read.
    pub buffers: Buffers,
}

/// Sends over connections that are kept: sockets, unless another connector is given. Cheap to clone; clones share
/// the connections.
#[derive(Clone)]
pub struct HttpClient {
    pool: Arc<Pool>,
}

impl HttpClient {
    /// A client with connections of its own. They live on the runtime that first uses them, so each worker makes
    /// its own client.
    pub fn new(settings: &Settings) -> Result<Self, TlsError> {
        let trust = Trust::read(settings.ca_file.as_deref())?;
        Ok(Self::trusting(&trust, settings, &Supervisor::unobserved(), Clock::system()))
    }

    /// The same with a trust that is there already: reading the system's certificates takes milliseconds, and once is
    /// enough for all clients. What rustls remembers of past connections is shared too.
    pub fn trusting(trust: &Trust, settings: &Settings, supervisor: &Supervisor, clock: Clock) -> Self {
        let secured =
            Secured::new(trust.clone(), MaybeTunnel::new(&settings.egress, settings.connect_timeout));
        Self::supervised(secured.clone(), secured.without_http2(), settings, supervisor, clock)
    }

    /// The same over connections of any kind. `http1` makes those to servers that ask for HTTP/1.1 in the place of
    /// HTTP/2.
    pub fn over<C>(connector: C, http1: C, settings: &Settings) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + Read + Write + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send,
    {
        Self::supervised(connector, http1, settings, &Supervisor::unobserved(), Clock::system())
    }

    fn supervised<C>(
        connector: C,
        http1: C,
        settings: &Settings,
        supervisor: &Supervisor,
        clock: Clock,
    ) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + Read + Write + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send,
    {
        let limits = Limits {
            connect_timeout: settings.connect_timeout,
            write_timeout: settings.write_timeout,
            idle_timeout: settings.pool_idle_timeout,
            max_idle: settings.pool_max_idle_per_host,
            max_age: settings.max_connection_age,
            head: HeadLimits {
                fields: settings.max_response_headers,
                bytes: settings.max_response_header_bytes,
            },
            most: settings.max_connections,
            most_per_host: settings.max_connections_per_host,
        };
        Self { pool: Pool::new(connector, http1, limits, &settings.buffers, supervisor, clock) }
    }
}

impl Transport for HttpClient {
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        exchange(&self.pool, request)
    }
}
