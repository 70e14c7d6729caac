//! What the body of a composite request does. The bytes are the body.

use http::Method;
use serde::de::IgnoredAny;
use serde_json::Value;
use zoho_sidecar::net::overrides::overridden_by;
use zoho_sidecar::zoho::composite::{Part, parts};
use zoho_sidecar::zoho::lenient::{leniently_read, parameter_names_method, query_names_method};
use zoho_sidecar::zoho::path::{has_dot_segment, with_plain_slashes};

const OUTER: &str = "/crm/v8/__composite_requests";

/// Zoho takes five; of more than this nothing is believed.
const MOST_CALLS: usize = 100;

pub fn hold(bytes: &[u8]) {
    let read = parts(OUTER, bytes);
    let is_json =
        std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    let value = serde_json::from_slice::<Value>(bytes).ok();
    if is_json && value.is_none() {
        return; // numbers too large or lists too deep for `Value`, and nobody else's business
    }
    let Some(items) = value.as_ref().and_then(calls) else {
        assert_eq!(read, None, "this is no composite request");
        return;
    };
    let value = value.as_ref().expect("its calls were found");
    if !is_usual(value.as_object().expect("its calls were found"), &["__composite_requests"]) {
        return; // to some reader it has other calls
    }
    let twice = parts(OUTER, &serde_json::to_vec_pretty(value).expect("a value can be written"));
    if let Some(read) = read {
        assert_eq!(Some(&read), twice.as_ref(), "spaces and order mean nothing");
        every_call_is_found(&items, &read);
    }
    if items.len() > MOST_CALLS {
        assert_eq!(twice, None, "so many calls are not looked at one by one");
        return;
    }
    if let Some(expected) = items.iter().map(|item| plain(item)).collect::<Option<Vec<_>>>() {
        assert_eq!(twice, Some(expected), "what is plain is read");
    }
}

/// The calls of a body of the right shape.
fn calls(value: &Value) -> Option<Vec<&serde_json::Map<String, Value>>> {
    let items = value.as_object()?.get("__composite_requests")?.as_array()?;
    items.iter().map(Value::as_object).collect()
}

/// A call as it is read where nothing about it is odd: a method in capitals, a path from `/crm/` on.
fn plain(item: &serde_json::Map<String, Value>) -> Option<Part> {
    let method = item.get("method")?.as_str()?;
    let uri = item.get("uri")?.as_str()?;
    let is_method = ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method);
    if !is_usual(item, &["uri", "method", "headers", "params"])
        || !uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        return None; // to some reader it is another call
    }
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let is_plain = path.starts_with("/crm/")
        && !has_dot_segment(path)
        && !has_dot_segment(query)
        && with_plain_slashes(path).is_none();
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let is_overridden = match item.get("headers") {
        None | Some(Value::Null) => false,
        Some(headers) => headers.as_object()?.keys().any(|name| overridden_by(name).is_some()),
    };
    let params = item.get("params").and_then(Value::as_object);
    let is_overridden = is_overridden
        || query_names_method(query)
        || params.is_some_and(|params| params.keys().any(|name| parameter_names_method(name)));
    let borrows = uri.contains("@{") || leniently_read(uri).contains("@{");
    let is_documented = |name: &String| {
        ["sub_request_id", "method", "uri", "headers", "params", "body"].contains(&name.as_str())
    };
    let is_certain = !borrows && !is_overridden && item.keys().all(is_documented);
    let whole_query = uri.contains('?').then(|| query.to_owned());
    (is_method && is_plain).then(|| Part {
        method,
        path: path.to_owned(),
        query: whole_query,
        is_plain: is_certain,
        is_overridden,
        borrows,
    })
}

/// Whether an object has few members, and all of their names are simple words or known ones.
fn is_usual(object: &serde_json::Map<String, Value>, known: &[&str]) -> bool {
    let is_word = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase());
    object.len() <= 64 && object.keys().all(|name| known.contains(&name.as_str()) || is_word(name))
}

fn every_call_is_found(items: &[&serde_json::Map<String, Value>], read: &[Part]) {
    let word = |item: &serde_json::Map<String, Value>| {
        item.get("method").and_then(Value::as_str).unwrap_or("GET").to_ascii_uppercase()
    };
    assert_eq!(
        items.iter().map(|item| word(item)).collect::<Vec<_>>(),
        read.iter().map(|part| part.method.as_str().to_owned()).collect::<Vec<_>>()
    );
    for (item, Part { path, .. }) in items.iter().zip(read) {
        let uri = item["uri"].as_str().expect("what was read is a text");
        assert!(path.starts_with('/') && !path.contains(['?', '#']), "{uri} became {path}");
        assert!(!has_dot_segment(path), "{uri} became {path}, which could be anything");
        assert_eq!(with_plain_slashes(path), None, "{uri} became {path}, which could be read otherwise");
        let last = path.rsplit('/').next().unwrap_or_default();
        assert!(uri.split(['?', '#']).next().is_some_and(|uri| uri.ends_with(last)), "{uri} became {path}");
    }
}
