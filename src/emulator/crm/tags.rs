//! Tags: those of a module, and those on records.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::items::{self, duplicate, missing, text, unknown_id, unknown_module};
use super::model::{self, MOST, Tag};
use super::state::Crm;
use crate::emulator::replies::{self, Reply, success};

const KEY: &str = "tags";
/// What one call may write.
const LIST: (&str, usize) = (KEY, 50);
/// How many records one call may tag.
const RECORDS: usize = 500;
/// The field of a record that holds its tags.
const FIELD: &str = "Tag";

/// `/settings/tags[/{id}]?module=`
pub(super) fn settings(crm: &mut Crm, ask: &Ask<'_>, id: Option<&str>) -> Reply {
    let name = ask.query.value("module").unwrap_or_default();
    let Some(module) = crm.module(name).map(|module| module.api_name.clone()) else {
        return unknown_module();
    };
    match (ask.method.as_str(), id) {
        ("GET", None) => {
            let tags: Vec<Value> =
                crm.tags.iter().filter(|tag| tag.module == module).map(Tag::shown).collect();
            if tags.is_empty() {
                return Reply::empty(StatusCode::NO_CONTENT);
            }
            let info = json!({ "count": tags.len(), "allowed_count": MOST });
            Reply::ok(&json!({ KEY: tags, "info": info }))
        }
        ("POST", None) => items::each(crm, ask, LIST, StatusCode::CREATED, |crm, _, item| {
            let name = text(item, "name").ok_or_else(|| missing("name"))?;
            if crm.tags.iter().any(|tag| tag.module == module && tag.name == name) {
                return Err(duplicate("name"));
            }
            let tag = tag(crm, &module, name).ok_or_else(items::full)?;
            Ok(success(json!({ "id": tag.id }), "tags created successfully"))
        }),
        ("PUT", _) => items::each(crm, ask, LIST, StatusCode::OK, |crm, _, item| {
            change(crm, id.or_else(|| text(item, "id")).unwrap_or_default(), item)
        }),
        ("DELETE", Some(id)) => {
            let before = crm.tags.len();
            crm.tags.retain(|tag| tag.id != id);
            if crm.tags.len() == before {
                return items::refused(&unknown_id(id));
            }
            Reply::ok(&json!({ KEY: success(json!({ "id": id }), "tags deleted successfully") }))
        }
        _ => replies::invalid_method(),
    }
}

/// `GET /settings/tags/{id}/actions/records_count?module=`
pub(super) fn records_count(crm: &Crm, ask: &Ask<'_>, id: &str) -> Reply {
    let module = ask.query.value("module").and_then(|name| crm.module(name));
    match (ask.method.as_str(), module, crm.tags.iter().any(|tag| tag.id == id)) {
        ("GET", Some(module), true) => {
            let is_tagged =
                |tags: &Value| tags.as_array().is_some_and(|tags| tags.iter().any(|tag| tag["id"] == id));
            let tagged = module.records.values().filter_map(|record| record.values.get(FIELD));
            Reply::ok(&json!({ "count": tagged.filter(|tags| is_tagged(tags)).count().to_string() }))
        }
        ("GET", Some(_), false) => items::refused(&unknown_id(id)),
        ("GET", None, _) => unknown_module(),
        _ => replies::invalid_method(),
    }
}

/// `POST /{module}[/{id}]/actions/add_tags` and `…/remove_tags`. Newer versions have names and ids in the body,
/// older ones in the query.
pub(super) fn on_records(crm: &mut Crm, ask: &Ask<'_>, name: &str, id: Option<&str>, add: bool) -> Reply {
    if ask.method != http::Method::POST {
        return replies::invalid_method();
    }
    if crm.module(name).is_none() {
        return unknown_module();
    }
    let body: Value = serde_json::from_slice(ask.body).unwrap_or_default();
    let listed = |key: &str| body.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let name_of = |tag: &Value| tag.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut names: Vec<String> = listed(KEY).iter().filter_map(name_of).collect();
    names.extend(ask.query.list("tag_names").into_iter().map(str::to_owned));
    if names.is_empty() {
        return items::refused(&missing(KEY));
    }
    let mut ids: Vec<String> = listed("ids").iter().map(model::text).collect();
    ids.extend(ask.query.list("ids").into_iter().map(str::to_owned));
    let ids = id.map_or(ids, |id| vec![id.to_owned()]);
    if ids.len() > RECORDS {
        return Reply::bad("LIMIT_EXCEEDED", json!({ "limit": RECORDS }), "too many records in one call");
    }
    let over_write = body.get("over_write").and_then(Value::as_bool).unwrap_or(false);
    let outcomes: Vec<_> = ids.iter().map(|id| mark(crm, name, id, &names, (add, over_write))).collect();
    let well = outcomes.iter().filter(|outcome| outcome.is_ok()).count().to_string();
    let reply = items::outcome("data", StatusCode::OK, outcomes);
    let Some(Value::Object(mut told)) = reply.value() else { return reply };
    told.insert("success_count".to_owned(), Value::from(well));
    told.insert("locked_count".to_owned(), Value::from("0"));
    Reply::json(reply.status, &told)
}

fn mark(
    crm: &mut Crm,
    module: &str,
    id: &str,
    names: &[String],
    (add, over_write): (bool, bool),
) -> Result<Value, Value> {
    crm.record(module, id).ok_or_else(|| unknown_id(id))?;
    let mut shown = Vec::new();
    for name in names.iter().filter(|_| add) {
        shown.push(tag(crm, module, name).ok_or_else(items::full)?.shown());
    }
    let record = crm.module_mut(module).and_then(|module| module.records.get_mut(id));
    let values = &mut record.ok_or_else(|| unknown_id(id))?.values;
    let before = values.get(FIELD).and_then(Value::as_array).cloned().unwrap_or_default();
    let is_named = |tag: &Value| names.iter().any(|name| tag["name"] == name.as_str());
    let mut tags: Vec<Value> = before.into_iter().filter(|tag| !over_write && !is_named(tag)).collect();
    tags.extend(shown);
    values.insert(FIELD.to_owned(), Value::from(tags.clone()));
    Ok(success(json!({ "id": id, "tags": tags }), "tags updated successfully"))
}

/// The tag of a name, made if there is none; `None` if there are too many.
fn tag(crm: &mut Crm, module: &str, name: &str) -> Option<Tag> {
    if let Some(tag) = crm.tags.iter().find(|tag| tag.module == module && tag.name == name) {
        return Some(tag.clone());
    }
    if crm.tags.len() >= MOST {
        return None;
    }
    let id = crm.new_id();
    let tag = Tag { id, module: module.to_owned(), name: name.to_owned(), color: None };
    crm.tags.push(tag.clone());
    Some(tag)
}

fn change(crm: &mut Crm, id: &str, item: &Map<String, Value>) -> Result<Value, Value> {
    let tag = crm.tags.iter_mut().find(|tag| tag.id == id).ok_or_else(|| unknown_id(id))?;
    if let Some(name) = text(item, "name") {
        name.clone_into(&mut tag.name);
    }
    tag.color = text(item, "color_code").map(str::to_owned).or(tag.color.take());
    Ok(success(json!({ "id": id }), "tags updated successfully"))
}

impl Tag {
    fn shown(&self) -> Value {
        json!({ "name": self.name, "id": self.id, "color_code": self.color })
    }
}
