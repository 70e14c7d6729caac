//! An answer on its way to a caller, and what it says about where it came from.

use std::fmt;

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, DATE, ETAG, EXPIRES, HeaderName, HeaderValue,
    LAST_MODIFIED, SET_COOKIE, VARY,
};
use http::{HeaderMap, Method, Response, StatusCode};

use super::lately;
pub use super::timing::Timing;
use crate::cache::decision::{Served, WhyFetch};
use crate::cache::entry::Entry;
use crate::cache::validator::is_unchanged;
use crate::clock::BootTime;
use crate::net::body::Body;
use crate::net::headers::{
    CACHE_STATUS, ConnectionNamed, REQUEST_ID, copy_if, is_hop_by_hop, retain, visible,
};
use crate::telemetry::outcome::Outcome;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Where an answer came from, in the words of RFC 9211.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// From an entry.
    Served(Served),
    /// From Zoho, for a route that a rule covers.
    Fetched {
        /// Why it was not answered from an entry.
        why: WhyFetch,
        /// Whether the answer is an entry now.
        kept: Kept,
        /// Whether another request's fetch brought it.
        collapsed: bool,
    },
    /// From Zoho, without anything to do for the cache.
    Passed(WhyPassed),
}

/// What became of a fetched answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is an entry.
    Stored,
    /// Its status is never stored.
    NotStorable,
    /// A write or a purge came in between.
    Overtaken,
    /// It is longer than an entry may be.
    TooLong,
    /// Its status says that it is an answer, and what it holds is none.
    Invalid,
    /// Zoho says that the refresh token lacks scopes for the route.
    ScopesMissing,
}

/// Why a request was passed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyPassed {
    /// No rule covers the route.
    NoRule,
    /// The method is not one that is answered from the cache.
    Method,
    /// A header or parameter names another method or target, so that the request may be any write.
    Override,
    /// A header puts a condition that only Zoho can judge, as `If-Modified-Since` with an ISO date does.
    Conditional,
    /// It has a body.
    Body,
    /// The caller wants nothing of it stored.
    NoStore,
    /// The key's last answer was too long to be stored.
    Uncacheable,
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Served(Served::Fresh(left) | Served::RefreshAhead(left) | Served::TooSoon(left)) => {
                write!(f, "zoho-sidecar; hit; ttl={}", left.as_secs())?;
            }
            Self::Served(
                Served::WhileRevalidating(by)
                | Served::IfError(by)
                | Served::MaxStale(by)
                | Served::AfterWrite(by),
            ) => write!(f, "zoho-sidecar; hit; ttl=-{}", by.as_secs())?,
            Self::Fetched { why, kept, collapsed } => {
                let fwd = match why {
                    WhyFetch::Miss => "uri-miss",
                    WhyFetch::Stale => "stale",
                    WhyFetch::Forced => "request",
                };
                write!(f, "zoho-sidecar; fwd={fwd}")?;
                f.write_str(if kept == Kept::Stored { "; stored" } else { "" })?;
                f.write_str(if collapsed { "; collapsed" } else { "" })?;
            }
            Self::Passed(why) => write!(f, "zoho-sidecar; fwd={}", why.fwd())?,
        }
        match self.detail() {
            Some(detail) => write!(f, "; detail={}", detail.as_str()),
            None => Ok(()),
        }
    }
}

impl WhyPassed {
    fn fwd(self) -> &'static str {
        match self {
            Self::NoRule => "bypass",
            Self::Method | Self::Override => "method",
            Self::Conditional | Self::Body | Self::NoStore => "request",
            Self::Uncacheable => "miss",
        }
    }
}

