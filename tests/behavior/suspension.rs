//! The machine is suspended and goes on later: stored responses and tokens have aged, and steps of the wall clock have
//! no effect.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World, request};

const SUSPENDED: Duration = Duration::from_hours(2);

/// What is logged.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<u8>>>);

impl Write for Events {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Events {
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        let all = String::from_utf8(bytes).unwrap();
        all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

fn token_status(world: &World) -> serde_json::Value {
    let status: serde_json::Value = serde_json::from_str(&world.ask_admin("/status").text).unwrap();
    status["tenants"][0]["token"].clone()
}

#[track_caller]
fn assert_no_dead_token_was_sent(world: &World) {
    assert_eq!(world.zoho().ledger().count(|entry| entry.status == Some(401)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_response_stored_before_a_suspension_is_no_hit_after_it() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=300");

    world.is_suspended(SUSPENDED);

    let answer = world.get(ASSOCIATED_USERS_COUNT).await;
    answer.assert_status(200).assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=300");
    assert_no_dead_token_was_sent(&world);
}

#[tokio::test(start_paused = true)]
async fn age_and_freshness_count_a_suspension() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    world.passes(Duration::from_secs(1)).await;
    world.is_suspended(Duration::from_secs(100));
    let fresh = world.get(ASSOCIATED_USERS_COUNT).await;
    fresh.assert_cache("zoho-sidecar; hit; ttl=199");
    assert_eq!(fresh.header("age"), "101");

    // Past freshness and past stale-while-revalidate.
    world.is_suspended(Duration::from_secs(300));
    world.zoho().script().next(Target::Api, Fault::Refuse);
    let stale = world.get(ASSOCIATED_USERS_COUNT).await;
    stale.assert_cache("zoho-sidecar; hit; ttl=-101; detail=stale-if-error");
    assert_eq!(stale.header("age"), "401");
}

#[tokio::test(start_paused = true)]
async fn a_response_under_the_rules_of_its_origin_ages_during_a_suspension() {
    let path = "/crm/v8/settings/roles";
    let config = format!("[routes.roles]\nmatch = \"GET {path}\"\nfresh_for = \"origin\"\n");
    let world = World::with(&config).await;
    let headers = ["set-cookie", "pragma", "expires"].map(|name| (name.to_owned(), String::new()));
    let fresh = [("cache-control".to_owned(), "max-age=600".to_owned())];
    world.zoho().script().always(Target::Api, Fault::Headers(headers.into_iter().chain(fresh).collect()));
    world.get(path).await.assert_status(200);
    world.is_suspended(Duration::from_secs(500));
    let answer = world.get(path).await;
    answer.assert_cache("zoho-sidecar; hit; ttl=100");
    assert_eq!(answer.header("age"), "500");
    world.is_suspended(Duration::from_secs(100));
    assert!(!world.get(path).await.cache_status().contains("hit"));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_was_on_its_way_during_a_suspension_has_aged_on_arrival() {
    let world = World::shipped().await;
    world.zoho_takes(Duration::from_secs(10));
    let asking = world.begin(request(Method::GET, ASSOCIATED_USERS_COUNT, ""));
    world.passes(Duration::from_secs(5)).await;
    world.is_suspended(Duration::from_secs(200));
    asking.await.unwrap().assert_status(200);

    let answer = world.get(ASSOCIATED_USERS_COUNT).await;
    answer.assert_cache("zoho-sidecar; hit; ttl=100");
    assert_eq!(answer.header("age"), "200");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expired_during_a_suspension_is_not_sent_and_is_renewed_at_once() {
    let world = World::shipped().await;
    world.get(USERS).await.assert_status(200);
    world.is_suspended(SUSPENDED);

    let before = world.now();
    world.get(USERS).await.assert_status(200);

    assert_eq!(world.now(), before, "the request waits for no timer");
    assert_eq!(world.mints(), 2);
    assert_no_dead_token_was_sent(&world);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_after_a_suspension_without_a_request() {
    let world = World::shipped().await;
    world.is_suspended(SUSPENDED);
    assert_eq!(token_status(&world)["lives"], false);
    assert_eq!(token_status(&world)["age_seconds"], 7_200);

    world.passes(Duration::from_secs(2)).await;

    assert_eq!(world.mints(), 2);
    assert_eq!(token_status(&world)["lives"], true);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_due_after_a_suspension_is_renewed_while_the_old_one_serves() {
    let world = World::shipped().await;
    // Renewal is due 8 to 12 minutes before the end.
    world.is_suspended(Duration::from_mins(55));
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.mints(), 1);
    world.passes(Duration::from_secs(2)).await;
    assert_eq!(world.mints(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_minted_over_a_suspension_lives_from_its_mint() {
    let making = World::making().fault(Target::Accounts, Fault::DelayAnswer(Duration::from_secs(4)));
    let world = making.unsettled().start().await;
    world.passes(Duration::from_secs(2)).await;
    assert_eq!(world.mints(), 1);
    world.is_suspended(Duration::from_mins(61));
    world.passes(Duration::from_secs(3)).await;

    world.get(USERS).await.assert_status(200);

    assert_no_dead_token_was_sent(&world);
    assert_eq!(world.mints(), 2, "the first had expired when it came");
}

#[tokio::test(start_paused = true)]
async fn a_suspension_frees_the_budget_of_mints_and_ends_pauses() {
    let world = World::shipped().await;
    world.zoho().script().always(Target::Accounts, Fault::Throttle);
    world.acme().kill_access_tokens();
    world.get(USERS).await.assert_status(503);
    world.passes(Duration::from_mins(1)).await;
    let refused = world.get(USERS).await;
    refused.assert_status(503);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 5, "{refused:?}");
    world.zoho().script().clear();

    world.is_suspended(Duration::from_mins(11));

    world.get(USERS).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn each_suspension_is_logged_once_with_its_length() {
    let events = Events::default();
    let for_writer = events.clone();
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || for_writer.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::shipped().await;
    world.watch_suspensions();
    let logged = || events.lines_with("the machine was suspended");
    world.passes(Duration::from_mins(1)).await;
    assert_eq!(logged().len(), 0);

    world.is_suspended(SUSPENDED);
    world.passes(Duration::from_mins(1)).await;
    assert_eq!(logged().len(), 1, "{:?}", logged());
    assert!(logged()[0].contains("suspended_seconds=7200"), "{:?}", logged());

    world.step_wall(-3_600_000);
    world.passes(Duration::from_mins(1)).await;
    assert_eq!(logged().len(), 1, "a step of the wall clock is no suspension");

    world.is_suspended(Duration::from_secs(30));
    world.passes(Duration::from_mins(1)).await;
    assert!(logged()[1].contains("suspended_seconds=30"), "{:?}", logged());
}

#[tokio::test(start_paused = true)]
async fn steps_of_the_wall_clock_change_neither_age_nor_freshness_nor_tokens() {
    for step in [-86_400_000, 86_400_000] {
        let world = World::shipped().await;
        world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
        world.passes(Duration::from_secs(7)).await;
        world.step_wall(step);
        let answer = world.get(ASSOCIATED_USERS_COUNT).await;
        answer.assert_cache("zoho-sidecar; hit; ttl=293");
        assert_eq!(answer.header("age"), "7");
        world.passes(Duration::from_secs(293)).await;
        assert!(!world.get(ASSOCIATED_USERS_COUNT).await.cache_status().contains("hit; ttl=2"));
        world.get(USERS).await.assert_status(200);
        assert_eq!(token_status(&world)["age_seconds"], 300);
        assert_eq!(world.mints(), 1, "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_of_the_wall_clock_during_a_fetch_does_not_change_the_age_of_its_response() {
    let path = "/crm/v8/settings/roles";
    let config = format!("[routes.roles]\nmatch = \"GET {path}\"\nfresh_for = \"origin\"\n");
    let world = World::with(&config).await;
    let headers = ["set-cookie", "pragma", "expires", "date"].map(|name| (name.to_owned(), String::new()));
    let fresh = [("cache-control".to_owned(), "max-age=600".to_owned())];
    let headers = Fault::Headers(headers.into_iter().chain(fresh).collect());
    world.zoho().script().always(Target::Api, headers.and(Fault::Delay(Duration::from_secs(10))));
    let asking = world.begin(request(Method::GET, path, ""));
    world.passes(Duration::from_secs(5)).await;
    world.step_wall(300_000);
    asking.await.unwrap().assert_status(200);

    let answer = world.get(path).await;
    assert_eq!(answer.header("age"), "10", "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn heartbeats_and_restarts_are_not_hurried_by_a_suspension() {
    let world = World::shipped().await;
    world.is_suspended(SUSPENDED);
    assert_eq!(world.ask_admin("/livez").status, 200);
    world.passes(Duration::from_secs(5)).await;
    assert_eq!(world.ask_admin("/livez").status, 200);
    assert_eq!(world.ask_admin("/readyz").status, 200, "{}", world.ask_admin("/readyz").text);
}

#[tokio::test(start_paused = true)]
async fn a_token_kept_by_an_earlier_process_is_adopted_for_what_is_left_of_its_life() {
    let directory = tempfile::tempdir().unwrap();
    let state = format!("[state]\ndirectory = \"{}\"\n", directory.path().display());
    let world = World::making().config(&state).await_first_token().await;
    let crashed = world.crash();
    crashed.1.suspend(Duration::from_mins(20));
    let world = World::making().config(&state).after(crashed).await_first_token().await;
    assert_eq!(world.mints(), 1);
    // The first mint waits some milliseconds for files.
    let left = token_status(&world)["left_seconds"].as_u64().unwrap();
    assert!((40 * 60 - 2..=40 * 60).contains(&left), "{left}");
    let crashed = world.crash();
    crashed.1.suspend(SUSPENDED);
    let world = World::making().config(&state).after(crashed).await_first_token().await;
    assert_eq!(world.mints(), 2);
    world.get(USERS).await.assert_status(200);
    assert_no_dead_token_was_sent(&world);
}
