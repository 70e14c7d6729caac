//! An answer on its way to a caller, and what it says about where it came from.

use std::fmt;
use std::time::Duration;

use http::header::{AGE, CONTENT_LENGTH, HeaderName, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Method, Response, StatusCode};

use crate::cache::entry::Entry;
use crate::clock::Instant;
use crate::net::body::Body;
use crate::net::headers::{ConnectionNamed, copy_if, is_hop_by_hop, visible};
use crate::telemetry::request_log::Outcome;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where an answer came from, in the words of RFC 9211.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    /// From a fresh entry, good for `ttl` more.
    Hit {
        /// What is left of its freshness.
        ttl: Duration,
    },
    /// From an entry that has been stale `by`.
    Stale {
        /// For how long.
        by: Duration,
        /// Why it was served all the same.
        why: WhyStale,
    },
    /// From Zoho.
    Forwarded {
        /// Why it was not answered from an entry.
        why: WhyForwarded,
        /// Whether the answer is an entry now.
        stored: bool,
        /// Whether another request's fetch brought it.
        collapsed: bool,
    },
}

/// Why a stale entry was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyStale {
    /// A new one is being fetched meanwhile (RFC 5861 stale-while-revalidate).
    Revalidating,
    /// Zoho could not answer (RFC 5861 stale-if-error).
    Error,
}

/// Why a request was forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyForwarded {
    /// No rule covers the route.
    NoRule,
    /// The method is not one that is answered from the cache.
    Method,
    /// A header of the request asks for something that no entry holds, as `If-Modified-Since` does.
    Request,
    /// There was no entry.
    Miss,
    /// There was only a stale one.
    Stale,
    /// The key's last answer could not be stored.
    Uncacheable,
}

impl WhyForwarded {
    /// The `fwd` parameter, with a detail where RFC 9211 has no word.
    fn parameter(self) -> &'static str {
        match self {
            Self::NoRule => "fwd=bypass",
            Self::Method => "fwd=method",
            Self::Request => "fwd=request",
            Self::Miss => "fwd=uri-miss",
            Self::Stale => "fwd=stale",
            Self::Uncacheable => "fwd=miss; detail=uncacheable",
        }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hit { ttl } => write!(f, "zoho-sidecar; hit; ttl={}", ttl.as_secs()),
            Self::Stale { by, why } => {
                let detail = match why {
                    WhyStale::Revalidating => "stale-while-revalidate",
                    WhyStale::Error => "stale-if-error",
                };
                write!(f, "zoho-sidecar; hit; ttl=-{}; detail={detail}", by.as_secs())
            }
            Self::Forwarded { why, stored, collapsed } => {
                write!(f, "zoho-sidecar; {}", why.parameter())?;
                f.write_str(if *stored { "; stored" } else { "" })?;
                f.write_str(if *collapsed { "; collapsed" } else { "" })
            }
        }
    }
}

impl CacheStatus {
    /// The same for metrics and logs.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Hit { .. } => Outcome::Hit,
            Self::Stale { .. } => Outcome::Stale,
            Self::Forwarded { collapsed: true, .. } => Outcome::Collapsed,
            Self::Forwarded { why: WhyForwarded::Miss | WhyForwarded::Stale, .. } => Outcome::Miss,
            Self::Forwarded { .. } => Outcome::Pass,
        }
    }
}

/// How long the parts of a call took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Waiting for leave to call.
    pub queue: Duration,
    /// Waiting for an access token.
    pub token: Duration,
    /// From sending the request to the head of Zoho's answer.
    pub upstream: Duration,
}

impl Timing {
    fn header(&self) -> HeaderValue {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        visible(&format!(
            "queue;dur={:.1}, token;dur={:.1}, upstream;dur={:.1}",
            ms(self.queue),
            ms(self.token),
            ms(self.upstream)
        ))
    }
}

/// The answer from an entry.
pub(super) fn from_entry(
    entry: &Entry,
    status: CacheStatus,
    method: &Method,
    request_id: HeaderValue,
    now: Instant,
) -> Response<Body> {
    let is_head = method == Method::HEAD;
    let mut response = Response::new(if is_head { Body::empty() } else { Body::full(entry.body().clone()) });
    *response.status_mut() = entry.status();
    let mut headers = entry.head().clone();
    if !matches!(status, CacheStatus::Forwarded { stored: false, .. }) {
        headers.insert(AGE, HeaderValue::from(entry.age(now).as_secs()));
    }
    headers.insert(CACHE_STATUS, visible(&status.to_string()));
    headers.insert(REQUEST_ID, request_id);
    if is_head && entry.status() != StatusCode::NO_CONTENT {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(entry.body().len()));
    }
    *response.headers_mut() = headers;
    response
}

/// Adds what a forwarded answer says about itself.
pub(super) fn label(
    headers: &mut HeaderMap,
    status: CacheStatus,
    timing: Option<&Timing>,
    request_id: HeaderValue,
) {
    headers.insert(CACHE_STATUS, visible(&status.to_string()));
    headers.insert(REQUEST_ID, request_id);
    if let Some(timing) = timing {
        headers.append(SERVER_TIMING, timing.header());
    }
}

/// Zoho's headers without those that callers never get: cookies, the token's expiry, and what belongs to one
/// hop only. The length goes along only where there is no body to tell it (RFC 9110 section 8.6).
pub(super) fn headers_for_callers(zohos: &HeaderMap, has_no_body: bool) -> HeaderMap {
    const ADDED: usize = 4;
    let named = ConnectionNamed::of(zohos);
    copy_if(zohos, ADDED, |name| {
        !is_hop_by_hop(name)
            && *name != SET_COOKIE
            && name.as_str() != "x-accesstoken-reset"
            && (has_no_body || *name != CONTENT_LENGTH)
            && !named.contains(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_words_of_its_own() {
        let forwarded = |why| CacheStatus::Forwarded { why, stored: false, collapsed: false };
        let second = Duration::from_secs(1);
        let texts: Vec<String> = [
            CacheStatus::Hit { ttl: second },
            CacheStatus::Stale { by: second, why: WhyStale::Revalidating },
            CacheStatus::Stale { by: second, why: WhyStale::Error },
            forwarded(WhyForwarded::NoRule),
            forwarded(WhyForwarded::Method),
            forwarded(WhyForwarded::Request),
            forwarded(WhyForwarded::Miss),
            forwarded(WhyForwarded::Stale),
            forwarded(WhyForwarded::Uncacheable),
            CacheStatus::Forwarded { why: WhyForwarded::Miss, stored: true, collapsed: true },
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        zoho-sidecar; hit; ttl=1
        zoho-sidecar; hit; ttl=-1; detail=stale-while-revalidate
        zoho-sidecar; hit; ttl=-1; detail=stale-if-error
        zoho-sidecar; fwd=bypass
        zoho-sidecar; fwd=method
        zoho-sidecar; fwd=request
        zoho-sidecar; fwd=uri-miss
        zoho-sidecar; fwd=stale
        zoho-sidecar; fwd=miss; detail=uncacheable
        zoho-sidecar; fwd=uri-miss; stored; collapsed
        ");
    }

    #[test]
    fn callers_never_get_cookies_or_headers_of_the_hop() {
        let mut zohos = HeaderMap::new();
        for (name, value) in [
            ("set-cookie", "crmcsr=made-up"),
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
        let names: Vec<_> =
            headers_for_callers(&zohos, false).keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["content-type", "x-api-credits-remaining"]);
        assert_eq!(headers_for_callers(&zohos, true)["content-length"], "104");
    }
}
