//! Records that belong to other records. Every module has a list of each other one's, which has its name.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::external::reach;
use super::items::{self, text, unknown_id};
use super::model::{Link, MOST};
use super::state::Crm;
use super::{external, note, records};
use crate::emulator::replies::{self, Reply, success};

/// What one call may write.
const LIST: (&str, usize) = ("data", 100);

/// The lists of records that a module's records have.
pub(super) fn lists<'a>(crm: &'a Crm, module: &'a str) -> impl Iterator<Item = &'a str> {
    let names = crm.modules.iter().map(|module| module.api_name.as_str());
    names.filter(move |name| *name != module && *name != note::MODULE)
}

/// `/{module}/{id}/{list}`
pub(super) fn all(crm: &mut Crm, ask: &Ask<'_>, module: &str, record: &str, list: &str) -> Reply {
    let record = match reached(crm, ask, module, record, list) {
        Ok(record) => record,
        Err(reply) => return reply,
    };
    match ask.method.as_str() {
        "GET" => rows(crm, ask, &record, list, None),
        "PUT" => items::each(crm, ask, LIST, StatusCode::OK, |crm, ask, item| {
            join(crm, ask, &record, list, text(item, "id").unwrap_or_default(), item)
        }),
        "DELETE" => match items::ids(ask, LIST.1) {
            Ok(ids) => {
                let gone = ids.iter().map(|id| part(crm, &record, id)).collect();
                items::outcome(LIST.0, StatusCode::OK, gone)
            }
            Err(reply) => reply,
        },
        _ => replies::invalid_method(),
    }
}

/// `/{module}/{id}/{list}/{related}`
pub(super) fn one(
    crm: &mut Crm,
    ask: &Ask<'_>,
    (module, record): (&str, &str),
    list: &str,
    related: &str,
) -> Reply {
    let record = match reached(crm, ask, module, record, list) {
        Ok(record) => record,
        Err(reply) => return reply,
    };
    let related = match reach(crm, ask, list, related) {
        Ok(related) => related,
        Err(reply) => return reply,
    };
    match ask.method.as_str() {
        "GET" => rows(crm, ask, &record, list, Some(&related)),
        "PUT" => items::each(crm, ask, LIST, StatusCode::OK, |crm, ask, item| {
            join(crm, ask, &record, list, &related, item)
        }),
        "DELETE" => items::outcome(LIST.0, StatusCode::OK, vec![part(crm, &record, &related)]),
        _ => replies::invalid_method(),
    }
}

fn reached(crm: &mut Crm, ask: &Ask<'_>, module: &str, record: &str, list: &str) -> Result<String, Reply> {
    let record = reach(crm, ask, module, record)?;
    if lists(crm, module).any(|name| name == list) {
        return Ok(record);
    }
    let message = "the relation name given seems to be invalid";
    Err(Reply::bad("INVALID_DATA", json!({ "resource_path_index": 2 }), message))
}

fn rows(crm: &Crm, ask: &Ask<'_>, record: &str, list: &str, only: Option<&str>) -> Reply {
    let Some(module) = crm.module(list) else { return Reply::empty(StatusCode::NO_CONTENT) };
    let belongs = |id: &str| crm.links.iter().any(|link| link.is_between(record, id));
    let told = |id: &str| crm.links.iter().find(|link| link.is_between(record, id)).map(|link| &link.values);
    let wanted = |id: &str| only.is_none_or(|only| only == id) && belongs(id);
    records::list_with(module, ask, |id, _| wanted(id), |id| told(id).cloned().unwrap_or_default())
}

fn join(
    crm: &mut Crm,
    ask: &Ask<'_>,
    record: &str,
    list: &str,
    related: &str,
    item: &Map<String, Value>,
) -> Result<Value, Value> {
    let related = external::id(crm, ask, list, related).into_owned();
    crm.record(list, &related).ok_or_else(|| unknown_id(&related))?;
    let mut values = item.clone();
    values.remove("id");
    let is_full = crm.links.len() >= MOST;
    match crm.links.iter_mut().find(|link| link.is_between(record, &related)) {
        Some(link) => link.values.extend(values),
        None if is_full => return Err(items::full()),
        None => crm.links.push(Link { ends: [record.to_owned(), related.clone()], values }),
    }
    Ok(success(json!({ "id": related }), "relation added"))
}

fn part(crm: &mut Crm, record: &str, related: &str) -> Result<Value, Value> {
    let before = crm.links.len();
    crm.links.retain(|link| !link.is_between(record, related));
    let parted = || success(json!({ "id": related }), "relation removed");
    (crm.links.len() < before).then(parted).ok_or_else(|| unknown_id(related))
}
