//! Writes that pass through make what they change untrue, before the writer gets its answer.

use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, World, join_overseas, request};

#[tokio::test(start_paused = true)]
async fn a_writer_reads_its_own_write() {
    let world = World::shipped().await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "0");

    world.send(join_overseas(&world)).await.assert_status(200).assert_cache("zoho-sidecar; fwd=method");

    let after = world.get(ASSOCIATED_USERS_COUNT).await;
    after.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    assert_eq!(after.count_of("Overseas"), "1");
    let forgotten = r#"zoho_sidecar_cache_invalidations_total{tenant="acme",group="territory-users"}"#;
    assert_eq!(world.metric(forgotten), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn the_other_direction_of_the_association_forgets_too() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    let acme = world.acme();
    let path = format!("/crm/v5/users/{}/territories", acme.user_id("Ada Example"));
    let body = format!(r#"{{"territories":[{{"id":"{}"}}]}}"#, acme.territory_id("Overseas"));
    world.send(request(Method::PUT, &path, body)).await.assert_status(200);
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_no_proxy_sees_shows_when_the_freshness_is_over() {
    let world = World::with("[routes.associated-users-count]\nstale_while_revalidate = \"0s\"\n").await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.acme().add_user_to_territory("Ada Example", "Overseas");
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "0");
    world.passes(Duration::from_mins(5)).await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_refused_forgets_nothing() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    let path = "/crm/v8/settings/territories/1/users";
    world.send(request(Method::PUT, path, r#"{"users":[{"id":"1"}]}"#)).await.assert_status(400);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_fate_is_unknown_forgets() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.zoho().script().next(Target::Api, Fault::DropAfter);
    world.send(join_overseas(&world)).await.assert_status(502);
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_caller_hangs_up_forgets() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.zoho().script().next(Target::Api, Fault::DelayAnswer(Duration::from_secs(5)));
    let writer = world.begin(join_overseas(&world));
    world.settles().await;
    writer.abort();
    world.settles().await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_reached_zoho_forgets_nothing() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.zoho().script().next(Target::Api, Fault::Refuse);
    world.send(join_overseas(&world)).await.assert_status(502);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_a_write_overtook_is_answered_and_not_stored() {
    let world = World::shipped().await;
    // Zoho has counted, but its answer is slow.
    world.zoho().script().next(Target::Api, Fault::DelayAnswer(Duration::from_secs(5)));
    let slow = world.begin(request(Method::GET, ASSOCIATED_USERS_COUNT, ""));
    world.settles().await;

    world.send(join_overseas(&world)).await.assert_status(200);
    // Who asks after the write does not join the fetch from before it.
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");

    let slow = slow.await.unwrap();
    slow.assert_status(200).assert_cache("zoho-sidecar; fwd=uri-miss; detail=overtaken");
    assert_eq!(slow.count_of("Overseas"), "0");
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_write_of_one_organisation_leaves_the_others_alone() {
    let world = World::making().tenants(&["acme", "globex"]).await_first_token().await;
    let globex = format!("/tenants/globex{ASSOCIATED_USERS_COUNT}");
    world.get(&globex).await;
    let mut write = join_overseas(&world);
    *write.uri_mut() = format!("/tenants/acme{}", write.uri()).parse().unwrap();
    world.send(write).await.assert_status(200);
    world.get(&globex).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

#[tokio::test(start_paused = true)]
async fn an_encoded_spelling_of_a_write_forgets_too() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    let mut write = join_overseas(&world);
    *write.uri_mut() = write.uri().to_string().replace("/users", "/%75sers").parse().unwrap();
    world.send(write).await;
    let after = world.get(ASSOCIATED_USERS_COUNT).await;
    assert!(!after.cache_status().contains("hit") || after.count_of("Overseas") == "0", "{after:?}");
}
