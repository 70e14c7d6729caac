//! An answer from an entry, as HTTP/1.1 writes it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{HeaderValue, Response, StatusCode};

use crate::cache::entry::{Entry, SAID_BY_EACH_ANSWER};
use crate::net::body::Body;

/// A longer body is not copied: hyper sends it as it lies there.
const MOST_BYTES: usize = 8 * 1024;
/// Each worker remembers some of these answers with their entries, so a heavier entry is not remembered.
const MOST_WEIGHT: u32 = 32 * 1024;

/// All of an answer that is the same each time it is given, and the entry that gives it.
pub(super) struct Written {
    entry: Arc<Entry>,
    status: StatusCode,
    /// The status line and the headers before those that each answer says anew.
    head: Vec<u8>,
    body: Bytes,
}

/// What each answer says anew.
pub(super) struct Anew<'a> {
    pub(super) age: u64,
    pub(super) cache_status: &'a HeaderValue,
    pub(super) request_id: &'a HeaderValue,
}

impl Written {
    /// Whether answers from an entry can be written here, as far as that is the entry's doing.
    pub(super) fn can_hold(entry: &Entry) -> bool {
        entry.status() == StatusCode::OK
            && entry.body().len() <= MOST_BYTES
            && entry.weight(0) <= MOST_WEIGHT
            && entry.head().contains_key(DATE)
    }

    /// Writes an answer from this entry. `None` if there is more to it than is written here: a date to add, a
    /// connection to end.
    pub(super) fn new(entry: Arc<Entry>, answer: Response<Body>) -> Option<Self> {
        let (parts, body) = answer.into_parts();
        let Body::Full(body) = body else { return None };
        let body = body.unwrap_or_default();
        let has = |name| parts.headers.contains_key(name);
        // The entry's own status is 200; otherwise it is a 304, which has no body.
        let has_body = parts.status == StatusCode::OK;
        if !Self::can_hold(&entry)
            || !has(DATE)
            || has(CONTENT_LENGTH) != has_body
            || [CONNECTION, TRANSFER_ENCODING].into_iter().any(has)
        {
            return None;
        }
        let mut head = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
        for (name, value) in parts.headers.iter().filter(|(name, _)| !SAID_BY_EACH_ANSWER.contains(name)) {
            write_line(&mut head, name.as_str(), value);
        }
        Some(Self { entry, status: parts.status, head, body })
    }

    /// Whether it is the answer that this entry gives.
    pub(super) fn is_of(&self, entry: &Arc<Entry>) -> bool {
        Arc::ptr_eq(&self.entry, entry)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// How long its body is.
    pub(super) fn bytes(&self) -> u64 {
        self.body.len() as u64
    }

    /// Appends the answer, in the order in which hyper would write it.
    pub(super) fn append(&self, anew: &Anew<'_>, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.head);
        to.extend_from_slice(b"age: ");
        to.extend_from_slice(itoa::Buffer::new().format(anew.age).as_bytes());
        to.extend_from_slice(b"\r\n");
        write_line(to, "cache-status", anew.cache_status);
        write_line(to, "x-request-id", anew.request_id);
        to.extend_from_slice(b"\r\n");
        to.extend_from_slice(&self.body);
    }
}

fn write_line(to: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        to.extend_from_slice(part);
    }
}
