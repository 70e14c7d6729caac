//! What a composite request does: `POST /crm/{version}/__composite_requests` carries up to five calls.

use std::collections::BTreeMap;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::lenient::{
    acted_on, could_be, could_be_version, leniently_read, parameter_names_method, query_names_method,
};
use super::path::{has_dot_segment, is_version, with_plain_slashes};
use crate::net::headers::is_alike;
use crate::net::overrides::overridden_by;

/// One of the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its method.
    pub method: Method,
    /// Its path, without the query, as it would be outside.
    pub path: String,
    /// Its query, if it has one.
    pub query: Option<String>,
    /// Whether that is certain: it says its whole path, borrows nothing of it from another call's answer
    /// (`@{1:$.…}`), and no header of its own says that its method or path is another one.
    pub is_plain: bool,
    /// Whether a header or parameter of its own names another method or path, so that it could be any call.
    pub is_overridden: bool,
    /// Whether its URI borrows from another call's answer.
    pub borrows: bool,
}

/// More calls than this are not looked at one by one; Zoho takes five.
const MOST_PARTS: usize = 100;

/// Objects with more members than this are not looked through; Zoho's calls have six.
const MOST_MEMBERS: usize = 64;

/// What Zoho's calls have. Another member could mean the same as one of these to some reader.
const MEMBERS: [&str; 6] = ["sub_request_id", "method", "uri", "headers", "params", "body"];

/// The last segment of the path of composite requests.
const NAME: &str = "__composite_requests";

/// Whether the path of a request, by whatever method, may be taken for that of a composite one, wherever the name stands
/// in it and however it is spelled: Zoho's own pattern for paths lets more stand before the version than its documentation
/// shows.
pub fn is_composite(path: &str) -> bool {
    may_hold_name(path.as_bytes())
        && leniently_read(path).split('/').any(|segment| segment.trim_start().starts_with(NAME))
}

/// A cheap test that every spelling of the name passes, and few other paths.
fn may_hold_name(path: &[u8]) -> bool {
    let rest = path.get(1..).unwrap_or_default();
    // Without an early end, and with numbers for truth, the compiler looks at sixteen bytes at once.
    let is_odd = |(before, byte): (&u8, &u8)| {
        u8::from(*byte == b'%')
            | u8::from(!byte.is_ascii())
            | u8::from(*before == b'_') & u8::from(*byte == b'_')
    };
    path.iter().zip(rest).map(is_odd).fold(0, |odd, this| odd | this) != 0
}

/// Whether a path is the one that Zoho documents, `/crm/{version}/__composite_requests`.
pub fn is_documented_path(path: &str) -> bool {
    let mut segments = path.strip_suffix('/').unwrap_or(path).split('/');
    (segments.next(), segments.next()) == (Some(""), Some("crm"))
        && segments.next().is_some_and(is_version)
        && segments.next() == Some(NAME)
        && segments.next().is_none()
}

/// Reads the calls of a body; `None` if any of them cannot be read, since it could then be anything.
/// `outer` is the path of the composite request itself.
pub fn parts(outer: &str, body: &[u8]) -> Option<Vec<Part>> {
    #[derive(Deserialize)]
    struct Composite<'a> {
        #[serde(borrow)]
        __composite_requests: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Call {
        uri: String,
        method: Option<String>,
        headers: Option<Map<String, Value>>,
        params: Option<Value>,
    }
    // What is passed over is not looked at by the parser, so that this is left to do.
    let body = std::str::from_utf8(body).ok()?;
    if has_twins(&object(body)?, &[NAME]) {
        return None;
    }
    let composite: Composite<'_> = object(body)?;
    if composite.__composite_requests.len() > MOST_PARTS {
        return None;
    }
    let part = |call: &RawValue| {
        let members: Members<'_> = object(call.get())?;
        if has_twins(&members, &["uri", "method", "headers", "params"]) {
            return None;
        }
        let is_documented = members.keys().all(|name| MEMBERS.contains(&name.as_str()));
        let call: Call = object(call.get())?;
        let method = call.method.as_deref().unwrap_or("GET").to_ascii_uppercase();
        let names_another =
            |headers: &Map<String, Value>| headers.keys().any(|name| overridden_by(name).is_some());
        let query = call.uri.split_once('?').map(|(_, query)| query.to_owned());
        let params = call.params.as_ref().and_then(Value::as_object);
        let is_overridden = call.headers.as_ref().is_some_and(names_another)
            || query.as_deref().is_some_and(query_names_method)
            || params.is_some_and(|params| params.keys().any(|name| parameter_names_method(name)));
        // A reference may be percent-encoded, as a whole or in part.
        let borrows = call.uri.contains("@{") || leniently_read(&call.uri).contains("@{");
        let is_plain = call.uri.starts_with("/crm/") && is_documented && !borrows && !is_overridden;
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        Some(Part { method, path: path(outer, &call.uri)?, query, is_plain, is_overridden, borrows })
    };
    composite.__composite_requests.into_iter().map(part).collect()
}

