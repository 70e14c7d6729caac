//! Which headers belong to one hop only, and removing them in one pass.

use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, HeaderValue};

/// Where an answer came from (RFC 9211).
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// The id under which a request is known to caller, log and Zoho.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The obsolete cookies of RFC 2965.
pub const SET_COOKIE2: HeaderName = HeaderName::from_static("set-cookie2");

/// Headers that describe one connection and are never passed on (RFC 9110 section 7.6.1, with the
/// `Proxy-Connection` and `Keep-Alive` of older senders).
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The header names that a `Connection` header declares to be for this hop only.
///
/// Sorted, so that looking names up among tens of thousands of them takes no time that a peer could make use of.
pub struct ConnectionNamed(Vec<Box<[u8]>>);

impl ConnectionNamed {
    /// Reads all `Connection` headers. Allocates only if one of them names a header.
    pub fn of(headers: &HeaderMap) -> Self {
        #[cfg(test)]
        READ.with(|read| read.set(read.get() + 1));
        let mut named: Vec<Box<[u8]>> = connection_options(headers)
            .filter(|option| {
                !option.is_empty()
                    && !option.eq_ignore_ascii_case(b"close")
                    && !option.eq_ignore_ascii_case(b"keep-alive")
            })
            .map(|option| option.iter().copied().map(plain_letter).collect())
            .collect();
        named.sort_unstable();
        Self(named)
    }

    /// Whether `Connection` names this header, in whatever spelling.
    pub fn contains(&self, name: &HeaderName) -> bool {
        let letters = || name.as_str().bytes().map(plain_letter);
        !self.0.is_empty() && self.0.binary_search_by(|named| named.iter().copied().cmp(letters())).is_ok()
    }

    /// Returns true if `Connection` names no header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
thread_local! {
    /// Number of times that `Connection` was parsed on this thread.
    pub(crate) static READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(CONNECTION).iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// Whether `Connection` has more options than this, empty ones included.
pub fn has_more_connection_options(headers: &HeaderMap, most: usize) -> bool {
    connection_options(headers).nth(most).is_some()
}

/// Removes the headers that `Connection` names, but for those to `keep`, and says whether there were any (RFC 9110 section
/// 7.6.1).
pub fn remove_connection_named(
    headers: &mut HeaderMap,
    named: &ConnectionNamed,
    keep: impl Fn(&HeaderName) -> bool,
) -> bool {
    if named.is_empty() {
        return false;
    }
    let before = headers.len();
    retain(headers, |name| keep(name) || !named.contains(name));
    headers.len() < before
}

/// A byte of a name as a server behind a CGI-like gateway sees it: in any case, and with all separators alike.
fn plain_letter(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// Whether two texts name the same header to some server: in any case, and with any separators for hyphens, since servers
/// behind CGI-like gateways cannot tell them apart.
pub fn is_alike(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().map(plain_letter).eq(other.bytes().map(plain_letter))
}

/// Copies every header that `keep` admits, keeping order and repetitions.
///
/// One pass over the map: removing names one by one costs a hash and a probe for each of them.
pub fn copy_if(from: &HeaderMap, extra: usize, keep: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(from.len() + extra);
    for (name, value) in from {
        if keep(name) {
            // `try_append` because the count comes from outside; `append` would panic at 32,768 names.
            let _ = to.try_append(name.clone(), value.clone());
        }
    }
    to
}

/// Removes every header that `keep` does not admit. The last header moves into the place of one that is removed: the
/// order of headers with different names says nothing (RFC 9110 section 5.3). That of repeated ones stays.
///
/// For the few headers that stay behind among many. A new map would hash every name anew.
pub fn retain(headers: &mut HeaderMap, keep: impl Fn(&HeaderName) -> bool) {
    let removed: Vec<HeaderName> = headers.keys().filter(|name| !keep(name)).cloned().collect();
    for name in &removed {
        headers.remove(name);
    }
}

/// A header value from text that is known to be one; control characters are replaced.
pub fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| {
        let clean: String =
            text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
        HeaderValue::from_str(&clean).expect("printable ASCII is a header value")
    })
}

/// Whether a field of an answer is about the moment or the call in which it was given, and says nothing of its content:
/// what is left of a budget, how long the server took.
pub fn is_of_one_call(name: &HeaderName) -> bool {
    const PREFIXES: [&str; 5] =
        ["x-api-credits", "x-ratelimit", "x-rate-limit", "ratelimit", "x-concurrency"];
    const NAMES: [&str; 5] = ["retry-after", "server-timing", "x-response-time", "x-runtime", "proxy-status"];
    let name = name.as_str();
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_connection_names_are_found_in_any_case_and_in_several_headers() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("close, X-One"));
        headers.append(CONNECTION, HeaderValue::from_static("x-TWO ,, keep-alive"));
        let named = ConnectionNamed::of(&headers);
        assert!(named.contains(&HeaderName::from_static("x-one")));
        assert!(named.contains(&HeaderName::from_static("x-two")));
        assert!(named.contains(&HeaderName::from_static("x_two")));
        assert!(named.contains(&HeaderName::from_static("x.two")));
        assert!(!named.contains(&HeaderName::from_static("x-three")));
    }

    #[test]
    fn what_connection_names_is_removed_but_for_what_is_kept() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Foo, host"),
            ("x-foo", "1"),
            ("x-foo", "2"),
            ("x_foo", "3"),
            ("host", "a"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let named = ConnectionNamed::of(&headers);
        assert!(remove_connection_named(&mut headers, &named, |name| *name == http::header::HOST));
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["connection", "host"]);
        assert!(!remove_connection_named(&mut headers, &named, |name| *name == http::header::HOST));
    }

    #[test]
    fn options_are_counted_over_all_headers() {
        let mut headers = HeaderMap::new();
        headers.append(CONNECTION, HeaderValue::from_static("close,,x"));
        headers.append(CONNECTION, HeaderValue::from_static("y"));
        assert!(has_more_connection_options(&headers, 3));
        assert!(!has_more_connection_options(&headers, 4));
    }

    #[test]
    fn copying_keeps_repeated_headers_in_order() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("te", HeaderValue::from_static("trailers"));
        headers.append("x-a", HeaderValue::from_static("2"));
        let copy = copy_if(&headers, 0, |name| !is_hop_by_hop(name));
        assert_eq!(copy.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(!copy.contains_key("te"));
    }

    #[test]
    fn removing_leaves_what_would_have_been_copied() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("x-a", "1"), ("te", "a"), ("te", "b"), ("x-b", "2"), ("x-a", "3"), ("x-a", "4"), ("te", "c")]
        {
            headers.append(name, HeaderValue::from_static(value));
        }
        for keep in [
            |name: &HeaderName| !is_hop_by_hop(name),
            |name: &HeaderName| name != "x-a",
            |_: &HeaderName| true,
            |_: &HeaderName| false,
        ] {
            let copy = copy_if(&headers, 0, keep);
            let mut left = headers.clone();
            retain(&mut left, keep);
            assert_eq!(left, copy);
        }
    }

    #[test]
    fn text_that_is_no_header_value_is_made_one() {
        assert_eq!(visible("a\r\nb: c"), "a??b: c");
    }
}
