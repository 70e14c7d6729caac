//! A request on a connection, and its answer.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Request, Response};

use super::Pool;
use super::host::Held;
use super::stream;
use crate::net::body::Body;
use crate::net::transport::TransportError;

/// How an exchange failed.
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    /// The request, if nothing of it was sent.
    pub(super) unsent: Option<Request<Body>>,
}

/// Sends a request and waits for the head of its answer.
pub(in crate::net) async fn exchange(
    pool: &Arc<Pool>,
    mut request: Request<Body>,
) -> Result<Response<Body>, TransportError> {
    loop {
        let (host, held) = pool.take(request.uri()).await?;
        let (answer, is_kept) = match held {
            Held::Line { line, is_kept } => {
                (line.send(request, pool, host).await.map(|answer| answer.map(Body::from)), is_kept)
            }
            Held::Stream { sender, share } => {
                let is_kept = share.is_proven.load(Ordering::Relaxed);
                (stream::send(sender, share, request, pool, host).await, is_kept)
            }
        };
        request = match answer {
            Ok(answer) => return Ok(answer),
            // The connection had ended unnoticed. There are others, or there will be.
            Err(Failed { unsent: Some(unsent), .. }) if is_kept => unsent,
            Err(Failed { error, .. }) => return Err(sort(error, is_kept)),
        };
    }
}

/// Sorts an error by whether the server may have seen the request.
fn sort(error: hyper::Error, is_kept: bool) -> TransportError {
    if is_kept && broke_without_an_answer(&error) {
        TransportError::Stale(error.into())
    } else {
        TransportError::Broken(error.into())
    }
}

fn broke_without_an_answer(error: &hyper::Error) -> bool {
    let is_of_the_connection =
        |error: &std::io::Error| matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
    error.is_incomplete_message() || error.is_closed() || io_error(error).is_some_and(is_of_the_connection)
}

/// The first error of the connection itself among the causes.
fn io_error(error: &hyper::Error) -> Option<&std::io::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
