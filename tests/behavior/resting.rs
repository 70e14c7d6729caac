//! Connections between requests.

use std::time::Duration;

use crate::world::{ASSOCIATED_USERS_COUNT, World};

#[tokio::test(start_paused = true)]
async fn a_connection_at_rest_serves_on_whatever_comes_and_however_slowly() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    let mut caller = world.connect();
    let get = format!("GET {ASSOCIATED_USERS_COUNT} HTTP/1.1\r\nhost: sidecar\r\n\r\n");
    for pause in [0, 1, 3, 5, 30, 64, 64] {
        world.passes(Duration::from_secs(pause)).await;
        // The head comes in two parts, with time between them to rest over it.
        assert!(caller.say(&get[..20]).await, "after {pause} s");
        world.passes(Duration::from_secs(10)).await;
        // Two requests at once, so that the second lies in a buffer while the first is answered.
        assert!(caller.say(format!("{}{get}", &get[20..])).await, "after {pause} s");
        for _ in 0..2 {
            let head = caller.answer().await.expect("the connection is open");
            assert!(head.starts_with("HTTP/1.1 200") && !head.contains("connection: close"), "{head}");
        }
    }
    world.passes(Duration::from_secs(75 + 2)).await;
    assert!(!caller.say("\r\n").await, "its time is up");
}

#[tokio::test(start_paused = true)]
async fn half_a_head_on_a_connection_at_rest_has_no_more_time_than_any_other() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    let mut caller = world.connect();
    caller.say(format!("GET {ASSOCIATED_USERS_COUNT} HTTP/1.1\r\nhost: sidecar\r\n\r\n")).await;
    caller.answer().await.unwrap();
    for _ in 0..7 {
        world.passes(Duration::from_secs(10)).await;
        assert!(caller.say("G").await, "its time is not up");
    }
    world.passes(Duration::from_secs(5 + 2)).await;
    assert!(!caller.say("G").await, "a byte now and then is no request");
}
