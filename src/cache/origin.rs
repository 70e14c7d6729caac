//! Routes that obey the answer's own headers: RFC 9111 as a shared cache, without heuristics.
//!
//! Stricter than required where doubt is possible: what cannot be read is stale, what could be private is
//! private, and what sets a cookie is not stored.

use std::time::{Duration, SystemTime};

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, EXPIRES, HeaderName,
    LAST_MODIFIED, SET_COOKIE,
};
use http::{HeaderMap, StatusCode};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::directives::{self, Directive};
use super::validator::{http_date, opaque};
use super::vary;
use crate::net::headers::SET_COOKIE2;

/// What an answer's own headers allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long it is fresh.
    pub fresh_for: Duration,
    /// How old it was when it came.
    pub initial_age: Duration,
    /// Whether it may be served stale at all.
    pub may_be_stale: bool,
    /// How long it may be while it is revalidated (RFC 5861), if it says.
    pub stale_while_revalidate: Option<Duration>,
    /// How long it may be when the origin fails (RFC 5861), if it says.
    pub stale_if_error: Option<Duration>,
}

/// The field that speaks to caches like this one before all others (RFC 9213).
const TARGETED: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What a shared cache reads of an answer's directives.
#[expect(clippy::struct_excessive_bools, reason = "one for each directive that has no value")]
#[derive(Debug, Default)]
struct Said {
    no_store: bool,
    no_cache: bool,
    private: bool,
    must_understand: bool,
    must_revalidate: bool,
    proxy_revalidate: bool,
    max_age: Option<Duration>,
    s_maxage: Option<Duration>,
    stale_while_revalidate: Option<Duration>,
    stale_if_error: Option<Duration>,
    is_targeted: bool,
}

/// Statuses whose meaning this cache knows (RFC 9111 section 5.2.2.3).
const UNDERSTOOD: [u16; 14] = [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501];

/// The terms on which an answer may be stored, or `None` if it may not be (RFC 9111 section 3).
///
/// Every request goes out with the sidecar's own credential, and the answer is for all who may use that: a caller's
/// `Authorization` never reaches Zoho, so that section 3.5 says nothing about it.
pub fn terms(status: StatusCode, answer: &HeaderMap, delay: Duration, came_at: SystemTime) -> Option<Terms> {
    let said = Said::by(answer);
    let is_understood = UNDERSTOOD.contains(&status.as_u16());
    let is_final = !(status.is_informational()
        || status == StatusCode::PARTIAL_CONTENT
        || status == StatusCode::NOT_MODIFIED);
    let is_whole = !answer.contains_key(CONTENT_RANGE);
    let sets_cookie = answer.contains_key(SET_COOKIE) || answer.contains_key(SET_COOKIE2);
    let is_nobodys = !said.private && !sets_cookie;
    // `must-understand` takes the place of `no-store` for those who do (section 5.2.2.3).
    let is_allowed = if said.must_understand { is_understood } else { !said.no_store };
    let is_comparable = vary::named(answer).is_some();
    let fresh_for = said.lifetime(answer, came_at);
    let has_validator = answer.contains_key(ETAG) || answer.contains_key(LAST_MODIFIED);
    let is_of_use = fresh_for.is_some_and(|time| !time.is_zero()) || (has_validator && is_understood);
    let may_be_stored = is_final && is_whole && is_nobodys && is_allowed && is_comparable;
    if !may_be_stored || !is_of_use {
        return None;
    }
    Some(Terms {
        fresh_for: if said.no_cache { Duration::ZERO } else { fresh_for.unwrap_or_default() },
        initial_age: initial_age(answer, delay, came_at),
        // Section 4.2.4: these forbid it, `s-maxage` by implying proxy-revalidate.
        may_be_stale: !(said.no_cache
            || said.must_revalidate
            || said.proxy_revalidate
            || said.s_maxage.is_some()),
        stale_while_revalidate: said.stale_while_revalidate,
        stale_if_error: said.stale_if_error,
    })
}

/// The stored headers after a 304 (RFC 9111 section 3.2): its fields take the place of the stored ones, but
/// for those that describe the stored bytes.
pub fn updated(stored: &HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    let describes_bytes =
        [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, HeaderName::from_static("content-md5")];
    let mut head = stored.clone();
    for name in not_modified.keys().filter(|name| !describes_bytes.contains(name)) {
        head.remove(name);
        for value in not_modified.get_all(name) {
            let _ = head.try_append(name.clone(), value.clone());
        }
    }
    head
}

