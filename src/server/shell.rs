//! What every request gets alike: a panic becomes an answer instead of a broken connection.
//!
//! The same as the layer of tower-http for it, which puts every body into a box.

use std::any::Any;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::{Handler, Repeat};
use crate::net::body::Body;
use crate::net::headers::REQUEST_ID;

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
            Ok(answering) => Answering { answering: Some(answering), defect: 0 },
            Err(panic) => Answering { answering: None, defect: report(&*panic) },
        }
    }

    /// Answers a request by the bytes of its head, if they are known.
    pub(super) fn repeat(&self, head: &[u8], answer: &mut Vec<u8>) -> Repeat {
        catch_unwind(AssertUnwindSafe(|| self.0.repeat(head, answer))).unwrap_or_else(|panic| {
            report(&*panic);
            Repeat::Unknown
        })
    }
}

/// An answer being made.
pub(super) struct Answering<F> {
    /// `None` if making it met a defect.
    answering: Option<F>,
    /// The number under which that was reported.
    defect: u64,
}

impl<F: Future<Output = Response<Body>> + Unpin> Future for Answering<F> {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        let Some(answering) = &mut self.answering else { return Poll::Ready(defect(self.defect)) };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(answering).poll(cx))) {
            Ok(polled) => polled,
            Err(panic) => {
                self.answering = None;
                Poll::Ready(defect(report(&*panic)))
            }
        }
    }
}

/// Logs the panic, whose text goes nowhere else, and gives the number under which it did. The request is gone, and its own
/// id with it.
fn report(panic: &(dyn Any + Send)) -> u64 {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown");
    let number = RandomState::new().hash_one("defect");
    tracing::error!(panic = text, request_id = request_id(number), "a request met a defect");
    number
}

fn request_id(number: u64) -> String {
    format!("{number:016x}")
}

/// The answer to a request that met a defect.
fn defect(number: u64) -> Response<Body> {
    let id = request_id(number);
    let body = format!(
        r#"{{"code":"SIDECAR_INTERNAL","details":{{"request_id":"{id}","remedy":"report it; the log has the details"}},"message":"The sidecar met a defect of its own","status":"error"}}"#,
    );
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    headers.insert("proxy-status", HeaderValue::from_static("zoho-sidecar; error=proxy_internal_error"));
    let id = HeaderValue::from_str(&id).expect("hexadecimal digits are a header value");
    headers.insert(REQUEST_ID, id);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_defect_has_one_request_id_in_the_header_and_in_the_body() {
        type Answer = std::future::Ready<Response<Body>>;
        let of_answer = defect(report(&"a defect, on purpose"));
        let of_answering = Answering::<Answer> { answering: None, defect: 7 }.await;
        let mut ids = Vec::new();
        for answer in [of_answer, of_answering] {
            let id = answer.headers()[REQUEST_ID].to_str().unwrap().to_owned();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(
                (&body["code"], &body["details"]["request_id"]),
                (&"SIDECAR_INTERNAL".into(), &id.as_str().into())
            );
            ids.push(id);
        }
        assert_eq!((ids[1].as_str(), ids[0].len()), ("0000000000000007", 16));
        assert_ne!(ids[0], ids[1]);
    }
}
