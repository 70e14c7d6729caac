//! What a caller asks of the cache: the request directives of `Cache-Control` (RFC 9111 section 5.2.1).

use std::time::Duration;

use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

use super::directives;

/// A caller's wishes. They narrow what may be served; none of them makes anybody else's answer older.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// `no-cache`: ask Zoho, whatever is kept.
    pub no_cache: bool,
    /// `no-store`: keep nothing of this.
    pub no_store: bool,
    /// `only-if-cached`: do not ask Zoho.
    pub only_if_cached: bool,
    /// `max-age`: nothing older than this.
    pub max_age: Option<Duration>,
    /// `min-fresh`: nothing that ends sooner than this.
    pub min_fresh: Option<Duration>,
    /// `max-stale`: stale for no longer than this is fine.
    pub max_stale: Option<Duration>,
}

/// A number of seconds that stands for "however long".
const EVER: Duration = Duration::from_secs(1 << 31);

impl Wishes {
    /// Reads a request's headers. What is not understood is passed over: a wish that cannot be read is none.
    pub fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(CACHE_CONTROL) {
            // `Pragma` counts only where there is no `Cache-Control` (RFC 9111 section 5.4).
            return Self {
                no_cache: directives::of(headers, &PRAGMA).any(|d| d.is("no-cache")),
                ..Self::default()
            };
        }
        let mut wishes = Self::default();
        for directive in directives::of(headers, &CACHE_CONTROL) {
            match directive.name.as_str() {
                "no-cache" => wishes.no_cache = true,
                "no-store" => wishes.no_store = true,
                "only-if-cached" => wishes.only_if_cached = true,
                // Of several the strictest counts.
                "max-age" => wishes.max_age = least(wishes.max_age, directive.seconds()),
                "min-fresh" => wishes.min_fresh = wishes.min_fresh.max(directive.seconds()),
                "max-stale" if directive.value.is_none() => {
                    wishes.max_stale = least(wishes.max_stale, Some(EVER));
                }
                "max-stale" => wishes.max_stale = least(wishes.max_stale, directive.seconds()),
                _ => {}
            }
        }
        wishes
    }

    /// Whether an entry of this age, good for `left` more, is what the caller wants.
    pub fn accept_fresh(&self, age: Duration, left: Duration) -> bool {
        !self.no_cache
            && self.max_age.is_none_or(|most| age <= most)
            && self.min_fresh.is_none_or(|least| left >= least)
    }

    /// Whether an entry of this age, stale since `by`, is what the caller wants without anybody asking Zoho.
    pub fn accept_stale(&self, age: Duration, by: Duration) -> bool {
        self.max_stale.is_some_and(|most| by <= most) && self.accept_fresh(age, Duration::MAX)
    }

    /// Whether a stale entry may be served while a new one is fetched: only to those who did not say how
    /// old or how fresh is good enough.
    pub fn accept_while_revalidating(&self, age: Duration) -> bool {
        self.min_fresh.is_none() && self.accept_fresh(age, Duration::MAX)
    }
}

fn least(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn wishes(values: &[&str]) -> Wishes {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, HeaderValue::from_str(value).unwrap());
        }
        Wishes::of(&headers)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn directives_are_read_in_any_case_from_any_number_of_headers() {
        let read = wishes(&["No-Cache, MAX-AGE=60", "min-fresh=\"5\" , only-if-cached"]);
        assert_eq!(
            read,
            Wishes {
                no_cache: true,
                only_if_cached: true,
                max_age: Some(MINUTE),
                min_fresh: Some(Duration::from_secs(5)),
                ..Wishes::default()
            }
        );
    }

    #[test]
    fn what_cannot_be_read_is_no_wish() {
        for odd in [
            "max-age=",
            "max-age=x",
            "max-age=-1",
            "max-age=1.5",
            ",,,",
            "=",
            "max-age",
            "\"no-cache\"",
            "no-cachex",
        ] {
            assert_eq!(wishes(&[odd]), Wishes::default(), "{odd}");
        }
    }

    #[test]
    fn numbers_beyond_all_measure_mean_for_ever() {
        let most = wishes(&["max-age=99999999999999999999999"]).max_age;
        assert_eq!(most, Some(EVER));
    }

    #[test]
    fn of_several_the_strictest_counts() {
        assert_eq!(wishes(&["max-age=60, max-age=5"]).max_age, Some(Duration::from_secs(5)));
        assert_eq!(wishes(&["min-fresh=60, min-fresh=5"]).min_fresh, Some(MINUTE));
    }

    #[test]
    fn pragma_counts_only_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        assert!(Wishes::of(&headers).no_cache);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        assert!(!Wishes::of(&headers).no_cache);
    }

    #[test]
    fn wishes_narrow_what_is_accepted() {
        let (young, old) = (Duration::from_secs(10), Duration::from_secs(100));
        assert!(wishes(&[]).accept_fresh(old, MINUTE));
        assert!(!wishes(&["no-cache"]).accept_fresh(young, MINUTE));
        assert!(wishes(&["max-age=60"]).accept_fresh(young, MINUTE));
        assert!(!wishes(&["max-age=60"]).accept_fresh(old, MINUTE));
        assert!(!wishes(&["min-fresh=61"]).accept_fresh(young, MINUTE));
        assert!(!wishes(&[]).accept_stale(old, young));
        assert!(wishes(&["max-stale"]).accept_stale(old, young));
        assert!(wishes(&["max-stale=10"]).accept_stale(old, young));
        assert!(!wishes(&["max-stale=9"]).accept_stale(old, young));
        assert!(!wishes(&["max-stale, max-age=60"]).accept_stale(old, young));
    }

    proptest! {
        #[test]
        fn no_header_makes_reading_panic(bytes in proptest::collection::vec(0x20u8..0x7f, 0..60)) {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_bytes(&bytes).unwrap());
            let _ = Wishes::of(&headers);
        }
    }
}
