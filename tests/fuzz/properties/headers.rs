//! Headers that say which headers are for one hop, texts that become header values, and origins. The bytes
//! are taken for the value of a header, and for a text.

use http::header::{CONNECTION, HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use zoho_sidecar::net::headers::{ConnectionNamed, copy_if, is_hop_by_hop, visible};
use zoho_sidecar::net::origin::{Origin, is_loopback};

pub fn hold(bytes: &[u8]) {
    let values = bytes.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let mut headers = HeaderMap::new();
    for value in values.take(8) {
        headers.append(CONNECTION, value);
    }
    what_connection_names_is_found_as_by_a_naive_reader(&headers);
    if let Ok(text) = std::str::from_utf8(bytes) {
        a_visible_value_has_nothing_invisible(text);
        text.lines().for_each(an_origin_is_nothing_more);
    }
}

fn what_connection_names_is_found_as_by_a_naive_reader(headers: &HeaderMap) {
    let named = ConnectionNamed::of(headers);
    let mut carried = HeaderMap::new();
    for value in headers.get_all(CONNECTION) {
        let text = String::from_utf8_lossy(value.as_bytes()).to_lowercase();
        for token in text.split(',').map(|token| token.trim_matches([' ', '\t'])) {
            let Ok(name) = HeaderName::from_bytes(token.as_bytes()) else { continue };
            let is_of_the_connection = matches!(token, "close" | "keep-alive");
            assert!(named.contains(&name) || is_of_the_connection, "{token}");
            carried.insert(name, HeaderValue::from_static("x"));
        }
    }
    let passed = copy_if(&carried, 0, |name| !is_hop_by_hop(name) && !named.contains(name));
    assert!(passed.keys().all(|name| matches!(name.as_str(), "close")), "{passed:?}");
}

fn a_visible_value_has_nothing_invisible(text: &str) {
    let value = visible(text);
    assert!(value.as_bytes().iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 127)));
    let is_plain = text.bytes().all(|byte| (b' '..127).contains(&byte));
    assert!(!is_plain || value.as_bytes() == text.as_bytes(), "{text} became {value:?}");
}

fn an_origin_is_nothing_more(text: &str) {
    let Ok(origin) = text.parse::<Origin>() else { return };
    assert_eq!(origin.to_string().parse().as_ref(), Ok(&origin), "{text} became {origin}");
    assert!(origin.is_https() || is_loopback(origin.host()), "{text} goes in the clear");
    assert!(!origin.authority().as_str().contains(['@', '/', '?', '#']), "{text} became {origin}");
    // Whatever is asked for, it is asked of this host.
    for path in ["/crm/v8/users?a=b", "/", "//other.example/x", "/@other.example/"] {
        let uri = origin.uri(path.parse().expect("this is a path"));
        assert_eq!(uri.authority(), Some(origin.authority()), "{text} {path}");
        let again: Uri = uri.to_string().parse().expect("a URI can be read again");
        assert_eq!((again.authority(), again.path()), (uri.authority(), uri.path()), "{text} {path}");
    }
}
