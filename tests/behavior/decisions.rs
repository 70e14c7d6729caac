//! Every decision is visible three times, in the same word: in `Cache-Status`, in the metrics, in the log.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};
use zoho_sidecar::telemetry::outcome::Outcome;

use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World, join_overseas, request, with_headers};

const CONFIG: &str = "[routes.associated-users-count]\nmin_refresh_interval = \"10s\"\nstale_after_write = true\n\
                      [routes.users]\nmatch = \"GET /crm/{version}/users\"\nfresh_for = \"5m\"\n\
                      [cache]\nmax_entry_bytes = \"600B\"\n";

/// The word of each outcome as `Cache-Status` has it.
fn word(cache_status: &str) -> &str {
    if let Some((_, detail)) = cache_status.split_once("detail=") {
        return detail;
    }
    [
        ("; hit", "hit"),
        ("collapsed", "collapsed"),
        ("fwd=uri-miss", "miss"),
        ("fwd=stale", "renewed"),
        ("fwd=bypass", "bypass"),
        ("fwd=method", "method"),
    ]
    .into_iter()
    .find(|(part, _)| cache_status.contains(part))
    .map_or("refused", |(_, word)| word)
}

#[tokio::test(start_paused = true)]
async fn every_outcome_is_told_in_the_answer_the_metrics_and_the_log() {
    let world = World::with(CONFIG).await;
    let script = || world.zoho().script();
    let count = ASSOCIATED_USERS_COUNT;
    let asked =
        |wish: &'static str| with_headers(request(Method::GET, count, ""), &[("cache-control", wish)]);
    let mut answers = vec![
        world.get(count).await,                      // miss
        world.get(count).await,                      // hit
        world.send(asked("no-cache")).await,         // min-refresh-interval
        world.get(USERS).await,                      // too-long
        world.get(USERS).await,                      // uncacheable
        world.get("/crm/v8/org").await,              // bypass
        world.send(join_overseas(&world)).await,     // method
        world.get(&format!("{count}?page=x")).await, // whatever Zoho says of it
        world.get_with(count, &[("if-modified-since", "2019-07-25T15:26:49+05:30")]).await, // conditional
        world.send(request(Method::GET, count, "{}")).await, // body
        world.send(request(Method::POST, "/oauth/v2/token", "")).await, // stand-in
        world.get("/crm/../x").await,                // refused
    ];
    script().next(Target::Api, Fault::Refuse);
    answers.push(world.get(count).await); // stale-after-write
    answers.push(world.send(asked("no-store")).await); // no-store
    world.passes(Duration::from_secs(1)).await;
    answers.push(world.get(count).await); // miss
    script().next(Target::Api, Fault::Status { status: 400, body: "{}".into(), headers: Vec::new() });
    answers.push(world.get(&format!("{count}?page=2")).await); // not-storable
    script().next(Target::Api, Fault::Html200);
    answers.push(world.get(&format!("{count}?page=5")).await); // invalid-response
    world.passes(Duration::from_secs(20)).await;
    answers.push(world.send(asked("no-cache")).await); // forced
    world.passes(Duration::from_secs(286)).await;
    answers.push(world.get(count).await); // refresh-ahead
    world.passes(Duration::from_secs(310)).await;
    answers.push(world.send(asked("max-stale")).await); // max-stale
    answers.push(world.get(count).await); // stale-while-revalidate
    world.passes(Duration::from_secs(400)).await;
    script().next(Target::Api, Fault::Refuse);
    answers.push(world.get(count).await); // stale-if-error
    world.passes(Duration::from_secs(2)).await;
    answers.push(world.get(count).await); // renewed
    script().next(Target::Api, Fault::Delay(Duration::from_secs(1)));
    answers.extend(world.get_at_once(&format!("{count}?page=3"), 2).await); // miss, collapsed
    script().next(Target::Api, Fault::DelayAnswer(Duration::from_secs(1)));
    let overtaken = world.begin(request(Method::GET, &format!("{count}?page=4"), ""));
    world.settles().await;
    world.purge(r#"{"all":true}"#);
    answers.push(overtaken.await.unwrap()); // overtaken
    answers.push(world.get_with("/crm/v8/org", &[("x-original-url", "/")]).await); // override
    script().next(Target::Api, Fault::Hang);
    let abandoned = world.begin(request(Method::GET, "/crm/v8/org", ""));
    world.settles().await;
    abandoned.abort();
    world.settles().await;

    let mut told: BTreeSet<&str> = answers.iter().map(|answer| word(answer.cache_status())).collect();
    told.extend(["abandoned", "stand-in"]); // the one has no answer that could tell, the other no such header
    let all: BTreeSet<&str> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
    assert_eq!(told, all);
    let (metrics, log) = (world.metrics(), world.log());
    for word in all {
        assert!(metrics.contains(&format!("cache=\"{word}\"")), "{word} in the metrics");
        assert!(log.contains(&format!("\"cache\":\"{word}\"")), "{word} in the log");
    }
}

#[test]
fn every_outcome_is_documented() {
    let readme = include_str!("../../README.md");
    for outcome in Outcome::ALL {
        assert!(
            readme.contains(&format!("| `{}` |", outcome.as_str())),
            "{} in the README",
            outcome.as_str()
        );
    }
}
