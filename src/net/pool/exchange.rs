//! A request on a connection, and its answer.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::TRANSFER_ENCODING;
use http::{Request, Response, StatusCode};

use super::failed::Failed;
use super::head::HeadLimits;
use super::host::{Held, Wanted};
use super::{NoConnection, Pool, stream};
use crate::net::body::Body;
use crate::net::transport::{BoxFuture, FirstOnConnection, OverHttp1, TransportError};

/// Sends a request and waits for the head of its answer. Where a line rests, the request goes out at once, and only
/// the wait for the answer is left as a future: a request is long, and is not moved into one in vain.
pub(in crate::net) fn exchange(
    pool: &Arc<Pool>,
    request: Request<Body>,
) -> BoxFuture<Result<Response<Body>, TransportError>> {
    let pool = pool.clone();
    let is_first = request.extensions().get::<FirstOnConnection>().is_some();
    let resting = if is_first { None } else { pool.resting(request.uri(), wanted(&request)) };
    match resting {
        Some((host, line)) => {
            let head_limits = pool.head_limits;
            let answer = line.send(request, pool.clone(), host);
            Box::pin(async move {
                match answer.await {
                    Ok(answer) => check(answer.map(Body::from), head_limits),
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
    let is_first = request.extensions().get::<FirstOnConnection>().is_some();
    let mut may_try_again = true;
    loop {
        let (host, held) = pool.take(request.uri(), wanted(&request), is_first).await?;
        let (answer, is_kept, share) = match held {
            Held::Line { line, is_kept } => {
                let answer = line.send(request, pool.clone(), host).await;
                (answer.map(|answer| answer.map(Body::from)), is_kept, None)
            }
            Held::Stream { sender, share } => {
                let is_kept = share.is_proven.load(Ordering::Relaxed);
                let answer = stream::send(sender, share.clone(), request, &pool, host).await;
                (answer, is_kept, Some(share))
            }
        };
        let is_shut = share.as_ref().is_some_and(|share| share.is_shut());
        request = match answer {
            Ok(answer) => {
                if let Some(share) = share.filter(|_| answer.status() == StatusCode::MISDIRECTED_REQUEST) {
                    pool.with(|places| places.retire(host, &share));
                }
                return check(answer, pool.head_limits);
            }
            Err(Failed { unsent: Some(unsent), .. }) if is_kept || may_try_again => unsent,
            Err(Failed { unsent: Some(_), .. }) if is_shut => return Err(NoConnection::Shut.into()),
            Err(Failed { error, unsent: Some(_) }) => return Err(TransportError::NotProcessed(error.into())),
            Err(Failed { error, unsent: None }) => {
                if requires_http1(&error) {
                    pool.with(|places| places.require_http1(host));
                }
                return Err(sort(error, is_kept));
            }
        };
        may_try_again &= is_kept;
    }
}

fn wanted(request: &Request<Body>) -> Wanted {
    match request.extensions().get::<OverHttp1>() {
        Some(OverHttp1) => Wanted::Http1,
        None => Wanted::Any,
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

fn check(response: Response<Body>, limits: HeadLimits) -> Result<Response<Body>, TransportError> {
    limits.check(response.headers()).map_err(|error| TransportError::HeadTooLarge(error.into()))?;
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
    if was_not_processed(&error) {
        TransportError::NotProcessed(error.into())
    } else if error.is_parse_too_large() {
        TransportError::HeadTooLarge(error.into())
    } else if is_kept && broke_without_an_answer(&error) {
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

/// Whether the server says that it has not processed a request: by `REFUSED_STREAM`, by a `GOAWAY` whose last stream is
/// before that of the request (RFC 9113 section 8.7; h2 gives this error to no other stream), or by asking for HTTP/1.1
/// instead.
fn was_not_processed(error: &hyper::Error) -> bool {
    cause(error).is_some_and(|error: &h2::Error| {
        let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (error.is_go_away() || is_refused) || asks_for_http1(error)
    })
}

fn requires_http1(error: &hyper::Error) -> bool {
    cause(error).is_some_and(asks_for_http1)
}

fn asks_for_http1(error: &h2::Error) -> bool {
    error.is_remote() && error.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED)
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
