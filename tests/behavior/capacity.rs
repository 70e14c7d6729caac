//! A call to Zoho ends when Zoho has answered, however its caller reads and sends; and what bodies hold in memory has a
//! bound for all of them together.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;

use crate::frames;
use crate::world::{USERS, World, request};

/// As many calls as an organisation of this edition may have under way.
const FIVE: usize = 5;
const FIVE_CALLS: &str = "[tenants.acme]\nedition = \"free\"\n[admission]\nqueue_timeout = \"1h\"\n";

/// More than any limit of time that could end a call that is held.
const HOUR: Duration = Duration::from_secs(3600);

fn bytes(size: usize) -> String {
    format!("/crm/v8/__bytes?size={size}")
}

/// How long one more call waits.
async fn wait_for_a_call(world: &World) -> u64 {
    let began = world.now();
    world.get(USERS).await.assert_status(200);
    (world.now() - began).as_secs()
}

/// Opens a stream for each path on one connection of HTTP/2 whose windows are shut.
async fn unread_over_http2(world: &World, paths: &[String]) -> frames::Caller<tokio::io::DuplexStream> {
    read_over_http2(world, 0, paths).await
}

/// The same with windows that are open for so many bytes of each answer, and never for more.
async fn read_over_http2(
    world: &World,
    window: u32,
    paths: &[String],
) -> frames::Caller<tokio::io::DuplexStream> {
    let caller = frames::Caller::begin(world.connect().0, &[(4, window)]).await;
    for (stream, path) in (1..).step_by(2).zip(paths) {
        caller.say(frames::get(stream, path)).await;
    }
    world.settles().await;
    caller
}

#[tokio::test(start_paused = true)]
async fn short_answers_that_nobody_reads_hold_no_calls() {
    for path in [USERS.to_owned(), bytes(6), bytes(16_000), bytes(256 * 1024), bytes(6) + "&chunked=true"] {
        let world = World::with(FIVE_CALLS).await;
        let _caller = unread_over_http2(&world, &vec![path.clone(); 4 * FIVE]).await;
        assert_eq!(wait_for_a_call(&world).await, 0, "{path} over HTTP/2");

        let mut unread = Vec::new();
        for _ in 0..FIVE {
            let mut peer = world.connect();
            peer.say(format!("GET {path} HTTP/1.1\r\nhost: sidecar\r\n\r\n")).await;
            unread.push(peer);
        }
        world.settles().await;
        assert_eq!(wait_for_a_call(&world).await, 0, "{path} over HTTP/1.1");
    }
}

