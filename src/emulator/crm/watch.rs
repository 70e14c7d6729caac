//! `/actions/watch`: who wants to be told of changes. Nobody ever is; the emulator calls nobody.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::items::{self, missing, text};
use super::model::{self, Channel};
use super::state::Crm;
use crate::emulator::replies::{self, Reply, problem, success};

/// What one call may write.
const LIST: (&str, usize) = ("watch", 100);
/// Where the resources lie, unless it is the emulator that was asked by its own name.
const API: &str = "https://www.zohoapis.com";
/// How many channels there may be.
const CHANNELS: usize = 1_000;
/// How long a channel lives unless told otherwise, and how long at most.
const UNLESS_TOLD: Duration = Duration::from_hours(1);
const AT_MOST: Duration = Duration::from_hours(7 * 24);

/// `/actions/watch`
pub(super) fn answer(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    crm.channels.retain(|channel| channel.expires > ask.now);
    match ask.method.as_str() {
        "GET" => {
            let (module, id) = (ask.query.value("module"), ask.query.value("channel_id"));
            let wanted = |channel: &&Channel| id.is_none_or(|id| channel.id == id);
            let rows = crm.channels.iter().filter(wanted).flat_map(|channel| channel.rows(crm, ask));
            let is_of = |row: &Value| module.is_none_or(|module| row["resource_name"] == module);
            items::list(ask, LIST.0, rows.filter(is_of).collect(), 200)
        }
        "POST" => items::each(crm, ask, LIST, StatusCode::CREATED, subscribe),
        "PUT" => items::each(crm, ask, LIST, StatusCode::OK, subscribe),
        "PATCH" => items::each(crm, ask, LIST, StatusCode::OK, patch),
        "DELETE" => {
            let ids = ask.query.list("channel_ids");
            let gone = ids.iter().map(|id| unsubscribe(crm, id)).collect();
            items::outcome(LIST.0, StatusCode::OK, gone)
        }
        _ => replies::invalid_method(),
    }
}

fn subscribe(crm: &mut Crm, ask: &Ask<'_>, item: &Map<String, Value>) -> Result<Value, Value> {
    let id = id_of(item).ok_or_else(|| missing("channel_id"))?;
    let events = events_of(item);
    if let Some(event) = events.iter().find(|event| module_of(crm, event).is_none()) {
        return Err(problem("INVALID_DATA", json!({ "api_name": "events", "event": event }), "invalid data"));
    }
    if events.is_empty() {
        return Err(missing("events"));
    }
    let notify_url = text(item, "notify_url").ok_or_else(|| missing("notify_url"))?.to_owned();
    let asked = text(item, "channel_expiry").and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let lives = |until: SystemTime| until.duration_since(ask.wall).unwrap_or_default();
    let lifetime = asked.map_or(UNLESS_TOLD, |until| lives(until.into())).min(AT_MOST);
    let token = text(item, "token").map(str::to_owned);
    crm.channels.retain(|channel| channel.id != id);
    if crm.channels.len() >= CHANNELS {
        return Err(items::full());
    }
    let channel = Channel { id, events, expires: ask.now + lifetime, notify_url, token };
    let told: Vec<Value> = channel.rows(crm, ask).into_iter().map(for_subscriber).collect();
    crm.channels.push(channel);
    let message = if *ask.method == http::Method::POST {
        "Successfully subscribed for actions-watch of the given module"
    } else {
        "Successfully updated the subscribe details"
    };
    Ok(success(json!({ "events": told }), message))
}

/// Takes single events away with `_delete_events`; otherwise changes what is given.
fn patch(crm: &mut Crm, ask: &Ask<'_>, item: &Map<String, Value>) -> Result<Value, Value> {
    let id = id_of(item).ok_or_else(|| missing("channel_id"))?;
    let events = events_of(item);
    let is_deletion = item.get("_delete_events").and_then(Value::as_bool).unwrap_or(false);
    let channel = crm.channels.iter_mut().find(|channel| channel.id == id);
    let channel = channel.ok_or_else(|| not_subscribed(&id))?;
    if is_deletion {
        channel.events.retain(|event| !events.contains(event));
    } else if !events.is_empty() {
        channel.events = events;
    }
    if let Some(url) = text(item, "notify_url") {
        url.clone_into(&mut channel.notify_url);
    }
    let channel = channel.clone();
    crm.channels.retain(|channel| !channel.events.is_empty());
    let told: Vec<Value> = channel.rows(crm, ask).into_iter().map(for_subscriber).collect();
    let message = if is_deletion {
        "Successfully removed the subscribe details"
    } else {
        "Successfully updated the subscribe details"
    };
    Ok(success(json!({ "events": told }), message))
}

fn unsubscribe(crm: &mut Crm, id: &str) -> Result<Value, Value> {
    let before = crm.channels.len();
    crm.channels.retain(|channel| channel.id != id);
    let gone = || success(json!({ "channel_id": id }), "Successfully un-subscribed from actions-watch");
    (crm.channels.len() < before).then(gone).ok_or_else(|| not_subscribed(id))
}

fn not_subscribed(id: &str) -> Value {
    problem("NOT_SUBSCRIBED", json!({ "channel_id": id }), "the channel is not subscribed")
}

/// Clients send the id as text or as a number.
fn id_of(item: &Map<String, Value>) -> Option<String> {
    item.get("channel_id").map(model::text).filter(|id| !id.is_empty())
}

fn events_of(item: &Map<String, Value>) -> Vec<String> {
    let events = item.get("events").and_then(Value::as_array).into_iter().flatten();
    events.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The id and name of the module that an event is of.
fn module_of<'a>(crm: &'a Crm, event: &str) -> Option<(&'a str, &'a str)> {
    let (module, operation) = event.split_once('.')?;
    let is_known = ["create", "edit", "delete", "all"].contains(&operation);
    let module = crm.module(module).filter(|_| is_known)?;
    Some((&module.id, &module.api_name))
}

/// What who subscribes is told: not the token, not the URL.
fn for_subscriber(mut row: Value) -> Value {
    if let Some(row) = row.as_object_mut() {
        row.retain(|name, _| !["events", "notify_url", "token"].contains(&name.as_str()));
    }
    row
}

impl Channel {
    /// One row for each module that it is about.
    fn rows(&self, crm: &Crm, ask: &Ask<'_>) -> Vec<Value> {
        let mut modules: Vec<(&str, &str)> =
            self.events.iter().filter_map(|event| module_of(crm, event)).collect();
        modules.dedup();
        let expires = ask.wall + self.expires.saturating_duration_since(ask.now);
        let row = |(id, name): (&str, &str)| {
            json!({
                "channel_expiry": replies::iso(expires),
                "resource_uri": format!("{}/crm/{}/{name}", ask.home.unwrap_or(API), ask.path.version),
                "resource_id": id,
                "resource_name": name,
                "channel_id": self.id,
                "events": self.events,
                "notify_url": self.notify_url,
                "token": self.token,
            })
        };
        modules.into_iter().map(row).collect()
    }
}
