//! One call to Zoho, however many ask.

use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, World, request};

#[tokio::test(start_paused = true)]
async fn five_hundred_callers_for_one_cold_count_cost_one_call() {
    let world = World::shipped().await;
    world.zoho_takes(Duration::from_millis(800));

    let answers = world.get_at_once(ASSOCIATED_USERS_COUNT, 500).await;

    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body));
    assert_eq!(world.calls(), 1);
    let leaders = answers.iter().filter(|a| a.cache_status() == "zoho-sidecar; fwd=uri-miss; stored").count();
    let followers = answers
        .iter()
        .filter(|a| a.cache_status() == "zoho-sidecar; fwd=uri-miss; stored; collapsed")
        .count();
    assert_eq!((leaders, followers), (1, 499));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_takes_nobody_down() {
    let world = World::shipped().await;
    world.zoho_takes(Duration::from_secs(1));
    let leader = world.begin(request(Method::GET, ASSOCIATED_USERS_COUNT, ""));
    world.settles().await;
    let follower = world.begin(request(Method::GET, ASSOCIATED_USERS_COUNT, ""));
    world.settles().await;

    leader.abort();

    follower.await.unwrap().assert_status(200);
    assert_eq!(world.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_goes_on_when_everybody_has_left() {
    let world = World::shipped().await;
    world.zoho_takes(Duration::from_secs(1));
    let only = world.begin(request(Method::GET, ASSOCIATED_USERS_COUNT, ""));
    world.settles().await;
    only.abort();
    world.passes(Duration::from_secs(2)).await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=299");
}

#[tokio::test(start_paused = true)]
async fn an_error_reaches_everybody_who_waits_and_nobody_after_them() {
    let world = World::shipped().await;
    let script = world.zoho().script();
    script.next(Target::Api, Fault::Delay(Duration::from_secs(1)).and(Fault::Html500));

    let answers = world.get_at_once(ASSOCIATED_USERS_COUNT, 20).await;

    assert!(answers.iter().all(|answer| answer.status == 500));
    assert_eq!(world.calls(), 1);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_never_ends_is_ended_for_everybody() {
    let world = World::with("[upstream]\nfirst_byte_timeout = \"7s\"\n").await;
    world.zoho().script().next(Target::Api, Fault::Hang);
    let answers = world.get_at_once(ASSOCIATED_USERS_COUNT, 20).await;
    for answer in answers {
        answer.assert_status(504);
        assert_eq!(answer.code(), "SIDECAR_FIRST_BYTE_TIMEOUT");
    }
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
}
