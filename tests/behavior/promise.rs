//! The promise of the cache, over random interleavings: after a write was acknowledged to anybody, no request
//! that starts later gets the old bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use proptest::prelude::*;
use tokio::task::JoinSet;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, World, request};

/// Something that somebody does, so long after the one before.
#[derive(Debug, Clone)]
struct Step {
    after_ms: u64,
    deed: Deed,
}

#[derive(Debug, Clone)]
enum Deed {
    /// A read. Zoho looks late, or answers late.
    Read { late_ms: u64, slow_ms: u64, wish: Option<&'static str> },
    /// A write, likewise; and its caller may hear nothing of it.
    Write { late_ms: u64, slow_ms: u64, answer_is_lost: bool },
    /// Zoho cannot be reached for a while.
    Outage { ms: u64 },
    /// Freshness passes.
    Wait { seconds: u64 },
}

fn deed() -> impl Strategy<Value = Deed> {
    let wish = prop_oneof![
        4 => Just(None),
        1 => Just(Some("no-cache")),
        1 => Just(Some("max-stale")),
        1 => Just(Some("max-age=1")),
    ];
    prop_oneof![
        8 => (0..80u64, 0..80u64, wish).prop_map(|(late_ms, slow_ms, wish)| Deed::Read { late_ms, slow_ms, wish }),
        4 => (0..80u64, 0..80u64, prop::bool::weighted(0.2))
            .prop_map(|(late_ms, slow_ms, answer_is_lost)| Deed::Write { late_ms, slow_ms, answer_is_lost }),
        1 => (1..200u64).prop_map(|ms| Deed::Outage { ms }),
        1 => (1..400u64).prop_map(|seconds| Deed::Wait { seconds }),
    ]
}

fn story() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..60u64, deed()).prop_map(|(after_ms, deed)| Step { after_ms, deed }), 4..30)
}

fn members(answer: &crate::world::Answer) -> usize {
    answer.count_of("Overseas").parse().unwrap()
}

/// Plays a story. Each write adds one user more to a territory, so that a count tells how many writes a read
/// has seen; a read that began when so many were acknowledged must have seen as many.
async fn play(story: &[Step]) {
    let world = World::shipped().await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let users = ["Ada", "Ben", "Cleo", "Dan", "Eve", "Finn"];
    let path = format!("/crm/v8/settings/territories/{}/users", world.acme().territory_id("Overseas"));
    let (mut playing, mut next_user) = (JoinSet::new(), 0);
    for step in story {
        tokio::time::sleep(Duration::from_millis(step.after_ms)).await;
        match step.deed.clone() {
            Deed::Read { late_ms, slow_ms, wish } => {
                hold_up(&world, &Method::GET, ASSOCIATED_USERS_COUNT, late_ms, slow_ms, false);
                let at_least = acknowledged.load(Ordering::SeqCst);
                let mut read = request(Method::GET, ASSOCIATED_USERS_COUNT, "");
                if let Some(wish) = wish {
                    read = crate::world::with_headers(read, &[("cache-control", wish)]);
                }
                let reading = world.begin(read);
                playing.spawn(async move {
                    let answer = reading.await.unwrap();
                    if answer.status == 200 {
                        let seen = members(&answer);
                        assert!(seen >= at_least, "saw {seen} of {at_least}: {}", answer.cache_status());
                    }
                });
            }
            Deed::Write { late_ms, slow_ms, answer_is_lost } => {
                let Some(user) = users.get(next_user) else { continue };
                next_user += 1;
                hold_up(&world, &Method::PUT, &path, late_ms, slow_ms, answer_is_lost);
                let id = world.acme().user_id(&format!("{user} Example"));
                let write = request(Method::PUT, &path, format!(r#"{{"users":[{{"id":"{id}"}}]}}"#));
                let (writing, acknowledged) = (world.begin(write), acknowledged.clone());
                playing.spawn(async move {
                    if writing.await.unwrap().status.is_success() {
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            Deed::Outage { ms } => {
                world.zoho().script().outage(true);
                let zoho = world.zoho().clone();
                playing.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    zoho.script().outage(false);
                });
            }
            Deed::Wait { seconds } => tokio::time::sleep(Duration::from_secs(seconds)).await,
        }
    }
    while let Some(played) = playing.join_next().await {
        played.unwrap();
    }
}

fn hold_up(world: &World, method: &Method, path: &str, late_ms: u64, slow_ms: u64, is_lost: bool) {
    let target = Target::Call { method: method.to_string(), path: path.to_owned() };
    let late = Fault::Delay(Duration::from_millis(late_ms));
    let mut fault = late.and(Fault::DelayAnswer(Duration::from_millis(slow_ms)));
    if is_lost {
        fault = fault.and(Fault::DropAfter);
    }
    world.zoho().script().next(target, fault);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn after_a_write_was_acknowledged_nobody_gets_the_old_bytes(story in story()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(play(&story));
    }
}
