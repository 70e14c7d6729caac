//! What a composite request does: `POST /crm/{version}/__composite_requests` carries up to five calls.

use http::Method;
use serde::Deserialize;

/// One of the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its method.
    pub method: Method,
    /// Its path, without the query, as it would be outside.
    pub path: String,
}

/// Whether a request is a composite one.
pub fn is_composite(method: &Method, path: &str) -> bool {
    *method == Method::POST && super::path::Area::of(path) == super::path::Area::Composite
}

/// Reads the calls of a body; `None` if any of them cannot be read, since it could then be anything.
/// `outer` is the path of the composite request itself.
pub fn parts(outer: &str, body: &[u8]) -> Option<Vec<Part>> {
    #[derive(Deserialize)]
    struct Composite {
        __composite_requests: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        uri: String,
        method: Option<String>,
    }
    let composite: Composite = serde_json::from_slice(body).ok()?;
    let part = |item: Item| {
        let method = item.method.as_deref().unwrap_or("GET").to_ascii_uppercase();
        Some(Part { method: Method::from_bytes(method.as_bytes()).ok()?, path: path(outer, &item.uri)? })
    };
    composite.__composite_requests.into_iter().map(part).collect()
}

/// `/crm/v8/users/1?x`, `crm/v8/users/1` and `v8/users/1` are all taken for the same path; an absolute URI
/// loses its host. What begins with none of these is taken to be relative to the composite request.
fn path(outer: &str, uri: &str) -> Option<String> {
    let path = uri.split(['?', '#']).next()?;
    let path = match path.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => path.trim_start_matches('/'),
    };
    let first = path.split('/').next()?;
    Some(if first == "crm" {
        format!("/{path}")
    } else if super::path::is_version(first) {
        format!("/crm/{path}")
    } else {
        let base = outer.trim_end_matches('/').rsplit_once('/')?.0;
        format!("{base}/{path}")
    })
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
                Some(vec![Part { method: Method::PUT, path: "/crm/v8/users/1".into() }]),
                "{uri}"
            );
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
        ] {
            assert_eq!(parts(OUTER, body.as_bytes()), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_reading_panic(body in "\\PC{0,80}", uri in "\\PC{0,30}") {
            let _ = parts(OUTER, body.as_bytes());
            let _ = path(OUTER, &uri);
        }
    }
}
