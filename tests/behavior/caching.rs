//! Answers from memory: what is stored, for how long, and what is told of it.

use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, World, join_overseas, request, with_headers};

#[tokio::test(start_paused = true)]
async fn a_repeated_count_is_answered_from_memory_byte_for_byte() {
    let world = World::shipped().await;

    let first = world.get(ASSOCIATED_USERS_COUNT).await;
    let second = world.get(ASSOCIATED_USERS_COUNT).await;

    first.assert_status(200).assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    second.assert_status(200).assert_cache("zoho-sidecar; hit; ttl=300");
    assert_eq!(first.body, second.body);
    assert!(first.body.ends_with(b"\n"), "Zoho's own line end is kept");
    assert_eq!(world.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_grows_old_and_says_so() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;

    world.passes(Duration::from_secs(42)).await;

    let hit = world.get(ASSOCIATED_USERS_COUNT).await;
    hit.assert_cache("zoho-sidecar; hit; ttl=258");
    assert_eq!(hit.header("age"), "42");
}

#[tokio::test(start_paused = true)]
async fn every_version_is_cached_and_each_apart() {
    let world = World::shipped().await;
    let versions = ["v2", "v2.1", "v3", "v4", "v5", "v6", "v7", "v8", "v9"];
    for version in versions {
        let path = format!("/crm/{version}/settings/territories/actions/associated_users_count");
        world.get(&path).await.assert_status(200).assert_cache("zoho-sidecar; fwd=uri-miss; stored");
        world.get(&path).await.assert_cache("zoho-sidecar; hit; ttl=300");
    }
    assert_eq!(world.calls(), versions.len());
}

#[tokio::test(start_paused = true)]
async fn the_look_alike_under_user_groups_is_not_cached() {
    let world = World::shipped().await;
    let path = "/crm/v8/settings/user_groups/actions/associated_users_count";
    for _ in 0..2 {
        world.get(path).await.assert_status(200).assert_cache("zoho-sidecar; fwd=bypass");
    }
    assert_eq!(world.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn pages_are_kept_apart() {
    let world = World::shipped().await;
    let page = |n: u8| format!("{ASSOCIATED_USERS_COUNT}?page={n}&per_page=2");

    let (one, two) = (world.get(&page(1)).await, world.get(&page(2)).await);

    assert_ne!(one.body, two.body);
    assert_eq!(world.get(&page(1)).await.body, one.body);
    assert_eq!(world.get(&page(2)).await.body, two.body);
    assert_eq!(world.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_from_gets_entry_with_its_length() {
    let world = World::shipped().await;
    let get = world.get(ASSOCIATED_USERS_COUNT).await;

    let head = world.head(ASSOCIATED_USERS_COUNT).await;

    head.assert_status(200).assert_cache("zoho-sidecar; hit; ttl=300");
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    assert!(head.body.is_empty());
    assert_eq!(world.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_first_fills_the_entry_for_get() {
    let world = World::shipped().await;
    let head = world.head(ASSOCIATED_USERS_COUNT).await;
    let get = world.get(ASSOCIATED_USERS_COUNT).await;
    get.assert_cache("zoho-sidecar; hit; ttl=300");
    assert_eq!(head.header("content-length"), get.body.len().to_string());
    assert_eq!(world.zoho().ledger().count(|entry| entry.method == "HEAD"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_has_a_freshness_of_its_own() {
    let world = World::shipped().await;
    world.acme().remove_all_territories();

    world
        .get(ASSOCIATED_USERS_COUNT)
        .await
        .assert_status(204)
        .assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    let hit = world.get(ASSOCIATED_USERS_COUNT).await;
    hit.assert_status(204).assert_cache("zoho-sidecar; hit; ttl=60");
    assert_eq!(hit.header("content-length"), "");
    world.passes(Duration::from_secs(60)).await;
    assert!(!world.get(ASSOCIATED_USERS_COUNT).await.cache_status().contains("; hit; ttl=6"));
}

#[tokio::test(start_paused = true)]
async fn errors_are_never_stored() {
    let world = World::shipped().await;
    world.acme().set_territory_management(false);
    let refused = world.get(ASSOCIATED_USERS_COUNT).await;
    refused.assert_status(400).assert_cache("zoho-sidecar; fwd=uri-miss; detail=not-storable");
    assert_eq!(refused.code(), "FEATURE_NOT_ENABLED");
    assert_eq!(refused.header("age"), "", "an answer that was not stored has no age");
    assert!(refused.header("cache-control").contains("no-store"), "Zoho's errors pass untouched");

    world.acme().set_territory_management(true);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn callers_are_told_not_to_keep_what_only_the_sidecar_can_forget() {
    let world = World::shipped().await;
    for _ in 0..2 {
        let answer = world.get(ASSOCIATED_USERS_COUNT).await;
        assert_eq!(answer.header("cache-control"), "private, no-cache");
        assert_eq!((answer.header("pragma"), answer.header("expires")), ("", ""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_by_date_goes_past_the_cache() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    let since = [("if-modified-since", "2019-07-25T15:26:49+05:30")];
    let past = world.get_with(ASSOCIATED_USERS_COUNT, &since).await;
    past.assert_cache("zoho-sidecar; fwd=request; detail=conditional");
    assert_eq!(world.calls(), 2);
    let entry = world.zoho().ledger().entries().pop().unwrap();
    assert_eq!(entry.header("if-modified-since"), Some("2019-07-25T15:26:49+05:30"));
}

#[tokio::test(start_paused = true)]
async fn codings_are_kept_apart_and_spellings_of_them_are_not() {
    let world = World::shipped().await;
    for spelling in ["gzip", "gzip, deflate", "gzip, deflate, br", "GZIP;q=0.8"] {
        world.get_with(ASSOCIATED_USERS_COUNT, &[("accept-encoding", spelling)]).await.assert_status(200);
    }
    assert_eq!(world.calls(), 1);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    assert_eq!(world.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_organisation_header_is_a_part_of_the_key() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.get_with(ASSOCIATED_USERS_COUNT, &[("x-crm-org", "600000001")]).await;
    assert_eq!(world.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_too_long_to_be_kept_streams_on_and_is_remembered_as_such() {
    let config = "[cache]\nmax_entry_bytes = \"100B\"\n";
    let world = World::with(config).await;

    let first = world.get(ASSOCIATED_USERS_COUNT).await;
    first.assert_status(200).assert_cache("zoho-sidecar; fwd=uri-miss; detail=too-long");
    assert!(first.body.len() > 100);
    let second = world.get(ASSOCIATED_USERS_COUNT).await;
    second.assert_cache("zoho-sidecar; fwd=miss; detail=uncacheable");
    assert_eq!(first.body, second.body);
    assert_eq!(world.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn reads_of_a_response_too_large_to_store_do_not_wait_for_each_other() {
    let world = World::with("[cache]\nmax_entry_bytes = \"100B\"\n").await;
    world.zoho_takes(Duration::from_secs(1));
    // The first response shows that the key cannot be stored.
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=uri-miss; detail=too-long");
    let started = world.now();

    let answers = world.get_at_once(ASSOCIATED_USERS_COUNT, 5).await;

    for answer in &answers {
        answer.assert_status(200).assert_cache("zoho-sidecar; fwd=miss; detail=uncacheable");
    }
    assert_eq!(world.calls(), 6, "each read makes a call of its own");
    assert_eq!(world.now() - started, Duration::from_secs(1), "the calls run at the same time");
}

#[tokio::test(start_paused = true)]
async fn waiters_of_a_fetch_too_large_to_store_all_get_the_whole_response() {
    let world = World::with("[cache]\nmax_entry_bytes = \"100B\"\n").await;
    world.zoho_takes(Duration::from_secs(1));
    let answers = world.get_at_once(ASSOCIATED_USERS_COUNT, 5).await;
    for answer in &answers {
        answer.assert_status(200);
        assert_eq!(answer.count_of("Overseas"), "0");
    }
    assert_eq!(world.calls(), 5, "one response can be streamed to one caller only");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_neither_kept_nor_completed() {
    let world = World::shipped().await;
    world.zoho().script().next(Target::Api, Fault::CutBody(20));
    let broken = world.get(ASSOCIATED_USERS_COUNT).await;
    broken.assert_status(502);
    assert_eq!(broken.code(), "SIDECAR_CONNECTION_BROKEN");
    world
        .get(ASSOCIATED_USERS_COUNT)
        .await
        .assert_status(200)
        .assert_cache("zoho-sidecar; fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn a_shipped_route_can_be_changed_and_switched_off() {
    let longer = World::with("[routes.associated-users-count]\nfresh_for = \"1d\"\n").await;
    longer.get(ASSOCIATED_USERS_COUNT).await;
    longer.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=86400");

    let off = World::with("[routes.associated-users-count]\nenabled = false\n").await;
    off.get(ASSOCIATED_USERS_COUNT).await;
    off.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=bypass");
}

#[tokio::test(start_paused = true)]
async fn a_get_with_a_body_goes_past_the_cache() {
    let world = World::shipped().await;
    world
        .send(request(Method::GET, ASSOCIATED_USERS_COUNT, "{}"))
        .await
        .assert_cache("zoho-sidecar; fwd=request; detail=body");
}

#[tokio::test(start_paused = true)]
async fn a_callers_credentials_change_nothing() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    let placeholder = [("authorization", "Zoho-oauthtoken callers-own"), ("cookie", "crmcsr=callers-own")];
    let asked = with_headers(request(Method::GET, ASSOCIATED_USERS_COUNT, ""), &placeholder);
    world.send(asked).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

/// A refusal names the header and the limit, and what is refused is remembered nowhere.
#[tokio::test(start_paused = true)]
async fn a_header_longer_than_a_key_may_hold_is_refused() {
    let config = "[routes.associated-users-count]\nvary_by = [\"x-region\"]\n";
    let world = World::with(config).await;
    for name in ["x-crm-org", "x-external", "x-region"] {
        for values in [vec!["1".repeat(1025)], vec!["1".repeat(600), "2".repeat(600)]] {
            let headers: Vec<_> = values.iter().map(|value| (name, value.as_str())).collect();
            let refused = world.get_with(ASSOCIATED_USERS_COUNT, &headers).await;
            refused.assert_status(400);
            assert_eq!(refused.code(), "SIDECAR_HEADER_TOO_LONG");
            let message = refused.json()["message"].as_str().unwrap().to_owned();
            assert!(message.contains(&format!("{name} has more than 1024 bytes")), "{message}");
        }
    }
    assert_eq!(world.calls(), 0);
    let longest = "1".repeat(1024);
    let all: Vec<_> = ["x-crm-org", "x-external", "x-region"].map(|name| (name, longest.as_str())).into();
    world.get_with(ASSOCIATED_USERS_COUNT, &all).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    world.get_with(ASSOCIATED_USERS_COUNT, &all).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

#[tokio::test(start_paused = true)]
async fn keys_without_number_leave_no_trace_in_metrics_and_little_in_the_log() {
    let config = "[cache]\nmax_bytes = \"1MiB\"\n[routes.associated-users-count]\nvary_by = [\"x-region\"]\n";
    let world = World::with(config).await;
    let answer = |status, body: &str| Fault::Status { status, body: body.to_owned(), headers: Vec::new() };
    let outcomes = [
        (answer(200, "{}"), 200),
        (answer(200, "{}").and(Fault::Headers(vec![("vary".to_owned(), "x-other".to_owned())])), 200),
        (answer(200, "<html>"), 200),
        (answer(503, ""), 503),
        (answer(403, r#"{"code":"OAUTH_SCOPE_MISMATCH"}"#), 403),
        (answer(401, ""), 503),
    ];
    let ask = async |keys: std::ops::Range<usize>, fault: &Fault, status| {
        world.zoho().script().always(Target::Api, fault.clone());
        for key in keys {
            let value = format!("{key:01024}");
            let headers =
                ["x-crm-org", "x-external", "x-region", "x-other"].map(|name| (name, value.as_str()));
            let path = format!("{ASSOCIATED_USERS_COUNT}?more={key:015000}");
            world.get_with(&path, &headers).await.assert_status(status);
        }
        world.zoho().script().clear();
    };
    for (number, (fault, status)) in outcomes.iter().enumerate() {
        ask(number..number + 1, fault, *status).await;
    }
    let names = |metrics: &str| -> Vec<String> {
        metrics.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let before = names(&world.metrics());
    for (number, (fault, status)) in outcomes.iter().enumerate() {
        ask(100 * (number + 1)..100 * (number + 2), fault, *status).await;
    }
    assert_eq!(names(&world.metrics()), before, "no label has a caller's bytes");
    assert!(world.metric("zoho_sidecar_cache_bytes") <= Some(1_048_576.0));
    let log = world.log();
    assert_eq!(log.lines().count(), 606);
    assert!(log.lines().all(|line| line.len() < 1_000), "values and queries are not logged");
}

#[tokio::test(start_paused = true)]
async fn a_long_header_passes_where_no_key_is_made() {
    let world = World::shipped().await;
    let long = "1".repeat(10_000);
    world.get_with("/crm/v8/org", &[("x-crm-org", &long)]).await.assert_status(200);
    let write = with_headers(join_overseas(&world), &[("x-crm-org", &long)]);
    world.send(write).await.assert_status(200);
    let no_count = with_headers(request(Method::GET, ASSOCIATED_USERS_COUNT, "{}"), &[("x-crm-org", &long)]);
    world.send(no_count).await.assert_cache("zoho-sidecar; fwd=request; detail=body");
}
