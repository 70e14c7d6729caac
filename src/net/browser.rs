//! How a request shows that a browser sent it.
//!
//! A page can make the browser of whoever visits it send requests to every address that the visitor's machine reaches.
//! The page cannot read most of the answers, but the requests arrive. A server that goes by where a request comes from
//! therefore has to recognise browsers. They show themselves in three ways, of which none suffices alone:
//!
//! - `Origin`, on requests that a script may read or that are not GET or HEAD;
//! - `Sec-Fetch-*`, on every request, but only to https and to loopback addresses (measured with Chromium 156: a name
//!   without a dot or an address of a LAN gets none of them over plain http);
//! - `User-Agent`, on every request. A page cannot change it: only a request that has been allowed by a preflight, or one
//!   to the page's own origin, may carry another.
//!
//! `Sec-Fetch-Mode` and `Referer` are no evidence: the `fetch` of Node sends the first, and services set the second.

use http::HeaderMap;
use http::header::{ORIGIN, USER_AGENT};

use super::origin::is_address;

/// Tokens of `User-Agent` that name the engine of a browser, or what a browser loads media by.
const ENGINES: [&[u8]; 8] = [
    b"AppleWebKit/",
    b"Gecko/",
    b"AppleCoreMedia/",
    b"Goanna/",
    b"KHTML/",
    b"Presto/",
    b"Servo/",
    b"Trident/",
];

/// Whether a page asks, and not a person who typed the address: the request says so itself. A person's own request has
/// `Sec-Fetch-Site: none`; so has one that a page has the browser make in advance, which `Sec-Purpose` gives away.
pub fn is_of_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN)
        || headers.contains_key("sec-purpose")
        || headers.get_all("sec-fetch-site").iter().any(|site| site.as_bytes() != b"none")
}

/// Whether a browser asks, on whose behalf ever.
pub fn is_of_browser(headers: &HeaderMap) -> bool {
    is_of_page(headers)
        || ["sec-fetch-site", "sec-fetch-dest", "sec-fetch-user"]
            .iter()
            .any(|name| headers.contains_key(*name))
        || headers.get_all(USER_AGENT).iter().any(|value| names_engine(value.as_bytes()))
}

/// Whether this value of `User-Agent` names the engine of a browser.
pub fn names_engine(user_agent: &[u8]) -> bool {
    // Each token ends in a slash, after one of few letters; the values of most services have no such slash.
    memchr::memchr_iter(b'/', user_agent).any(|slash| {
        matches!(user_agent[..slash].last(), Some(b't' | b'o' | b'a' | b'L'))
            && ENGINES.iter().any(|engine| user_agent[..=slash].ends_with(engine))
    })
}

/// Whether a host, with or without a port, is one that nobody else's name server could have made to lead here: an
/// address, `localhost`, or a name without a dot. A page that was loaded from any other may read what it gets from here
/// as from its own server (DNS rebinding).
pub fn is_beyond_rebinding(authority: &str) -> bool {
    let host = without_port(authority);
    !host.contains('.') || is_address(host)
}

/// A host without the port after it.
pub fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(pair).collect()
    }

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    #[test]
    fn each_sign_of_a_page_suffices() {
        for sign in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "NONE"),
            ("sec-purpose", "prefetch"),
            ("sec-purpose", "prefetch;prerender"),
        ] {
            assert!(is_of_page(&headers(&[("accept", "*/*"), sign])), "{sign:?}");
            assert!(is_of_browser(&headers(&[sign])), "{sign:?}");
        }
        assert!(is_of_page(&headers(&[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")])));
    }

    #[test]
    fn a_person_who_types_an_address_is_a_browser_and_no_page() {
        for sign in [
            ("sec-fetch-site", "none"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-user", "?1"),
            ("user-agent", FIREFOX),
        ] {
            assert!(!is_of_page(&headers(&[sign])), "{sign:?}");
            assert!(is_of_browser(&headers(&[sign])), "{sign:?}");
        }
    }

    #[test]
    fn engines_are_found_anywhere_in_a_user_agent() {
        for engine in ENGINES {
            assert!(names_engine(&[b"a/b ", engine, b"1 c/d"].concat()), "{}", engine.escape_ascii());
        }
        for value in [
            FIREFOX,
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
            "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
            "AppleCoreMedia/1.0.0.22A3354 (iPhone; U; CPU OS 18_0 like Mac OS X; en_us)",
            "an-app/1.0 AppleWebKit/1",
            "Gecko/1",
            "a/b/Gecko/",
        ] {
            assert!(names_engine(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn services_are_no_browsers() {
        for value in [
            "",
            "node",
            "curl/8.11.1",
            "python-requests/2.32",
            "got (https://github.com/sindresorhus/got)",
            "Mozilla/5.0 (compatible; made-up-crawler/1.0)",
            "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.22621",
            "Gecko",
            "like Gecko /",
            "AppleWebKit",
        ] {
            assert!(!is_of_browser(&headers(&[("user-agent", value)])), "{value}");
        }
        let node = [("user-agent", "node"), ("sec-fetch-mode", "cors"), ("referer", "http://a.example/")];
        assert!(!is_of_browser(&headers(&node)));
    }

    #[test]
    fn only_names_of_a_name_service_can_be_rebound() {
        for host in
            ["localhost:8080", "a.localhost", "127.0.0.1", "10.0.0.1:80", "[::1]:8080", "sidecar:8080", ""]
        {
            assert!(is_beyond_rebinding(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.", "a.b:c"] {
            assert!(!is_beyond_rebinding(host), "{host}");
        }
    }
}