/// The members of an object, unread.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Whether a member of this object may differ from one that is read here by nothing but case, width or what stands between
/// its letters, so that a lenient reader takes the one or the other.
fn has_twins(members: &Members<'_>, known: &[&str]) -> bool {
    let letters = |name: &str| leniently_read(name).replace(|c: char| !c.is_alphanumeric(), "");
    let known: Vec<(&str, String)> = known.iter().map(|name| (*name, letters(name))).collect();
    let is_twin = |name: &str| {
        let plain = letters(name);
        known.iter().any(|(known, known_letters)| name != *known && plain == *known_letters)
    };
    members.len() > MOST_MEMBERS || members.keys().any(|name| is_twin(name))
}

/// Reads an object. A list of the fields' values, which `serde` takes for one too, means nothing to Zoho.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok())?
}

/// Whether the headers of a composite request leave no doubt that its body is JSON in UTF-8: no coding of its content, at
/// most one content type, and no other charset.
pub fn has_one_reading<'a>(headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> bool {
    let mut types = 0;
    for (name, value) in headers {
        if is_alike(name.as_str(), CONTENT_ENCODING.as_str()) {
            return false;
        }
        if is_alike(name.as_str(), CONTENT_TYPE.as_str()) {
            types += 1;
            if *name != CONTENT_TYPE || types > 1 || !is_in_utf8(value) {
                return false;
            }
        }
    }
    true
}

/// Whether a content type names no charset, or UTF-8.
fn is_in_utf8(content_type: &HeaderValue) -> bool {
    let text = String::from_utf8_lossy(content_type.as_bytes()).to_ascii_lowercase();
    // Wherever the word stands: what is between quotes to one reader is a parameter to another.
    text.match_indices("charset").all(|(at, word)| {
        let value = text[at + word.len()..].trim_start_matches([' ', '\t', '=', '"', '\'']);
        let value = value.split([';', ' ', '\t', '"', '\'', ',']).next().unwrap_or_default();
        matches!(value, "utf-8" | "utf8")
    })
}

