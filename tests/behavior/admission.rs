//! An organisation's limit of concurrent calls is kept by waiting here, not by being refused there.

use std::time::Duration;

use zoho_sidecar::emulator::Scenario;
use zoho_sidecar::zoho::edition::Edition;

use crate::world::{USERS, World};

async fn standard(config: &str) -> World {
    World::making()
        .scenario(Scenario::default().with_edition("acme", Edition::Standard))
        .config("[tenants.acme]\nedition = \"standard\"\n")
        .config(config)
        .await_first_token()
        .await
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_under_way_than_the_edition_allows() {
    let world = standard("").await;
    world.zoho_takes(Duration::from_millis(500));
    let answers = world.get_at_once(USERS, 60).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.acme().peak_concurrency(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_queue_has_a_bound_and_a_wait_a_limit() {
    let world = standard("[admission]\nqueue = 5\nqueue_timeout = \"2s\"\n").await;
    world.zoho_takes(Duration::from_secs(10));
    let answers = world.get_at_once(USERS, 20).await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(refused.len(), 10, "five found no place, five waited too long");
    for answer in refused {
        assert_eq!(answer.code(), "SIDECAR_TOO_MANY_CALLS");
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test(start_paused = true)]
async fn cached_answers_wait_for_nobody() {
    let world = standard("[admission]\nqueue = 0\n").await;
    let count = crate::world::ASSOCIATED_USERS_COUNT;
    world.get(count).await.assert_status(200);
    world.zoho_takes(Duration::from_secs(5));
    let (others, hit) = tokio::join!(world.get_at_once(USERS, 10), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.get(count).await
    });
    assert!(others.iter().all(|answer| answer.status == 200));
    hit.assert_cache("zoho-sidecar; hit; ttl=299");
}
