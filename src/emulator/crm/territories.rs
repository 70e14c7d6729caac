//! Territories: read, create, change, delete.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::items::{self, duplicate, id_in, missing, text, unknown_id};
use super::model::{MOST, Territory};
use super::state::Crm;
use crate::emulator::replies::{self, Reply, success};

const KEY: &str = "territories";
/// How many territories one call may delete.
const DELETE_AT_MOST: usize = 10;
/// What one call may write.
const LIST: (&str, usize) = (KEY, 100);

/// What every call about territories answers while they are switched off.
pub(super) fn not_enabled() -> Reply {
    Reply::bad("FEATURE_NOT_ENABLED", json!({}), "Territory Management is not enabled")
}

/// `/settings/territories`
pub(super) fn all(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    match ask.method.as_str() {
        "GET" => {
            let ids = ask.query.list("ids");
            let wanted = |territory: &&Territory| ids.is_empty() || ids.contains(&territory.id.as_str());
            let rows = crm.territories.iter().filter(wanted).map(|territory| shown(crm, territory)).collect();
            items::list(ask, KEY, rows, 200)
        }
        "POST" => items::each(crm, ask, LIST, StatusCode::CREATED, create),
        "PUT" => items::each(crm, ask, LIST, StatusCode::OK, |crm, ask, item| match text(item, "id") {
            Some(id) => change(crm, ask, id, item),
            None => Err(missing("id")),
        }),
        "DELETE" => match items::ids(ask, DELETE_AT_MOST) {
            Ok(ids) => {
                items::outcome(KEY, StatusCode::OK, ids.iter().map(|id| delete(crm, id, None)).collect())
            }
            Err(reply) => reply,
        },
        _ => replies::invalid_method(),
    }
}

/// `/settings/territories/{id}`
pub(super) fn one(crm: &mut Crm, ask: &Ask<'_>, id: &str) -> Reply {
    match ask.method.as_str() {
        "GET" => match crm.territory(id) {
            Some(territory) => Reply::ok(&json!({ KEY: [shown(crm, territory)] })),
            None => Reply::empty(StatusCode::NO_CONTENT),
        },
        "PUT" => items::each(crm, ask, LIST, StatusCode::OK, |crm, ask, item| change(crm, ask, id, item)),
        "DELETE" => items::outcome(KEY, StatusCode::OK, vec![delete(crm, id, None)]),
        _ => replies::invalid_method(),
    }
}

/// `/settings/territories/{id}/__child_territories`
pub(super) fn children(crm: &Crm, ask: &Ask<'_>, id: &str) -> Reply {
    if ask.method != http::Method::GET {
        return replies::invalid_method();
    }
    let children = crm.territories.iter().filter(|child| child.reporting_to.as_deref() == Some(id));
    items::list(ask, KEY, children.map(|child| shown(crm, child)).collect(), 200)
}

/// `…/actions/transfer_and_delete`: what reports to the deleted one reports to another. Users do not move.
pub(super) fn transfer(crm: &mut Crm, ask: &Ask<'_>, id: Option<&str>) -> Reply {
    if ask.method != http::Method::POST {
        return replies::invalid_method();
    }
    items::each(crm, ask, LIST, StatusCode::OK, |crm, _, item| {
        let id = id.or_else(|| text(item, "id")).ok_or_else(|| missing("id"))?;
        let to = text(item, "transfer_to_id").ok_or_else(|| missing("transfer_to_id"))?;
        if to == id || crm.territory(to).is_none() {
            return Err(unknown_id(to));
        }
        delete(crm, id, Some(to))
    })
}

fn create(crm: &mut Crm, ask: &Ask<'_>, item: &Map<String, Value>) -> Result<Value, Value> {
    let name = text(item, "name").ok_or_else(|| missing("name"))?.to_owned();
    if crm.territories.iter().any(|territory| territory.name == name) {
        return Err(duplicate("name"));
    }
    if crm.territories.len() >= MOST {
        return Err(items::full());
    }
    let id = crm.new_id();
    let mut territory = Territory::new(id.clone(), name, ask.wall);
    territory.manager = id_in(item, "manager");
    territory.reporting_to = id_in(item, "reporting_to");
    territory.description = text(item, "description").map(str::to_owned);
    crm.territories.push(territory);
    Ok(success(json!({ "id": id }), "Territory created successfully"))
}

/// A new manager is not made a member by that; Zoho does not say whether they are.
fn change(crm: &mut Crm, ask: &Ask<'_>, id: &str, item: &Map<String, Value>) -> Result<Value, Value> {
    let taken = |name: &str| crm.territories.iter().any(|other| other.name == name && other.id != id);
    if text(item, "name").is_some_and(taken) {
        return Err(duplicate("name"));
    }
    let territory = crm.territory_mut(id).ok_or_else(|| unknown_id(id))?;
    if let Some(name) = text(item, "name") {
        name.clone_into(&mut territory.name);
    }
    if item.contains_key("manager") {
        territory.manager = id_in(item, "manager");
    }
    if item.contains_key("reporting_to") {
        territory.reporting_to = id_in(item, "reporting_to");
    }
    if let Some(description) = text(item, "description") {
        territory.description = Some(description.to_owned());
    }
    territory.modified = ask.wall;
    Ok(success(json!({ "id": id }), "Territory updated successfully"))
}

fn delete(crm: &mut Crm, id: &str, children_to: Option<&str>) -> Result<Value, Value> {
    let at = crm.territories.iter().position(|territory| territory.id == id).ok_or_else(|| unknown_id(id))?;
    let parent = children_to.map(str::to_owned).or_else(|| crm.territories[at].reporting_to.clone());
    crm.territories.remove(at);
    for child in crm.territories.iter_mut().filter(|child| child.reporting_to.as_deref() == Some(id)) {
        child.reporting_to.clone_from(&parent);
    }
    Ok(success(json!({ "id": id }), "Territory deleted successfully"))
}

fn shown(crm: &Crm, territory: &Territory) -> Value {
    let manager = territory.manager.as_deref().and_then(|id| crm.user(id));
    let parent = territory.reporting_to.as_deref().and_then(|id| crm.territory(id));
    json!({
        "id": territory.id,
        "name": territory.name,
        "description": territory.description,
        "manager": manager.map(|user| json!({ "name": user.name, "id": user.id })),
        "reporting_to": parent.map(|parent| json!({ "name": parent.name, "id": parent.id })),
        "permission_type": "read_only",
        "created_time": replies::iso(territory.created),
        "modified_time": replies::iso(territory.modified),
    })
}