/// Whether a 304 is about these stored headers: it names the same validator, or none.
pub fn is_about(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    let same = |name: &HeaderName| match (not_modified.get(name), stored.get(name)) {
        (Some(new), Some(old)) => opaque(new.as_bytes()) == opaque(old.as_bytes()),
        (Some(_), None) => false,
        (None, _) => true,
    };
    same(&ETAG) && (not_modified.contains_key(ETAG) || same(&LAST_MODIFIED))
}

/// Section 4.2.3. The wall clock is only compared with the `Date` of another machine: a step of it during the fetch must
/// not change the delay.
fn initial_age(answer: &HeaderMap, delay: Duration, came_at: SystemTime) -> Duration {
    let date = answer.get(DATE).and_then(http_date);
    // Dates have no fractions: what came within the same second is not old.
    let apparent = date.and_then(|date| came_at.duration_since(date).ok()).unwrap_or_default();
    let apparent = Duration::from_secs(apparent.as_secs());
    apparent.max(age_value(answer) + delay)
}

/// Of several ages the first counts, and one that is no number of seconds is ignored (RFC 9111 section 5.1).
fn age_value(answer: &HeaderMap) -> Duration {
    let first = answer.get(AGE).and_then(|value| value.to_str().ok());
    let text = first.and_then(|list| list.split(',').next()).unwrap_or_default().trim();
    let directive = Directive { name: "age".to_owned(), value: Some(text.to_owned()) };
    directive.seconds().unwrap_or_default()
}

/// Whether a directive's value is a number of seconds.
fn is_in_seconds(directive: &str) -> bool {
    matches!(directive, "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error")
}

impl Said {
    fn by(answer: &HeaderMap) -> Self {
        Self::targeted(answer).unwrap_or_else(|| {
            let mut said = Self::default();
            directives::of(answer, &CACHE_CONTROL).for_each(|directive| said.hear(&directive));
            said
        })
    }

    /// A targeted field that is a valid dictionary, and not empty, is heard alone (RFC 9213 section 2.2). One in which a
    /// number of seconds is no integer is not valid (section 2.1), and is ignored as a whole.
    fn targeted(answer: &HeaderMap) -> Option<Self> {
        let values: Vec<&[u8]> = answer.get_all(TARGETED).iter().map(http::HeaderValue::as_bytes).collect();
        let dictionary: Dictionary = Parser::new(&values.join(&b','))
            .with_version(sfv::Version::Rfc8941)
            .parse()
            .ok()
            .filter(|dictionary: &Dictionary| !dictionary.is_empty())?;
        let mut said = Self { is_targeted: true, ..Self::default() };
        for (name, entry) in &dictionary {
            let item = match entry {
                ListEntry::Item(item) => Some(&item.bare_item),
                ListEntry::InnerList(_) => None,
            };
            if is_in_seconds(name.as_str()) && !matches!(item, Some(BareItem::Integer(_))) {
                return None;
            }
            let value = match item {
                Some(BareItem::Boolean(true)) => None,
                Some(BareItem::Integer(number)) => Some(number.to_string()),
                Some(BareItem::Token(token)) => Some(token.as_str().to_owned()),
                Some(BareItem::String(text)) => Some(text.as_str().to_owned()),
                _ => continue,
            };
            said.hear(&Directive { name: name.as_str().to_owned(), value });
        }
        Some(said)
    }

    fn hear(&mut self, directive: &Directive) {
        // A number that cannot be read means stale; of several, the least.
        let seconds = |before: Option<Duration>| {
            let said = directive.seconds().unwrap_or_default();
            Some(before.map_or(said, |before| before.min(said)))
        };
        match directive.name.as_str() {
            "no-store" => self.no_store = true,
            // With field names it speaks of those only; to take it for all is stricter.
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "must-understand" => self.must_understand = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "max-age" => self.max_age = seconds(self.max_age),
            "s-maxage" => self.s_maxage = seconds(self.s_maxage),
            "stale-while-revalidate" => self.stale_while_revalidate = seconds(self.stale_while_revalidate),
            "stale-if-error" => self.stale_if_error = seconds(self.stale_if_error),
            _ => {}
        }
    }