#[tokio::test(start_paused = true)]
async fn twenty_unread_http2_answers_do_not_block_an_enterprise_tenant() {
    let enterprise = "[tenants.acme]\nedition = \"enterprise\"\n[admission]\nqueue_timeout = \"1h\"\n";
    let world = World::with(enterprise).await;
    let _caller = unread_over_http2(&world, &vec![bytes(6); 20]).await;
    assert_eq!(wait_for_a_call(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_longer_answer_holds_its_call_until_its_reader_has_taken_nothing_for_a_minute() {
    let world = World::with(FIVE_CALLS).await;
    let _caller = unread_over_http2(&world, &vec![bytes(3_000_000); FIVE]).await;
    let waited = wait_for_a_call(&world).await;
    assert!((60..=120).contains(&waited), "over HTTP/2: {waited} s");

    let mut unread = Vec::new();
    for _ in 0..FIVE {
        let mut peer = world.connect();
        peer.say(format!("GET {} HTTP/1.1\r\nhost: sidecar\r\n\r\n", bytes(3_000_000))).await;
        unread.push(peer);
    }
    world.settles().await;
    let waited = wait_for_a_call(&world).await;
    assert!((59..=120).contains(&waited), "over HTTP/1.1: {waited} s");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_stops_in_the_middle_of_an_answer_loses_its_call_too() {
    for memory in ["0B", "32MiB"] {
        let config = format!("{FIVE_CALLS}[server]\nbuffer_bytes = \"{memory}\"\n");
        for window in [1, 10_000, 16_384, 20_000] {
            for path in [bytes(3_000_000), bytes(3_000_000) + "&chunked=true"] {
                let world = World::with(&config).await;
                let _caller = read_over_http2(&world, window, &vec![path.clone(); FIVE]).await;
                let waited = wait_for_a_call(&world).await;
                assert!((59..=180).contains(&waited), "{path}, {memory}, {window} bytes read: {waited} s");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_unread_answers_hold_is_given_back_though_their_connection_stays() {
    use zoho_sidecar::emulator::{Fault, Target};
    for (window, is_cut) in [(0, false), (10_000, false), (0, true), (10_000, true)] {
        let config = "[server]\nbuffer_bytes = \"4MiB\"\n";
        let world = World::making().config(config).without_concurrency_limits().await_first_token().await;
        if is_cut {
            world.zoho().script().always(Target::Api, Fault::CutBody(100_000));
        }
        let _caller = read_over_http2(&world, window, &vec![bytes(1_000_000); 40]).await;
        world.passes(Duration::from_secs(5)).await;
        assert!(world.metric("zoho_sidecar_buffer_bytes") > Some(2_500_000.0), "{window}, {is_cut}");
        world.passes(Duration::from_secs(200)).await;
        // hyper has two pieces of each.
        let used = world.metric("zoho_sidecar_buffer_bytes").unwrap();
        assert!(used <= 40.0 * 32.0 * 1024.0, "{window}, {is_cut}: {used}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_read_ahead_leaves_with_the_framing_it_came_with() {
    let world = World::with(FIVE_CALLS).await;
    for size in [6, 16_000, 100_000] {
        let told = world.heard_by("HTTP/1.1", &bytes(size)).await;
        assert!(told.contains(&format!("content-length: {size}\r\n")), "{size}");
        assert!(!told.contains("transfer-encoding"), "{size}");
        let chunked = world.heard_by("HTTP/1.1", &(bytes(size) + "&chunked=true")).await;
        assert!(chunked.contains("transfer-encoding: chunked\r\n"), "{size}");
        assert!(!chunked.contains("content-length"), "{size}");
        assert!(chunked.ends_with("0\r\n\r\n"), "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_read_ahead_arrives_whole() {
    let world = World::with(FIVE_CALLS).await;
    for size in [6, 16_000, 100_000, 256 * 1024, 3_000_000] {
        for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
            for path in [bytes(size), bytes(size) + "&chunked=true"] {
                let mut asked = request(Method::GET, &path, "");
                *asked.version_mut() = version;
                let answer = world.send(asked).await;
                assert_eq!(answer.body.len(), size, "{path}");
                assert!(
                    answer.body.iter().enumerate().all(|(n, byte)| usize::from(*byte) == n % 251),
                    "{path}"
                );
            }
        }
    }
    assert_eq!(world.metric("zoho_sidecar_buffer_bytes"), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn without_memory_to_spare_16_kib_of_an_answer_are_taken_and_no_more() {
    let none = format!("{FIVE_CALLS}[server]\nbuffer_bytes = \"0B\"\n");
    for (size, is_held) in [(16_000, false), (200_000, true)] {
        let world = World::with(&none).await;
        let _caller = unread_over_http2(&world, &vec![bytes(size); FIVE]).await;
        let waited = wait_for_a_call(&world).await;
        if is_held {
            assert!((60..=120).contains(&waited), "until the caller loses it: {waited} s");
        } else {
            assert_eq!(waited, 0, "{size}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unread_answers_together_take_no_more_memory_than_there_is_for_them() {
    const BUDGET: f64 = 1024.0 * 1024.0;
    let config = "[server]\nbuffer_bytes = \"1MiB\"\n[admission]\nqueue_timeout = \"1h\"\n";
    let world = World::making().config(config).without_concurrency_limits().await_first_token().await;
    let mut caller = world.connect();
    let requests = (1..).step_by(2).take(100).flat_map(|stream| frames::get(stream, &bytes(1_000_000)));
    let requests: Vec<u8> = frames::preface(&[(4, 0)]).into_iter().chain(requests).collect();
    caller.say(requests).await;
    world.passes(Duration::from_secs(5)).await;
    let used = world.metric("zoho_sidecar_buffer_bytes").unwrap();
    // Beside the budget each has 16 KiB, and a piece with which it goes beyond.
    assert!((BUDGET / 2.0..BUDGET + 100.0 * 32.0 * 1024.0).contains(&used), "{used}");
    drop(caller);
    world.passes(Duration::from_secs(1)).await;
    assert_eq!(world.metric("zoho_sidecar_buffer_bytes"), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn unread_answers_do_not_keep_a_shared_answer_from_being_stored() {
    let route = "[routes.bytes]\nmatch = \"GET /crm/{version}/__bytes\"\nfresh_for = \"1h\"\ncontent_types = [\"*/*\"]\n";
    let config = format!("{route}[server]\nbuffer_bytes = \"1MiB\"\n");
    let world = World::making().config(&config).without_concurrency_limits().await_first_token().await;
    for (n, framing) in ["", "&chunked=true"].iter().enumerate() {
        let too_long: Vec<String> =
            (0..40).map(|n| format!("{}&unread={n}{framing}", bytes(2_000_000))).collect();
        let _caller = unread_over_http2(&world, &too_long).await;
        let called = world.calls();
        for answer in world.get_at_once(&bytes(100_000 + n), 10).await {
            answer.assert_status(200);
        }
        assert_eq!(world.calls() - called, 1, "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_takes_its_call_when_its_beginning_has_arrived() {
    for (sent, declared, waited) in
        [(0, 1_000_000, 0), (60_000, 1_000_000, 0), (4_000, 5_000, 0), (64 * 1024, 1_000_000, 59)]
    {
        let world = World::with(FIVE_CALLS).await;
        let mut slow = Vec::new();
        for _ in 0..FIVE {
            let mut peer = world.connect();
            let head = format!(
                "POST /crm/v8/__echo HTTP/1.1\r\nhost: sidecar\r\ncontent-length: {declared}\r\n\r\n"
            );
            peer.say(head).await;
            peer.say("x".repeat(sent)).await;
            slow.push(peer);
        }
        world.passes(Duration::from_secs(1)).await;
        assert_eq!(wait_for_a_call(&world).await, waited, "{sent} of {declared}");
        assert!(world.acme().peak_concurrency() <= FIVE);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_beginning_arrives_in_pieces_arrives_whole() {
    let world = World::with("[server]\nbuffer_bytes = \"0B\"\n").await;
    for length in [1, 20_000, 64 * 1024, 64 * 1024 + 1, 200_000] {
        let mut peer = world.connect();
        peer.say(format!(
            "POST /crm/v8/__echo HTTP/1.1\r\nhost: sidecar\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
        for piece in "x".repeat(length).as_bytes().chunks(9_000) {
            peer.say(piece).await;
            world.settles().await;
        }
        let answer = peer.whole_answer().await.unwrap();
        assert!(answer.contains(&format!("\"body_length\":{length}")), "{length}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_free_when_its_caller_leaves_or_its_answer_ends_in_whatever_way() {
    use zoho_sidecar::emulator::{Fault, Target};
    let world = World::with(FIVE_CALLS).await;

    // Its caller has the head of a long answer, and leaves.
    let mut held = Vec::new();
    for _ in 0..FIVE {
        held.push(world.handler().handle(request(Method::GET, &bytes(10_000_000), "")).await);
    }
    let waiting = world.begin(request(Method::GET, USERS, ""));
    world.passes(Duration::from_secs(10)).await;
    assert!(!waiting.is_finished(), "a long answer holds its call");
    drop(held);
    world.settles().await;
    assert!(waiting.is_finished(), "the calls are free at once");
    waiting.await.unwrap().assert_status(200);

    // Answers without a body, which nobody looks at.
    let mut held = Vec::new();
    for _ in 0..2 * FIVE {
        held.push(world.handler().handle(request(Method::HEAD, USERS, "")).await);
    }
    assert_eq!(wait_for_a_call(&world).await, 0);

    // One that breaks off, and whose beginning nobody reads.
    world.zoho().script().always(Target::Api, Fault::CutBody(1));
    for _ in 0..2 * FIVE {
        held.push(world.handler().handle(request(Method::GET, &bytes(10_000_000), "")).await);
    }
    world.settles().await;
    world.zoho().script().clear();
    assert_eq!(wait_for_a_call(&world).await, 0);
    let mut broken = held.pop().unwrap().into_body();
    tokio::time::timeout(HOUR, async {
        while let Some(frame) = broken.frame().await {
            if frame.is_err() {
                return;
            }
        }
        panic!("it looks complete");
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn responses_that_left_the_cache_and_are_still_on_their_way_count_as_memory() {
    let route = "[routes.bytes]\nmatch = \"GET /crm/{version}/__bytes\"\nfresh_for = \"1h\"\ncontent_types = [\"*/*\"]\n";
    let config = format!("{route}[cache]\nmax_bytes = \"512KiB\"\n[server]\nbuffer_bytes = \"4MiB\"\n");
    let world = World::making().config(&config).without_concurrency_limits().await_first_token().await;
    let mut unread = Vec::new();
    for n in 0..100 {
        let path = format!("{}&n={n}", bytes(200_000));
        let answer = world.handler().handle(request(Method::GET, &path, "")).await;
        eprintln!("{:?}", answer.headers().get("cache-status"));
        unread.push(answer);
    }
    let used = world.metric("zoho_sidecar_buffer_bytes").unwrap();
    // The budget, and for each of those that were not stored 16 KiB and a piece with which it goes beyond.
    assert!((1_000_000.0..4_200_000.0 + 100.0 * 32.0 * 1024.0).contains(&used), "of 20 MB: {used}");
    drop(unread);
    world.settles().await;
    assert_eq!(world.metric("zoho_sidecar_buffer_bytes"), Some(0.0));
}
