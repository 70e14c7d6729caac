//! Forgetting by hand: by tenant, route, path, group or all; for good, or so that it still helps in need.

use std::time::Duration;

use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, World, request};

const ROLES: &str = "/crm/v8/settings/roles";
const CONFIG: &str =
    "[routes.roles]\nmatch = \"GET /crm/{version}/settings/roles\"\nstale_if_error = \"1h\"\n";

/// Two tenants, each with two counts and a list of roles: six entries.
async fn with_six_entries() -> World {
    let world = World::making().tenants(&["acme", "globex"]).config(CONFIG).await_first_token().await;
    for tenant in ["acme", "globex"] {
        for path in
            [ASSOCIATED_USERS_COUNT.to_owned(), format!("{ASSOCIATED_USERS_COUNT}?page=1"), ROLES.to_owned()]
        {
            world.get(&format!("/tenants/{tenant}{path}")).await.assert_status(200);
        }
    }
    world
}

#[tokio::test(start_paused = true)]
async fn what_is_named_is_forgotten_and_nothing_else() {
    let count = ASSOCIATED_USERS_COUNT;
    for (body, forgotten) in [
        (r#"{"all":true}"#.to_owned(), 6),
        (r#"{"tenant":"acme"}"#.to_owned(), 3),
        (r#"{"route":"roles"}"#.to_owned(), 2),
        (format!(r#"{{"path":"{count}"}}"#), 4),
        (r#"{"group":"territory-users"}"#.to_owned(), 4),
        (r#"{"tenant":"globex","group":"territory-users"}"#.to_owned(), 2),
        (r#"{"tenant":"globex","route":"roles","path":"/nowhere"}"#.to_owned(), 0),
    ] {
        let world = with_six_entries().await;
        let answer = world.purge(&body);
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(answer.json()["forgotten"], forgotten, "{body}");
        assert_eq!(world.metric("zoho_sidecar_cache_entries"), Some(6.0 - f64::from(forgotten)), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_fetched_anew() {
    let world = with_six_entries().await;
    world.purge(r#"{"tenant":"acme","route":"roles"}"#);
    world.get(&format!("/tenants/acme{ROLES}")).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    world.get(&format!("/tenants/globex{ROLES}")).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

#[tokio::test(start_paused = true)]
async fn what_is_softly_forgotten_still_helps_in_need() {
    let world = with_six_entries().await;
    assert_eq!(world.purge(r#"{"route":"roles","soft":true}"#).json()["forgotten"], 2);
    world.zoho().script().next(Target::Api, Fault::Refuse);
    let acme = format!("/tenants/acme{ROLES}");
    world.get(&acme).await.assert_cache("zoho-sidecar; hit; ttl=-0; detail=stale-if-error");
    world.passes(Duration::from_secs(1)).await;
    world.get(&acme).await.assert_cache("zoho-sidecar; fwd=stale; stored");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_began_before_a_purge_is_not_kept() {
    for body in [
        r#"{"all":true}"#,
        r#"{"group":"territory-users"}"#,
        r#"{"path":"/crm"}"#,
        r#"{"all":true,"soft":true}"#,
    ] {
        let world = World::shipped().await;
        world.zoho().script().next(Target::Api, Fault::DelayAnswer(Duration::from_secs(5)));
        let slow = world.begin(request(http::Method::GET, ASSOCIATED_USERS_COUNT, ""));
        world.settles().await;
        world.purge(body);
        slow.await.unwrap().assert_status(200).assert_cache("zoho-sidecar; fwd=uri-miss; detail=overtaken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_cannot_be_understood_forgets_nothing_and_says_what_would_be_right() {
    let world = with_six_entries().await;
    for (body, told) in [
        ("", "as in"),
        ("[]", "say what to forget"),
        ("{}", "say what to forget"),
        (r#"{"soft":true}"#, "say what to forget"),
        (r#"{"all":true,"tenant":"acme"}"#, "say what to forget"),
        (r#"{"tenants":"acme"}"#, "unknown field `tenants`"),
        (r#"{"tenant":"initech"}"#, "there is acme, globex"),
        (r#"{"route":"nope"}"#, "associated-users-count"),
        (r#"{"group":"nope"}"#, "territory-users"),
        (r#"{"path":"crm"}"#, "begins with /"),
        (r#"{"path":"/crm?x=1"}"#, "no query"),
    ] {
        let answer = world.purge(body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["error"].as_str().unwrap().contains(told), "{body}: {}", answer.text);
    }
    assert_eq!(world.metric("zoho_sidecar_cache_entries"), Some(6.0));
    assert_eq!(world.ask_admin("/purge").status, 405);
}