    /// Section 4.2.1. A targeted field leaves nothing for `Expires` to say.
    fn lifetime(&self, answer: &HeaderMap, came_at: SystemTime) -> Option<Duration> {
        if let Some(time) = self.s_maxage.or(self.max_age) {
            return Some(time);
        }
        if self.is_targeted || !answer.contains_key(EXPIRES) {
            return None;
        }
        let mut all = answer.get_all(EXPIRES).iter();
        let (expires, more) = (all.next().and_then(http_date), all.next());
        let date = answer.get(DATE).and_then(http_date).unwrap_or(came_at);
        // No date, or two: already expired.
        let expires = expires.filter(|_| more.is_none());
        Some(expires.and_then(|expires| expires.duration_since(date).ok()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1_795_000_000);

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn told(answer: &[(&'static str, &str)]) -> Option<Terms> {
        let now = SystemTime::UNIX_EPOCH + NOW;
        terms(StatusCode::OK, &map(answer), Duration::ZERO, now)
    }

    fn fresh(answer: &[(&'static str, &str)]) -> Option<u64> {
        told(answer).map(|terms| terms.fresh_for.as_secs())
    }

    #[test]
    fn lifetimes_are_taken_in_their_order() {
        let expires = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + NOW + Duration::from_secs(40));
        let e = ("expires", expires.as_str());
        assert_eq!(fresh(&[e]), Some(40));
        assert_eq!(fresh(&[e, ("cache-control", "max-age=30")]), Some(30));
        assert_eq!(fresh(&[e, ("cache-control", "max-age=30, s-maxage=20")]), Some(20));
        let targeted = ("cdn-cache-control", "max-age=10");
        assert_eq!(fresh(&[e, ("cache-control", "no-store"), targeted]), Some(10));
        assert_eq!(fresh(&[("cache-control", "max-age=30"), ("cdn-cache-control", "max-age=&")]), Some(30));
        assert_eq!(fresh(&[("cache-control", "max-age=30"), ("cdn-cache-control", "no-store")]), None);
        assert_eq!(fresh(&[("cache-control", "max-age=30"), ("cdn-cache-control", "")]), Some(30));
    }

    #[test]
    fn without_a_lifetime_or_a_validator_nothing_is_stored() {
        assert_eq!(fresh(&[]), None);
        assert_eq!(fresh(&[("cache-control", "public")]), None);
        assert_eq!(fresh(&[("etag", "\"x\"")]), Some(0));
        assert_eq!(fresh(&[("expires", "0"), ("last-modified", "Mon, 23 Nov 2026 08:00:00 GMT")]), Some(0));
    }

    #[test]
    fn what_forbids_storing_forbids_it() {
        for bad in ["no-store", "private", "private=\"x\"", "NO-STORE", "max-age=0, no-store"] {
            assert_eq!(told(&[("cache-control", "max-age=60"), ("cache-control", bad)]), None, "{bad}");
        }
        assert_eq!(told(&[("cache-control", "max-age=60"), ("vary", "*")]), None);
        assert_eq!(told(&[("cache-control", "max-age=60"), ("vary", "accept, *")]), None);
        assert_eq!(told(&[("cache-control", "max-age=60"), ("set-cookie", "a=b")]), None);
        assert!(told(&[("cache-control", "max-age=60, no-store, must-understand")]).is_some());
    }

    #[test]
    fn a_targeted_field_with_a_value_of_another_type_is_ignored_as_a_whole() {
        let general = ("cache-control", "max-age=30");
        for invalid in [
            "max-age=\"10000\"",
            "max-age",
            "max-age=?1",
            "max-age=1.5",
            "max-age=ten",
            "max-age=(1 2)",
            "max-age=:MTA=:",
            "no-store, s-maxage=\"1\"",
            "max-age=60, stale-if-error=\"1\"",
            "stale-while-revalidate=x, max-age=60",
        ] {
            assert_eq!(fresh(&[general, ("cdn-cache-control", invalid)]), Some(30), "{invalid}");
        }
        assert_eq!(fresh(&[general, ("cdn-cache-control", "max-age=10;x=\"1\", unknown=\"1\"")]), Some(10));
        assert_eq!(fresh(&[("cdn-cache-control", "max-age=\"10000\"")]), None);
    }

    #[test]
    fn odd_numbers_and_dates_are_stale_and_never_a_panic() {
        for odd in ["max-age=x", "max-age=", "max-age=-1", "max-age=1.5", "max-age", "max-age=60, max-age=0"]
        {
            assert!(matches!(fresh(&[("cache-control", odd), ("etag", "\"x\"")]), Some(0)), "{odd}");
        }
        for odd in ["0", "-1", "Thu, 01 Jan 1899 00:00:00 GMT", "Fri, 31 Dec 99999 00:00:00 GMT", "tomorrow"]
        {
            assert_eq!(fresh(&[("expires", odd), ("etag", "\"x\"")]), Some(0), "{odd}");
        }
    }

    #[test]
    fn an_age_that_is_no_number_of_seconds_is_ignored_and_of_several_the_first_counts() {
        let age = |values: &[&str]| {
            let mut answer = vec![("cache-control", "max-age=60")];
            answer.extend(values.iter().map(|value| ("age", *value)));
            told(&answer).unwrap().initial_age.as_secs()
        };
        for odd in ["abc", "-1", "+1", "", "1.5", "0x1", "7;a=b", "\"7\"", "7 7", "abc, 7", ", 7"] {
            assert_eq!(age(&[odd]), 0, "{odd}");
        }
        for (values, seconds) in [
            (&["7"][..], 7),
            (&[" 7 "], 7),
            (&["007"], 7),
            (&["3, 7"], 3),
            (&["7, abc"], 7),
            (&["3", "7"], 3),
            (&["abc", "7"], 0),
            (&["99999999999999999999"], 1 << 31),
        ] {
            assert_eq!(age(values), seconds, "{values:?}");
        }
    }

    #[test]
    fn the_age_on_arrival_is_the_larger_of_what_is_told_and_what_is_seen() {
        let came = SystemTime::UNIX_EPOCH + NOW;
        let delay = Duration::from_secs(2);
        let date = httpdate::fmt_http_date(came - Duration::from_secs(10));
        let age = |answer: &[(&'static str, &str)]| initial_age(&map(answer), delay, came).as_secs();
        assert_eq!(age(&[("age", "5")]), 7);
        assert_eq!(age(&[("date", &date), ("age", "5")]), 10);
        assert_eq!(age(&[("date", &date), ("age", "50")]), 52);
    }

    #[test]
    fn some_answers_are_never_served_stale() {
        for strict in
            ["max-age=1, must-revalidate", "max-age=1, proxy-revalidate", "s-maxage=1", "max-age=1, no-cache"]
        {
            assert!(!told(&[("cache-control", strict), ("etag", "\"x\"")]).unwrap().may_be_stale, "{strict}");
        }
        assert!(told(&[("cache-control", "max-age=1")]).unwrap().may_be_stale);
    }

    #[test]
    fn a_304_updates_what_it_names_but_not_what_describes_the_bytes() {
        let stored = map(&[("etag", "\"x\""), ("content-encoding", "gzip"), ("x-a", "1"), ("x-b", "1")]);
        let news =
            map(&[("etag", "\"x\""), ("content-encoding", "br"), ("x-a", "2"), ("x-a", "3"), ("x-c", "4")]);
        assert!(is_about(&news, &stored));
        let head = updated(&stored, &news);
        assert_eq!(head.get_all("x-a").iter().collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(
            (&head["content-encoding"], &head["x-b"], &head["x-c"]),
            (
                &HeaderValue::from_static("gzip"),
                &HeaderValue::from_static("1"),
                &HeaderValue::from_static("4")
            )
        );
        assert!(!is_about(&map(&[("etag", "\"y\"")]), &stored));
    }

    proptest! {
        #[test]
        fn no_answer_makes_reading_panic(
            values in proptest::collection::vec(
                (0usize..8, proptest::collection::vec(0x20u8..0x7f, 0..40)), 0..8)
        ) {
            let names = ["cache-control", "cdn-cache-control", "expires", "date", "age", "vary", "etag", "last-modified"];
            let mut answer = HeaderMap::new();
            for (name, value) in values {
                answer.append(names[name], HeaderValue::from_bytes(&value).unwrap());
            }
            let now = SystemTime::UNIX_EPOCH + NOW;
            if let Some(terms) = terms(StatusCode::OK, &answer, Duration::ZERO, now) {
                prop_assert!(terms.fresh_for <= Duration::from_secs(400 * 366 * 86_400 * 30));
            }
            let _ = updated(&answer, &answer);
        }
    }
}
