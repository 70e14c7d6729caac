//! What every request gets alike: a panic becomes an answer instead of a broken connection.
//!
//! The same as the layer of tower-http for it, which puts every body into a box.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::{Handler, Repeat};
use crate::net::body::Body;

/// A handler with the shell around it.
pub(super) struct Shell<H>(H);

impl<H: Handler> Shell<H> {
    /// Puts the shell around a handler.
    pub(super) fn around(handler: H) -> Self {
        Self(handler)
    }

    /// Answers a request.
    pub(super) fn answer(&self, request: Request<Incoming>) -> Answering<H::Answering> {
        // Whatever a handler shares is behind locks that survive a panic, and the request is gone with it.
        match catch_unwind(AssertUnwindSafe(|| self.0.handle(request))) {
            Ok(answering) => Answering(Some(answering)),
            Err(panic) => {
                tell(&*panic);
                Answering(None)
            }
        }
    }

    /// Answers a request by the bytes of its head, if they are known.
    pub(super) fn repeat(&self, head: &[u8], answer: &mut Vec<u8>) -> Repeat {
        catch_unwind(AssertUnwindSafe(|| self.0.repeat(head, answer))).unwrap_or_else(|panic| {
            tell(&*panic);
            Repeat::Unknown
        })
    }
}

/// An answer being made; `None` if making it met a defect.
pub(super) struct Answering<F>(Option<F>);

impl<F: Future<Output = Response<Body>> + Unpin> Future for Answering<F> {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let Some(answering) = &mut self.0 else { return Poll::Ready(defect()) };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(answering).poll(cx))) {
            Ok(polled) => polled,
            Err(panic) => {
                tell(&*panic);
                self.0 = None;
                Poll::Ready(defect())
            }
        }
    }
}

/// The panic's text goes to the log only.
fn tell(panic: &(dyn Any + Send)) {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown");
    tracing::error!(panic = text, "a request met a defect");
}

/// The answer to a request that met a defect.
fn defect() -> Response<Body> {
    let body = concat!(
        r#"{"code":"SIDECAR_INTERNAL","details":{"remedy":"report it; the log has the details"},"#,
        r#""message":"The sidecar met a defect of its own","status":"error"}"#,
        "\n"
    );
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    let status = HeaderValue::from_static("zoho-sidecar; error=proxy_internal_error");
    response.headers_mut().insert("proxy-status", status);
    response
}
