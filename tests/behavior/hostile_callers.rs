//! Whatever callers do, what they hold is theirs for a bounded time, and others are served.

use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::frames::{self, *};
use crate::wire::{LONG, Peer};
use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World, request};

/// 64 MiB of answer.
const LONG_ANSWER: &str = "/crm/v8/__bytes?size=67108864";
/// As many calls under way as an organisation of this edition may have, and a queue that outlasts every limit.
const FIVE_CALLS: &str = "[tenants.acme]\nedition = \"free\"\n[admission]\nqueue_timeout = \"1h\"\n";

/// Says this, and then this every second if it is anything, for as long as the other side listens.
async fn drip(peer: &mut Peer, first: &[u8], again: &[u8]) {
    peer.say(first).await;
    while !again.is_empty() && peer.say(again).await {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    peer.rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_comes_to_a_request_is_closed_in_time() {
    let half_a_block =
        [frames::preface(&[]), frame(HEADERS, END_STREAM, 1, &request_headers("GET", USERS))].concat();
    let more_of_it = frame(CONTINUATION, 0, 1, &header("x-more", "1"));
    let drips: [(&[u8], &[u8]); 7] = [
        (b"", b""),
        (b"G", b""),
        (b"PRI * HTTP/2.0\r\n", b""),
        (b"GET / HTTP/1.1\r\nx-long: ", b"x"),
        (b"GET / HTTP/1.1\r\n", b"x-more: 1\r\n"),
        (&frames::preface(&[]), b""),
        (&half_a_block, &more_of_it),
    ];
    for (first, again) in drips {
        let world = World::shipped().await;
        let (began, mut peer) = (world.now(), world.connect());
        let what = String::from_utf8_lossy(first).into_owned();
        tokio::join!(drip(&mut peer, first, again), async {
            world.passes(Duration::from_secs(10)).await;
            assert!(world.heard_by("HTTP/1.1", USERS).await.starts_with("HTTP/1.1 200"), "{what:?}");
        });
        let took = (world.now() - began).as_secs();
        assert!(took <= 76, "{what:?} after {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_given_up_when_it_is_slower_than_it_may_be() {
    for (begins_with, seconds) in [(0, 60), (100_000, 60 + 100_000 / 256)] {
        let world = World::with(FIVE_CALLS).await;
        let (began, mut peer) = (world.now(), world.connect());
        peer.say("POST /crm/v8/__echo HTTP/1.1\r\nhost: sidecar\r\ncontent-length: 1000000\r\n\r\n").await;
        peer.say("x".repeat(begins_with)).await;
        let (mut hears, mut says) = tokio::io::split(peer.0);
        let dripping = tokio::spawn(async move {
            while says.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(59)).await;
            }
        });
        let mut answer = String::new();
        let _ = hears.read_to_string(&mut answer).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("more slowly than 256 bytes a second"), "{answer}");
        assert_eq!((world.now() - began).as_secs(), seconds, "{begins_with}");
        dripping.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_slowly_and_steadily_arrives_whole() {
    let world = World::shipped().await;
    let mut peer = world.connect();
    peer.say("POST /crm/v8/__echo HTTP/1.1\r\nhost: sidecar\r\ncontent-length: 150000\r\n\r\n").await;
    for _ in 0..150 {
        peer.say("x".repeat(1000)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let heard = peer.head().await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 200"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn callers_of_http1_that_never_read_hold_their_calls_no_longer_than_the_limit() {
    let world = World::with(FIVE_CALLS).await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        let mut peer = world.connect();
        peer.say(format!("GET {LONG_ANSWER} HTTP/1.1\r\nhost: sidecar\r\n\r\n")).await;
        silent.push(peer);
    }
    world.settles().await;
    let began = world.now();

    world.get(USERS).await.assert_status(200);

    assert_eq!((world.now() - began).as_secs(), 60, "server.write_timeout");
    for mut peer in silent {
        let heard = peer.rest().await;
        assert!(heard.len() < 1 << 20, "the answer is broken off");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_of_http2_that_are_never_read_hold_their_calls_no_longer_than_twice_the_limit() {
    // SETTINGS_INITIAL_WINDOW_SIZE: nothing, next to nothing, and less than an answer.
    for window in [0, 1, 1000] {
        let world = World::with(FIVE_CALLS).await;
        let mut caller = frames::Caller::begin(world.connect().0, &[(4, window)]).await;
        for stream in [1, 3, 5, 7, 9] {
            caller.say(frames::get(stream, LONG_ANSWER)).await;
        }
        world.settles().await;
        let began = world.now();

        // On the same connection, and on another.
        caller.say(frames::get(11, USERS)).await;
        caller.say(frame(WINDOW_UPDATE, 0, 11, &1_000_000_u32.to_be_bytes())).await;
        world.get(USERS).await.assert_status(200);

        let waited = (world.now() - began).as_secs();
        assert!((60..=120).contains(&waited), "{window}: {waited} s");
        // Whoever reads on after all learns that the rest is not coming.
        world.passes(Duration::from_secs(60)).await;
        caller.say(frame(WINDOW_UPDATE, 0, 1, &1_000_000_u32.to_be_bytes())).await;
        let (.., stream, _) = caller.next(RST_STREAM).await.unwrap();
        assert_eq!(stream, 1, "{window}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_kept_answer_that_is_never_read_is_given_up_too() {
    const KEPT: &str = "/crm/v8/__bytes?size=200000";
    let rule = "[routes.bytes]\nmatch = \"GET /crm/{version}/__bytes\"\nfresh_for = \"1h\"\ncontent_types = [\"*/*\"]\n";
    for window in [0, 1000] {
        let world = World::with(rule).await;
        world.get(KEPT).await.assert_status(200);
        assert!(world.get(KEPT).await.cache_status().contains("hit"));
        let mut caller = frames::Caller::begin(world.connect().0, &[(4, window)]).await;
        caller.say(frames::get(1, KEPT)).await;
        world.settles().await;
        world.passes(Duration::from_secs(121)).await;
        caller.say(frame(WINDOW_UPDATE, 0, 1, &1_000_000_u32.to_be_bytes())).await;
        let reset = tokio::time::timeout(LONG, caller.next(RST_STREAM)).await;
        assert!(matches!(reset, Ok(Some((.., 1, _)))), "{window}");
    }
    let world = World::with(rule).await;
    world.get(KEPT).await.assert_status(200);
    let mut asked = request(Method::GET, KEPT, "");
    *asked.version_mut() = http::Version::HTTP_2;
    let answer = world.send(asked).await;
    assert!(answer.cache_status().contains("hit"));
    assert_eq!(answer.body.len(), 200_000, "whoever reads it has it whole");
}

#[tokio::test(start_paused = true)]
async fn a_window_that_opens_byte_by_byte_is_as_good_as_shut() {
    let world = World::with(FIVE_CALLS).await;
    let caller = frames::Caller::begin(world.connect().0, &[(4, 0)]).await;
    for stream in [1, 3, 5, 7, 9] {
        caller.say(frames::get(stream, LONG_ANSWER)).await;
    }
    world.settles().await;
    let began = world.now();
    let opening = tokio::spawn(async move {
        loop {
            for stream in [1, 3, 5, 7, 9] {
                caller.say(frame(WINDOW_UPDATE, 0, stream, &1_u32.to_be_bytes())).await;
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    });
    world.get(USERS).await.assert_status(200);
    assert!((world.now() - began).as_secs() <= 130);
    opening.abort();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_slow_to_come_is_not_taken_for_one_that_is_not_read() {
    let world = World::making()
        .config("[server]\nwrite_timeout = \"5s\"\n")
        .api(|_, mut peer| {
            Box::pin(async move {
                while peer.head().await.is_some() {
                    peer.say("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n").await;
                    for piece in ["a", "b", "c"] {
                        tokio::time::sleep(Duration::from_secs(30)).await;
                        peer.say(piece).await;
                    }
                }
            })
        })
        .await_first_token()
        .await;
    let mut caller = world.connect_by_http2().await;
    let answer = caller.send_request(request(Method::GET, USERS, "")).await.unwrap();
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "abc");
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_http2_without_new_requests_is_ended() {
    let world = World::shipped().await;
    let mut caller = world.connect_by_http2().await;
    for _ in 0..4 {
        let answer = caller.send_request(request(Method::GET, USERS, "")).await.unwrap();
        assert_eq!(answer.status(), 200);
        world.passes(Duration::from_secs(40)).await;
    }
    assert!(!caller.is_closed());
    world.passes(Duration::from_secs(160)).await;
    assert!(caller.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_http2_that_is_not_read_at_all_is_ended() {
    let world = World::with(FIVE_CALLS).await;
    let most = (1_u32 << 31) - 1;
    let mut peer = world.connect();
    peer.say(frames::preface(&[(4, most)])).await;
    peer.say(frame(WINDOW_UPDATE, 0, 0, &(most - 65_535).to_be_bytes())).await;
    for stream in [1, 3, 5, 7, 9] {
        peer.say(frames::get(stream, LONG_ANSWER)).await;
    }
    world.settles().await;
    let began = world.now();

    world.get(USERS).await.assert_status(200);

    assert!((world.now() - began).as_secs() <= 61, "server.write_timeout");
    assert!(peer.rest().await.len() < 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_read_slowly_ends_with_its_call() {
    let world = World::making().await_first_token().await;
    let (began, mut peer) = (world.now(), world.connect());
    peer.say(format!("GET {LONG_ANSWER} HTTP/1.1\r\nhost: sidecar\r\n\r\n")).await;
    let (mut read, mut piece) = (0, vec![0; 10_000]);
    while let Ok(came @ 1..) = peer.0.read(&mut piece).await {
        read += came;
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    let took = (world.now() - began).as_secs();
    // What lay in buffers when the time was up is still read.
    assert!((30 * 60..2 * 60 * 60).contains(&took) && read < 5 << 20, "{read} bytes after {took} s");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_closes_its_side_has_left() {
    let world = World::shipped().await;
    world.zoho_takes(Duration::from_secs(30));
    let mut peer = world.connect();
    peer.say(format!("GET {USERS} HTTP/1.1\r\nhost: sidecar\r\n\r\n")).await;
    world.passes(Duration::from_secs(1)).await;

    peer.0.shutdown().await.unwrap();

    let began = world.now();
    assert_eq!(peer.rest().await, "");
    assert_eq!((world.now() - began).as_secs(), 0);
    let call = world.zoho().ledger().entries().pop().unwrap();
    assert_eq!((call.path_and_query.as_str(), call.status), (USERS, None));
    assert!(world.log().contains(r#""status":499"#));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_vanished_without_a_word_is_let_go_after_its_answer() {
    let world = World::shipped().await;
    world.zoho_takes(Duration::from_secs(30));
    // In memory a caller that vanished is one that neither reads nor closes.
    let mut vanished = world.connect();
    vanished.say(format!("GET {USERS} HTTP/1.1\r\nhost: sidecar\r\n\r\n")).await;
    world.passes(Duration::from_secs(30 + 74)).await;
    assert!(vanished.say("\r\n").await, "server.header_read_timeout is not over");
    // It is looked at every two seconds.
    world.passes(Duration::from_secs(1 + 2)).await;
    assert!(!vanished.say("\r\n").await, "the connection is closed");
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_opened_and_reset_hold_nothing() {
    let world = World::with(FIVE_CALLS).await;
    world.zoho_takes(Duration::from_secs(1));
    let caller = frames::Caller::begin(world.connect().0, &[]).await;
    let flooding = async {
        for stream in (1..20_000).step_by(2) {
            let open_and_reset = [frames::get(stream, USERS), frame(RST_STREAM, 0, stream, &CANCEL)].concat();
            if !caller.say(open_and_reset).await {
                return;
            }
        }
    };
    let ((), served) = tokio::join!(flooding, async {
        tokio::task::yield_now().await;
        world.get(USERS).await
    });
    served.assert_status(200);
    let began = world.now();
    world.get(USERS).await.assert_status(200);
    assert_eq!((world.now() - began).as_secs(), 1, "nobody stands before it");
    assert!(world.acme().peak_concurrency() <= 5);
}

#[tokio::test(start_paused = true)]
async fn floods_of_small_frames_end_the_connection_or_are_borne() {
    let block = frame(HEADERS, END_STREAM, 1, &request_headers("GET", USERS));
    let floods = [
        ("SETTINGS", Vec::new(), frame(SETTINGS, 0, 0, &[])),
        ("PING", Vec::new(), frame(PING, 0, 0, &[0; 8])),
        ("CONTINUATION", block.clone(), frame(CONTINUATION, 0, 1, &[])),
        ("CONTINUATION with headers", block, frame(CONTINUATION, 0, 1, &header("x-more", &"1".repeat(100)))),
        ("empty DATA", Vec::new(), frame(DATA, 0, 1, &[])),
        ("WINDOW_UPDATE", Vec::new(), frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
    ];
    for (what, first, again) in floods {
        let world = World::shipped().await;
        let mut peer = world.connect();
        peer.say([frames::preface(&[]), first].concat()).await;
        // Never read: what is written in answer to it piles up, if anywhere, in the sidecar.
        let flooding = async {
            for _ in 0..2000 {
                if !peer.say(again.repeat(100)).await {
                    return;
                }
            }
        };
        let (_, served) = tokio::join!(tokio::time::timeout(LONG, flooding), async {
            tokio::task::yield_now().await;
            world.heard_by("HTTP/1.1", USERS).await
        });
        assert!(served.starts_with("HTTP/1.1 200"), "{what}: {served}");
        let heard = peer.rest().await;
        assert!(heard.len() < 1 << 20, "{what}: {} bytes were kept for it", heard.len());
    }
}

/// For how long this connection lives on which these frames are said again and again, a thousand frames each 10 ms.
async fn life_of_a_flood(world: &World, first: &[u8], again: &[u8]) -> Duration {
    let mut caller = frames::Caller::begin(world.connect().0, &[]).await;
    caller.next(SETTINGS).await.unwrap();
    caller.say(first).await;
    let began = world.now();
    while world.now() - began < LONG && caller.say(again.repeat(1000)).await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let life = world.now() - began;
    while caller.hear().await.is_some() {}
    life
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_no_work_end_their_connection_within_a_second() {
    let post = frame(HEADERS, END_HEADERS, 1, &request_headers("POST", "/crm/v8/Leads"));
    let asked = frames::get(1, USERS);
    let head = frame(HEADERS, END_STREAM, 1, &request_headers("GET", USERS));
    for (what, first, again) in [
        ("SETTINGS", &[][..], frame(SETTINGS, 0, 0, &[])),
        ("acknowledged SETTINGS", &[], frame(SETTINGS, ACK, 0, &[])),
        ("PING", &[], frame(PING, 0, 0, &[0; 8])),
        ("acknowledged PING", &[], frame(PING, ACK, 0, &[0; 8])),
        ("PRIORITY", &[], frame(2, 0, 3, &[0, 0, 0, 0, 15])),
        ("WINDOW_UPDATE", &[], frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        ("WINDOW_UPDATE of a stream", &post, frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())),
        ("an unknown type", &[], frame(0xfa, 0, 0, b"made up")),
        ("empty DATA", &post, frame(DATA, 0, 1, &[])),
        ("DATA that is padding", &post, frame(DATA, 8, 1, &[3, 0, 0, 0])),
        ("empty CONTINUATION", &head, frame(CONTINUATION, 0, 1, &[])),
        ("RST_STREAM", &asked, frame(RST_STREAM, 0, 1, &CANCEL)),
        ("GOAWAY", &[], frame(GOAWAY, 0, 0, &[0; 8])),
    ] {
        let world = World::shipped().await;
        let life = life_of_a_flood(&world, first, &again).await;
        assert!(life < Duration::from_secs(1), "{what}: {life:?}");
        assert!(world.heard_by("HTTP/1.1", USERS).await.starts_with("HTTP/1.1 200"), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_told_why_its_connection_ends() {
    let world = World::shipped().await;
    let mut caller = frames::Caller::begin(world.connect().0, &[]).await;
    caller.next(SETTINGS).await.unwrap();
    caller.say(frame(PING, 0, 0, &[0; 8]).repeat(1000)).await;
    let (_, _, _, payload) = caller.next(GOAWAY).await.unwrap();
    assert_eq!(payload[4..8], [0, 0, 0, 0xb], "ENHANCE_YOUR_CALM");
}

#[tokio::test(start_paused = true)]
async fn frames_that_accompany_work_are_no_flood() {
    let world = World::shipped().await;
    let mut caller = frames::Caller::begin(world.connect().0, &[]).await;
    // A client that asks every second whether the connection lives, and now and then for more.
    for stream in (1..600).step_by(2) {
        assert!(caller.say(frame(PING, 0, 0, &[0; 8]).repeat(20)).await);
        let window = frame(WINDOW_UPDATE, 0, 0, &10_000_u32.to_be_bytes());
        assert!(caller.say([frames::get(stream, USERS), window].concat()).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // One that opens its windows by 4 KiB each, both for an answer of 8 MiB, without a pause.
    let stream = 601;
    caller.say(frames::get(stream, "/crm/v8/__bytes?size=8388608")).await;
    let mut read = 0;
    while read < 8 << 20 {
        let heard = tokio::time::timeout(LONG, caller.hear()).await.expect("an answer goes on");
        let (kind, _, of, payload) = heard.expect("the connection lives");
        if kind != DATA || of != stream {
            continue;
        }
        read += payload.len();
        for opened in payload.chunks(4096) {
            let by = u32::try_from(opened.len()).unwrap().to_be_bytes();
            caller
                .say([frame(WINDOW_UPDATE, 0, 0, &by), frame(WINDOW_UPDATE, 0, stream, &by)].concat())
                .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_of_http2_over_the_limit_is_refused_and_the_connection_goes_on() {
    let world = World::shipped().await;
    let mut caller = frames::Caller::begin(world.connect().0, &[]).await;
    let long: Vec<u8> = (0..120).flat_map(|_| header("x-long", &"x".repeat(126))).collect();
    let mut block = frame(HEADERS, END_STREAM, 1, &request_headers("GET", USERS));
    for n in 0..5 {
        block.extend(frame(CONTINUATION, if n == 4 { END_HEADERS } else { 0 }, 1, &long));
    }
    caller.say(block).await;
    caller.say(frames::get(3, USERS)).await;
    let (_, _, stream, payload) = caller.next(HEADERS).await.unwrap();
    // 431 in Huffman's code or not; no other answer is as short.
    assert!(stream == 1 && payload.len() < 10, "{stream} {payload:?}");
    let (_, _, stream, payload) = caller.next(HEADERS).await.unwrap();
    assert!(stream == 3 && payload.len() > 50, "{stream} {payload:?}");
}

#[tokio::test(start_paused = true)]
async fn half_an_upload_is_never_a_whole_one() {
    for reason in [NO_ERROR, CANCEL] {
        let (heard, mut hearing) = tokio::sync::mpsc::unbounded_channel();
        let world = World::making()
            .api(move |_, mut peer| {
                let heard = heard.clone();
                Box::pin(async move { drop(heard.send(peer.rest().await)) })
            })
            .await_first_token()
            .await;
        // One that is kept until it is there, and one that streams.
        for pieces in [1, 10] {
            let caller = frames::Caller::begin(world.connect().0, &[]).await;
            caller.say(frame(HEADERS, END_HEADERS, 1, &request_headers("POST", "/crm/v8/Leads"))).await;
            for _ in 0..pieces {
                caller.say(frame(DATA, 0, 1, &[b'x'; 10_000])).await;
            }
            world.passes(Duration::from_secs(1)).await;
            caller.say(frame(RST_STREAM, 0, 1, &reason)).await;
            world.passes(Duration::from_secs(1)).await;
        }
        let streamed = hearing.recv().await.unwrap();
        assert!(streamed.starts_with("POST /crm/v8/Leads HTTP/1.1"), "{streamed}");
        assert!(!streamed.ends_with("\r\n0\r\n\r\n"), "{reason:?}: half an upload was sent as a whole one");
        assert!(hearing.try_recv().is_err(), "{reason:?}: what was kept was sent");
    }
}

#[tokio::test(start_paused = true)]
async fn five_hundred_cold_keys_are_no_more_calls_than_may_be_under_way() {
    let world = World::with("[admission]\nmax_calls = 20\nqueue = 30\n").await;
    world.zoho_takes(Duration::from_secs(1));
    let asking: Vec<_> = (0..500)
        .map(|n| world.begin(request(Method::GET, &format!("{ASSOCIATED_USERS_COUNT}?n={n}"), "")))
        .collect();
    let mut refused = 0;
    for answer in asking {
        let answer = answer.await.unwrap();
        if answer.status == 429 {
            assert_eq!(answer.code(), "SIDECAR_TOO_MANY_CALLS");
            refused += 1;
        } else {
            answer.assert_status(200);
        }
    }
    assert_eq!(refused, 450);
    assert_eq!(world.acme().peak_concurrency(), 20);
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_one_fetch_are_bounded_too_and_hits_are_not_among_them() {
    let world = World::with("[admission]\nmax_requests = 30\n").await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    world.zoho_takes(Duration::from_secs(1));
    let cold = format!("{ASSOCIATED_USERS_COUNT}?cold=1");
    let (answers, hit) = tokio::join!(world.get_at_once(&cold, 100), async {
        world.settles().await;
        world.get(ASSOCIATED_USERS_COUNT).await
    });
    hit.assert_cache("zoho-sidecar; hit; ttl=300");
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(refused.len(), 70);
    assert_eq!(refused[0].json()["message"], "Too many requests wait for an answer");
    world.get(&cold).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_the_admin_listener_and_does_not_read_is_let_go_too() {
    let world = World::shipped().await;
    let mut asker = world.connect_to_admin();
    let asking = async {
        while asker.say("GET /metrics HTTP/1.1\r\nhost: 127.0.0.1:9090\r\n\r\n".repeat(100)).await {}
    };
    assert!(tokio::time::timeout(LONG, asking).await.is_ok(), "the connection is closed");
}
