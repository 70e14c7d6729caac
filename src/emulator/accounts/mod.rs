//! The accounts server: tokens are minted and revoked here.
//!
//! It answers as Zoho's does, oddities included: most failures come with status 200, a throttled mint with
//! 400, and bodies end without a newline.

mod grants;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::organisation::State;
use super::places::Place;
use super::replies::Reply;
use super::world::World;
use crate::net::form::{self, Form};
pub(super) use grants::said_of_mint;

/// A request to the accounts server.
pub(super) struct Ask<'a> {
    pub(super) place: &'a Place,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    /// The parameters of query and body.
    pub(super) form: &'a Form,
}

/// What the server does.
pub(super) enum Outcome {
    /// It gives out an access token. What is said of it can still be changed.
    Minted(Map<String, Value>),
    /// It answers.
    Answered(Reply),
}

/// Does what is asked.
pub(super) fn answer(world: &World, ask: &Ask<'_>) -> Outcome {
    match (ask.method.as_str(), ask.path) {
        ("POST", "/oauth/v2/token") => grants::exchange(world, ask),
        ("POST", "/oauth/v2/token/revoke" | "/oauth/v2/revoke/token") => {
            Outcome::Answered(revoke(world, ask))
        }
        ("GET", "/oauth/serverinfo") => Outcome::Answered(server_info(world, ask.place)),
        ("GET", "/oauth/v2/auth") => Outcome::Answered(consent(world, ask)),
        (_, "/oauth/v2/token") => {
            Outcome::Answered(Reply::html(StatusCode::METHOD_NOT_ALLOWED, "Not allowed"))
        }
        _ => Outcome::Answered(Reply::html(StatusCode::NOT_FOUND, "Not found")),
    }
}

/// The organisation that a request is about, as far as its client id tells.
pub(super) fn organisation<'w>(world: &'w World, place: &Place, form: &Form) -> Option<&'w State> {
    let client_id = form.value("client_id")?;
    let of_client =
        |state: &&State| state.seed.client_id == client_id && place.serves(&state.seed.data_center);
    // One client may serve several organisations; then the refresh token or the code tells which.
    let credential = form.value("refresh_token").or_else(|| form.value("code"));
    let holder = |state: &&State| credential.is_some_and(|credential| state.knows_grant(credential));
    let organisations = world.organisations.iter().filter(of_client);
    organisations.clone().find(holder).or_else(|| organisations.clone().next())
}

/// Both documented forms carry the token in a parameter; who knows a token may revoke it.
fn revoke(world: &World, ask: &Ask<'_>) -> Reply {
    let token = ask.form.value("token").unwrap_or_default();
    let here = world.organisations.iter().filter(|state| ask.place.serves(&state.seed.data_center));
    let revoked = here.into_iter().any(|state| {
        let mut tokens = state.tokens();
        if tokens.knows(token) {
            tokens.revoke_grant(token, true);
            return true;
        }
        tokens.revoke_access(token)
    });
    if revoked {
        Reply::bare_json(StatusCode::OK, &json!({ "status": "success" }))
    } else {
        // Only the status is documented.
        Reply::bare_json(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_token" }))
    }
}

/// The accounts servers there are. It tells nothing of API hosts.
fn server_info(world: &World, place: &Place) -> Reply {
    let locations: Map<String, Value> = world
        .places
        .rows()
        .iter()
        .map(|row| {
            // Who came by a local address is to stay there.
            let local = place.local.clone().filter(|_| place.serves(&row.name));
            (row.name.clone(), Value::from(local.unwrap_or_else(|| row.accounts.to_string())))
        })
        .collect();
    Reply::bare_json(StatusCode::OK, &json!({ "result": "success", "locations": locations }))
}

/// The consent page, where everybody always consents: sends the browser back with a code.
fn consent(world: &World, ask: &Ask<'_>) -> Reply {
    let Some(state) = organisation(world, ask.place, ask.form) else {
        return Reply::html(StatusCode::OK, "ERROR_invalid_client");
    };
    let Some(redirect_uri) = ask.form.value("redirect_uri") else {
        return Reply::html(StatusCode::OK, "ERROR_invalid_redirect_uri");
    };
    let offline = ask.form.value("access_type") == Some("offline");
    let code = state.issue_code(offline, Some(redirect_uri.to_owned()), &world.clock);
    let accounts = ask.place.local.clone().unwrap_or_else(|| {
        world.places.row(&state.seed.data_center).map(|row| row.accounts.to_string()).unwrap_or_default()
    });
    let separator = if redirect_uri.contains('?') { '&' } else { '?' };
    let state_parameter =
        ask.form.value("state").map(|value| format!("&state={}", form::encode(value))).unwrap_or_default();
    Reply::redirect(&format!(
        "{redirect_uri}{separator}code={code}&location={}&accounts-server={}{state_parameter}",
        state.seed.data_center,
        form::encode(&accounts)
    ))
}
