//! What a composite request does: `POST /crm/{version}/__composite_requests` carries up to five calls.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::path::{decoded, has_dot_segment, is_version, lenient_reading};
use crate::net::headers::is_alike;

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
    /// (`@{1:$.…}`), and no header of its own says that its method is another one.
    pub is_plain: bool,
}

/// More calls than this are not looked at one by one; Zoho takes five.
const MOST_PARTS: usize = 100;

/// The last segment of the path of composite requests.
const NAME: &str = "__composite_requests";

/// Whether a request may be taken for a composite one, wherever in its path the name stands and however it is
/// spelled: Zoho's own pattern for paths lets more stand before the version than its documentation shows.
pub fn is_composite(method: &Method, path: &str) -> bool {
    let names = |segment: &str| decoded(segment).trim().to_ascii_lowercase().starts_with(NAME);
    *method == Method::POST && (path.contains("__") || path.contains('%')) && path.split('/').any(names)
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
    }
    // What is passed over is not looked at by the parser, so that this is left to do.
    let body = std::str::from_utf8(body).ok()?;
    let composite: Composite<'_> = object(body)?;
    if composite.__composite_requests.len() > MOST_PARTS {
        return None;
    }
    let part = |call: &RawValue| {
        if has_twins(call.get())? {
            return None;
        }
        let call: Call = object(call.get())?;
        let method = call.method.as_deref().unwrap_or("GET").to_ascii_uppercase();
        let renames = |headers: &Map<String, Value>| headers.keys().any(|name| is_method_override(name));
        let is_plain = call.uri.starts_with("/crm/")
            && !call.uri.contains("@{")
            && !call.headers.as_ref().is_some_and(renames);
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        let query = call.uri.split_once('?').map(|(_, query)| query.to_owned());
        Some(Part { method, path: path(outer, &call.uri)?, query, is_plain })
    };
    composite.__composite_requests.into_iter().map(part).collect()
}

/// Whether a member differs from one that is read here by nothing but its case, so that a reader that does not
/// mind takes the one or the other.
fn has_twins(call: &str) -> Option<bool> {
    let members: BTreeMap<String, &RawValue> = object(call)?;
    let is_twin = |name: &str| {
        ["uri", "method", "headers"].iter().any(|known| name != *known && name.eq_ignore_ascii_case(known))
    };
    Some(members.keys().any(|name| is_twin(name)))
}

/// Reads an object. A list of the fields' values, which `serde` takes for one too, means nothing to Zoho.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok())?
}

/// Whether a header makes some servers take a request for one of another method.
pub fn is_method_override(name: &str) -> bool {
    ["x-http-method-override", "x-method-override", "x-http-method"].iter().any(|known| is_alike(name, known))
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
    let first = decoded(path.split('/').next()?);
    let path = if first == "crm" {
        format!("/{path}")
    } else if is_version(&first) {
        format!("/crm/{path}")
    } else {
        let base = outer.trim_end_matches('/').rsplit_once('/')?.0;
        format!("{base}/{path}")
    };
    let is_plain = !has_dot_segment(&path) && lenient_reading(&path).is_none();
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
                }]),
                "{uri}"
            );
        }
    }

    #[test]
    fn a_call_that_borrows_its_path_or_renames_its_method_is_not_plain() {
        for item in [
            r#"{"uri":"/crm/v8/@{1:$.data[0].id}"}"#,
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
        ] {
            assert!(is_composite(&Method::POST, path), "{path}");
        }
        assert!(!is_composite(&Method::GET, OUTER));
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
        ] {
            assert_eq!(parts(OUTER, body.as_bytes()), None, "{body}");
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
