//! What changes an answer on its way to the caller.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Sleep, sleep};

use super::{Fault, gzip};
use crate::net::body::{Body, BoxError};
use crate::net::headers::visible;

/// Changes an answer as the faults say, in their order.
pub(in crate::emulator) async fn change(mut response: Response<Body>, faults: &[Fault]) -> Response<Body> {
    for fault in faults {
        response = match fault {
            Fault::Headers(headers) => {
                replace(response.headers_mut(), headers);
                response
            }
            Fault::Gzip => zipped(response).await,
            Fault::Chunked => {
                response.headers_mut().remove(CONTENT_LENGTH);
                response.map(|body| Troubled { untold: true, ..Troubled::new(body) }.into_body())
            }
            Fault::CutBody(bytes) => {
                response.map(|body| Troubled { left: Some(*bytes), ..Troubled::new(body) }.into_body())
            }
            Fault::DelayBody(span) => response.map(|body| {
                Troubled { pause: Some(Box::pin(sleep(*span))), ..Troubled::new(body) }.into_body()
            }),
            Fault::Drip { bytes, every } => response.map(|body| {
                let drip = Some(((*bytes).max(1), *every));
                Troubled { drip, pause: Some(Box::pin(sleep(*every))), ..Troubled::new(body) }.into_body()
            }),
            _ => response,
        };
    }
    response
}

fn replace(headers: &mut HeaderMap, with: &[(String, String)]) {
    for (name, _) in with {
        headers.remove(name.as_str());
    }
    for (name, value) in with {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            // Nothing takes the place of the usual ones: they are left out.
            if !value.is_empty() {
                headers.append(name, visible(value));
            }
        }
    }
}

/// Answers without a body stay as they are.
async fn zipped(response: Response<Body>) -> Response<Body> {
    if response.body().is_end_stream() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(plain) = body.collect().await else {
        return Response::from_parts(head, Body::empty());
    };
    let zipped = gzip::stored(&plain.to_bytes());
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(zipped.len()));
    Response::from_parts(head, Body::full(zipped))
}

/// A body that comes late, in pieces, or not to its end.
struct Troubled {
    body: Body,
    /// What was read of the body and not sent yet.
    pending: Bytes,
    pause: Option<Pin<Box<Sleep>>>,
    /// The size of pieces and the pause before each.
    drip: Option<(usize, Duration)>,
    /// How many bytes are sent before it breaks off.
    left: Option<usize>,
    /// Whether the length is kept to itself.
    untold: bool,
}

impl Troubled {
    fn new(body: Body) -> Self {
        Self { body, pending: Bytes::new(), pause: None, drip: None, left: None, untold: false }
    }

    fn into_body(self) -> Body {
        Body::stream(self)
    }

    /// The next piece of what is pending.
    fn piece(&mut self) -> Bytes {
        let size = self.drip.map_or(usize::MAX, |(size, _)| size);
        let size = size.min(self.left.unwrap_or(usize::MAX)).min(self.pending.len());
        if let Some(left) = &mut self.left {
            *left -= size;
        }
        if let Some((_, every)) = self.drip {
            self.pause = Some(Box::pin(sleep(every)));
        }
        self.pending.split_to(size)
    }
}

impl HttpBody for Troubled {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if self.left == Some(0) {
                return Poll::Ready(Some(Err("the script cut the body".into())));
            }
            if !self.pending.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(self.piece()))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.pending = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.untold || !self.pending.is_empty() { SizeHint::default() } else { self.body.size_hint() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dripping_body_arrives_whole_and_late() {
        let start = tokio::time::Instant::from_std(crate::clock::Clock::system().now().into_std());
        let drip = Fault::Drip { bytes: 2, every: Duration::from_secs(1) };
        let response = change(Response::new(Body::full("abcde")), &[drip]).await;
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abcde");
        assert!(start.elapsed() >= Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_cut_body_ends_with_an_error_after_so_many_bytes() {
        let response = change(Response::new(Body::full("abcde")), &[Fault::CutBody(2)]).await;
        let mut body = response.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_chunked_body_does_not_tell_its_length() {
        let response = change(Response::new(Body::full("abc")), &[Fault::Chunked]).await;
        assert_eq!(response.body().size_hint().exact(), None);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abc");
    }
}
