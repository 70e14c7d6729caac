//! Validators: an `ETag` of our own, and the conditions that callers put on them (RFC 9110 sections 8.8, 13).

use std::time::SystemTime;

use http::HeaderMap;
use http::header::{ETAG, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};

/// A strong validator of these bytes: the same bytes, the same tag; other bytes, another.
pub fn strong_tag(body: &[u8]) -> HeaderValue {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    let mut tag = [b'"'; 34];
    let nibbles = digest.as_ref()[..16].iter().flat_map(|b| [b >> 4, b & 15]);
    for (place, nibble) in tag[1..33].iter_mut().zip(nibbles) {
        *place = b"0123456789abcdef"[usize::from(nibble)];
    }
    HeaderValue::from_bytes(&tag).expect("hexadecimal digits in quotes are a header value")
}

/// Whether the caller has these bytes already, so that 304 is answer enough. `If-None-Match` decides alone
/// where there is one (RFC 9110 section 13.2.2).
pub fn is_unchanged(asked: &HeaderMap, head: &HeaderMap) -> bool {
    if asked.contains_key(IF_NONE_MATCH) {
        return none_match_says_unchanged(asked, head.get(ETAG));
    }
    let Some(since) = asked.get(IF_MODIFIED_SINCE).and_then(http_date) else { return false };
    head.get(LAST_MODIFIED).and_then(http_date).is_some_and(|modified| modified <= since)
}

fn none_match_says_unchanged(asked: &HeaderMap, tag: Option<&HeaderValue>) -> bool {
    let Some(tag) = tag.and_then(|tag| tag.to_str().ok()) else { return false };
    let values = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut any = values.flat_map(tags);
    any.any(|asked| asked == "*" || opaque(asked.as_bytes()) == opaque(tag.as_bytes()))
}

/// The entity tags of a list. A comma inside quotes belongs to the tag.
fn tags(text: &str) -> Vec<&str> {
    let (mut found, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[start..].trim());
    found.retain(|tag| {
        let opaque = opaque(tag.as_bytes());
        *tag == "*" || (opaque.len() >= 2 && opaque.starts_with(b"\"") && opaque.ends_with(b"\""))
    });
    found
}

/// Weak comparison looks at the opaque part only (RFC 9110 section 8.8.3.2).
pub(super) fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// A date of HTTP. Zoho's own dates are ISO 8601, and are no such.
pub fn http_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unchanged(asked: &[(&'static str, &str)], head: &[(&'static str, &str)]) -> bool {
        let map = |pairs: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in pairs {
                map.append(*name, HeaderValue::from_str(value).unwrap());
            }
            map
        };
        is_unchanged(&map(asked), &map(head))
    }

    #[test]
    fn the_same_bytes_have_the_same_tag_and_others_another() {
        assert_eq!(strong_tag(b"a"), strong_tag(b"a"));
        assert_ne!(strong_tag(b"a"), strong_tag(b"b"));
        assert_eq!(strong_tag(b"").len(), 34);
    }

    #[test]
    fn if_none_match_finds_the_tag_in_every_form() {
        let head = [("etag", "\"x,y\"")];
        for same in ["\"x,y\"", "W/\"x,y\"", "\"a\", \"x,y\"", "*", "\"a\" ,W/\"x,y\" , \"b\""] {
            assert!(unchanged(&[("if-none-match", same)], &head), "{same}");
        }
        for other in ["\"x\"", "x,y", "", "\"x,y", "W/", "\"X,Y\""] {
            assert!(!unchanged(&[("if-none-match", other)], &head), "{other}");
        }
        assert!(!unchanged(&[("if-none-match", "*")], &[]));
    }

    #[test]
    fn dates_count_only_without_tags() {
        let (early, late) = ("Mon, 23 Nov 2026 08:00:00 GMT", "Mon, 23 Nov 2026 09:00:00 GMT");
        assert!(unchanged(&[("if-modified-since", late)], &[("last-modified", early)]));
        assert!(!unchanged(&[("if-modified-since", early)], &[("last-modified", late)]));
        assert!(!unchanged(&[("if-modified-since", late)], &[]));
        assert!(!unchanged(
            &[("if-modified-since", "2026-11-23T08:00:00+00:00")],
            &[("last-modified", early)]
        ));
        let both = [("if-none-match", "\"other\""), ("if-modified-since", late)];
        assert!(!unchanged(&both, &[("last-modified", early), ("etag", "\"x\"")]));
    }

    proptest! {
        #[test]
        fn no_condition_makes_comparing_panic(bytes in proptest::collection::vec(0x20u8..0x7f, 0..60)) {
            let mut asked = HeaderMap::new();
            asked.insert(IF_NONE_MATCH, HeaderValue::from_bytes(&bytes).unwrap());
            asked.insert(IF_MODIFIED_SINCE, HeaderValue::from_bytes(&bytes).unwrap());
            let mut head = HeaderMap::new();
            head.insert(ETAG, strong_tag(b""));
            let _ = is_unchanged(&asked, &head);
        }
    }
}
