//! The three ways to an access token.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Ask, Outcome, organisation};
use crate::emulator::organisation::{Denied, Issued, State};
use crate::emulator::random;
use crate::emulator::replies::{Reply, throttled};
use crate::emulator::scenario::{Expiry, Language};
use crate::emulator::script::Fault;
use crate::emulator::world::World;

/// The scopes of every token.
const SCOPE: &str = "ZohoCRM.settings.ALL ZohoCRM.modules.ALL ZohoCRM.users.ALL ZohoCRM.org.ALL ZohoCRM.bulk.ALL \
                     ZohoCRM.Files.ALL ZohoFiles.files.ALL ZohoCRM.coql.READ ZohoCRM.composite_requests.CUSTOM";

/// A token, and the refresh token that came with it.
struct Minted {
    token: Issued,
    refresh_token: Option<String>,
}

/// `POST /oauth/v2/token`
pub(super) fn exchange(world: &World, ask: &Ask<'_>) -> Outcome {
    let refused = |error: &str| Outcome::Answered(Reply::oauth_error(error));
    let Some(state) = organisation(world, ask.place, ask.form) else {
        return refused("invalid_client");
    };
    if ask.form.value("client_secret") != Some(state.tokens().client_secret.as_str()) {
        return refused("invalid_client_secret");
    }
    let minted = match ask.form.value("grant_type") {
        Some("refresh_token") => refresh(world, state, ask),
        Some("authorization_code") => code(world, state, ask),
        Some("client_credentials") => client(world, state, ask),
        _ => Err(Reply::oauth_error("unsupported_grant_type")),
    };
    match minted {
        Ok(minted) => Outcome::Minted(success(world, state, ask, minted)),
        Err(reply) => Outcome::Answered(reply),
    }
}

/// The refresh token is not rotated.
fn refresh(world: &World, state: &State, ask: &Ask<'_>) -> Result<Minted, Reply> {
    let refresh_token = ask.form.value("refresh_token").unwrap_or_default();
    let token = state.tokens().mint(refresh_token, &world.clock);
    token.map(|token| Minted { token, refresh_token: None }).map_err(|denied| reply_of(world, &denied))
}

/// A code is used up even if the redirect URI is wrong only by being tried again: a mismatch leaves it.
fn code(world: &World, state: &State, ask: &Ask<'_>) -> Result<Minted, Reply> {
    let value = ask.form.value("code").unwrap_or_default();
    let mut tokens = state.tokens();
    if let Some(waiting) = tokens.peek_code(value)
        && waiting.redirect_uri.is_some()
        && waiting.redirect_uri.as_deref() != ask.form.value("redirect_uri")
    {
        return Err(Reply::oauth_error("invalid_redirect_uri"));
    }
    let code =
        tokens.take_code(value, world.clock.boot_time()).ok_or_else(|| Reply::oauth_error("invalid_code"))?;
    let refresh_token = random::token();
    tokens.add_grant(refresh_token.clone());
    let token = tokens.mint(&refresh_token, &world.clock).map_err(|denied| reply_of(world, &denied))?;
    Ok(Minted { token, refresh_token: code.offline.then_some(refresh_token) })
}

/// Gives no refresh token: one asks again each time.
fn client(world: &World, state: &State, ask: &Ask<'_>) -> Result<Minted, Reply> {
    let wanted = format!("ZohoCRM.{}", state.seed.zgid);
    match ask.form.value("soid") {
        None => Err(Reply::oauth_error("missing_org_info")),
        Some(soid) if soid == wanted => {
            let token = state.tokens().mint_for_client(&world.clock);
            token
                .map(|token| Minted { token, refresh_token: None })
                .map_err(|denied| reply_of(world, &denied))
        }
        Some(_) => Err(Reply::oauth_error("general_error")),
    }
}

fn reply_of(world: &World, denied: &Denied) -> Reply {
    let quirks = &world.scenario.quirks;
    match denied {
        Denied::InvalidCode => Reply::oauth_error("invalid_code"),
        Denied::Throttled => throttled(quirks.throttle_status, quirks.throttle_text == Language::Chinese),
    }
}

fn success(world: &World, state: &State, ask: &Ask<'_>, minted: Minted) -> Map<String, Value> {
    let quirks = &world.scenario.quirks;
    let seconds = state.tokens().lifetime().as_secs();
    let api_domain = ask.place.local.clone().unwrap_or_else(|| {
        let row = world.places.row(&state.seed.data_center);
        row.map(|row| row.api.of(state.seed.environment).to_string()).unwrap_or_default()
    });
    let mut answer = Map::new();
    answer.insert("access_token".to_owned(), Value::from(minted.token.value));
    if let Some(refresh_token) = minted.refresh_token {
        answer.insert("refresh_token".to_owned(), Value::from(refresh_token));
    }
    if !quirks.omit_scope {
        answer.insert("scope".to_owned(), Value::from(SCOPE));
    }
    answer.insert("api_domain".to_owned(), Value::from(api_domain));
    answer.insert("token_type".to_owned(), json!("Bearer"));
    answer.insert("expires_in".to_owned(), Value::from(seconds));
    if quirks.expiry == Expiry::Legacy {
        make_legacy(&mut answer);
    }
    answer
}

/// Tells the lifetime as older servers do.
fn make_legacy(answer: &mut Map<String, Value>) {
    let seconds = answer.get("expires_in").and_then(Value::as_u64).unwrap_or_default();
    answer.insert("expires_in_sec".to_owned(), Value::from(seconds));
    answer.insert("expires_in".to_owned(), Value::from(seconds * 1000));
}

/// The answer to a mint, as far as its faults let it be one. The token was minted all the same.
pub(in crate::emulator) fn said_of_mint(mut said: Map<String, Value>, faults: &[Fault]) -> Reply {
    let token = said.get("access_token").and_then(Value::as_str).unwrap_or_default().to_owned();
    for fault in faults {
        misreport(&mut said, fault);
    }
    for fault in faults {
        if let Fault::MintAnswer { status, body } = fault {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = body.replace("{token}", &token);
            return Reply::bytes(status, "application/json;charset=UTF-8", body);
        }
    }
    Reply::bare_json(StatusCode::OK, &said)
}

fn misreport(said: &mut Map<String, Value>, fault: &Fault) {
    match fault {
        Fault::MissingAccessToken => {
            said.remove("access_token");
        }
        Fault::MissingExpiresIn => {
            said.remove("expires_in");
        }
        Fault::LegacyExpiry => make_legacy(said),
        Fault::ExpiresIn(seconds) => {
            said.insert("expires_in".to_owned(), json!(seconds));
        }
        Fault::WrongApiDomain(domain) => {
            said.insert("api_domain".to_owned(), json!(domain));
        }
        _ => {}
    }
}
