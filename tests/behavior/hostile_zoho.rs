//! Whatever Zoho's side sends, time and memory are bounded, what breaks off is broken off towards the caller too
//! and never kept, and the next caller is served.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zoho_sidecar::net::transport::BoxFuture;

use crate::frames::*;
use crate::wire::{Peer, Script};
use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World, request};

const LIMITS: &str =
    "[upstream]\nfirst_byte_timeout = \"5s\"\nidle_timeout = \"3s\"\ntotal_timeout = \"20s\"\n";

/// What a well-behaved host answers.
const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// Answers as a well-behaved host does, as often as it is asked.
async fn behave(mut peer: Peer) {
    while peer.head().await.is_some() && peer.say(FINE).await {}
}

/// The first connection does this once it was asked for something; all others behave.
fn at_first<F>(misbehave: impl Fn(Peer) -> F + Send + Sync + 'static) -> impl Script
where
    F: Future<Output = ()> + Send + 'static,
{
    let misbehave = Arc::new(misbehave);
    move |number, mut peer| {
        let misbehave = misbehave.clone();
        Box::pin(async move {
            if number > 0 {
                behave(peer).await;
            } else if peer.head().await.is_some() {
                misbehave(peer).await;
            }
        })
    }
}

/// The first connection answers with these bytes, and then stays and behaves, or not.
fn saying_at_first(bytes: impl Into<Vec<u8>>, stays: bool) -> impl Script {
    let bytes = Arc::new(bytes.into());
    at_first(move |mut peer| {
        let bytes = bytes.clone();
        async move {
            if peer.say(&*bytes).await && stays {
                behave(peer).await;
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_a_refusal_and_the_next_caller_is_served() {
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}");
    for (what, said) in [
        ("another protocol", "220 mail.example ESMTP\r\n".to_owned()),
        ("HTTP/0.9", "<html>hello</html>\n".to_owned()),
        ("a line without end", head(&format!("x-long: {}", "x".repeat(2 << 20)))),
        ("lines without end", head(&"x-more: 1\r\n".repeat(100_000))),
        ("two lengths", head("content-length: 2\r\ncontent-length: 3\r\n\r\n{}x")),
        ("a length that is none", head("content-length: -2\r\n\r\n{}")),
        ("a length beyond numbers", head("content-length: 99999999999999999999\r\n\r\n{}")),
        ("NUL in a header", head("x-a: a\0b\r\ncontent-length: 2\r\n\r\n{}")),
        ("another coding", head("transfer-encoding: gzip\r\n\r\n{}")),
        (
            "another coding below chunked",
            head("transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        ),
        ("chunked twice", head("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")),
        ("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()),
        (
            "a change of protocol",
            "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_owned(),
        ),
        ("half a head", "HTTP/1.1 200 OK\r\ncontent-le".to_owned()),
    ] {
        let stays = what != "half a head";
        let world = World::making().api(saying_at_first(said, stays)).await_first_token().await;

        let refused = world.get(USERS).await;

        let code = match what {
            "a line without end" | "lines without end" => "SIDECAR_RESPONSE_HEAD_TOO_LARGE",
            _ => "SIDECAR_CONNECTION_BROKEN",
        };
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (502, code), "{what}");
        world.get(USERS).await.assert_status(200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_comes_to_its_end_ends_with_the_limit_and_others_are_served_meanwhile() {
    let drips: [(&str, &str); 3] =
        [("HTTP/1.1 200 OK\r\nx: ", "x"), ("", "HTTP/1.1 100 Continue\r\n\r\n"), ("", "")];
    for (first, drip) in drips {
        let script = at_first(move |mut peer| async move {
            peer.say(first).await;
            while peer.say(drip).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let world = World::making().config(LIMITS).api(script).await_first_token().await;
        let began = world.now();
        let waiting = world.begin(request(Method::GET, USERS, ""));
        world.passes(Duration::from_secs(1)).await;
        world.get(USERS).await.assert_status(200);

        let refused = waiting.await.unwrap();

        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (504, "SIDECAR_FIRST_BYTE_TIMEOUT"));
        assert_eq!((world.now() - began).as_secs(), 5, "{drip:?}");
    }
}

/// Answers that break off or stop: what they are, the bytes, whether the connection stays open.
fn broken_answers() -> Vec<(&'static str, String, bool)> {
    let chunked =
        |rest: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n{rest}");
    vec![
        ("closed before its length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned(), false),
        ("silent before its length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_owned(), true),
        ("closed before the last chunk", chunked(""), false),
        ("closed in a chunk", chunked("10\r\nha"), false),
        ("closed in the last chunk", chunked("0\r\n"), false),
        ("silent before the last chunk", chunked(""), true),
        ("a chunk of no size", chunked("zz\r\nhalf\r\n"), true),
        ("a chunk beyond numbers", chunked("FFFFFFFFFFFFFFFFF\r\nhalf\r\n"), true),
        ("a chunk longer than it says", chunked("2\r\nhalf\r\n0\r\n\r\n"), true),
        ("a chunk's extension without end", chunked(&format!("4;{}", "x".repeat(1 << 20))), true),
        ("trailers without end", chunked(&format!("0\r\n{}", "x: y\r\n".repeat(1 << 18))), true),
    ]
}

/// Answers whose bodies are malformed from their first byte.
fn answers_without_a_body() -> Vec<(&'static str, String)> {
    let head = |rest: &str| format!("HTTP/1.1 201 Created\r\nx-made-up: 1\r\n{rest}");
    vec![
        ("a first chunk of no size", head("transfer-encoding: chunked\r\n\r\nzz\r\nhalf\r\n")),
        ("a first chunk beyond numbers", head("transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n")),
        ("closed before the first chunk", head("transfer-encoding: chunked\r\n\r\n")),
        ("closed before the first byte", head("content-length: 10\r\n\r\n")),
    ]
}

#[tokio::test(start_paused = true)]
async fn the_status_of_an_answer_arrives_though_its_body_is_malformed_from_the_first_byte() {
    for (what, said) in answers_without_a_body() {
        let world = World::making()
            .config(LIMITS)
            .api(saying_at_first(said.clone(), false))
            .await_first_token()
            .await;
        let heard = world.heard_by("HTTP/1.1", USERS).await;
        assert!(heard.starts_with("HTTP/1.1 201 Created\r\n"), "{what}: {heard:?}");
        assert!(heard.contains("x-made-up: 1\r\n") && !heard.ends_with("0\r\n\r\n"), "{what}: {heard:?}");

        let world = World::making()
            .config(LIMITS)
            .api(saying_at_first(said.clone(), false))
            .await_first_token()
            .await;
        let mut caller = world.connect_by_http2().await;
        let answer = caller.send_request(request(Method::GET, USERS, "")).await.unwrap();
        assert_eq!(
            (answer.status(), &answer.headers()["x-made-up"]),
            (StatusCode::CREATED, &"1".parse().unwrap())
        );
        assert!(answer.into_body().collect().await.is_err(), "{what}");

        let world =
            World::making().config(LIMITS).api(saying_at_first(said, false)).await_first_token().await;
        let shared = world.get(ASSOCIATED_USERS_COUNT).await;
        assert_eq!(
            (shared.status.as_u16(), shared.code().as_str()),
            (502, "SIDECAR_CONNECTION_BROKEN"),
            "{what}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_broken_off_towards_a_caller_of_http1() {
    for (what, said, stays) in broken_answers() {
        let world =
            World::making().config(LIMITS).api(saying_at_first(said, stays)).await_first_token().await;

        let heard = world.heard_by("HTTP/1.1", USERS).await;

        let (headers, body) = heard.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{what}: {heard:?}"));
        assert!(headers.starts_with("HTTP/1.1 200"), "{what}: {headers}");
        if headers.contains("content-length: 10") {
            assert_eq!(body, "half", "{what}");
        } else {
            assert!(
                body.starts_with("4\r\nhalf\r\n") && !body.ends_with("\r\n0\r\n\r\n"),
                "{what}: {body:?}"
            );
        }
        world.get(USERS).await.assert_status(200);
        let log = world.log();
        assert!(log.lines().next().is_some_and(|line| line.contains(r#""cut_short":true"#)), "{what}: {log}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_a_reset_stream_of_http2() {
    for (what, said, stays) in broken_answers() {
        let world =
            World::making().config(LIMITS).api(saying_at_first(said, stays)).await_first_token().await;
        let mut caller = world.connect_by_http2().await;

        let answer = caller.send_request(request(Method::GET, USERS, "")).await.unwrap();
        let error = answer.into_body().collect().await.unwrap_err();

        let reset = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<h2::Error>());
        assert!(reset.is_some_and(|reset| reset.is_reset() && reset.is_remote()), "{what}: {error:?}");
        let answer = caller.send_request(request(Method::GET, USERS, "")).await.unwrap();
        assert_eq!(
            answer.into_body().collect().await.unwrap().to_bytes(),
            "{}",
            "{what}: the connection goes on"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_refused_to_all_who_wait_for_it_and_never_kept() {
    for (what, said, stays) in broken_answers() {
        let world =
            World::making().config(LIMITS).api(saying_at_first(said, stays)).await_first_token().await;

        let answers = world.get_at_once(ASSOCIATED_USERS_COUNT, 20).await;

        let code =
            if what.starts_with("silent") { "SIDECAR_IDLE_TIMEOUT" } else { "SIDECAR_CONNECTION_BROKEN" };
        assert!(answers.iter().all(|answer| answer.code() == code), "{what}: {:?}", answers[0]);
        let next = world.get(ASSOCIATED_USERS_COUNT).await;
        assert_eq!(
            (next.cache_status(), next.text()),
            ("zoho-sidecar; fwd=uri-miss; stored", "{}"),
            "{what}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_answer_unasked_is_nobodys_answer() {
    const POISON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for pause in [None, Some(Duration::from_secs(1))] {
        let script = at_first(move |mut peer| async move {
            match pause {
                None => drop(peer.say(format!("{FINE}{POISON}")).await),
                Some(pause) => {
                    peer.say(FINE).await;
                    tokio::time::sleep(pause).await;
                    peer.say(POISON).await;
                }
            }
            behave(peer).await;
        });
        let world = World::making().api(script).await_first_token().await;
        let first = world.get(USERS).await;
        world.passes(pause.unwrap_or_default() * 2).await;
        let second = world.get(USERS).await;
        assert_eq!((first.text(), second.text()), ("{}", "{}"), "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn chunks_count_where_a_length_contradicts_them() {
    let said =
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let world = World::making().api(saying_at_first(said, true)).await_first_token().await;
    let heard = world.heard_by("HTTP/1.1", USERS).await;
    let (headers, body) = heard.split_once("\r\n\r\n").unwrap();
    assert!(!headers.contains("content-length"), "{headers}");
    assert_eq!(body, "2\r\n{}\r\n0\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn gzip_that_is_none_passes_untouched() {
    let said = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope";
    for path in [USERS, ASSOCIATED_USERS_COUNT] {
        let world = World::making().api(saying_at_first(said, true)).await_first_token().await;
        let answer = world.get_with(path, &[("accept-encoding", "gzip")]).await;
        assert_eq!((answer.header("content-encoding"), answer.text()), ("gzip", "nope"));
    }
}

/// One byte, and another every so often.
fn dripping(every: Duration) -> impl Script {
    at_first(move |mut peer| async move {
        peer.say("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await;
        while peer.say("x").await {
            tokio::time::sleep(every).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn five_hundred_who_wait_for_one_drip_are_told_when_the_fetch_is_over() {
    let script = dripping(Duration::from_secs(59));
    let world = World::making().api(script).await_first_token().await;
    let began = world.now();
    let (waited, ()) = tokio::join!(world.get_at_once(ASSOCIATED_USERS_COUNT, 500), async {
        world.passes(Duration::from_secs(1)).await;
        world.get(USERS).await.assert_status(200);
    });
    assert!(waited.iter().all(|answer| answer.status == 504 && answer.code() == "SIDECAR_TOTAL_TIMEOUT"));
    assert_eq!((world.now() - began).as_secs(), 120, "cache.fetch_timeout");
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn a_drip_that_is_passed_on_ends_with_the_call() {
    let world = World::making().api(dripping(Duration::from_secs(59))).await_first_token().await;
    let began = world.now();
    let heard = world.heard_by("HTTP/1.1", USERS).await;
    assert_eq!((world.now() - began).as_secs(), 30 * 60, "upstream.total_timeout");
    assert!(heard.ends_with(&format!("\r\n\r\n{}", "x".repeat(31))), "{heard}");
}

/// Interim answers, none of which is the answer.
const INTERIM: [u16; 4] = [100, 102, 103, 199];

#[tokio::test(start_paused = true)]
async fn interim_answers_of_http1_are_consumed_and_never_end_the_exchange() {
    let interim =
        INTERIM.map(|status| format!("HTTP/1.1 {status} Made Up\r\nlink: </made-up>\r\n\r\n")).concat();
    for rest in [interim.clone(), String::new()] {
        let script = saying_at_first(format!("{interim}{rest}{FINE}"), true);
        let world = World::making().api(script).await_first_token().await;
        for path in [ASSOCIATED_USERS_COUNT, USERS] {
            let answer = world.get(path).await;
            assert_eq!((answer.status.as_u16(), answer.text(), answer.header("link")), (200, "{}", ""));
        }
    }
    // An upload, whose body is sent whatever comes first.
    let script = |_, mut peer: Peer| -> BoxFuture<()> {
        Box::pin(async move {
            while peer.head().await.is_some() {
                peer.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n").await;
                let mut body = [0; 5];
                peer.0.read_exact(&mut body).await.unwrap();
                assert_eq!(&body, b"hello");
                peer.say(FINE).await;
            }
        })
    };
    let world = World::making().api(script).await_first_token().await;
    world.send(request(Method::POST, "/crm/v8/Leads", "hello")).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_protocol_that_nobody_asked_for_is_no_answer() {
    let script = saying_at_first(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: made-up\r\nconnection: upgrade\r\n\r\n",
        false,
    );
    let world = World::making().api(script).await_first_token().await;
    let answer = world.get(USERS).await;
    assert_eq!((answer.status.as_u16(), &*answer.code()), (502, "SIDECAR_CONNECTION_BROKEN"));
    world.get(USERS).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn interim_answers_of_http2_are_consumed_and_never_end_the_exchange() {
    let script = |_, mut peer: Peer| -> BoxFuture<()> {
        Box::pin(async move {
            peer.say(frame(SETTINGS, 0, 0, &[])).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            for status in INTERIM {
                let head = block(&[(":status", &status.to_string()), ("link", "</made-up>")]);
                peer.say(frame(HEADERS, END_HEADERS, 1, &head)).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            peer.say(frame(HEADERS, END_HEADERS, 1, &[0x88])).await;
            peer.say(frame(DATA, END_STREAM, 1, b"whole")).await;
            peer.stays().await;
        })
    };
    for path in [USERS, ASSOCIATED_USERS_COUNT] {
        let world = World::making().api_by_http2(script).await_first_token().await;
        let answer = world.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text(), answer.header("link")),
            (200, "whole", ""),
            "{path}"
        );
    }
}

/// An answer of HTTP/2 to the first request on a connection: status 200, these bytes of body, and then this.
fn answering_by_http2(body: &'static str, flags: u8, then: Vec<u8>) -> impl Script {
    let then = Arc::new(then);
    move |_, mut peer| {
        let then = then.clone();
        Box::pin(async move {
            peer.say(frame(SETTINGS, 0, 0, &[])).await;
            // Long enough for the request to be here; what it asks for does not matter.
            tokio::time::sleep(Duration::from_secs(1)).await;
            // 0x88 is `:status: 200` (RFC 7541 appendix A).
            peer.say(frame(HEADERS, END_HEADERS, 1, &[0x88])).await;
            peer.say(frame(DATA, flags, 1, body.as_bytes())).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            peer.say(&*then).await;
            peer.stays().await;
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_http2_that_is_closed_before_its_end_is_no_whole_answer() {
    let goaway = |reason: [u8; 4]| frame(GOAWAY, 0, 0, &[[0; 4], reason].concat());
    for (what, then) in [
        ("RST_STREAM, NO_ERROR", frame(RST_STREAM, 0, 1, &NO_ERROR)),
        ("RST_STREAM, CANCEL", frame(RST_STREAM, 0, 1, &CANCEL)),
        ("RST_STREAM, INTERNAL_ERROR", frame(RST_STREAM, 0, 1, &INTERNAL_ERROR)),
        ("GOAWAY, NO_ERROR", goaway(NO_ERROR)),
        ("GOAWAY, INTERNAL_ERROR", goaway(INTERNAL_ERROR)),
        ("a frame too long", frame(DATA, 0, 1, &vec![0; 1 << 20])),
    ] {
        let half =
            || World::making().config(LIMITS).api_by_http2(answering_by_http2("half", 0, then.clone()));
        let world = half().await_first_token().await;
        let shared = world.get(ASSOCIATED_USERS_COUNT).await;
        assert_eq!(shared.code(), "SIDECAR_CONNECTION_BROKEN", "{what}: {shared:?}");

        let heard = half().await_first_token().await.heard_by("HTTP/1.1", USERS).await;

        assert!(
            heard.starts_with("HTTP/1.1 200") && heard.ends_with("\r\n\r\n4\r\nhalf\r\n"),
            "{what}: {heard}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_http2_that_is_closed_after_its_end_is_a_whole_answer() {
    let script = answering_by_http2("whole", END_STREAM, frame(RST_STREAM, 0, 1, &NO_ERROR));
    let world = World::making().config(LIMITS).api_by_http2(script).await_first_token().await;
    let answer = world.get(USERS).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "whole"));
}

#[tokio::test(start_paused = true)]
async fn frames_of_http2_without_end_are_no_answer() {
    let floods = [
        ("CONTINUATION", frame(HEADERS, 0, 1, &[0x88]), frame(CONTINUATION, 0, 1, &header("x-more", "1"))),
        ("interim answers", Vec::new(), frame(HEADERS, END_HEADERS, 1, &header(":status", "103"))),
        ("SETTINGS", Vec::new(), frame(SETTINGS, 0, 0, &[])),
        ("PING", Vec::new(), frame(PING, 0, 0, &[0; 8])),
        ("nothing", Vec::new(), Vec::new()),
    ];
    for (what, first, again) in floods {
        let again = Arc::new(again);
        let script = move |_, mut peer: Peer| -> BoxFuture<()> {
            let (first, again) = (first.clone(), again.clone());
            Box::pin(async move {
                peer.say([frame(SETTINGS, 0, 0, &[]), first].concat()).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                let (mut hears, mut says) = tokio::io::split(peer.0);
                let reading = tokio::spawn(async move { hears.read_to_end(&mut Vec::new()).await });
                while !again.is_empty() && says.write_all(&again).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let _ = reading.await;
            })
        };
        let world = World::making().config(LIMITS).api_by_http2(script).await_first_token().await;
        let began = world.now();
        let refused = world.get(USERS).await;
        assert!(matches!(refused.status.as_u16(), 502 | 504), "{what}: {refused:?}");
        assert!((world.now() - began).as_secs() <= 5, "{what}");
    }
}
