//! Two calls that Zoho does not have, for tests: one that tells what arrived, one that sends many bytes.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Method;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use serde_json::json;

use crate::emulator::ledger::{Seen, redaction};
use crate::emulator::replies::{Content, Reply};
use crate::net::body::{Body, BoxError};
use crate::net::form::Form;

/// `ANY /crm/{version}/__echo…`: reads the body to its end and tells what arrived, byte by byte except for
/// credentials.
pub(in crate::emulator) async fn echo(
    head: &http::request::Parts,
    token: &str,
    mut body: Body,
    seen: &Seen,
) -> Result<Reply, BoxError> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let (length, sha256) = seen.summary();
    Ok(Reply::ok(&json!({
        "method": head.method.as_str(),
        "path_and_query": head.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
        "headers": redaction::headers(&head.headers, Some(token)),
        "body_length": length,
        "body_sha256": sha256,
    })))
}

/// The bytes of [`bytes()`] repeat after so many, which is no power of two so that a shift shows.
const PERIOD: usize = 251;

/// `GET /crm/{version}/__bytes?size=N[&chunked=true]`: byte number i is i modulo 251.
pub(in crate::emulator) fn bytes(query: &Form, method: &Method) -> Reply {
    if method != Method::GET && method != Method::HEAD {
        return crate::emulator::replies::invalid_method();
    }
    let Some(size) = query.value("size").and_then(|size| size.parse().ok()) else {
        return Reply::bad("REQUIRED_PARAM_MISSING", json!({ "param_name": "size" }), "size is missing");
    };
    let told = query.value("chunked") != Some("true");
    let periods: Vec<u8> = (0..=250).cycle().take(PERIOD * 64).collect();
    let body = Body::stream(Pattern { periods: periods.into(), left: size, told });
    Reply::download("bytes.bin", Content::Stream(body, told.then_some(size)))
}

struct Pattern {
    periods: Bytes,
    left: u64,
    told: bool,
}

impl HttpBody for Pattern {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        // Every piece but the last is whole periods, so each can begin where the pattern begins.
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.periods.len());
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(self.periods.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.told { SizeHint::with_exact(self.left) } else { SizeHint::default() }
    }
}
