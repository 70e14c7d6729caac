//! What is kept of an answer, and what never is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, ETAG, EXPIRES, HeaderName, HeaderValue, LAST_MODIFIED, PRAGMA,
    SET_COOKIE,
};
use http::{HeaderMap, StatusCode};

use super::origin::Terms;
use super::rule::Rule;
use super::validator::strong_tag;
use super::vary::Variant;
use crate::clock::BootTime;
use crate::net::buffers::Reservation;
use crate::net::headers::{CACHE_STATUS, REQUEST_ID, copy_if, is_of_one_call};

/// A stored answer: Zoho's status, headers and bytes, never reparsed.
#[derive(Debug)]
pub struct Entry {
    status: StatusCode,
    head: HeaderMap,
    body: Bytes,
    stored: BootTime,
    epoch: u64,
    keep: Duration,
    route: usize,
    /// What it costs in memory beside its key.
    own_weight: u32,
    /// A share of 256, drawn anew for each entry.
    spread: u8,
    expired_by_hand: AtomicBool,
    terms: Option<Terms>,
    /// Boxed, since almost no answer has one.
    variant: Option<Box<Variant>>,
}

/// How long a stale entry is kept for Zoho to say that it is unchanged.
const VALIDATED_FOR: Duration = Duration::from_hours(1);

/// What an entry costs beside key, head and body: the structures of moka, the allocator's rounding, and what
/// an evicted one holds until moka gets to it. Measured by `benches/cache_pressure.rs`.
const OVERHEAD: usize = 1024;
/// What a header costs beside its name and value: its places in the map, which has room to spare.
const HEADER_OVERHEAD: usize = 160;

/// A whole answer that was fetched.
#[derive(Debug)]
pub struct Fetched<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without those that callers never get.
    pub head: &'a HeaderMap,
    /// Its bytes.
    pub body: Bytes,
    /// Its share of the memory budget, held until the last clone of the body is dropped.
    pub memory: Option<Reservation>,
    /// When it came.
    pub at: BootTime,
    /// The epoch in which its fetch began.
    pub epoch: u64,
    /// What its own headers allow, for a rule that obeys them.
    pub terms: Option<Terms>,
    /// Whether it is not to be stored, whatever its status allows.
    pub is_unfit: bool,
    /// Which request headers selected it, beside those in every key.
    pub variant: Option<Variant>,
}

impl Entry {
    /// An entry of an answer. One that the rule does not store, an error say, keeps Zoho's headers: it only
    /// reaches those who wait for it now.
    pub fn new(rule: &Rule, route: usize, fetched: Fetched<'_>) -> Self {
        // Zoho forbids caching by `no-store` on every answer; the rule overrides that on purpose. To callers
        // the sidecar is the cache: their own would not learn of the writes it sees.
        const SLOTS: usize = 7;
        let Fetched { status, head, body, memory, at, epoch, terms, is_unfit, variant } = fetched;
        let stores = !is_unfit && rule.may_store(status, terms.as_ref());
        let replaces = stores && !rule.obeys_origin;
        // What arrives is a slice of the connection's buffer; kept as it is, a short answer would hold all of it.
        let body = if stores { Bytes::copy_from_slice(&body) } else { body };
        let body = match memory {
            Some(memory) => memory.hold(body),
            None => body,
        };
        let mut head = copy_if(head, SLOTS, |name| {
            !(is_never_kept(name)
                || stores && is_of_one_call(name)
                || replaces && is_replaced(name)
                || stores && SAID_BY_EACH_ANSWER.contains(name))
        });
        if stores {
            if status != StatusCode::NO_CONTENT {
                // Whoever sends the answer would add it otherwise, each time, to a map that has no room for it.
                head.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            }
            compact(&mut head);
            if let Some(groups) = &rule.cache_groups {
                head.insert("cache-groups", groups.clone());
            }
        }
        if replaces {
            head.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
            head.entry(ETAG).or_insert_with(|| strong_tag(&body));
        }
        if stores {
            for name in SAID_BY_EACH_ANSWER {
                head.insert(name, HeaderValue::from_static(""));
            }
        }
        let mut entry = Self {
            status,
            head,
            body,
            stored: at,
            epoch,
            keep: Duration::ZERO,
            route,
            own_weight: 0,
            spread: spread(),
            expired_by_hand: AtomicBool::new(false),
            terms: terms.filter(|_| rule.obeys_origin),
            variant: variant.map(Box::new),
        };
        entry.keep = entry.keep_by(rule);
        entry.own_weight = entry.weigh();
        entry
    }

