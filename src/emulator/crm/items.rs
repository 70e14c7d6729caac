//! What the calls have in common: lists in and out, pages, and answers for each item.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::state::Crm;
use crate::emulator::replies::{Reply, problem};

/// How many rows a page has unless told otherwise.
const PER_PAGE: usize = 200;

/// What is told of a page.
#[derive(Serialize)]
pub(super) struct Info {
    per_page: usize,
    count: usize,
    page: usize,
    more_records: bool,
}

/// One page of rows; `None` if there is nothing on it, which is answered with 204.
pub(super) fn page<T>(ask: &Ask<'_>, rows: Vec<T>, most: usize) -> Result<Option<(Vec<T>, Info)>, Reply> {
    let number = number(ask, "page", 1, usize::MAX)?;
    let per_page = self::number(ask, "per_page", PER_PAGE, most)?;
    let all = rows.len();
    let first = (number - 1).saturating_mul(per_page);
    let rows: Vec<T> = rows.into_iter().skip(first).take(per_page).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let count = rows.len();
    let info = Info { per_page, count, page: number, more_records: first + count < all };
    Ok(Some((rows, info)))
}

fn number(ask: &Ask<'_>, name: &str, default: usize, most: usize) -> Result<usize, Reply> {
    let Some(text) = ask.query.value(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| Reply::bad("INVALID_DATA", json!({ "param_name": name }), "invalid parameter value"))
}

/// A page of rows under a key, with `info`.
pub(super) fn list(ask: &Ask<'_>, key: &str, rows: Vec<Value>, most: usize) -> Reply {
    match page(ask, rows, most) {
        Ok(Some((rows, info))) => Reply::ok(&json!({ key: rows, "info": info })),
        Ok(None) => Reply::empty(StatusCode::NO_CONTENT),
        Err(reply) => reply,
    }
}

/// What became of each item: all well, some, or none decides the status.
pub(super) fn outcome(key: &str, well: StatusCode, items: Vec<Result<Value, Value>>) -> Reply {
    let failed = items.iter().filter(|item| item.is_err()).count();
    let status = match failed {
        0 if items.is_empty() => StatusCode::BAD_REQUEST,
        0 => well,
        _ if failed == items.len() => StatusCode::BAD_REQUEST,
        _ => StatusCode::MULTI_STATUS,
    };
    let items: Vec<Value> = items.into_iter().map(|item| item.unwrap_or_else(|problem| problem)).collect();
    Reply::json(status, &json!({ key: items }))
}

/// The objects of a list in the body.
pub(super) fn given(ask: &Ask<'_>, key: &str, most: usize) -> Result<Vec<Map<String, Value>>, Reply> {
    let mut body: Value = serde_json::from_slice(ask.body)
        .map_err(|_| Reply::bad("INVALID_DATA", json!({ "expected_data_type": "jsonobject" }), "body"))?;
    ids_as_text(&mut body);
    let Some(items) = body.get(key).and_then(Value::as_array) else {
        return Err(Reply::bad(
            "MANDATORY_NOT_FOUND",
            json!({ "api_name": key }),
            "required field not found",
        ));
    };
    if items.len() > most {
        return Err(too_many(most));
    }
    let object = |item: &Value| item.as_object().cloned();
    items.iter().map(object).collect::<Option<_>>().ok_or_else(|| {
        Reply::bad(
            "INVALID_DATA",
            json!({ "expected_data_type": "jsonobject", "api_name": key }),
            "invalid data",
        )
    })
}

/// Zoho's own Python SDK sends ids as numbers; inside they are text.
fn ids_as_text(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(ids_as_text),
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::Number(id) if name == "id" => *value = Value::from(id.to_string()),
                    other => ids_as_text(other),
                }
            }
        }
        _ => {}
    }
}

/// Does something with each object of the body's list, which has a key and a greatest length.
pub(super) fn each(
    crm: &mut Crm,
    ask: &Ask<'_>,
    (key, most): (&str, usize),
    well: StatusCode,
    mut act: impl FnMut(&mut Crm, &Ask<'_>, &Map<String, Value>) -> Result<Value, Value>,
) -> Reply {
    match given(ask, key, most) {
        Ok(given) => outcome(key, well, given.iter().map(|item| act(crm, ask, item)).collect()),
        Err(reply) => reply,
    }
}

/// The ids of the query, at least one.
pub(super) fn ids<'a>(ask: &'a Ask<'_>, most: usize) -> Result<Vec<&'a str>, Reply> {
    let ids = ask.query.list("ids");
    if ids.is_empty() {
        let details = json!({ "param_name": "ids" });
        return Err(Reply::bad(
            "REQUIRED_PARAM_MISSING",
            details,
            "One of the expected parameter is missing",
        ));
    }
    if ids.len() > most { Err(too_many(most)) } else { Ok(ids) }
}

fn too_many(most: usize) -> Reply {
    Reply::bad("LIMIT_EXCEEDED", json!({ "limit": most }), "the limit of items in one call is exceeded")
}

/// The text of a field.
pub(super) fn text<'a>(item: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    item.get(name).and_then(Value::as_str)
}

/// The id of an object in a field.
pub(super) fn id_in(item: &Map<String, Value>, name: &str) -> Option<String> {
    item.get(name)?.get("id")?.as_str().map(str::to_owned)
}

/// What to say of an id that nobody has.
pub(super) fn unknown_id(id: &str) -> Value {
    problem("INVALID_DATA", json!({ "api_name": "id", "id": id }), "the id given seems to be invalid")
}

/// What to say of a field that is missing.
pub(super) fn missing(name: &str) -> Value {
    problem("MANDATORY_NOT_FOUND", json!({ "api_name": name }), "required field not found")
}

/// What to say of something that is there already.
pub(super) fn duplicate(name: &str) -> Value {
    problem("DUPLICATE_DATA", json!({ "api_name": name }), "duplicate data")
}

/// What to say of a module that there is not.
pub(super) fn unknown_module() -> Reply {
    let message = "the module name given seems to be invalid";
    Reply::bad("INVALID_MODULE", json!({ "resource_path_index": 0 }), message)
}

/// What to say when the organisation is full.
pub(super) fn full() -> Value {
    problem("LICENSE_LIMIT_EXCEEDED", json!({}), "Request exceeds your license limit")
}

/// 400 with a problem that was made for an item.
pub(super) fn refused(problem: &Value) -> Reply {
    Reply::json(StatusCode::BAD_REQUEST, problem)
}

/// The time of `If-Modified-Since`, in ISO 8601. What HTTP calls a date is not understood here.
pub(super) fn modified_since(ask: &Ask<'_>) -> Result<Option<SystemTime>, Reply> {
    let Some(value) = ask.headers.get(http::header::IF_MODIFIED_SINCE) else { return Ok(None) };
    let time = value.to_str().ok().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    time.map(|time| Some(SystemTime::from(time))).ok_or_else(|| {
        let details = json!({ "header_name": "If-Modified-Since", "expected_data_type": "datetime" });
        Reply::bad("INVALID_DATA", details, "invalid data")
    })
}

/// Whether a change came after a time; times are told in whole seconds.
pub(super) fn changed(modified: SystemTime, since: Option<SystemTime>) -> bool {
    let seconds =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    since.is_none_or(|since| seconds(modified) > seconds(since))
}
