//! The way of a connection to its server: through the egress proxy or not.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use tower_service::Service;

use super::body::BoxError;
use super::egress::Egress;
use super::resolver::Resolver;
use super::tls::Trust;
use super::transport::BoxFuture;

/// Connects directly, or by `CONNECT` through the proxy that is configured for the destination.
#[derive(Clone)]
pub struct MaybeTunnel {
    tcp: HttpConnector<Resolver>,
    egress: Arc<Egress>,
}

impl MaybeTunnel {
    /// A connector that goes out as `egress` says, with a part of `connect_timeout` for TCP.
    pub fn new(egress: &Egress, connect_timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::system());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared out over the addresses of a name, so that one that swallows packets leaves time for the next.
        tcp.set_connect_timeout(Some(connect_timeout * 2 / 3));
        // Notices a peer that vanished without a word while a connection idles in the pool.
        tcp.set_keepalive(Some(Duration::from_mins(1)));
        Self { tcp, egress: Arc::new(egress.clone()) }
    }
}

/// TLS over a way out, where the URI says `https`. Plain http only ever reaches loopback: `Origin` admits nothing else.
#[derive(Clone)]
pub struct Secured {
    trust: Trust,
    way: MaybeTunnel,
    offers_http2: bool,
}

impl Secured {
    /// A connector that trusts whatever `trust` says when a connection is made.
    pub fn new(trust: Trust, way: MaybeTunnel) -> Self {
        Self { trust, way, offers_http2: true }
    }

    /// The same for servers that are to be asked by HTTP/1.1.
    #[must_use]
    pub fn without_http2(self) -> Self {
        Self { offers_http2: false, ..self }
    }
}

impl Service<Uri> for Secured {
    type Response = <HttpsConnector<MaybeTunnel> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = BoxFuture<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.way.poll_ready(cx)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let ready = self.way.clone();
        let way = std::mem::replace(&mut self.way, ready);
        HttpsConnector::from((way, self.trust.current(self.offers_http2))).call(destination)
    }
}

impl Service<Uri> for MaybeTunnel {
    type Response = <HttpConnector<Resolver> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = BoxFuture<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        match self.egress.proxy_for(&destination) {
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp.clone());
                if let Some(credentials) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(credentials.clone());
                }
                Box::pin(async move { Ok(tunnel.call(destination).await?) })
            }
            None => {
                let connecting = self.tcp.call(destination);
                Box::pin(async move { Ok(connecting.await?) })
            }
        }
    }
}
