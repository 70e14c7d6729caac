//! Whoever is not known as a caller spends nothing that known callers need.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body as HttpBody, Frame};
use zoho_sidecar::net::body::{Body, BoxError};

use crate::frames::{self, *};
use crate::wire::Peer;
use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World, request, with_headers};

/// A made-up token, and `printf %s TOKEN | sha256sum` of it.
const BILLING: &str = "made-up-billing-token";
const CALLERS: &str = "[callers.billing]\n\
    token = \"sha256:181bf52ad7827239d0f536cd2fadfbbf273134a6018a52ab0cfc84ab8ad1ae36\"\n";
/// Few enough to be used up by a test.
const FEW: &str =
    "[admission]\nmax_requests = 20\nunidentified_requests = 10\nunidentified_timeout = \"10s\"\n";

const TOKEN: &str = "/oauth/v2/token";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn world() -> World {
    World::with(&format!("{CALLERS}{FEW}")).await
}

/// A body that begins with these bytes and never ends.
struct Unfinished(Option<Bytes>);

impl HttpBody for Unfinished {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
    }
}

fn unfinished(method: Method, path: &str, begins: &'static str) -> Request<Body> {
    let mut asked = with_headers(request(method, path, ""), &[FORM]);
    *asked.body_mut() = Body::stream(Unfinished(Some(Bytes::from_static(begins.as_bytes()))));
    asked
}

/// What an SDK sends whose refresh token is the caller's own token.
fn sdk() -> Request<Body> {
    let form = format!("refresh_token={BILLING}&client_id=1000.MADEUP&grant_type=refresh_token");
    with_headers(request(Method::POST, TOKEN, form), &[FORM])
}

async fn assert_callers_are_served(world: &World, what: &str) {
    let known = ("authorization", &*format!("Bearer {BILLING}"));
    for path in [USERS, ASSOCIATED_USERS_COUNT] {
        let answer = world.get_with(path, &[known]).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
    }
    let token = world.send(sdk()).await;
    assert_eq!((token.status.as_u16(), &token.json()["access_token"]), (200, &BILLING.into()), "{what}");
}

