//! Pseudo-header fields are control data and no part of a trailer section (RFC 9113 section 8.1): from there they never
//! reach Zoho or a caller, over either version of HTTP.

use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use crate::frames::{self, *};
use crate::wire::Script;
use crate::world::{USERS, World};

/// A trailer section that tries to rewrite the message before it.
const TRAILERS: [Field<'_>; 4] =
    [(":status", "599"), (":path", "/evil"), (":authority", "evil.example"), ("x-late", "evil")];

fn is_clean(heard: &str) -> bool {
    ["evil", " 599", "x-late", ":path", ":status", ":authority"].iter().all(|text| !heard.contains(text))
}

#[tokio::test(start_paused = true)]
async fn pseudo_headers_in_a_callers_trailers_never_reach_zoho() {
    let each = TRAILERS.iter().map(std::slice::from_ref);
    for trailers in each.chain([&TRAILERS[..]]) {
        let (heard, mut hearing) = unbounded_channel();
        let world = World::making()
            .api(move |_, mut peer| {
                let heard = heard.clone();
                Box::pin(async move { drop(heard.send(peer.rest().await)) })
            })
            .await_first_token()
            .await;
        let caller = frames::Caller::begin(world.connect().0, &[]).await;
        caller.say(frame(HEADERS, END_HEADERS, 1, &request_headers("POST", "/crm/v8/Leads"))).await;
        // Long enough to be on its way to Zoho when the trailers come.
        caller.say([frame(DATA, 0, 1, &[b'x'; 10_000]).repeat(6), frame(DATA, 0, 1, b"end")].concat()).await;
        world.passes(Duration::from_secs(1)).await;
        caller.say(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(trailers))).await;
        world.passes(Duration::from_secs(1)).await;
        drop(caller);
        drop(world);
        let mut all = String::new();
        while let Some(one) = hearing.recv().await {
            all.push_str(&one);
        }
        assert!(is_clean(&all), "{trailers:?}: {all}");
    }
}

#[tokio::test(start_paused = true)]
async fn pseudo_headers_in_chunked_trailers_are_malformed() {
    let world = World::shipped().await;
    for (name, value) in &TRAILERS[..3] {
        let mut caller = world.connect();
        let head = "POST /crm/v8/Leads HTTP/1.1\r\nhost: sidecar\r\ntransfer-encoding: chunked\r\n\r\n";
        caller.say(format!("{head}2\r\n{{}}\r\n0\r\n{name}: {value}\r\n\r\n")).await;
        let answer = caller.rest().await;
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("SIDECAR_MALFORMED_REQUEST"),
            "{answer}"
        );
    }
    assert_eq!(world.calls(), 0);
}

/// Answers the first request on a connection of HTTP/2 by a head, a body, and these trailers.
fn ending_with(trailers: &'static [Field<'static>]) -> impl Script {
    move |_, mut peer| {
        Box::pin(async move {
            peer.say(frame(SETTINGS, 0, 0, &[])).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let head = block(&[(":status", "200"), ("content-type", "application/json")]);
            peer.say(frame(HEADERS, END_HEADERS, 1, &head)).await;
            peer.say(frame(DATA, 0, 1, b"{\"users\":[]}")).await;
            peer.say(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(trailers))).await;
            peer.stays().await;
        })
    }
}

#[tokio::test(start_paused = true)]
async fn pseudo_headers_in_zohos_trailers_never_reach_a_caller() {
    for trailers in TRAILERS.chunks(1).chain([&TRAILERS[..]]) {
        let world = World::making().api_by_http2(ending_with(trailers)).await_first_token().await;
        let heard = world.heard_by("HTTP/1.1", USERS).await;
        assert!(heard.starts_with("HTTP/1.1 200") && is_clean(&heard), "{trailers:?}: {heard}");

        let world = World::making().api_by_http2(ending_with(trailers)).await_first_token().await;
        let mut caller = frames::Caller::begin(world.connect().0, &[]).await;
        caller.say(frames::get(1, USERS)).await;
        let (mut heads, mut all) = (0, Vec::new());
        while let Some((kind, flags, stream, payload)) = caller.hear().await {
            if stream == 1 {
                heads += usize::from(kind == HEADERS);
                all.extend(payload);
                if kind == RST_STREAM || flags & END_STREAM != 0 {
                    break;
                }
            }
        }
        assert_eq!(heads, 1, "{trailers:?}");
        assert!(is_clean(&String::from_utf8_lossy(&all)), "{trailers:?}");
    }
}
