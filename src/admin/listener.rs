//! The admin listener's connections.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tower::{ServiceBuilder, service_fn};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::{Access, Admin};
use crate::net::body::{Body, BoxError};
use crate::net::patient::Patient;
use crate::server::address::{Listener, Stream};

/// Longer than any page takes.
const TIMEOUT: Duration = Duration::from_secs(10);
/// No page takes a body.
const BODY_LIMIT: usize = 16 * 1024;
/// More at once are not operations.
const MOST_CONNECTIONS: usize = 100;
/// How long accepting rests when the process has no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the admin pages until dropped.
pub async fn serve(listener: Listener, admin: Arc<Admin>, access: Access) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok(stream) if connections.len() < MOST_CONNECTIONS => {
                connections.spawn(answer(stream, admin.clone(), access.clone()));
            }
            Ok(_one_too_many) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "an admin connection cannot be accepted"
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(stream: Stream, admin: Arc<Admin>, access: Access) {
    // A connection that breaks is the asker's trouble.
    let _ = match stream {
        Stream::Tcp(stream) => match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => serve_connection(stream, admin, access).await,
            Err(error) => Err(error.into()),
        },
        Stream::Unix(stream) => match tokio::net::UnixStream::from_std(stream) {
            Ok(stream) => serve_connection(stream, admin, access).await,
            Err(error) => Err(error.into()),
        },
    };
}

/// Serves one connection to its end.
pub async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    admin: Arc<Admin>,
    access: Access,
) -> Result<(), BoxError> {
    let header = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::overriding(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let service = ServiceBuilder::new()
        .layer(SetResponseHeaderLayer::overriding(CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(header("x-content-type-options", "nosniff"))
        .layer(header("content-security-policy", "default-src 'none'; frame-ancestors 'none'"))
        .layer(RequestBodyLimitLayer::new(BODY_LIMIT))
        .service(service_fn(move |request: Request<_>| {
            let (admin, access) = (admin.clone(), access.clone());
            async move { Ok::<_, std::convert::Infallible>(answer_whole(admin, access, request).await) }
        }));
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIMEOUT)
        .serve_connection(
            TokioIo::new(Patient::new(stream, TIMEOUT)),
            TowerToHyperService::new(into_incoming(service)),
        )
        .await?;
    Ok(())
}

/// Reads the body, which the layers have bounded, and answers. A purge of many entries takes its time, so that only
/// the asker's part has a limit.
async fn answer_whole<B>(admin: Arc<Admin>, access: Access, request: Request<B>) -> Response<Body>
where
    B: http_body::Body,
{
    let (head, body) = request.into_parts();
    let body = match tokio::time::timeout(TIMEOUT, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return empty(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return empty(StatusCode::REQUEST_TIMEOUT),
    };
    // A task of its own: a purge that was begun goes on to its end when its asker is gone.
    let answering = async move { admin.answer(&Request::from_parts(head, body), &access).await };
    tokio::spawn(answering).await.unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// Says which requests the service is for; the compiler cannot find it out through the layers.
fn into_incoming<S: tower::Service<Request<Incoming>>>(service: S) -> S {
    service
}