/// `/crm/v8/users/1?x`, `crm/v8/users/1` and `v8/users/1` are all taken for the same path; an absolute URI
/// loses its host. What begins with none of these is taken to be relative to the composite request. `None` for
/// what could be taken for another path.
fn path(outer: &str, uri: &str) -> Option<String> {
    if !uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return None;
    }
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    if has_dot_segment(query) {
        return None;
    }
    let path = match path.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => rest.split_once('/')?.1,
        _ => path,
    };
    let path = path.trim_start_matches('/');
    // A lenient server takes what it reads as `crm` or a version for the beginning of a whole path.
    let first = acted_on(&format!("/{}", path.split('/').next()?));
    let first = first.trim_start_matches('/');
    let path = if could_be(first, "crm") {
        format!("/{path}")
    } else if could_be_version(first) {
        format!("/crm/{path}")
    } else {
        let base = outer.trim_end_matches('/').rsplit_once('/')?.0;
        format!("{base}/{path}")
    };
    let is_plain = !has_dot_segment(&path) && with_plain_slashes(&path).is_none();
    is_plain.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OUTER: &str = "/crm/v8/__composite_requests";

    #[test]
    fn the_calls_are_read_in_every_form() {
        for uri in [
            "/crm/v8/users/1?a=b",
            "crm/v8/users/1",
            "v8/users/1",
            "users/1",
            "/users/1",
            "https://www.zohoapis.com/crm/v8/users/1",
        ] {
            let body = format!(
                r#"{{"__composite_requests":[{{"uri":"{uri}","method":"put","sub_request_id":"1"}}]}}"#
            );
            let read = parts(OUTER, body.as_bytes());
            assert_eq!(
                read,
                Some(vec![Part {
                    method: Method::PUT,
                    path: "/crm/v8/users/1".into(),
                    query: uri.ends_with("?a=b").then(|| "a=b".to_owned()),
                    is_plain: uri.starts_with("/crm/"),
                    is_overridden: false,
                    borrows: false,
                }]),
                "{uri}"
            );
        }
    }

    #[test]
    fn a_call_that_borrows_its_path_or_names_another_method_is_not_plain() {
        for item in [
            r#"{"uri":"/crm/v8/@{1:$.data[0].id}"}"#,
            r#"{"uri":"/crm/v8/%40%7B1:$.data[0].id%7D"}"#,
            r#"{"uri":"/crm/v8/@%7B1:$.id}"}"#,
            r#"{"uri":"/crm/v8/%2540{1:$.id}"}"#,
            r#"{"uri":"/crm/v8/users?ids=%40%7b1:$.id%7d"}"#,
            r#"{"uri":"/crm/v8/\u0040{1:$.id}"}"#,
            r#"{"uri":"/crm/v8/users","headers":{"X-Original-URL":"/crm/v8/Leads"}}"#,
            r#"{"uri":"/crm/v8/users","headers":{"x.rewrite.url":"/crm/v8/Leads"}}"#,
            r#"{"uri":"/crm/v8/users","headers":{"X_HTTP-Method-override":"DELETE"}}"#,
            r#"{"uri":"https://www.zohoapis.com/crm/v8/users"}"#,
        ] {
            let body = format!(r#"{{"__composite_requests":[{item}]}}"#);
            assert!(!parts(OUTER, body.as_bytes()).unwrap()[0].is_plain, "{item}");
        }
        let plain = r#"{"__composite_requests":[{"uri":"/crm/v8/users","headers":{"X-CRM-ORG":"1"}}]}"#;
        assert!(parts(OUTER, plain.as_bytes()).unwrap()[0].is_plain);
    }

    #[test]
    fn a_composite_request_is_known_in_every_spelling() {
        for path in [
            OUTER,
            "/crm/v8/%5F_composite_requests",
            "/crm/v8/__composite_requests/",
            "/CRM/V8/__Composite_Requests",
            "/crm/v8/%255F_composite_requests",
            "/crm/v8/__composite_requests;x",
            "/crm/v8%2F__composite_requests",
            "/crm/x/v8%5C__composite_requests",
            "/crm/v8/__composite_reque%C5%BFts",
        ] {
            assert!(is_composite(path), "{path}");
        }
        for path in ["/crm/v8/__features", "/crm/v8/my__composite_requests", "/crm/v8/Leads/50%25", ""] {
            assert!(!is_composite(path), "{path}");
        }
    }

    #[test]
    fn what_cannot_be_read_could_be_anything() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"__composite_requests":{}}"#,
            r#"{"__composite_requests":[{"method":"PUT"}]}"#,
            r#"{"__composite_requests":[{"uri":"/x","method":"a b"}]}"#,
            r#"{"__composite_requests":[["/crm/v8/users/1","PUT"]]}"#,
            r#"[[{"uri":"/crm/v8/users/1","method":"PUT"}]]"#,
            r#"{"__composite_requests":[{"uri":"/crm/v8/x/../users/1","method":"PUT"}]}"#,
            r#"{"__composite_requests":[{"uri":"/crm/v8/users%2F1","method":"PUT"}]}"#,
            r#"{"__composite_requests":[{"uri":"/crm/v8//users/1","method":"PUT"}]}"#,
            r#"{"__composite_requests":[{"uri":" /crm/v8/users/1","method":"PUT"}]}"#,
            r#"{"__composite_requests":[],"__Composite_Requests":[{"uri":"/crm/v8/users/1"}]}"#,
            r#"{"__composite_requests":[],"__composite_requeſts":[{"uri":"/crm/v8/users/1"}]}"#,
            r#"{"__composite_requests":[],"__composite-requests":[{"uri":"/crm/v8/users/1"}]}"#,
            r#"{"__composite_requests":[],"__composite_requests":[{"uri":"/crm/v8/users/1"}]}"#,
            r#"{"__composite_requests":[{"uri":"/crm/v8/users/1","method":"GET","METHOD":"PUT"}]}"#,
            r#"{"__composite_requests":[{"uri":"/crm/v8/users/1","u_r_i":"/crm/v8/users/2"}]}"#,
        ] {
            assert_eq!(parts(OUTER, body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_body_has_one_reading_if_its_headers_name_no_coding_and_no_other_charset() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            let headers: Vec<_> = pairs.iter().map(pair).collect();
            has_one_reading(headers.iter().map(|(name, value)| (name, value)))
        };
        let json = ("content-type", "application/json");
        for one in [
            &[][..],
            &[json, ("accept-encoding", "gzip")],
            &[("content-type", "application/json; charset=UTF-8")],
            &[("content-type", "application/json;charset=\"utf-8\"")],
            &[("content-type", "application/x-www-form-urlencoded")],
        ] {
            assert!(read(one), "{one:?}");
        }
        for several in [
            &[json, ("content-encoding", "gzip")][..],
            &[("content-encoding", "identity")],
            &[("content_encoding", "gzip")],
            &[json, json],
            &[json, ("content_type", "text/plain")],
            &[("content-type", "application/json; charset=UTF-16")],
            &[("content-type", "application/json; charset=utf-8; charset=utf-7")],
            &[("content-type", "application/json; x=\"; charset=utf-7\"")],
            &[("content-type", "application/json; charset = ibm037")],
            &[("content-type", "application/json; charset=")],
        ] {
            assert!(!read(several), "{several:?}");
        }
    }

    #[test]
    fn only_at_its_beginning_does_a_uri_name_a_host() {
        // With its slashes read plainly it is another path.
        assert_eq!(path(OUTER, "/crm/v8/users/1/http://x/settings/roles"), None);
        assert_eq!(path(OUTER, "/crm/v8/users/a:b").as_deref(), Some("/crm/v8/users/a:b"));
    }

    #[test]
    fn an_encoded_beginning_is_no_other_beginning() {
        assert_eq!(path(OUTER, "/%63rm/v8/users/1").as_deref(), Some("/%63rm/v8/users/1"));
        assert_eq!(path(OUTER, "%768/users/1").as_deref(), Some("/crm/%768/users/1"));
    }

    proptest! {
        #[test]
        fn no_body_makes_reading_panic(body in "\\PC{0,80}", uri in "\\PC{0,30}") {
            let _ = parts(OUTER, body.as_bytes());
            let _ = path(OUTER, &uri);
        }
    }
}
