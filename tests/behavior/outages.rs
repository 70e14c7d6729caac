//! Zoho is slow, limited or down: what is kept is still answered, and labelled.

use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World, join_overseas, request};

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
        world.passes(Duration::from_secs(1)).await;
        world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=stale; stored");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_count_that_a_write_invalidates_during_the_failing_fetch_is_not_served() {
    let world = with_a_stale_count().await;
    world.zoho().script().next(Target::Api, Fault::Delay(Duration::from_secs(5)).and(Fault::Html500));
    let read = world.begin(request(Method::GET, ASSOCIATED_USERS_COUNT, ""));
    world.settles().await;

    world.send(join_overseas(&world)).await.assert_status(200);

    read.await.unwrap().assert_status(500);
}

#[tokio::test(start_paused = true)]
async fn a_stale_count_is_better_than_a_401_of_whatever_kind_and_a_403_for_want_of_scopes() {
    let scopes = r#"{"code":"OAUTH_SCOPE_MISMATCH"}"#;
    for (status, body) in
        [(403, scopes), (401, scopes), (401, r#"{"code":"AUTHENTICATION_FAILURE"}"#), (401, "")]
    {
        for first in [USERS, ASSOCIATED_USERS_COUNT] {
            let world = World::shipped().await;
            world.get(first).await.assert_status(200);
            world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
            world.get(USERS).await.assert_status(200);
            world.passes(STALE).await;
            let fault = Fault::Status { status, body: body.to_owned(), headers: Vec::new() };
            world.zoho().script().always(Target::Path(ASSOCIATED_USERS_COUNT.to_owned()), fault);
            for _ in 0..5 {
                let answer = world.get(ASSOCIATED_USERS_COUNT).await;
                assert!(answer.cache_status().ends_with("; detail=stale-if-error"), "{body}: {answer:?}");
                answer.assert_status(200);
                world.passes(Duration::from_secs(70)).await;
            }
            world.zoho().script().clear();
            world.passes(Duration::from_mins(10)).await;
            world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=stale; stored");
        }
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

#[tokio::test(start_paused = true)]
async fn renewals_do_not_pile_up_and_are_left_while_zoho_is_down() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.passes(Duration::from_secs(301)).await;
    world.zoho().script().always(Target::Api, Fault::Refuse);
    let before = world.calls();
    for _ in 0..580 {
        world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
        world.passes(Duration::from_millis(100)).await;
    }
    let tries = world.calls() - before;
    assert!((4..=7).contains(&tries), "{tries} tries in 58 seconds");
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_a_failure_is_answered_at_once_and_not_after_the_same_wait() {
    let world = World::with("[upstream]\nfirst_byte_timeout = \"10s\"\n").await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.passes(STALE).await;
    world.zoho().script().always(Target::Api, Fault::Hang);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    let before = world.now();
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    assert_eq!(world.now(), before);
}

#[tokio::test(start_paused = true)]
async fn a_popular_count_is_renewed_before_anybody_has_to_wait() {
    let world = World::shipped().await;
    world.zoho_takes(Duration::from_secs(2));
    world.get(ASSOCIATED_USERS_COUNT).await;
    for _ in 0..400 {
        world.passes(Duration::from_secs(5)).await;
        let answer = world.get(ASSOCIATED_USERS_COUNT).await;
        assert!(answer.cache_status().starts_with("zoho-sidecar; hit; ttl="), "{}", answer.cache_status());
        assert!(!answer.cache_status().contains("ttl=-"), "{}", answer.cache_status());
    }
    assert!((6..=9).contains(&world.calls()), "{} calls in 2000 seconds", world.calls());
}

#[tokio::test(start_paused = true)]
async fn a_count_that_nobody_asks_for_is_not_renewed() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.passes(Duration::from_hours(1)).await;
    assert_eq!(world.calls(), 1);
}

const AFTER_WRITE: &str = "[routes.associated-users-count]\nstale_after_write = true\n";

#[tokio::test(start_paused = true)]
async fn what_a_write_made_untrue_is_not_served_even_when_zoho_is_down() {
    for (config, status) in [("", 502), (AFTER_WRITE, 200)] {
        let world = World::with(config).await;
        world.get(ASSOCIATED_USERS_COUNT).await;
        world.send(crate::world::join_overseas(&world)).await.assert_status(200);
        world.zoho().script().always(Target::Api, Fault::Refuse);
        let answer = world.get(ASSOCIATED_USERS_COUNT).await;
        answer.assert_status(status);
        if status == 200 {
            answer.assert_cache("zoho-sidecar; hit; ttl=-0; detail=stale-after-write");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_counted_and_logged_once() {
    let world = with_a_stale_count().await;
    world.zoho().script().next(Target::Api, Fault::Html500);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    let log = world.log();
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(log.lines().last().unwrap().contains("stale-if-error"), "{log}");
}

/// A world whose count is stored and stale, and whose key is known as one whose answers are too long to be stored.
async fn stale_and_uncacheable() -> World {
    let world = World::with("[cache]\nmax_entry_bytes = \"2KiB\"\nuncacheable_for = \"10m\"\n").await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    world.passes(Duration::from_secs(400)).await;
    world.zoho().script().next(Target::Api, too_long());
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=stale; detail=too-long");
    world
}

fn too_long() -> Fault {
    let body = format!("{{\"made_up\":\"{}\"}}", "x".repeat(5_000));
    Fault::Status { status: 200, body, headers: Vec::new() }
}

const UNCACHEABLE: &str = "zoho-sidecar; fwd=miss; detail=uncacheable";
const STALE_IF_ERROR: &str = "zoho-sidecar; hit; ttl=-100; detail=stale-if-error";

#[tokio::test(start_paused = true)]
async fn stale_if_error_covers_a_key_whose_last_answer_was_too_long_to_be_stored() {
    let html = Fault::Status { status: 200, body: "<html>".repeat(2_000), headers: Vec::new() };
    for fault in [Fault::Refuse, Fault::DropAfter, Fault::Html500, Fault::Throttle, Fault::Html200, html] {
        let world = stale_and_uncacheable().await;
        world.get(ASSOCIATED_USERS_COUNT).await.assert_cache(UNCACHEABLE);
        world.zoho().script().always(Target::Api, fault.clone());
        for _ in 0..2 {
            let answer = world.get(ASSOCIATED_USERS_COUNT).await;
            assert_eq!((answer.status.as_u16(), answer.cache_status()), (200, STALE_IF_ERROR), "{fault:?}");
        }
        let calls = world.calls();
        world.head(ASSOCIATED_USERS_COUNT).await.assert_cache(STALE_IF_ERROR);
        assert_eq!(world.calls(), calls, "{fault:?}: after a failure the key is left alone for a while");
        world.zoho().script().clear();
        world.passes(Duration::from_secs(2)).await;
        assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.cache_status(), UNCACHEABLE, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_an_uncacheable_key_with_a_stale_response_is_passed_on_whole() {
    let world = stale_and_uncacheable().await;
    for (fault, length) in [(too_long(), 5_014), (too_long().and(Fault::Chunked), 5_014)] {
        world.zoho().script().next(Target::Api, fault);
        let answer = world.get(ASSOCIATED_USERS_COUNT).await;
        answer.assert_status(200).assert_cache(UNCACHEABLE);
        assert_eq!(answer.body.len(), length);
    }
}

#[tokio::test(start_paused = true)]
async fn stale_if_error_covers_whoever_waited_for_an_answer_that_one_caller_alone_can_have() {
    let world = World::with("[cache]\nmax_entry_bytes = \"2KiB\"\n").await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    world.passes(Duration::from_secs(400)).await;
    let script = world.zoho().script();
    script.next(Target::Api, too_long().and(Fault::Delay(Duration::from_secs(1))));
    script.next(Target::Api, Fault::Html500);
    script.next(Target::Api, Fault::Html500);
    let answers = world.get_at_once(ASSOCIATED_USERS_COUNT, 3).await;
    let stale = answers.iter().filter(|answer| answer.cache_status().contains("stale-if-error")).count();
    let too_long = answers.iter().filter(|answer| answer.cache_status().contains("too-long")).count();
    assert_eq!((too_long, stale), (1, 2), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_that_was_invalidated_while_an_uncacheable_key_was_passed_on_is_not_served() {
    let world = stale_and_uncacheable().await;
    let late = Fault::Delay(Duration::from_secs(5)).and(Fault::Html500);
    world.zoho().script().next(Target::Api, late);
    let slow = world.begin(request(Method::GET, ASSOCIATED_USERS_COUNT, ""));
    world.settles().await;
    world.send(join_overseas(&world)).await.assert_status(200);
    slow.await.unwrap().assert_status(500).assert_cache(UNCACHEABLE);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_ends_with_its_limit_of_time_sets_its_key_back_like_any_failure() {
    let hanging = "[cache]\nfetch_timeout = \"7s\"\n";
    // Past stale-while-revalidate, where the caller waits for the fetch, and within it, where none does.
    for (age, expected) in [
        (STALE, "zoho-sidecar; hit; ttl=-107; detail=stale-if-error"),
        (Duration::from_secs(310), "zoho-sidecar; hit; ttl=-17; detail=stale-while-revalidate"),
    ] {
        let world = World::with(hanging).await;
        world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
        world.passes(age).await;
        world.zoho().script().next(Target::Api, Fault::Hang);
        let began = world.now();
        let first = world.begin(request(Method::GET, ASSOCIATED_USERS_COUNT, ""));
        world.passes(Duration::from_secs(7)).await;
        first.await.unwrap().assert_status(200);
        assert_eq!((world.now() - began).as_secs(), 7);

        world.get(ASSOCIATED_USERS_COUNT).await.assert_cache(expected);
        world.settles().await;

        assert_eq!(world.calls(), 2, "{age:?}: the stored response answers without another attempt");
        world.passes(Duration::from_secs(2)).await;
        world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
        world.settles().await;
        assert_eq!(world.calls(), 3, "{age:?}");
    }
}
