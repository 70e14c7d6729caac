//! The one seam to the network: a request goes out, a response comes back.

use std::future::Future;
use std::pin::Pin;

use http::{Request, Response};

use super::body::{Body, BoxError};

/// A future that owns all it needs.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Sends requests. Over sockets in production, into an emulator in tests.
///
/// The request's URI is absolute. Redirects are never followed. A response is handed over as soon as its
/// head is there; its body streams.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request.
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>>;
}

/// How an attempt to reach a server failed. What matters to the caller is whether the server may have
/// acted on the request.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection could be made; the server has not seen the request.
    #[error("cannot connect")]
    Connect(#[source] BoxError),
    /// Making the connection took too long; the server has not seen the request.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// There were as many connections as may be, and none came free; the server has not seen the request.
    #[error("there are as many connections as may be")]
    TooManyConnections,
    /// A connection kept from an earlier request turned out to be closed before the head of an answer was complete, or
    /// the server said that it has not touched the request.
    /// Almost surely the server has not seen the request, but only a repeatable one may be sent again.
    #[error("a kept connection had been closed")]
    Stale(#[source] BoxError),
    /// The connection broke after the request was (at least partly) sent: its fate is unknown.
    #[error("the connection broke before an answer came")]
    Broken(#[source] BoxError),
}
