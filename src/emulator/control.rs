//! The control endpoint of a listener: what tests do by calling methods, people do by requests.

use http::header::HOST;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::crm::settle;
use super::organisation::State;
use super::replies::Reply;
use super::script::{Fault, Rule};
use super::world::World;
use crate::net::browser::{is_beyond_rebinding, is_of_browser};
use crate::net::form;

/// Its paths, with a sentence each.
const PATHS: [(&str, &str); 11] = [
    ("GET /__emulator/", "this list, and the names of faults and targets"),
    ("GET /__emulator/ledger", "what was asked of the emulator"),
    ("DELETE /__emulator/ledger", "forgets that"),
    ("GET /__emulator/organisations", "the organisations, their made-up credentials, and their counts"),
    ("GET /__emulator/faults", "what is to go wrong"),
    (
        "POST /__emulator/faults",
        "adds to that: {\"target\":\"api\",\"fault\":{\"delay\":\"800ms\"},\"times\":1}",
    ),
    ("DELETE /__emulator/faults", "lets nothing go wrong any more"),
    ("POST /__emulator/outage", "no server can be reached; DELETE ends it"),
    (
        "POST /__emulator/organisations/{name}/{action}",
        "kill-tokens, expire-tokens, revoke, restore, code, mint, enable-territories, disable-territories",
    ),
    (
        "PUT /__emulator/organisations/{name}/territories/{territory}/users/{user}",
        "puts a user into a territory, both by name; DELETE takes them out",
    ),
    ("POST /__emulator/reset", "makes everything as it was at the start"),
];

/// What a browser is answered, or a request whose host a page may have made to lead here: a page that somebody visits is
/// not to change what the emulator does, nor to read what it was asked.
pub(super) fn refusal(head: &Parts) -> Option<Reply> {
    let refused = |status, error: &str| Some(Reply::json(status, &json!({ "error": error })));
    if is_of_browser(&head.headers) {
        return refused(
            StatusCode::FORBIDDEN,
            "browsers may not ask the control endpoint; a service must send another User-Agent",
        );
    }
    let target = head.uri.authority().map(http::uri::Authority::as_str);
    let named = head.headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or("."));
    if named.chain(target).all(is_beyond_rebinding) {
        return None;
    }
    let error = "the control endpoint is asked by address, as localhost, or by a name without a dot";
    refused(StatusCode::MISDIRECTED_REQUEST, error)
}

/// Does what is asked.
pub(super) fn answer(world: &World, method: &Method, path: &str, body: &[u8]) -> Reply {
    let path: Vec<String> = path.split('/').skip(2).map(form::decode).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).filter(|segment| !segment.is_empty()).collect();
    match (method.as_str(), path.as_slice()) {
        ("GET" | "HEAD", []) => Reply::ok(&listing()),
        ("GET" | "HEAD", ["ledger"]) => ledger(world),
        ("DELETE", ["ledger"]) => {
            world.ledger.clear();
            done()
        }
        ("GET" | "HEAD", ["organisations"]) => organisations(world),
        ("GET" | "HEAD", ["faults"]) => Reply::ok(&json!({ "faults": world.script.rules() })),
        ("POST", ["faults"]) => add_fault(world, body),
        ("DELETE", ["faults"]) => {
            world.script.clear();
            done()
        }
        ("POST" | "DELETE", ["outage"]) => {
            world.script.outage(method == Method::POST);
            done()
        }
        ("POST", ["reset"]) => {
            world.reset();
            done()
        }
        ("POST", ["organisations", name, action]) => match find(world, name) {
            Some(state) => act(world, state, action),
            None => unknown(),
        },
        ("PUT" | "DELETE", ["organisations", name, "territories", territory, "users", user]) => {
            let moved = find(world, name).and_then(|state| {
                let mut crm = state.crm();
                let user = crm.users.iter().find(|one| one.name == *user)?.id.clone();
                let territory = crm.territories.iter().find(|one| one.name == *territory)?.id.clone();
                let moved = if method == Method::PUT {
                    crm.join(&territory, &user)
                } else {
                    crm.leave(&territory, &user)
                };
                Some(moved)
            });
            moved.map_or_else(unknown, |moved| Reply::ok(&json!({ "changed": moved })))
        }
        _ => unknown(),
    }
}

fn act(world: &World, state: &State, action: &str) -> Reply {
    let first = state.seed.refresh_tokens.first().map_or("", String::as_str);
    match action {
        "kill-tokens" => state.tokens().kill_all(),
        "expire-tokens" => state.tokens().expire_all(&world.clock),
        "revoke" => state.tokens().revoke_grant(first, true),
        "restore" => state.tokens().revoke_grant(first, false),
        "enable-territories" => state.crm().territory_management = true,
        "disable-territories" => state.crm().territory_management = false,
        "code" => return Reply::ok(&json!({ "code": state.issue_code(true, None, &world.clock) })),
        "mint" => {
            let minted = state.tokens().mint(first, &world.clock).is_ok();
            return Reply::ok(&json!({ "minted": minted }));
        }
        _ => return unknown(),
    }
    done()
}

fn find<'w>(world: &'w World, name: &str) -> Option<&'w State> {
    world.organisations.iter().find(|state| state.seed.name == name)
}

fn add_fault(world: &World, body: &[u8]) -> Reply {
    match serde_json::from_slice::<Rule>(body) {
        Ok(rule) => {
            world.script.add(rule);
            done()
        }
        Err(error) => Reply::json(
            StatusCode::BAD_REQUEST,
            &json!({ "error": error.to_string(), "faults": Fault::NAMES }),
        ),
    }
}

fn ledger(world: &World) -> Reply {
    let ledger = &world.ledger;
    Reply::ok(&json!({
        "calls": ledger.calls(),
        "mints": ledger.mints(),
        "mint_attempts": ledger.mint_attempts(),
        "entries": ledger.entries(),
    }))
}

/// The credentials are made up, and this is how one learns them.
fn organisations(world: &World) -> Reply {
    let now = world.clock.boot_time();
    let shown = |state: &State| {
        let seed = &state.seed;
        let mut crm = state.crm();
        settle(&mut crm, now);
        let counts: Vec<Value> = crm
            .territories
            .iter()
            .map(|territory| json!({ "name": territory.name, "id": territory.id, "count": crm.count(territory) }))
            .collect();
        let users: Vec<Value> =
            crm.users.iter().map(|user| json!({ "name": user.name, "id": user.id })).collect();
        json!({
            "name": seed.name,
            "data_center": seed.data_center,
            "environment": seed.environment.as_str(),
            "edition": seed.edition.as_str(),
            "zgid": seed.zgid,
            "client_id": seed.client_id,
            "client_secret": state.tokens().client_secret,
            "refresh_tokens": seed.refresh_tokens,
            "live_tokens": state.tokens().live(now),
            "credits_used": state.credits().used(now),
            "territories": counts,
            "users": users,
        })
    };
    let organisations: Vec<Value> = world.organisations.iter().map(shown).collect();
    Reply::ok(&json!({ "organisations": organisations }))
}

fn listing() -> Value {
    let paths: Vec<Value> = PATHS.iter().map(|(path, does)| json!({ "path": path, "does": does })).collect();
    json!({
        "paths": paths,
        "faults": Fault::NAMES,
        "targets": ["any", "accounts", "mints", "api", "uploads", "path", "organisation", "call"],
    })
}

fn unknown() -> Reply {
    Reply::json(StatusCode::NOT_FOUND, &listing())
}

fn done() -> Reply {
    Reply::ok(&json!({ "done": true }))
}