    /// The same, of which nothing is shared with this one.
    pub(super) fn copied(&self) -> Self {
        let mut head = copy_if(&self.head, 0, |_| true);
        compact(&mut head);
        Self {
            head,
            body: Bytes::copy_from_slice(&self.body),
            expired_by_hand: AtomicBool::new(self.is_expired_by_hand()),
            variant: self.variant.clone(),
            ..*self
        }
    }

    /// What is stored in the place of an answer that has a longer key: how that is made.
    pub(super) fn marker(&self) -> Option<Self> {
        let variant = Box::new(self.variant.as_ref()?.marker());
        let mut marker = Self {
            head: HeaderMap::new(),
            body: Bytes::new(),
            expired_by_hand: AtomicBool::new(false),
            variant: Some(variant),
            ..*self
        };
        marker.own_weight = marker.weigh();
        Some(marker)
    }

    /// Whether it holds no answer, but what the longer keys of answers are made of.
    pub fn is_marker(&self) -> bool {
        self.variant.as_ref().is_some_and(|variant| variant.is_marker())
    }

    /// Which request headers selected it, beside those in every key.
    pub fn variant(&self) -> Option<&Variant> {
        self.variant.as_deref()
    }

    fn keep_by(&self, rule: &Rule) -> Duration {
        match &self.terms {
            None => rule.keep_for(self.status),
            Some(terms) => {
                let stale = |said: Option<Duration>, rules: Duration| said.unwrap_or(rules);
                let helps = stale(terms.stale_while_revalidate, rule.stale_while_revalidate)
                    .max(stale(terms.stale_if_error, rule.stale_if_error));
                let validated = if self.has_validator() { VALIDATED_FOR } else { Duration::ZERO };
                terms.fresh_for + helps.max(validated)
            }
        }
    }

    /// What its own headers allow, for a rule that obeys them.
    pub fn terms(&self) -> Option<&Terms> {
        self.terms.as_ref()
    }

    /// Whether Zoho could say that it is unchanged.
    pub fn has_validator(&self) -> bool {
        self.terms.is_some() && (self.head.contains_key(ETAG) || self.head.contains_key(LAST_MODIFIED))
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its headers. A stored one has places for those that each answer says of itself; what is in them is nothing.
    pub fn head(&self) -> &HeaderMap {
        &self.head
    }

    /// What Zoho said of it.
    pub fn zohos_head(&self) -> HeaderMap {
        copy_if(&self.head, 0, |name| !SAID_BY_EACH_ANSWER.contains(name) && *name != CONTENT_LENGTH)
    }

    /// Its bytes.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How old it is.
    pub fn age(&self, now: BootTime) -> Duration {
        let on_arrival = self.terms.map_or(Duration::ZERO, |terms| terms.initial_age);
        now.saturating_duration_since(self.stored) + on_arrival
    }

    /// When it came.
    pub fn stored(&self) -> BootTime {
        self.stored
    }

    /// The epoch of its groups when its fetch began.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether nothing could be served from it any more.
    pub fn is_useless(&self, now: BootTime) -> bool {
        now.saturating_duration_since(self.stored) >= self.keep
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
        self.own_weight.saturating_add(u32::try_from(key_length).unwrap_or(u32::MAX))
    }

    fn weigh(&self) -> u32 {
        let head: usize =
            self.head.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER_OVERHEAD).sum();
        let variant = self.variant.as_ref().map_or(0, |variant| variant.weight());
        u32::try_from(OVERHEAD + head + variant + self.body.len()).unwrap_or(u32::MAX)
    }
}

