//! What is kept of an answer, and what never is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, ETAG, EXPIRES, HeaderName, HeaderValue, PRAGMA, SET_COOKIE,
};
use http::{HeaderMap, StatusCode};

use super::freshness::Rule;
use super::validator::strong_tag;
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
    route: usize,
    /// A share of 256, drawn anew for each entry.
    spread: u8,
    expired_by_hand: AtomicBool,
}

/// What an entry costs beside key, head and body: the structures of moka and of the header map.
const OVERHEAD: usize = 512;

impl Entry {
    /// An entry of an answer that arrived at `now`, of a fetch that began in `epoch`. One that the rule does
    /// not store, an error say, keeps Zoho's headers: it only reaches those who wait for it now.
    pub fn new(
        route: usize,
        status: StatusCode,
        head: &HeaderMap,
        body: Bytes,
        now: Instant,
        epoch: u64,
        rule: &Rule,
    ) -> Self {
        // Zoho forbids caching by `no-store` on every answer; the rule overrides that on purpose. To callers
        // the sidecar is the cache: their own would not learn of the writes it sees.
        const SLOTS: usize = 6;
        let stores = rule.stores(status);
        // What arrives is a slice of the connection's buffer; kept as it is, a short answer would hold all of it.
        let body = if stores { Bytes::copy_from_slice(&body) } else { body };
        let mut head = copy_if(head, SLOTS, |name| !(is_never_kept(name) || stores && is_replaced(name)));
        if stores {
            head.values_mut().for_each(|value| *value = compact(value));
            head.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
            if let Some(groups) = &rule.cache_groups {
                head.insert("cache-groups", groups.clone());
            }
            head.entry(ETAG).or_insert_with(|| strong_tag(&body));
        }
        Self {
            status,
            head,
            body,
            stored: now,
            epoch,
            keep: rule.keep_for(status),
            route,
            spread: spread(),
            expired_by_hand: AtomicBool::new(false),
        }
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

    /// When it came.
    pub fn stored(&self) -> Instant {
        self.stored
    }

    /// The epoch of its groups when its fetch began.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How long it can be of any use.
    pub fn keep(&self) -> Duration {
        self.keep
    }

    /// The number of the route it belongs to.
    pub fn route(&self) -> usize {
        self.route
    }

    /// From half of `time` to the whole of it: the same for this entry at every call, another for the next,
    /// so that entries that came together are not renewed together.
    pub fn spread(&self, time: Duration) -> Duration {
        time / 2 + time / 2 * u32::from(self.spread) / 255
    }

    /// Ends its freshness, and leaves it for those whom an old answer helps more than none.
    pub fn expire_by_hand(&self) {
        self.expired_by_hand.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::expire_by_hand`] was called.
    pub fn is_expired_by_hand(&self) -> bool {
        self.expired_by_hand.load(Ordering::Relaxed)
    }

    /// What it costs in memory.
    pub fn weight(&self, key_length: usize) -> u32 {
        let head: usize = self.head.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        u32::try_from(OVERHEAD + key_length + head + self.body.len()).unwrap_or(u32::MAX)
    }
}

/// The same value in memory of its own.
fn compact(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).expect("the bytes of a header value make one")
}

fn spread() -> u8 {
    let mut byte = [0; 1];
    // Without randomness all is as well, only less spread.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    byte[0]
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
        let rule = Rule::lasting(Duration::from_secs(1));
        let entry = Entry::new(0, StatusCode::OK, &head, "{}".into(), Clock::system().now(), 0, &rule);
        let kept: Vec<_> =
            entry.head().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(
            kept,
            [
                ("content-type", &b"application/json;charset=UTF-8"[..]),
                ("cache-control", b"private, no-cache"),
                ("etag", strong_tag(b"{}").as_bytes())
            ]
        );
    }
}
