//! Users: read, create, change, delete.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::items::{self, duplicate, missing, text, unknown_id};
use super::model::{MOST, User};
use super::state::Crm;
use crate::emulator::replies::{self, Reply, success};

const KEY: &str = "users";
/// What one call may write.
const LIST: (&str, usize) = (KEY, 100);

/// `/users`
pub(super) fn all(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    match ask.method.as_str() {
        "GET" => list(crm, ask),
        "POST" => items::each(crm, ask, LIST, StatusCode::CREATED, create),
        "PUT" => items::each(crm, ask, LIST, StatusCode::OK, |crm, ask, item| match text(item, "id") {
            Some(id) => change(crm, ask, id, item),
            None => Err(missing("id")),
        }),
        _ => replies::invalid_method(),
    }
}

/// `/users/{id}`
pub(super) fn one(crm: &mut Crm, ask: &Ask<'_>, id: &str) -> Reply {
    match ask.method.as_str() {
        "GET" => match crm.user(id) {
            Some(user) => Reply::ok(&json!({ KEY: [shown(user)] })),
            None => Reply::empty(StatusCode::NO_CONTENT),
        },
        "PUT" => items::each(crm, ask, LIST, StatusCode::OK, |crm, ask, item| change(crm, ask, id, item)),
        "DELETE" => {
            let gone = crm.remove_user(id);
            let item =
                if gone { Ok(success(json!({ "id": id }), "User deleted")) } else { Err(unknown_id(id)) };
            items::outcome(KEY, StatusCode::OK, vec![item])
        }
        _ => replies::invalid_method(),
    }
}

fn list(crm: &Crm, ask: &Ask<'_>) -> Reply {
    let since = match items::modified_since(ask) {
        Ok(since) => since,
        Err(reply) => return reply,
    };
    let wanted = |user: &&User| match ask.query.value("type") {
        Some("ActiveUsers") => user.active,
        Some("DeactiveUsers") => !user.active,
        Some("CurrentUser") => crm.users.first().is_some_and(|first| first.id == user.id),
        _ => true,
    };
    let changed = crm.users.iter().filter(|user| items::changed(user.modified, since));
    let rows: Vec<Value> = changed.filter(wanted).map(shown).collect();
    if since.is_some() && rows.is_empty() {
        return Reply::empty(StatusCode::NOT_MODIFIED);
    }
    items::list(ask, KEY, rows, 200)
}

fn create(crm: &mut Crm, ask: &Ask<'_>, item: &Map<String, Value>) -> Result<Value, Value> {
    let email = text(item, "email").ok_or_else(|| missing("email"))?;
    if crm.users.iter().any(|user| user.email == email) {
        return Err(duplicate("email"));
    }
    if crm.users.len() >= MOST {
        return Err(items::full());
    }
    let id = crm.new_id();
    crm.users.push(User {
        id: id.clone(),
        name: full_name(item).unwrap_or_else(|| email.to_owned()),
        email: email.to_owned(),
        active: true,
        modified: ask.wall,
    });
    Ok(success(json!({ "id": id }), "User added"))
}

/// Who is made inactive no longer counts in a territory, but stays a member.
fn change(crm: &mut Crm, ask: &Ask<'_>, id: &str, item: &Map<String, Value>) -> Result<Value, Value> {
    let user = crm.user_mut(id).ok_or_else(|| unknown_id(id))?;
    if let Some(name) = full_name(item) {
        user.name = name;
    }
    if let Some(email) = text(item, "email") {
        email.clone_into(&mut user.email);
    }
    if let Some(status) = text(item, "status") {
        user.active = status == "active";
    }
    user.modified = ask.wall;
    Ok(success(json!({ "id": id }), "User updated"))
}

fn full_name(item: &Map<String, Value>) -> Option<String> {
    let parts = [text(item, "first_name"), text(item, "last_name")];
    let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    if name.is_empty() { text(item, "full_name").map(str::to_owned) } else { Some(name) }
}

/// A user as the API shows them.
pub(super) fn shown(user: &User) -> Value {
    let (first, last) = user.name.split_once(' ').unwrap_or(("", &user.name));
    json!({
        "id": user.id,
        "full_name": user.name,
        "first_name": first,
        "last_name": last,
        "email": user.email,
        "status": if user.active { "active" } else { "disabled" },
        "Modified_Time": replies::iso(user.modified),
    })
}
