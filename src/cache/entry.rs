//! What is kept of an answer, and what never is.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, EXPIRES, HeaderName, HeaderValue, PRAGMA, SET_COOKIE};
use http::{HeaderMap, StatusCode};

use super::freshness::Rule;
use crate::clock::Instant;
use crate::net::headers::copy_if;

/// A stored answer: Zoho's status, headers and bytes, never reparsed.
#[derive(Debug)]
pub struct Entry {
    status: StatusCode,
    head: HeaderMap,
    body: Bytes,
    stored: Instant,
    epoch: u64,
    keep: Duration,
}

/// What an entry costs beside key, head and body: the structures of moka and of the header map.
const OVERHEAD: usize = 512;

impl Entry {
    /// An entry of an answer that arrived at `now`, of a fetch that began in `epoch`. One that the rule does
    /// not store, an error say, keeps Zoho's headers: it only reaches those who wait for it now.
    pub fn new(
        status: StatusCode,
        head: &HeaderMap,
        body: Bytes,
        now: Instant,
        epoch: u64,
        rule: &Rule,
    ) -> Self {
        // Zoho forbids caching by `no-store` on every answer; the rule overrides that on purpose. To callers
        // the sidecar is the cache: their own would not learn of the writes it sees.
        const SLOTS: usize = 4;
        let stores = rule.stores(status);
        let mut head = copy_if(head, SLOTS, |name| !(is_never_kept(name) || stores && is_replaced(name)));
        if stores {
            head.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        }
        Self { status, head, body, stored: now, epoch, keep: rule.keep_for(status) }
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its headers, with room for those added to each answer.
    pub fn head(&self) -> &HeaderMap {
        &self.head
    }

    /// Its bytes.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How old it is.
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.stored)
    }

    /// The epoch of its groups when its fetch began.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How long it can be of any use.
    pub fn keep(&self) -> Duration {
        self.keep
    }

    /// What it costs in memory.
    pub fn weight(&self, key_length: usize) -> u32 {
        let head: usize = self.head.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        u32::try_from(OVERHEAD + key_length + head + self.body.len()).unwrap_or(u32::MAX)
    }
}

/// Cookies are nobody else's; the length is the body's own.
fn is_never_kept(name: &HeaderName) -> bool {
    [SET_COOKIE, CONTENT_LENGTH].contains(name)
}

/// Freshness headers that ours take the place of.
fn is_replaced(name: &HeaderName) -> bool {
    [CACHE_CONTROL, PRAGMA, EXPIRES].contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn cookies_are_never_kept_and_freshness_headers_are_ours() {
        let mut head = HeaderMap::new();
        for (name, value) in [
            ("set-cookie", "crmcsr=made-up"),
            ("set-cookie", "JSESSIONID=made-up"),
            ("cache-control", "no-store, no-cache, must-revalidate, private"),
            ("pragma", "no-cache"),
            ("expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("content-type", "application/json;charset=UTF-8"),
        ] {
            head.append(name, HeaderValue::from_static(value));
        }
        let rule = Rule {
            fresh_for: Duration::from_secs(1),
            empty_fresh_for: Duration::ZERO,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            groups: Vec::new(),
            vary_by: Vec::new(),
        };
        let entry = Entry::new(StatusCode::OK, &head, "{}".into(), Clock::system().now(), 0, &rule);
        let kept: Vec<_> =
            entry.head().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(
            kept,
            [
                ("content-type", &b"application/json;charset=UTF-8"[..]),
                ("cache-control", b"private, no-cache")
            ]
        );
    }
}
