//! Who belongs to which territory, from both sides.

use http::StatusCode;
use serde_json::{Value, json};

use super::ask::Ask;
use super::items::{self, duplicate, missing, text, unknown_id};
use super::state::Crm;
use super::users;
use crate::emulator::replies::{self, Reply, success};

const AT_MOST: usize = 100;

/// `/settings/territories/{territory}/users[/{user}]`
pub(super) fn of_territory(crm: &mut Crm, ask: &Ask<'_>, territory: &str, user: Option<&str>) -> Reply {
    if crm.territory(territory).is_none() {
        return items::refused(&unknown_id(territory));
    }
    match ask.method.as_str() {
        "GET" => {
            let members = crm.territory(territory).map(|territory| territory.members.as_slice());
            let members = members.unwrap_or_default().iter().filter(|id| user.is_none_or(|user| user == *id));
            let rows = members.filter_map(|id| crm.user(id)).map(users::shown).collect();
            items::list(ask, "users", rows, 200)
        }
        "PUT" => act(ask, "users", user, |user| add(crm, territory, user)),
        "DELETE" => act(ask, "users", user, |user| remove(crm, territory, user)),
        _ => replies::invalid_method(),
    }
}

/// `/users/{user}/territories[/{territory}]`
pub(super) fn of_user(crm: &mut Crm, ask: &Ask<'_>, user: &str, territory: Option<&str>) -> Reply {
    if crm.user(user).is_none() {
        return items::refused(&unknown_id(user));
    }
    match ask.method.as_str() {
        "GET" => items::list(ask, "territories", territories_of(crm, user, territory), 200),
        "PUT" => act(ask, "territories", territory, |territory| add(crm, territory, user)),
        "DELETE" => act(ask, "territories", territory, |territory| remove(crm, territory, user)),
        _ => replies::invalid_method(),
    }
}

/// `PUT /users/{user}/territories[/{territory}]/actions/transfer_and_delink`
pub(super) fn delink(crm: &mut Crm, ask: &Ask<'_>, user: &str, territory: Option<&str>) -> Reply {
    if ask.method != http::Method::PUT {
        return replies::invalid_method();
    }
    act(ask, "territories", territory, |territory| remove(crm, territory, user))
}

/// Acts on the one of the path, on those of the query when deleting, or on those of the body.
fn act(
    ask: &Ask<'_>,
    key: &str,
    one: Option<&str>,
    mut act: impl FnMut(&str) -> Result<Value, Value>,
) -> Reply {
    let outcomes: Vec<_> = match one {
        Some(id) => vec![act(id)],
        None if ask.method == http::Method::DELETE => match items::ids(ask, AT_MOST) {
            Ok(ids) => ids.into_iter().map(act).collect(),
            Err(reply) => return reply,
        },
        None => match items::given(ask, key, AT_MOST) {
            Ok(given) => {
                let each =
                    given.iter().map(|item| text(item, "id").ok_or_else(|| missing("id")).and_then(&mut act));
                each.collect()
            }
            Err(reply) => return reply,
        },
    };
    items::outcome(key, StatusCode::OK, outcomes)
}

fn add(crm: &mut Crm, territory: &str, user: &str) -> Result<Value, Value> {
    exist(crm, territory, user)?;
    if crm.join(territory, user) {
        Ok(success(json!({ "id": user }), "Given User Added to the mentioned territory Successfully"))
    } else {
        Err(duplicate("id"))
    }
}

fn remove(crm: &mut Crm, territory: &str, user: &str) -> Result<Value, Value> {
    exist(crm, territory, user)?;
    if crm.leave(territory, user) {
        Ok(success(json!({ "id": user }), "Given User Removed from the mentioned territory Successfully"))
    } else {
        Err(unknown_id(user))
    }
}

fn exist(crm: &Crm, territory: &str, user: &str) -> Result<(), Value> {
    crm.territory(territory).ok_or_else(|| unknown_id(territory))?;
    crm.user(user).ok_or_else(|| unknown_id(user))?;
    Ok(())
}

/// From this side Zoho writes its keys with capitals.
fn territories_of(crm: &Crm, user: &str, only: Option<&str>) -> Vec<Value> {
    let is_member = |members: &[String]| members.iter().any(|member| member == user);
    let of_user = crm.territories.iter().filter(|territory| is_member(&territory.members));
    let wanted = of_user.filter(|territory| only.is_none_or(|only| only == territory.id));
    let named = |id: &str, name: &str| json!({ "id": id, "name": name });
    wanted
        .map(|territory| {
            let manager = territory.manager.as_deref().and_then(|id| crm.user(id));
            let parent = territory.reporting_to.as_deref().and_then(|id| crm.territory(id));
            json!({
                "id": territory.id,
                "Name": territory.name,
                "Manager": manager.map(|user| named(&user.id, &user.name)),
                "Reporting_To": parent.map(|parent| named(&parent.id, &parent.name)),
            })
        })
        .collect()
}
