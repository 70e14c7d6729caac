//! Looking for records: by what they hold, how many there are, which are gone.

use http::StatusCode;
use serde_json::{Value, json};

use super::ask::Ask;
use super::items::{self, unknown_module};
use super::model::Record;
use super::model::criteria::Criteria;
use super::records::list;
use super::state::Crm;
use crate::emulator::replies::{self, Reply};

/// `/{module}/actions/count`
pub(super) fn count(crm: &mut Crm, ask: &Ask<'_>, name: &str) -> Reply {
    match (crm.module_mut(name), ask.method.as_str()) {
        (None, _) => unknown_module(),
        (Some(module), "GET" | "POST") => Reply::ok(&json!({ "count": module.records.len() })),
        _ => replies::invalid_method(),
    }
}

/// `/{module}/search` by `word`, `email`, `phone`, or `criteria=((Field:equals:value)and(…))`
pub(super) fn search(crm: &mut Crm, ask: &Ask<'_>, name: &str) -> Reply {
    let Some(module) = crm.module_mut(name) else {
        return unknown_module();
    };
    if ask.method != http::Method::GET {
        return replies::invalid_method();
    }
    let holds = |record: &Record, field: &str, wanted: &str| {
        record
            .values
            .get(field)
            .and_then(Value::as_str)
            .is_some_and(|value| value.eq_ignore_ascii_case(wanted))
    };
    if let Some(text) = ask.query.value("criteria") {
        return match Criteria::of_search(text) {
            Some(criteria) => list(module, ask, |id, record| criteria.holds(id, record)),
            None => {
                Reply::bad("INVALID_QUERY", json!({ "reason": "not understood" }), "invalid query formed")
            }
        };
    }
    for (parameter, field) in [("email", "Email"), ("phone", "Phone")] {
        if let Some(value) = ask.query.value(parameter) {
            return list(module, ask, |_, record| holds(record, field, value));
        }
    }
    let word = ask.query.value("word").unwrap_or_default().to_lowercase();
    let mentions = |value: &Value| value.as_str().is_some_and(|text| text.to_lowercase().contains(&word));
    list(module, ask, |_, record| record.values.values().any(mentions))
}

/// `/{module}/deleted`
pub(super) fn deleted(crm: &mut Crm, ask: &Ask<'_>, name: &str) -> Reply {
    let Some(module) = crm.module_mut(name) else {
        return unknown_module();
    };
    if ask.method != http::Method::GET {
        return replies::invalid_method();
    }
    let since = match items::modified_since(ask) {
        Ok(since) => since,
        Err(reply) => return reply,
    };
    let rows: Vec<Value> = module
        .deleted
        .iter()
        .filter(|(_, at)| items::changed(*at, since))
        .map(|(id, at)| json!({ "id": id, "deleted_time": replies::iso(*at), "type": "recycle" }))
        .collect();
    if since.is_some() && rows.is_empty() {
        return Reply::empty(StatusCode::NOT_MODIFIED);
    }
    items::list(ask, "data", rows, 200)
}
