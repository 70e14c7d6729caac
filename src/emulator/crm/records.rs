//! Records of any module: create, read, update, delete, search, count.

use std::collections::BTreeMap;
use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::items::{self, text, unknown_id, unknown_module};
use super::model::{MOST, Module, Record};
use super::state::Crm;
use super::{external, note};
use crate::emulator::replies::{self, Reply, success};

/// What one call may write.
const LIST: (&str, usize) = ("data", 100);

/// `/{module}`
pub(super) fn all(crm: &mut Crm, ask: &Ask<'_>, name: &str) -> Reply {
    let Some(module) = crm.module_mut(name) else {
        return unknown_module();
    };
    match ask.method.as_str() {
        "GET" => list(module, ask, |_, _| true),
        "POST" => items::each(crm, ask, LIST, StatusCode::CREATED, |crm, ask, item| {
            create(crm, ask.wall, name, item)
        }),
        "PUT" => items::each(crm, ask, LIST, StatusCode::OK, |crm, ask, item| {
            change(crm, ask.wall, name, text(item, "id").unwrap_or_default(), item)
        }),
        "DELETE" => match items::ids(ask, LIST.1) {
            Ok(ids) => {
                let gone = ids.iter().map(|id| delete(crm, ask, name, id)).collect();
                items::outcome(LIST.0, StatusCode::OK, gone)
            }
            Err(reply) => reply,
        },
        _ => replies::invalid_method(),
    }
}

/// `/{module}/{id}`
pub(super) fn one(crm: &mut Crm, ask: &Ask<'_>, name: &str, id: &str) -> Reply {
    let id = &*external::id(crm, ask, name, id);
    let Some(module) = crm.module_mut(name) else {
        return unknown_module();
    };
    match ask.method.as_str() {
        "GET" => {
            let since = match items::modified_since(ask) {
                Ok(since) => since,
                Err(reply) => return reply,
            };
            match module.records.get(id) {
                Some(record) if !items::changed(record.modified, since) => {
                    Reply::empty(StatusCode::NOT_MODIFIED)
                }
                Some(record) => Reply::ok(&json!({ "data": [shown(id, record, &[])] })),
                None => Reply::empty(StatusCode::NO_CONTENT),
            }
        }
        "PUT" => items::each(crm, ask, LIST, StatusCode::OK, |crm, ask, item| {
            change(crm, ask.wall, name, id, item)
        }),
        "DELETE" => items::outcome(LIST.0, StatusCode::OK, vec![delete(crm, ask, name, id)]),
        _ => replies::invalid_method(),
    }
}

/// `/{module}/upsert`: who has the same `Email`, or the same id, is changed.
pub(super) fn upsert(crm: &mut Crm, ask: &Ask<'_>, name: &str) -> Reply {
    if crm.module_mut(name).is_none() {
        return unknown_module();
    }
    if ask.method != http::Method::POST {
        return replies::invalid_method();
    }
    items::each(crm, ask, LIST, StatusCode::OK, |crm, ask, item| {
        let email = item.get("Email");
        let records = crm.module_mut(name).map(|module| &module.records);
        let same = |(_, record): &(&String, &Record)| email.is_some() && record.values.get("Email") == email;
        let id = records.and_then(|records| records.iter().find(same)).map(|(id, _)| id.clone());
        match id.as_deref().or_else(|| text(item, "id")) {
            Some(id) => change(crm, ask.wall, name, id, item),
            None => create(crm, ask.wall, name, item),
        }
    })
}

/// With `If-Modified-Since` only what changed since then, or 304.
pub(super) fn list(module: &Module, ask: &Ask<'_>, wanted: impl Fn(&str, &Record) -> bool) -> Reply {
    list_with(module, ask, wanted, |_| Map::new())
}

/// The same with more to tell of each record.
pub(super) fn list_with(
    module: &Module,
    ask: &Ask<'_>,
    wanted: impl Fn(&str, &Record) -> bool,
    more: impl Fn(&str) -> Map<String, Value>,
) -> Reply {
    let since = match items::modified_since(ask) {
        Ok(since) => since,
        Err(reply) => return reply,
    };
    let fields = ask.query.list("fields");
    let ids = ask.query.list("ids");
    let rows: Vec<Value> = module
        .records
        .iter()
        .filter(|(id, _)| ids.is_empty() || ids.contains(&id.as_str()))
        .filter(|(id, record)| items::changed(record.modified, since) && wanted(id, record))
        .map(|(id, record)| {
            let mut row = more(id);
            row.extend(shown(id, record, &fields));
            Value::Object(row)
        })
        .collect();
    if since.is_some() && rows.is_empty() {
        return Reply::empty(StatusCode::NOT_MODIFIED);
    }
    items::list(ask, "data", rows, 200)
}

pub(super) fn create(
    crm: &mut Crm,
    now: SystemTime,
    name: &str,
    item: &Map<String, Value>,
) -> Result<Value, Value> {
    if crm.modules.iter().map(|module| module.records.len()).sum::<usize>() >= MOST {
        return Err(items::full());
    }
    let id = crm.new_id();
    let values = if name == note::MODULE { note::checked(crm, item)? } else { values(item) };
    let record = Record { values, created: now, modified: now };
    let details = details(&id, &record);
    records(crm, name).insert(id, record);
    Ok(success(details, "record added"))
}

pub(super) fn change(
    crm: &mut Crm,
    now: SystemTime,
    name: &str,
    id: &str,
    item: &Map<String, Value>,
) -> Result<Value, Value> {
    let record = records(crm, name).get_mut(id).ok_or_else(|| unknown_id(id))?;
    record.values.extend(values(item));
    record.modified = now;
    Ok(success(details(id, record), "record updated"))
}

fn delete(crm: &mut Crm, ask: &Ask<'_>, name: &str, id: &str) -> Result<Value, Value> {
    records(crm, name).remove(id).ok_or_else(|| unknown_id(id))?;
    if let Some(module) = crm.module_mut(name) {
        if module.deleted.len() >= MOST {
            module.deleted.remove(0);
        }
        module.deleted.push((id.to_owned(), ask.wall));
    }
    Ok(success(json!({ "id": id }), "record deleted"))
}

fn records<'a>(crm: &'a mut Crm, name: &str) -> &'a mut BTreeMap<String, Record> {
    &mut crm.module_mut(name).expect("the caller made sure of the module").records
}

fn values(item: &Map<String, Value>) -> Map<String, Value> {
    item.iter().filter(|(name, _)| *name != "id").map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn details(id: &str, record: &Record) -> Value {
    let time = |at: SystemTime| replies::iso(at);
    json!({ "id": id, "Created_Time": time(record.created), "Modified_Time": time(record.modified) })
}

fn shown(id: &str, record: &Record, fields: &[&str]) -> Map<String, Value> {
    let is_wanted = |name: &str| fields.is_empty() || fields.contains(&name);
    let mut row: Map<String, Value> = record
        .values
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    row.insert("id".to_owned(), Value::from(id));
    for (name, at) in [("Created_Time", record.created), ("Modified_Time", record.modified)] {
        if is_wanted(name) {
            row.insert(name.to_owned(), Value::from(replies::iso(at)));
        }
    }
    row
}
