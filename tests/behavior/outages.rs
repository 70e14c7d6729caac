//! Zoho is slow, limited or down: what is kept is still answered, and labelled.

use std::time::Duration;

use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World};

/// Past freshness and past stale-while-revalidate.
const STALE: Duration = Duration::from_secs(400);

async fn with_a_stale_count() -> World {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    world.passes(STALE).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_fresh_count_is_answered_while_zoho_is_down() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.zoho().script().outage(true);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200).assert_cache("zoho-sidecar; hit; ttl=300");
    world.get(USERS).await.assert_status(502);
}

#[tokio::test(start_paused = true)]
async fn a_stale_count_is_better_than_an_error_and_says_what_it_is() {
    for fault in
        [Fault::Refuse, Fault::Drop, Fault::Html500, Fault::Html502, Fault::Empty503, Fault::Throttle]
    {
        let world = with_a_stale_count().await;
        world.zoho().script().next(Target::Api, fault.clone());
        let answer = world.get(ASSOCIATED_USERS_COUNT).await;
        assert_eq!(answer.status, 200, "{fault:?}");
        answer.assert_cache("zoho-sidecar; hit; ttl=-100; detail=stale-if-error");
        assert_eq!(answer.header("age"), "400");
        world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=stale; stored");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_count_answers_while_no_token_can_be_had() {
    let world = with_a_stale_count().await;
    world.acme().revoke_refresh_token();
    let answer = world.get(ASSOCIATED_USERS_COUNT).await;
    answer.assert_status(200).assert_cache("zoho-sidecar; hit; ttl=-100; detail=stale-if-error");
    world.get(USERS).await.assert_status(503);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_request_itself_is_no_outage() {
    let world = with_a_stale_count().await;
    world.acme().set_territory_management(false);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(400);
}

#[tokio::test(start_paused = true)]
async fn past_its_limit_a_stale_count_is_gone() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.passes(Duration::from_mins(65)).await;
    world.zoho().script().always(Target::Api, Fault::Refuse);
    let answer = world.get(ASSOCIATED_USERS_COUNT).await;
    answer.assert_status(502);
    assert_eq!(answer.code(), "SIDECAR_UNREACHABLE");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_count_just_past_its_freshness_is_renewed_behind_the_callers_back() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.acme().add_user_to_territory("Ada Example", "Overseas");
    world.passes(Duration::from_secs(310)).await;
    world.zoho_takes(Duration::from_secs(2));

    for _ in 0..20 {
        let stale = world.get(ASSOCIATED_USERS_COUNT).await;
        stale.assert_cache("zoho-sidecar; hit; ttl=-10; detail=stale-while-revalidate");
        assert_eq!(stale.count_of("Overseas"), "0");
    }
    world.settles().await;
    assert_eq!(world.calls(), 2, "twenty stale hits begin one renewal");

    world.passes(Duration::from_secs(3)).await;
    let renewed = world.get(ASSOCIATED_USERS_COUNT).await;
    renewed.assert_cache("zoho-sidecar; hit; ttl=299");
    assert_eq!(renewed.count_of("Overseas"), "1");
}