impl CacheStatus {
    /// The same in one word, for metrics and logs.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Served(Served::Fresh(_)) => Outcome::Hit,
            Self::Served(Served::RefreshAhead(_)) => Outcome::RefreshAhead,
            Self::Served(Served::TooSoon(_)) => Outcome::MinRefreshInterval,
            Self::Served(Served::WhileRevalidating(_)) => Outcome::StaleWhileRevalidate,
            Self::Served(Served::IfError(_)) => Outcome::StaleIfError,
            Self::Served(Served::MaxStale(_)) => Outcome::MaxStale,
            Self::Served(Served::AfterWrite(_)) => Outcome::StaleAfterWrite,
            Self::Fetched { kept: Kept::NotStorable | Kept::ScopesMissing, .. } => Outcome::NotStorable,
            Self::Fetched { kept: Kept::Overtaken, .. } => Outcome::Overtaken,
            Self::Fetched { kept: Kept::TooLong, .. } => Outcome::TooLong,
            Self::Fetched { kept: Kept::Invalid, .. } => Outcome::InvalidResponse,
            Self::Fetched { collapsed: true, .. } => Outcome::Collapsed,
            Self::Fetched { why: WhyFetch::Miss, .. } => Outcome::Miss,
            Self::Fetched { why: WhyFetch::Stale, .. } => Outcome::Renewed,
            Self::Fetched { why: WhyFetch::Forced, .. } => Outcome::Forced,
            Self::Passed(WhyPassed::NoRule) => Outcome::Bypass,
            Self::Passed(WhyPassed::Method) => Outcome::Method,
            Self::Passed(WhyPassed::Override) => Outcome::Override,
            Self::Passed(WhyPassed::Conditional) => Outcome::Conditional,
            Self::Passed(WhyPassed::Body) => Outcome::Body,
            Self::Passed(WhyPassed::NoStore) => Outcome::NoStore,
            Self::Passed(WhyPassed::Uncacheable) => Outcome::Uncacheable,
        }
    }

    /// The same as a header; what is said most needs no text of its own.
    pub(super) fn header(self) -> HeaderValue {
        let write = || visible(&self.to_string());
        match self {
            Self::Served(Served::Fresh(left)) => lately::hit(left.as_secs(), write),
            Self::Passed(WhyPassed::NoRule) => HeaderValue::from_static("zoho-sidecar; fwd=bypass"),
            Self::Passed(WhyPassed::Method) => HeaderValue::from_static("zoho-sidecar; fwd=method"),
            _ => write(),
        }
    }

    /// What RFC 9211 has no parameter for.
    fn detail(self) -> Option<Outcome> {
        match self.outcome() {
            Outcome::Hit
            | Outcome::Miss
            | Outcome::Renewed
            | Outcome::Collapsed
            | Outcome::Bypass
            | Outcome::Method => None,
            outcome => Some(outcome),
        }
    }

    /// Whether the answer is, or now is, an entry.
    fn has_age(self) -> bool {
        matches!(self, Self::Served(_) | Self::Fetched { kept: Kept::Stored, .. })
    }
}

/// The answer from an entry; 304 where the caller has the same bytes already.
pub(super) fn from_entry(
    entry: &Entry,
    status: CacheStatus,
    asked: Asked<'_>,
    request_id: HeaderValue,
    now: BootTime,
) -> Response<Body> {
    let is_head = asked.method == Method::HEAD;
    let is_unchanged = entry.status() == StatusCode::OK && is_unchanged(asked.headers, entry.head());
    let mut headers =
        if is_unchanged { copy_if(entry.head(), 4, is_told_of_the_unchanged) } else { entry.head().clone() };
    if status.has_age() {
        put(&mut headers, AGE, lately::age(entry.age(now).as_secs()));
    } else {
        headers.remove(AGE);
    }
    put(&mut headers, CACHE_STATUS, status.header());
    put(&mut headers, REQUEST_ID, request_id);
    let mut response = Response::new(Body::empty());
    if is_unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.status_mut() = entry.status();
        if !is_head {
            *response.body_mut() = Body::full(entry.body().clone());
        } else if entry.status() != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(entry.body().len()));
        }
    }
    *response.headers_mut() = headers;
    response
}

/// Puts a value into the place that the head of an entry has for it; `insert` would first make room for one more.
fn put(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    match headers.get_mut(&name) {
        Some(place) => *place = value,
        None => drop(headers.insert(name, value)),
    }
}

/// What a caller asked, as far as it decides the form of an answer from the cache.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
}

/// The headers of a 304 (RFC 9110 section 15.4.5).
fn is_told_of_the_unchanged(name: &HeaderName) -> bool {
    [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY, LAST_MODIFIED].contains(name)
}

/// Adds what a forwarded answer says about itself.
pub(super) fn label(
    headers: &mut HeaderMap,
    status: CacheStatus,
    timing: Option<&Timing>,
    request_id: HeaderValue,
) {
    headers.insert(CACHE_STATUS, status.header());
    headers.insert(REQUEST_ID, request_id);
    if let Some(timing) = timing {
        headers.append(SERVER_TIMING, timing.header());
    }
}

