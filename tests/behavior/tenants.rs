//! Several organisations behind one sidecar, never mixed up.

use crate::world::{ASSOCIATED_USERS_COUNT, World};

async fn both() -> World {
    World::making().tenants(&["acme", "globex"]).await_first_token().await
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_chosen_by_header_or_base_url() {
    let world = both().await;
    let by_header = world.get_with(ASSOCIATED_USERS_COUNT, &[("X-Zoho-Tenant", "globex")]).await;
    let by_base_url = world.get(&format!("/tenants/globex{ASSOCIATED_USERS_COUNT}")).await;
    assert_eq!(by_header.count_of("Berlin"), "5");
    by_base_url.assert_cache("zoho-sidecar; hit; ttl=300");
    assert_eq!(by_header.body, by_base_url.body);
}

#[tokio::test(start_paused = true)]
async fn each_organisations_calls_go_to_its_own_data_centre() {
    let world = both().await;
    world.get(&format!("/tenants/acme{ASSOCIATED_USERS_COUNT}")).await.assert_status(200);
    world.get(&format!("/tenants/globex{ASSOCIATED_USERS_COUNT}")).await.assert_status(200);
    let seen: Vec<_> = world
        .zoho()
        .ledger()
        .entries()
        .into_iter()
        .map(|entry| (entry.data_center, entry.organisation.unwrap_or_default()))
        .collect();
    for (data_center, organisation) in seen {
        assert_eq!(data_center, if organisation == "acme" { "us" } else { "eu" });
    }
}

#[tokio::test(start_paused = true)]
async fn no_tenant_is_ever_served_anothers_bytes() {
    let world = both().await;
    let acme = world.get(&format!("/tenants/acme{ASSOCIATED_USERS_COUNT}")).await;
    let globex = world.get(&format!("/tenants/globex{ASSOCIATED_USERS_COUNT}")).await;
    globex.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    assert_ne!(acme.body, globex.body);
}

#[tokio::test(start_paused = true)]
async fn a_choice_that_is_missing_names_the_choices() {
    let world = both().await;
    let answer = world.get(ASSOCIATED_USERS_COUNT).await;
    answer.assert_status(400);
    assert_eq!(answer.code(), "SIDECAR_TENANT_MISSING");
    assert!(answer.json()["message"].as_str().unwrap().contains("acme, globex"), "{}", answer.text());
    assert_eq!(world.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_tenant_is_not_found() {
    let world = both().await;
    for answer in [
        world.get("/tenants/initech/crm/v8/users").await,
        world.get_with("/crm/v8/users", &[("x-zoho-tenant", "initech")]).await,
    ] {
        answer.assert_status(404);
        assert_eq!(answer.code(), "SIDECAR_TENANT_UNKNOWN");
    }
}

#[tokio::test(start_paused = true)]
async fn one_dead_grant_takes_nobody_else_down() {
    let world = both().await;
    world.zoho().organisation("acme").revoke_refresh_token();
    world.get("/tenants/acme/crm/v8/users").await.assert_status(503);
    world.get("/tenants/globex/crm/v8/users").await.assert_status(200);
    let ready = world.ask_admin("/readyz");
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["reasons"][0]["tenant"], "acme");
}
