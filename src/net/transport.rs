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

/// An extension of a request that is sent again: where many requests share a connection, this one wants to be the first
/// on a new one. A server that ends each connection after a few requests then cannot refuse it for the others.
#[derive(Debug, Clone, Copy)]
pub struct FirstOnConnection;

/// An extension of a request whose body holds secrets: where the connection is encrypted, it goes out over HTTP/1.1, on
/// connections that carry only such requests. There the body is written from its own buffer, which is wiped when it is
/// dropped. HTTP/2 copies a short body into a buffer of the connection, where it stays.
#[derive(Debug, Clone, Copy)]
pub struct OverHttp1;

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
    /// The request was not sent on any connection, or the server says that it has not processed it (RFC 9113 section
    /// 8.7). Whatever its method, it may be sent again.
    #[error("the server did not process the request")]
    NotProcessed(#[source] BoxError),
    /// The head of the answer is longer, or has more fields, than the limits allow.
    #[error("the head of the answer is too large")]
    HeadTooLarge(#[source] BoxError),
    /// A connection kept from an earlier request turned out to be closed before the head of an answer was complete.
    /// Almost surely the server has not seen the request, but only a repeatable one may be sent again.
    #[error("a kept connection had been closed")]
    Stale(#[source] BoxError),
    /// The connection broke after the request was (at least partly) sent: its fate is unknown.
    #[error("the connection broke before an answer came")]
    Broken(#[source] BoxError),
}