/// What the answer to each request says anew, in the place of what Zoho may have said.
pub const SAID_BY_EACH_ANSWER: [HeaderName; 3] = [AGE, CACHE_STATUS, REQUEST_ID];

/// Moves all values into one piece of memory of their own.
fn compact(head: &mut HeaderMap) {
    let all: Bytes = head.values().flat_map(HeaderValue::as_bytes).copied().collect();
    let mut start = 0;
    for value in head.values_mut() {
        let end = start + value.len();
        *value = HeaderValue::from_maybe_shared(all.slice(start..end))
            .expect("the bytes of a header value make one");
        start = end;
    }
}

fn spread() -> u8 {
    let mut byte = [0; 1];
    // Without randomness all is as well, only less spread.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    byte[0]
}

/// Cookies are nobody else's; the length is that of the bytes that came.
fn is_never_kept(name: &HeaderName) -> bool {
    [SET_COOKIE, CONTENT_LENGTH].contains(name)
}

/// Freshness headers that ours take the place of.
fn is_replaced(name: &HeaderName) -> bool {
    [CACHE_CONTROL, PRAGMA, EXPIRES].contains(name)
}

#[cfg(test)]
impl Fetched<'_> {
    /// An answer without headers.
    pub(super) fn plain(status: StatusCode, body: &'static str, at: BootTime, epoch: u64) -> Self {
        static NONE: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);
        Self {
            status,
            head: &NONE,
            body: body.into(),
            memory: None,
            at,
            epoch,
            terms: None,
            is_unfit: false,
            variant: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn entries_stored_together_are_renewed_apart() {
        let (rule, ahead) = (Rule::lasting(Duration::from_secs(300)), Duration::from_secs(60));
        let now = Clock::system().boot_time();
        let renewals: std::collections::HashSet<Duration> = (0..100)
            .map(|_| Entry::new(&rule, 0, Fetched::plain(StatusCode::OK, "", now, 0)).spread(ahead))
            .collect();
        assert!(renewals.len() > 10, "{}", renewals.len());
        assert!(renewals.iter().all(|time| (ahead / 2..=ahead).contains(time)), "{renewals:?}");
    }

    #[tokio::test]
    async fn an_answer_that_cannot_have_a_body_has_no_length() {
        let (rule, now) = (Rule::lasting(Duration::from_secs(1)), Clock::system().boot_time());
        let length = |status, body| {
            let entry = Entry::new(&rule, 0, Fetched::plain(status, body, now, 0));
            entry.head().get(CONTENT_LENGTH).cloned()
        };
        assert_eq!(length(StatusCode::OK, "").unwrap(), "0");
        // RFC 9110 section 8.6.
        assert_eq!(length(StatusCode::NO_CONTENT, ""), None);
    }

    #[tokio::test]
    async fn cookies_are_never_kept_and_freshness_headers_are_ours() {
        let mut head = HeaderMap::new();
        for (name, value) in [
            ("set-cookie", "crmcsr=made-up"),
            ("set-cookie", "JSESSIONID=made-up"),
            ("cache-control", "no-store, no-cache, must-revalidate, private"),
            ("pragma", "no-cache"),
            ("expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("x-api-credits-remaining", "1000"),
            ("x-ratelimit-remaining", "10"),
            ("server-timing", "db;dur=5"),
            ("content-type", "application/json;charset=UTF-8"),
        ] {
            head.append(name, HeaderValue::from_static(value));
        }
        let rule = Rule::lasting(Duration::from_secs(1));
        let now = Clock::system().boot_time();
        let fetched = Fetched { head: &head, ..Fetched::plain(StatusCode::OK, "{}", now, 0) };
        let entry = Entry::new(&rule, 0, fetched);
        let kept: Vec<_> =
            entry.head().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(
            kept,
            [
                ("content-type", &b"application/json;charset=UTF-8"[..]),
                ("content-length", b"2"),
                ("cache-control", b"private, no-cache"),
                ("etag", strong_tag(b"{}").as_bytes()),
                ("age", b""),
                ("cache-status", b""),
                ("x-request-id", b""),
            ]
        );
    }
}
