//! Headers by which a request names another method or another target than its first line.
//!
//! Frameworks and gateways read dozens of them, as `X-HTTP-Method-Override` and `X-Original-URL`, and CGI-like gateways
//! cannot tell hyphens from underscores or dots. So the names are recognised by the words in them, whatever stands
//! between the words.

/// What a header names anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Override {
    /// The method.
    Method,
    /// The path, or the whole target.
    Target,
}

const METHODS: [&str; 2] = ["method", "verb"];
const TARGETS: [&str; 4] = ["url", "uri", "path", "target"];
/// Words before a method or target that make it another one.
const BEFORE: [&str; 15] = [
    "original",
    "rewrite",
    "rewritten",
    "override",
    "forwarded",
    "request",
    "http",
    "real",
    "raw",
    "unencoded",
    "destination",
    "effective",
    "tunneled",
    "restli",
    "orig",
];
/// Words after it that do the same.
const AFTER: [&str; 2] = ["override", "rewrite"];

/// No server knows a longer name of this kind, and looking through one costs work.
const LONGEST: usize = 64;

/// What a header of this name changes in the eyes of some server; `None` for nearly all headers.
pub fn overridden_by(name: &str) -> Option<Override> {
    if may_override(name.as_bytes()) { by_words(name) } else { None }
}

/// A cheap test that every name in question passes and few others do: each request has each of its names tested.
#[inline]
fn may_override(name: &[u8]) -> bool {
    let [first, .., last] = name else { return false };
    // Every word that comes first or last in such a name begins or ends so.
    let is_first =
        matches!(first | 0x20, b'x' | b'h' | b'm' | b'v' | b'o' | b'r' | b'd' | b'f' | b'p' | b'e' | b't');
    let is_last = matches!(last | 0x20, b'd' | b'b' | b'l' | b'i' | b'h' | b't' | b'e' | b'y' | b'n');
    (5..=LONGEST).contains(&name.len())
        && (is_first || !first.is_ascii_alphanumeric())
        && (is_last || !last.is_ascii_alphanumeric())
}

#[cold]
fn by_words(name: &str) -> Option<Override> {
    let letters = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase());
    let joined: String = letters.collect();
    // Preflight requests of browsers ask about a method.
    if joined.starts_with("accesscontrol") {
        return None;
    }
    let names = |words: &[&str]| words.iter().any(|word| is_overridden(&joined, word));
    if names(&METHODS) || joined.ends_with("httpaction") {
        Some(Override::Method)
    } else if names(&TARGETS) {
        Some(Override::Target)
    } else {
        None
    }
}

/// Whether a name without separators has this word as a request's other method or target: `x` alone before it, or one
/// of the words around it.
fn is_overridden(joined: &str, word: &str) -> bool {
    joined.match_indices(word).any(|(at, _)| {
        let (before, after) = (&joined[..at], &joined[at + word.len()..]);
        before == "x" && after.is_empty()
            || BEFORE.iter().any(|qualifier| before.ends_with(qualifier))
            || AFTER.iter().any(|qualifier| after.starts_with(qualifier))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_is_known_in_every_spelling() {
        for name in [
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "x-method",
            "x-original-method",
            "x-http-verb",
            "http-method-override",
            "method-override",
            "X-HTTP-Method-Override",
            "x_http_method_override",
            "x.http.method.override",
            "x-httpmethodoverride",
            "x~method~override",
            "_method_override_",
            "x-effective-method",
            "x-tunneled-method",
            "x-restli-method",
            "x-http-action",
        ] {
            assert_eq!(overridden_by(name), Some(Override::Method), "{name}");
        }
        for name in [
            "x-original-url",
            "x-orig-url",
            "x-original-path-and-query",
            "x-original-uri",
            "x-rewrite-url",
            "x-rewrite-uri",
            "x-override-url",
            "x-original-path",
            "x-envoy-original-path",
            "x-forwarded-uri",
            "x-forwarded-path",
            "x-http-destinationurl",
            "x-http-path-override",
            "x-waws-unencoded-url",
            "x-original-target",
            "request-uri",
            "x-request-uri",
            "x_original_url",
            "X.Original.URL",
            "x-original-url-",
            "x-url",
        ] {
            assert_eq!(overridden_by(name), Some(Override::Target), "{name}");
        }
    }

    #[test]
    fn other_headers_are_none_of_the_family() {
        for name in [
            "host",
            "x-crm-org",
            "x-external",
            "x-zoho-sdk",
            "x-zcsrf-token",
            "x-request-id",
            "x-requested-with",
            "x-callback-url",
            "x-request-security",
            "access-control-request-method",
            "x-amzn-trace-id",
            "traceparent",
            "user-agent",
            "feature",
            "referer",
            "x-b3-traceid",
            "accept-patch",
            "x",
            "",
            &"url".repeat(20_000),
        ] {
            assert_eq!(overridden_by(name), None, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_cheap_test_lets_every_name_of_the_family_pass(name in "[-_.]?(x|http|method|verb|override|original|rewrite|real|request|destination|forwarded|path)([-_.]?(method|override|original|url|path|request|target|uri)){0,3}[-_.]?") {
            let is_one = by_words(&name).is_some();
            proptest::prop_assert!(!is_one || name.len() < 5 || may_override(name.as_bytes()), "{}", name);
        }
    }
}
