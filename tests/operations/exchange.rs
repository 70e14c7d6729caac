//! What was sent, what arrived, and whether that is the same.

use std::fmt::Write;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

/// Headers in order.
pub(crate) type Headers = Vec<(String, String)>;

/// Headers of a caller that end at the sidecar: its credentials, and what belongs to one connection.
const NOT_SENT_ON: [&str; 4] = ["authorization", "cookie", "host", "connection"];
/// Headers of Zoho's that end at the sidecar.
const NOT_ANSWERED_ON: [&str; 4] = ["set-cookie", "x-accesstoken-reset", "connection", "keep-alive"];
/// What tells where a body ends. Each connection has its own.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];
/// What the sidecar adds to a request.
const ADDED_TO_REQUESTS: [&str; 4] = ["authorization", "host", "x-request-id", "via"];
/// What the sidecar adds to an answer.
const ADDED_TO_ANSWERS: [&str; 3] = ["cache-status", "server-timing", "x-request-id"];
/// What of a request goes out for an answer that all callers get from the cache, and what is added then.
const SENT_ON_FOR_ALL: [&str; 3] = ["user-agent", "x-crm-org", "x-external"];
/// What an answer that went through the cache says of its age and use; in Zoho's place, since those of Zoho forbid
/// any cache.
const SAID_BY_THE_CACHE: [&str; 5] = ["age", "cache-control", "etag", "expires", "pragma"];

/// What Zoho says of the call rather than of its content, and no other call gets.
const ABOUT_ONE_CALL: [&str; 1] = ["x-api-credits-remaining"];

/// A request or an answer as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// `GET /crm/v8/users?a=b` or `200`.
    pub(crate) start: String,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

/// A request or an answer as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) start: String,
    pub(crate) headers: Headers,
    pub(crate) body: Digest,
}

/// A body, told by its length and its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) length: u64,
    sha256: String,
}

/// A digest that grows with the body.
pub(crate) struct Digesting {
    length: u64,
    context: Context,
}

impl Digesting {
    pub(crate) fn new() -> Self {
        Self { length: 0, context: Context::new(&SHA256) }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.context.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        let digest = self.context.finish();
        let sha256 = digest.as_ref().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        Digest { length: self.length, sha256 }
    }
}

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut digesting = Digesting::new();
        digesting.add(bytes);
        digesting.finish()
    }
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

impl Arrived {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn cache_status(&self) -> &str {
        self.header("cache-status").unwrap_or_default()
    }
}

fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Checks that Zoho saw what the caller sent.
#[track_caller]
pub(crate) fn assert_sent_on(sent: &Message, seen: &Arrived, token: &str) {
    assert_same_body_and_start(sent, seen);
    let about = &sent.start;
    assert_eq!(
        without(&seen.headers, &[&ADDED_TO_REQUESTS, &FRAMING]),
        without(&sent.headers, &[&NOT_SENT_ON, &FRAMING]),
        "{about}"
    );
    assert_credential(seen, token, about);
}

/// Checks that a request tells where its body ends, if it is of a kind that has one (RFC 9110 section 8.6).
#[track_caller]
pub(crate) fn assert_length_told(sent: &Message, seen: &Arrived) {
    let about = &sent.start;
    let must_tell = ["POST", "PUT", "PATCH"].iter().any(|method| about.starts_with(method));
    if must_tell && seen.header("transfer-encoding").is_none() {
        assert_eq!(seen.header("content-length"), Some(&*sent.body.len().to_string()), "{about}");
    }
}

/// Checks that Zoho saw the question of all callers, without what this one alone wanted.
#[track_caller]
pub(crate) fn assert_sent_on_for_all(sent: &Message, seen: &Arrived, token: &str) {
    assert_same_body_and_start(sent, seen);
    let is_sent_on = |name: &str| SENT_ON_FOR_ALL.contains(&name);
    let expected: Headers = sent.headers.iter().filter(|(name, _)| is_sent_on(name)).cloned().collect();
    let added: &[&str] = &["accept-encoding"];
    assert_eq!(without(&seen.headers, &[&ADDED_TO_REQUESTS, &FRAMING, added]), expected, "{}", sent.start);
    assert_eq!(seen.header("accept-encoding"), Some("gzip"), "{}", sent.start);
    assert_credential(seen, token, &sent.start);
}

/// Checks that the caller got what Zoho answered.
#[track_caller]
pub(crate) fn assert_answered_on(answer: &Message, got: &Arrived, about: &str) {
    assert_answered(answer, got, about, &[]);
}

/// The same for an answer that was stored on its way.
#[track_caller]
pub(crate) fn assert_answered_on_and_stored(answer: &Message, got: &Arrived, about: &str) {
    assert_answered(answer, got, about, &SAID_BY_THE_CACHE);
}

/// The same for a cache hit, which leaves out what Zoho said about the call that brought it.
#[track_caller]
pub(crate) fn assert_answered_from_the_cache(answer: &Message, got: &Arrived, about: &str) {
    let answer = Message { headers: without(&answer.headers, &[&ABOUT_ONE_CALL]), ..answer.clone() };
    assert_answered_on_and_stored(&answer, got, about);
}

/// In the order of their names, which says nothing (RFC 9110 section 5.3); those of one name stay as they were.
fn by_name(mut headers: Headers) -> Headers {
    headers.sort_by_key(|(name, _)| name.to_ascii_lowercase());
    headers
}

#[track_caller]
fn assert_answered(answer: &Message, got: &Arrived, about: &str, of_the_cache: &[&str]) {
    assert_eq!(got.start, answer.start, "{about}: {got:?}");
    assert_eq!(
        by_name(without(&got.headers, &[&ADDED_TO_ANSWERS, &FRAMING, of_the_cache])),
        by_name(without(&answer.headers, &[&NOT_ANSWERED_ON, &FRAMING, of_the_cache])),
        "{about}"
    );
    assert_eq!(got.body, Digest::of(&answer.body), "{about}");
    for name in ["cache-status", "x-request-id"] {
        assert!(got.header(name).is_some(), "{about}: no {name}");
    }
}

#[track_caller]
fn assert_same_body_and_start(sent: &Message, seen: &Arrived) {
    assert_eq!(seen.start, sent.start);
    assert_eq!(seen.body, Digest::of(&sent.body), "{}", sent.start);
}

#[track_caller]
fn assert_credential(seen: &Arrived, token: &str, about: &str) {
    assert_eq!(seen.header("authorization"), Some(&*format!("Zoho-oauthtoken {token}")), "{about}");
    assert!(seen.header("x-request-id").is_some(), "{about}");
}

/// Headers without those of some lists, names in lower case.
fn without(headers: &Headers, lists: &[&[&str]]) -> Headers {
    let lower = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    lower.filter(|(name, _)| !lists.iter().any(|list| list.contains(&name.as_str()))).collect()
}
