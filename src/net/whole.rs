//! Bodies of HTTP/2 that come whole or not at all.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::body::{Body, BoxError};

/// A stream of HTTP/2 was closed before its last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream was closed before the end of the body")]
pub struct ClosedEarly;

/// Sees to it that a body that came by `version` does not look complete when it is not.
///
/// hyper takes a stream that is closed with `NO_ERROR` (by `RST_STREAM`, or by `GOAWAY` with the connection) for
/// one that has ended, since a server may so refuse the rest of a request (RFC 9113 section 8.1). Only a frame
/// with `END_STREAM` ends a body, whichever way it goes; half a body that passed for a whole one would be kept,
/// or executed.
pub fn whole(version: Version, body: Body) -> Body {
    whole_with(version, body, ())
}

/// The same; `guard` is dropped with the body, or at once where nothing of it is to come.
pub fn whole_with(version: Version, body: Body, guard: impl Unpin + Send + 'static) -> Body {
    if version == Version::HTTP_2 && !body.is_end_stream() {
        Body::stream(Whole { body, _guard: guard })
    } else {
        body
    }
}

struct Whole<G> {
    body: Body,
    _guard: G,
}

impl<G: Unpin> HttpBody for Whole<G> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) if !self.body.is_end_stream() => Poll::Ready(Some(Err(ClosedEarly.into()))),
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
