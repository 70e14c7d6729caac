//! What every request gets alike: a panic becomes an answer instead of a broken connection.

use std::any::Any;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tower::ServiceExt;
use tower::util::Oneshot;
use tower_http::catch_panic::{CatchPanic, ResponseForPanic};

use super::Handler;
use crate::net::body::Body;

/// A handler with the shell around it.
#[derive(Clone)]
pub(super) struct Shell<H>(CatchPanic<H, Defect>);

/// Puts the shell around a handler.
pub(super) fn wrap<H: Handler>(handler: H) -> Shell<H> {
    Shell(CatchPanic::custom(handler, Defect))
}

type Answering<H> = Oneshot<CatchPanic<H, Defect>, Request<Incoming>>;

impl<H: Handler> Shell<H> {
    /// Answers a request.
    pub(super) fn answer(&self, request: Request<Incoming>) -> Answering<H> {
        self.0.clone().oneshot(request)
    }
}

/// The answer to a request that met a defect. The panic's text goes to the log only.
#[derive(Clone, Copy)]
pub(super) struct Defect;

impl ResponseForPanic for Defect {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, panic: Box<dyn Any + Send>) -> Response<Body> {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("unknown");
        tracing::error!(panic = text, "a request met a defect");
        let body = concat!(
            r#"{"code":"SIDECAR_INTERNAL","details":{"remedy":"report it; the log has the details"},"#,
            r#""message":"The sidecar met a defect of its own","status":"error"}"#,
            "\n"
        );
        let mut response = Response::new(Body::full(body));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
        let status = HeaderValue::from_static("zoho-sidecar; error=proxy_internal_error");
        response.headers_mut().insert("proxy-status", status);
        response
    }
}
