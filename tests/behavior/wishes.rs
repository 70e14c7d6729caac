//! What callers may ask of the cache, and what conditions they may put.

use std::time::Duration;

use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, World};

async fn asked(world: &World, cache_control: &str) -> crate::world::Answer {
    world.get_with(ASSOCIATED_USERS_COUNT, &[("cache-control", cache_control)]).await
}

async fn with_a_count_aged(seconds: u64) -> World {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.passes(Duration::from_secs(seconds)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn no_cache_asks_zoho_and_everybody_profits() {
    let world = with_a_count_aged(10).await;
    asked(&world, "no-cache").await.assert_cache("zoho-sidecar; fwd=request; stored; detail=forced");
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=300");
    assert_eq!(world.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_cache_from_many_at_once_costs_one_call() {
    let world = with_a_count_aged(10).await;
    world.zoho_takes(Duration::from_secs(1));
    let mut callers = tokio::task::JoinSet::new();
    let request = || {
        let request = crate::world::request(http::Method::GET, ASSOCIATED_USERS_COUNT, "");
        crate::world::with_headers(request, &[("cache-control", "no-cache")])
    };
    for _ in 0..100 {
        let asking = world.begin(request());
        callers.spawn(async move { asking.await.unwrap().status });
    }
    assert!(callers.join_all().await.into_iter().all(|status| status == 200));
    assert_eq!(world.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn callers_cannot_force_more_often_than_the_rule_allows() {
    let config = "[routes.associated-users-count]\nmin_refresh_interval = \"30s\"\n";
    let world = World::with(config).await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    for _ in 0..59 {
        asked(&world, "no-cache").await.assert_status(200);
        world.passes(Duration::from_secs(1)).await;
    }
    assert_eq!(world.calls(), 2);
    asked(&world, "no-cache").await.assert_cache("zoho-sidecar; hit; ttl=271; detail=min-refresh-interval");
}

#[tokio::test(start_paused = true)]
async fn max_age_and_min_fresh_narrow_what_is_good_enough() {
    let world = with_a_count_aged(100).await;
    asked(&world, "max-age=100, min-fresh=200").await.assert_cache("zoho-sidecar; hit; ttl=200");
    asked(&world, "max-age=99").await.assert_cache("zoho-sidecar; fwd=request; stored; detail=forced");
    asked(&world, "min-fresh=301").await.assert_cache("zoho-sidecar; fwd=request; stored; detail=forced");
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_age_is_met_by_an_error_only_if_nothing_is_kept() {
    let world = with_a_count_aged(100).await;
    world.zoho().script().next(Target::Api, Fault::Refuse);
    asked(&world, "max-age=10")
        .await
        .assert_status(200)
        .assert_cache("zoho-sidecar; hit; ttl=-0; detail=stale-if-error");
    world.zoho().script().next(Target::Api, Fault::Refuse);
    asked(&world, "no-cache").await.assert_status(502);
}

#[tokio::test(start_paused = true)]
async fn max_stale_accepts_what_is_past_its_freshness_without_a_call() {
    let world = with_a_count_aged(400).await;
    asked(&world, "max-stale=100").await.assert_cache("zoho-sidecar; hit; ttl=-100; detail=max-stale");
    asked(&world, "max-stale").await.assert_cache("zoho-sidecar; hit; ttl=-100; detail=max-stale");
    assert_eq!(world.calls(), 1);
    asked(&world, "max-stale=99").await.assert_cache("zoho-sidecar; fwd=stale; stored");
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_never_asks_zoho() {
    let world = World::shipped().await;
    let nothing = asked(&world, "only-if-cached").await;
    nothing.assert_status(504);
    assert_eq!(nothing.code(), "SIDECAR_NOT_CACHED");
    world.get(ASSOCIATED_USERS_COUNT).await;
    asked(&world, "only-if-cached").await.assert_cache("zoho-sidecar; hit; ttl=300");
    asked(&world, "only-if-cached, no-cache").await.assert_status(504);
    world.passes(Duration::from_secs(310)).await;
    asked(&world, "only-if-cached").await.assert_status(200);
    world.settles().await;
    assert_eq!(world.calls(), 1, "nor behind the caller's back");
}

#[tokio::test(start_paused = true)]
async fn no_store_keeps_nothing() {
    let world = World::shipped().await;
    asked(&world, "no-store").await.assert_cache("zoho-sidecar; fwd=request; detail=no-store");
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn malformed_wishes_are_none() {
    let world = with_a_count_aged(10).await;
    for odd in ["max-age=x", "min-fresh=-1", ",,,=", "\"", "max-age=99999999999999999999"] {
        asked(&world, odd).await.assert_cache("zoho-sidecar; hit; ttl=290");
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_the_same_bytes_is_told_so_and_gets_no_body() {
    let world = World::shipped().await;
    let first = world.get(ASSOCIATED_USERS_COUNT).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() == 34, "{tag}");
    for condition in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let same = world.get_with(ASSOCIATED_USERS_COUNT, &[("if-none-match", &condition)]).await;
        same.assert_status(304).assert_cache("zoho-sidecar; hit; ttl=300");
        assert!(same.body.is_empty());
        assert_eq!((same.header("etag"), same.header("age")), (tag.as_str(), "0"));
        assert_eq!((same.header("content-type"), same.header("content-length")), ("", ""));
    }
    world.get_with(ASSOCIATED_USERS_COUNT, &[("if-none-match", "\"other\"")]).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn a_condition_holds_on_a_miss_too_and_never_reaches_zoho() {
    let world = World::shipped().await;
    let tag = world.get(ASSOCIATED_USERS_COUNT).await.header("etag").to_owned();
    world.passes(Duration::from_hours(2)).await;
    let same = world.get_with(ASSOCIATED_USERS_COUNT, &[("if-none-match", &tag)]).await;
    same.assert_status(304).assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    assert_eq!(world.zoho().ledger().entries().pop().unwrap().header("if-none-match"), None);
}

#[tokio::test(start_paused = true)]
async fn the_tag_changes_with_the_bytes_and_with_the_coding() {
    let world = World::shipped().await;
    let before = world.get(ASSOCIATED_USERS_COUNT).await.header("etag").to_owned();
    world.zoho().script().next(Target::Api, Fault::Gzip);
    let coded = world.get_with(ASSOCIATED_USERS_COUNT, &[("accept-encoding", "gzip")]).await;
    assert_ne!(coded.header("etag"), before);
    world.send(crate::world::join_overseas(&world)).await;
    assert_ne!(world.get(ASSOCIATED_USERS_COUNT).await.header("etag"), before);
}

#[tokio::test(start_paused = true)]
async fn a_range_of_a_kept_answer_is_answered_whole() {
    let world = World::shipped().await;
    let whole = world.get(ASSOCIATED_USERS_COUNT).await;
    let ranged = world.get_with(ASSOCIATED_USERS_COUNT, &[("range", "bytes=0-9")]).await;
    ranged.assert_status(200);
    assert_eq!(ranged.body, whole.body);
    world.passes(Duration::from_hours(2)).await;
    world.get_with(ASSOCIATED_USERS_COUNT, &[("range", "bytes=0-9")]).await.assert_status(200);
    assert_eq!(world.zoho().ledger().entries().pop().unwrap().header("range"), None);
}

#[tokio::test(start_paused = true)]
async fn a_head_with_a_condition_is_a_304_too() {
    let world = World::shipped().await;
    let tag = world.get(ASSOCIATED_USERS_COUNT).await.header("etag").to_owned();
    let head = crate::world::request(http::Method::HEAD, ASSOCIATED_USERS_COUNT, "");
    let answer = world.send(crate::world::with_headers(head, &[("if-none-match", &tag)])).await;
    answer.assert_status(304);
    assert!(answer.body.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_insists_is_told_of_a_failure_however_old_the_kept_answer_is() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    for age in [1, 400] {
        world.passes(Duration::from_secs(age)).await;
        world.zoho().script().next(Target::Api, Fault::Refuse);
        let insisting = [("cache-control", "no-cache")];
        let answer = world.get_with(ASSOCIATED_USERS_COUNT, &insisting).await;
        answer.assert_status(502);
    }
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
}