#[tokio::test(start_paused = true)]
async fn unfinished_requests_of_strangers_take_nothing_from_known_callers() {
    for (method, path) in [
        (Method::POST, TOKEN),
        (Method::POST, "/oauth/v2/token/revoke"),
        (Method::PUT, "/oauth/made/up"),
        (Method::POST, "/tenants/acme/oauth/v2/token"),
        (Method::POST, "/crm/v8/Leads"),
        (Method::GET, ASSOCIATED_USERS_COUNT),
        (Method::OPTIONS, "*"),
        (Method::OPTIONS, "/crm/v8/Leads"),
        (Method::from_bytes(b"BREW").unwrap(), "/crm/v8/Leads"),
        (Method::POST, "/tenants/nobody/crm/v8/Leads"),
    ] {
        let world = world().await;
        let what = format!("{method} {path}");
        let begun = |_| world.begin(unfinished(method.clone(), path, "grant_type="));
        let asked: Vec<_> = (0..100).map(begun).collect();
        world.settles().await;
        assert_callers_are_served(&world, &what).await;
        let wait = asked.iter().filter(|asked| !asked.is_finished()).count();
        assert!(wait <= 10, "{what}: {wait} wait");
        // Those that wait are over when their time is.
        world.passes(Duration::from_secs(11)).await;
        assert!(asked.iter().all(tokio::task::JoinHandle::is_finished), "{what}");
        for answer in asked {
            let status = answer.await.unwrap().status.as_u16();
            assert!((400..500).contains(&status), "{what}: {status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_that_waits_longest_makes_room_and_learns_why() {
    let world = world().await;
    let first = world.begin(unfinished(Method::POST, TOKEN, "grant_type="));
    world.passes(Duration::from_secs(1)).await;
    let others: Vec<_> =
        (0..10).map(|_| world.begin(unfinished(Method::POST, TOKEN, "grant_type="))).collect();
    world.settles().await;
    let answer = first.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.code()), (429, "SIDECAR_TOO_MANY_CALLS".into()));
    assert_eq!(answer.header("retry-after"), "1");
    assert!(others.iter().all(|other| !other.is_finished()));
    world.passes(Duration::from_secs(10)).await;
    for other in others {
        let answer = other.await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.code()), (408, "SIDECAR_REQUEST_STALLED".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn forms_of_strangers_are_bounded_in_bytes() {
    let config = format!("{CALLERS}[admission]\nunidentified_bytes = \"100KiB\"\n");
    let world = World::with(&config).await;
    // Each may become 16 KiB long, and is kept with its head.
    let asked: Vec<_> =
        (0..50).map(|_| world.begin(unfinished(Method::POST, TOKEN, "grant_type="))).collect();
    world.settles().await;
    let wait = asked.iter().filter(|asked| !asked.is_finished()).count();
    assert!((4..=6).contains(&wait), "{wait}");
    assert_callers_are_served(&world, "forms").await;

    let long = with_headers(request(Method::POST, TOKEN, "a".repeat(16 * 1024 + 1)), &[FORM]);
    assert_eq!(world.send(long).await.code(), "SIDECAR_FORM_TOO_LONG");
}

#[tokio::test(start_paused = true)]
async fn without_callers_everybody_is_known() {
    let world = World::with(FEW).await;
    let asked: Vec<_> =
        (0..15).map(|_| world.begin(unfinished(Method::POST, TOKEN, "grant_type="))).collect();
    world.passes(Duration::from_secs(20)).await;
    assert!(asked.iter().all(|asked| !asked.is_finished()), "max_requests and upstream.idle_timeout hold");
}

#[tokio::test(start_paused = true)]
async fn bodies_of_known_callers_that_are_refused_are_bounded_like_their_requests() {
    let world = World::with(FEW).await;
    let begun = |_| world.begin(unfinished(Method::from_bytes(b"BREW").unwrap(), "/crm/v8/Leads", "x"));
    let asked: Vec<_> = (0..100).map(begun).collect();
    world.settles().await;
    let wait = asked.iter().filter(|asked| !asked.is_finished()).count();
    assert_eq!(wait, 20);
}

/// Unfinished requests over HTTP/2: 200 streams on each of these connections.
async fn flood_by_http2(world: &World, connections: usize) -> Vec<frames::Caller<tokio::io::DuplexStream>> {
    let mut open = Vec::new();
    for _ in 0..connections {
        let caller = frames::Caller::begin(world.connect().0, &[]).await;
        for stream in (1..400).step_by(2) {
            let head = frame(HEADERS, END_HEADERS, stream, &request_headers("POST", TOKEN));
            caller.say([head, frame(DATA, 0, stream, b"grant_type=")].concat()).await;
        }
        open.push(caller);
    }
    // Time stands still until there is nothing left to do.
    world.passes(Duration::from_millis(1)).await;
    open
}

#[tokio::test(start_paused = true)]
async fn streams_of_strangers_take_nothing_from_known_callers() {
    let world = World::with(CALLERS).await;
    let open = flood_by_http2(&world, 52).await;
    assert_callers_are_served(&world, "10,400 streams").await;
    assert_eq!(world.metric("zoho_sidecar_refusals_total{code=\"SIDECAR_TOO_MANY_CALLS\"}"), Some(10_300.0));
    drop(open);
}

#[tokio::test(start_paused = true)]
async fn connections_of_strangers_over_http1_take_nothing_from_known_callers() {
    let world = world().await;
    let head = "POST /oauth/v2/token HTTP/1.1\r\nhost: sidecar\r\ncontent-length: 60000\r\n\r\ngrant_type=";
    let mut open: Vec<Peer> = Vec::new();
    for _ in 0..100 {
        let mut peer = world.connect();
        peer.say(head).await;
        open.push(peer);
    }
    world.settles().await;
    assert_callers_are_served(&world, "connections").await;
    let first = open[0].answer().await.unwrap();
    assert!(first.starts_with("HTTP/1.1 413") || first.starts_with("HTTP/1.1 429"), "{first}");
}
