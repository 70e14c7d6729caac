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
async fn a_percent_encoded_write_invalidates_what_its_plain_spelling_would() {
    let world = World::shipped().await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "0");
    let mut write = join_overseas(&world);
    *write.uri_mut() = write.uri().to_string().replace("/users", "/%75sers").parse().unwrap();

    world.send(write).await.assert_status(200);

    let after = world.get(ASSOCIATED_USERS_COUNT).await;
    after.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    assert_eq!(after.count_of("Overseas"), "1");
}

fn composite(world: &World, uri: &str, method: &str) -> http::Request<zoho_sidecar::net::body::Body> {
    let ada = world.acme().user_id("Ada Example");
    let body = format!(
        r#"{{"__composite_requests":[{{"sub_request_id":"1","uri":"{uri}","method":"{method}","body":{{"users":[{{"id":"{ada}"}}]}}}}]}}"#
    );
    request(Method::POST, "/crm/v8/__composite_requests", body)
}

#[tokio::test(start_paused = true)]
async fn a_write_inside_a_composite_request_forgets() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    let uri = format!("/crm/v8/settings/territories/{}/users", world.acme().territory_id("Overseas"));
    world.send(composite(&world, &uri, "PUT")).await.assert_status(200);
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_composite_request_that_only_reads_forgets_nothing() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.send(composite(&world, "/crm/v8/users", "GET")).await.assert_status(200);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

#[tokio::test(start_paused = true)]
async fn a_composite_request_that_cannot_be_read_forgets_everything() {
    let world = World::shipped().await;
    for body in ["{\"no\":\"composite\"}".to_owned(), "x".repeat((1 << 20) + 1)] {
        world.get(ASSOCIATED_USERS_COUNT).await;
        let fault = Fault::Status { status: 200, body: "{}".into(), headers: Vec::new() };
        world.zoho().script().next(Target::Api, fault);
        world.send(request(Method::POST, "/crm/v8/__composite_requests", body)).await.assert_status(200);
        world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    }
}

/// Begins to delete Ben, who belongs to territories.
async fn begin_deletion(world: &World) {
    let acme = world.acme();
    let (from, to) = (acme.user_id("Ben Example"), acme.user_id("Ada Example"));
    let body = format!(
        r#"{{"transfer_and_delete":[{{"id":"{from}","transfer":{{"records":true,"assignment":true,"criteria":false,"id":"{to}"}},"move_subordinate":{{"id":"{to}"}}}}]}}"#
    );
    let path = "/crm/v8/users/actions/transfer_and_delete";
    let begun = world.send(request(Method::POST, path, body)).await;
    assert!(begun.status.is_success(), "{begun:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_forgets_when_it_is_polled_to_its_end() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    begin_deletion(&world).await;
    let during = world.get(ASSOCIATED_USERS_COUNT).await;
    during.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    world.passes(Duration::from_secs(40)).await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.body, during.body, "nobody has looked yet");

    world.get("/crm/v8/users/actions/transfer_and_delete?job_id=1").await;
    let after = world.get(ASSOCIATED_USERS_COUNT).await;
    assert_ne!(after.body, during.body, "Ben is gone");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_polls_forgets_after_a_while() {
    let config =
        "[routes.associated-users-count]\nfresh_for = \"1h\"\n[writes.user-deletion]\nagain_after = \"1m\"\n";
    let world = World::with(config).await;
    begin_deletion(&world).await;
    let during = world.get(ASSOCIATED_USERS_COUNT).await;
    world.passes(Duration::from_secs(59)).await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.body, during.body);
    world.passes(Duration::from_secs(2)).await;
    assert_ne!(world.get(ASSOCIATED_USERS_COUNT).await.body, during.body);
}
