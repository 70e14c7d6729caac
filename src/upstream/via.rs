//! The `Via` header (RFC 9110 section 7.6.3): Zoho learns that a gateway is between, and nothing about the
//! network behind it.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::header::{HeaderValue, VIA};
use http::{HeaderMap, Version};

/// What stands for every proxy between a caller and the sidecar: their names are nobody's business outside
/// ("SHOULD be replaced by an appropriate pseudonym").
const SOMEBODY: &str = "internal";

/// The value that goes out: what came from the caller without names, then the sidecar itself.
pub(super) fn extended(callers: &HeaderMap, version: Version) -> HeaderValue {
    let own = match version {
        Version::HTTP_10 => "1.0 zoho-sidecar",
        Version::HTTP_2 => "2 zoho-sidecar",
        _ => "1.1 zoho-sidecar",
    };
    if !callers.contains_key(VIA) {
        return HeaderValue::from_static(own);
    }
    let mut text = String::new();
    let mut last = String::new();
    for value in callers.get_all(VIA).iter().filter_map(|value| value.to_str().ok()) {
        for member in without_comments(value).split(',') {
            // Neighbours that differ by nothing but their names may be told as one.
            let protocol = member.split_whitespace().next().unwrap_or_default();
            if is_protocol(protocol) && protocol != last {
                let _ = write!(text, "{protocol} {SOMEBODY}, ");
                protocol.clone_into(&mut last);
            }
        }
    }
    text.push_str(own);
    HeaderValue::from_str(&text).expect("tokens and spaces are a header's value")
}

/// `[ name "/" ] version`, both tokens; longer ones are nothing that anybody speaks.
fn is_protocol(text: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'/');
    (1..=16).contains(&text.len()) && text.bytes().all(is_of_it)
}

/// Comments are in parentheses, nested ones too (RFC 9110 section 5.6.5), and may hold commas.
fn without_comments(value: &str) -> Cow<'_, str> {
    if !value.contains('(') {
        return Cow::Borrowed(value);
    }
    let mut depth = 0_usize;
    let outside = |c: &char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    Cow::Owned(value.chars().filter(outside).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(callers: &[&'static str], version: Version) -> String {
        let mut headers = HeaderMap::new();
        for value in callers {
            headers.append(VIA, HeaderValue::from_static(value));
        }
        extended(&headers, version).to_str().unwrap().to_owned()
    }

    #[test]
    fn the_version_that_the_caller_spoke_is_told() {
        assert_eq!(told(&[], Version::HTTP_11), "1.1 zoho-sidecar");
        assert_eq!(told(&[], Version::HTTP_10), "1.0 zoho-sidecar");
        assert_eq!(told(&[], Version::HTTP_2), "2 zoho-sidecar");
    }

    #[test]
    fn proxies_of_the_callers_are_told_of_without_their_names() {
        let ours = Version::HTTP_11;
        for (callers, expected) in [
            (&["1.1 proxy.corp.example:8080"][..], "1.1 internal, 1.1 zoho-sidecar"),
            (&["1.0 fred, 1.1 p.example (nginx, 1.22 (x))"], "1.0 internal, 1.1 internal, 1.1 zoho-sidecar"),
            (&["1.1 a, 1.1 b", "1.1 c"], "1.1 internal, 1.1 zoho-sidecar"),
            (&["HTTP/2 a", "2 b"], "HTTP/2 internal, 2 internal, 1.1 zoho-sidecar"),
            (&["", ",,", "(", "\"q\" x", "1.1"], "1.1 internal, 1.1 zoho-sidecar"),
        ] {
            assert_eq!(told(callers, ours), expected, "{callers:?}");
        }
    }
}