/// Removes those of Zoho's headers that callers never get: cookies, the token's expiry, `Alt-Svc`, and what belongs to one
/// hop only. The length goes along only where there is no body to tell it (RFC 9110 section 8.6).
pub(super) fn retain_for_callers(zohos: &mut HeaderMap, has_no_body: bool) {
    let named = ConnectionNamed::of(zohos);
    retain(zohos, |name| {
        !is_hop_by_hop(name)
            && *name != SET_COOKIE
            && !matches!(name.as_str(), "x-accesstoken-reset" | "set-cookie2" | "alt-svc")
            && (has_no_body || *name != CONTENT_LENGTH)
            && !named.contains(name)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_status_has_words_of_its_own() {
        let second = Duration::from_secs(1);
        let fetched = |why, kept, collapsed| CacheStatus::Fetched { why, kept, collapsed };
        let texts: Vec<String> = [
            CacheStatus::Served(Served::Fresh(second)),
            CacheStatus::Served(Served::RefreshAhead(second)),
            CacheStatus::Served(Served::TooSoon(second)),
            CacheStatus::Served(Served::WhileRevalidating(second)),
            CacheStatus::Served(Served::IfError(second)),
            CacheStatus::Served(Served::MaxStale(second)),
            CacheStatus::Served(Served::AfterWrite(second)),
            fetched(WhyFetch::Miss, Kept::Stored, false),
            fetched(WhyFetch::Miss, Kept::Stored, true),
            fetched(WhyFetch::Stale, Kept::Stored, false),
            fetched(WhyFetch::Forced, Kept::Stored, false),
            fetched(WhyFetch::Miss, Kept::NotStorable, false),
            fetched(WhyFetch::Miss, Kept::Overtaken, true),
            fetched(WhyFetch::Stale, Kept::TooLong, false),
            fetched(WhyFetch::Miss, Kept::Invalid, false),
            CacheStatus::Passed(WhyPassed::NoRule),
            CacheStatus::Passed(WhyPassed::Method),
            CacheStatus::Passed(WhyPassed::Override),
            CacheStatus::Passed(WhyPassed::Conditional),
            CacheStatus::Passed(WhyPassed::Body),
            CacheStatus::Passed(WhyPassed::NoStore),
            CacheStatus::Passed(WhyPassed::Uncacheable),
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        zoho-sidecar; hit; ttl=1
        zoho-sidecar; hit; ttl=1; detail=refresh-ahead
        zoho-sidecar; hit; ttl=1; detail=min-refresh-interval
        zoho-sidecar; hit; ttl=-1; detail=stale-while-revalidate
        zoho-sidecar; hit; ttl=-1; detail=stale-if-error
        zoho-sidecar; hit; ttl=-1; detail=max-stale
        zoho-sidecar; hit; ttl=-1; detail=stale-after-write
        zoho-sidecar; fwd=uri-miss; stored
        zoho-sidecar; fwd=uri-miss; stored; collapsed
        zoho-sidecar; fwd=stale; stored
        zoho-sidecar; fwd=request; stored; detail=forced
        zoho-sidecar; fwd=uri-miss; detail=not-storable
        zoho-sidecar; fwd=uri-miss; collapsed; detail=overtaken
        zoho-sidecar; fwd=stale; detail=too-long
        zoho-sidecar; fwd=uri-miss; detail=invalid-response
        zoho-sidecar; fwd=bypass
        zoho-sidecar; fwd=method
        zoho-sidecar; fwd=method; detail=override
        zoho-sidecar; fwd=request; detail=conditional
        zoho-sidecar; fwd=request; detail=body
        zoho-sidecar; fwd=request; detail=no-store
        zoho-sidecar; fwd=miss; detail=uncacheable
        ");
    }

    #[test]
    fn a_header_says_what_the_text_says() {
        for why in [WhyPassed::NoRule, WhyPassed::Method, WhyPassed::Body] {
            let status = CacheStatus::Passed(why);
            assert_eq!(status.header(), status.to_string());
        }
    }

    #[test]
    fn callers_never_get_cookies_or_headers_of_the_hop() {
        let mut zohos = HeaderMap::new();
        for (name, value) in [
            ("set-cookie", "crmcsr=made-up"),
            ("set-cookie2", "crmcsr=made-up; Version=1"),
            ("alt-svc", "h3=\":443\"; ma=86400"),
            ("x-accesstoken-reset", "2026-11-23T10:00:00+05:30"),
            ("connection", "x-private, keep-alive"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("content-length", "104"),
            ("content-type", "application/json;charset=UTF-8"),
            ("x-api-credits-remaining", "1000"),
        ] {
            zohos.append(name, HeaderValue::from_static(value));
        }
        retain_for_callers(&mut zohos, true);
        assert_eq!(zohos["content-length"], "104");
        retain_for_callers(&mut zohos, false);
        assert_eq!(zohos.len(), 2, "{zohos:?}");
        assert!(zohos.contains_key("content-type") && zohos.contains_key("x-api-credits-remaining"));
    }
}
