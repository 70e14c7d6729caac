//! Answers, and the headers that Zoho's servers put on them.

mod dress;

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::net::body::Body;
use crate::net::form;
pub(super) use dress::{Dress, iso};

/// An answer before it gets its headers.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) content: Content,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// What an answer says.
pub(super) enum Content {
    Bytes(Bytes),
    /// A stream, and how long it is, if it tells.
    Stream(Body, Option<u64>),
}

const JSON: &str = "application/json;charset=UTF-8";

impl Reply {
    /// JSON as the API writes it, with a newline at the end.
    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        let mut text = serde_json::to_vec(value).expect("values of ours can be written");
        text.push(b'\n');
        Self::bytes(status, JSON, text)
    }

    /// JSON as the accounts server writes it, without a newline at the end.
    pub(super) fn bare_json(status: StatusCode, value: &impl Serialize) -> Self {
        let text = serde_json::to_vec(value).expect("values of ours can be written");
        Self::bytes(status, JSON, text)
    }

    pub(super) fn ok(value: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, value)
    }

    /// An answer without a body; it has a content type all the same.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self::bytes(status, JSON, Bytes::new())
    }

    pub(super) fn bytes(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        Self { status, content_type, content: Content::Bytes(bytes.into()), headers: Vec::new() }
    }

    /// A page for people.
    pub(super) fn html(status: StatusCode, title: &str) -> Self {
        let page = format!("<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>");
        Self::bytes(status, "text/html;charset=UTF-8", page)
    }

    /// A file to be saved.
    pub(super) fn download(name: &str, content: Content) -> Self {
        let disposition = format!("attachment; filename*=UTF-8''{}", form::encode(name));
        let reply = Self {
            status: StatusCode::OK,
            content_type: "application/x-download",
            content,
            headers: Vec::new(),
        };
        reply.with(CONTENT_DISPOSITION, &disposition)
    }

    /// A redirect.
    pub(super) fn redirect(location: &str) -> Self {
        Self::html(StatusCode::FOUND, "Moved").with(LOCATION, location)
    }

    /// An error as the API writes it.
    pub(super) fn error(status: StatusCode, code: &str, details: Value, message: &str) -> Self {
        Self::json(status, &problem(code, details, message))
    }

    /// 400 with an error as the API writes it.
    pub(super) fn bad(code: &str, details: Value, message: &str) -> Self {
        Self::error(StatusCode::BAD_REQUEST, code, details, message)
    }

    /// An error as the accounts server writes it: with status 200.
    pub(super) fn oauth_error(error: &str) -> Self {
        Self::bare_json(StatusCode::OK, &json!({ "error": error }))
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, crate::net::headers::visible(value)));
        self
    }

    /// The body as JSON, if it is that.
    pub(super) fn value(&self) -> Option<Value> {
        match &self.content {
            Content::Bytes(bytes) => serde_json::from_slice(bytes).ok(),
            Content::Stream(..) => None,
        }
    }
}

/// Zoho's error envelope.
pub(super) fn problem(code: &str, details: Value, message: &str) -> Value {
    envelope(code, details, message, "error")
}

/// Zoho's envelope of what went well.
pub(super) fn success(details: Value, message: &str) -> Value {
    envelope("SUCCESS", details, message, "success")
}

fn envelope(code: &str, details: Value, message: &str, status: &str) -> Value {
    let pairs = [
        ("code", Value::from(code)),
        ("details", details),
        ("message", Value::from(message)),
        ("status", Value::from(status)),
    ];
    Value::Object(pairs.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
}

pub(super) fn authentication_failure() -> Reply {
    Reply::error(StatusCode::UNAUTHORIZED, "AUTHENTICATION_FAILURE", json!({}), "Authentication failed")
}

pub(super) fn invalid_token() -> Reply {
    Reply::error(StatusCode::UNAUTHORIZED, "INVALID_TOKEN", json!({}), "invalid oauth token")
}

pub(super) fn invalid_url() -> Reply {
    let message = "Please check if the URL trying to access is a correct one";
    Reply::error(StatusCode::NOT_FOUND, "INVALID_URL_PATTERN", json!({}), message)
}

pub(super) fn invalid_method() -> Reply {
    Reply::bad("INVALID_REQUEST_METHOD", json!({}), "The http request method type is not a valid one")
}

pub(super) fn too_many_at_once() -> Reply {
    let message = "Many requests fired in concurrent than the allowed limit";
    Reply::error(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", json!({}), message)
}

/// Zoho's own text for this was not captured; this one is told of by others.
pub(super) fn credits_exhausted() -> Reply {
    let message = "too many requests. please try again after some time";
    Reply::error(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS", json!({}), message)
}

pub(super) fn internal_error() -> Reply {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Reply::error(status, "INTERNAL_ERROR", json!({}), "Internal Server Error")
}

pub(super) fn too_large() -> Reply {
    Reply::error(StatusCode::PAYLOAD_TOO_LARGE, "INVALID_DATA", json!({}), "the request body is too large")
}

/// `error` with the text for one mint too many.
pub(super) fn throttled(status: u16, chinese: bool) -> Reply {
    let body = if chinese {
        json!({ "error_description": "您连续提出的请求过多。请稍后再试。", "error": "访问被拒绝", "status": "failure" })
    } else {
        json!({
            "error_description":
                "You have made too many requests continuously. Please try again after some time.",
            "error": "Access Denied",
            "status": "failure",
        })
    };
    Reply::bare_json(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), &body)
}
