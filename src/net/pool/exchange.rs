//! A request on a connection, and its answer.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::TRANSFER_ENCODING;
use http::{Request, Response, StatusCode};

use super::failed::Failed;
use super::host::Held;
use super::{NoConnection, Pool, stream};
use crate::net::body::Body;
use crate::net::transport::{BoxFuture, TransportError};

/// Sends a request and waits for the head of its answer. Where a line rests, the request goes out at once, and only
/// the wait for the answer is left as a future: a request is long, and is not moved into one in vain.
pub(in crate::net) fn exchange(
    pool: &Arc<Pool>,
    request: Request<Body>,
) -> BoxFuture<Result<Response<Body>, TransportError>> {
    let pool = pool.clone();
    match pool.resting(request.uri()) {
        Some((host, line)) => {
            let answer = line.send(request, pool.clone(), host);
            Box::pin(async move {
                match answer.await {
                    Ok(answer) => check(answer.map(Body::from)),
                    // The connection had ended unnoticed. There are others, or there will be.
                    Err(Failed { unsent: Some(unsent), .. }) => Box::pin(on_any(pool, unsent)).await,
                    Err(Failed { error, .. }) => Err(sort(error, true)),
                }
            })
        }
        None => Box::pin(on_any(pool, request)),
    }
}

/// The same by whatever connection can be had. A request that was not sent goes out on another one: where a kept one
/// had ended, as often as there are such, and once where a new one ends at once.
async fn on_any(pool: Arc<Pool>, mut request: Request<Body>) -> Result<Response<Body>, TransportError> {
    let mut may_try_again = true;
    loop {
        let (host, held) = pool.take(request.uri()).await?;
        let (answer, is_kept, is_shut) = match held {
            Held::Line { line, is_kept } => {
                let answer = line.send(request, pool.clone(), host).await;
                (answer.map(|answer| answer.map(Body::from)), is_kept, false)
            }
            Held::Stream { sender, share } => {
                let is_kept = share.is_proven.load(Ordering::Relaxed);
                let answer = stream::send(sender, share.clone(), request, &pool, host).await;
                (answer, is_kept, share.is_shut())
            }
        };
        request = match answer {
            Ok(answer) => return check(answer),
            Err(Failed { unsent: Some(unsent), .. }) if is_kept || may_try_again => unsent,
            Err(Failed { unsent: Some(_), .. }) if is_shut => return Err(NoConnection::Shut.into()),
            Err(Failed { error, .. }) => return Err(sort(error, is_kept)),
        };
        may_try_again &= is_kept;
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

fn check(response: Response<Body>) -> Result<Response<Body>, TransportError> {
    match wrong_with(&response) {
        None => Ok(response),
        Some(wrong) => Err(TransportError::Broken(wrong.into())),
    }
}

fn wrong_with(response: &Response<Body>) -> Option<NoAnswer> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Some(NoAnswer::OtherProtocol);
    }
    let mut codings = response.headers().get_all(TRANSFER_ENCODING).iter();
    let (first, second) = (codings.next(), codings.next());
    let is_plain = first.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    (!is_plain || second.is_some()).then_some(NoAnswer::OtherCoding)
}

/// Sorts an error by whether the server may have seen the request.
fn sort(error: hyper::Error, is_kept: bool) -> TransportError {
    if is_kept && broke_without_an_answer(&error) || was_not_processed(&error) {
        TransportError::Stale(error.into())
    } else {
        TransportError::Broken(error.into())
    }
}

fn broke_without_an_answer(error: &hyper::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    // The last is what rustls calls an end without a word of TLS, as many servers make it.
    let is_of_the_connection = |error: &std::io::Error| {
        matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
    };
    error.is_incomplete_message() || error.is_closed() || cause(error).is_some_and(is_of_the_connection)
}

/// Whether the server of HTTP/2 says that it has done nothing about a request (RFC 9113 section 8.7). It may be asked
/// again like one that a kept connection lost: only what is repeatable is, in case the server is wrong.
fn was_not_processed(error: &hyper::Error) -> bool {
    cause(error).is_some_and(|error: &h2::Error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// The first error of this kind among the causes.
fn cause<E: std::error::Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
