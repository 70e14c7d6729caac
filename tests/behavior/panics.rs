//! A panic is a defect: one request suffers from it, callers are told so, and the process goes on.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body as HttpBody, Frame};
use zoho_sidecar::admin::{Access, Admin, serve_connection};
use zoho_sidecar::clock::Clock;
use zoho_sidecar::config::{self, Source};
use zoho_sidecar::emulator::Emulator;
use zoho_sidecar::net::body::{Body, BoxError};
use zoho_sidecar::net::transport::{BoxFuture, Transport, TransportError};
use zoho_sidecar::supervisor::{Importance, Supervisor};
use zoho_sidecar::telemetry::metrics::Metrics;

use crate::wire::Peer;
use crate::world::{ASSOCIATED_USERS_COUNT, Answer, USERS, World, request, with_headers};

/// Where something panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spot {
    /// Where a request is handed to the network.
    Sending,
    /// Where its answer is awaited.
    Waiting,
    /// In the body of its answer, after the first bytes.
    Body,
}

/// The emulator behind a network that panics when it is told to.
#[derive(Clone)]
struct Panicking {
    emulator: Emulator,
    plan: Plan,
}

/// Requests to this path panic here, so many times.
type Defect = (&'static str, Spot, usize);

/// Which requests panic.
#[derive(Clone, Default)]
struct Plan {
    next: Arc<Mutex<Option<Defect>>>,
    panicked: Arc<AtomicUsize>,
}

impl Plan {
    fn panics(&self, path: &'static str, spot: Spot, times: usize) {
        *self.next.lock().unwrap() = Some((path, spot, times));
    }

    fn take(&self, path: &str) -> Option<Spot> {
        let mut next = self.next.lock().unwrap();
        let (planned, spot, times) = next.as_mut()?;
        if !path.ends_with(*planned) || *times == 0 {
            return None;
        }
        *times -= 1;
        self.panicked.fetch_add(1, Ordering::SeqCst);
        Some(*spot)
    }
}

impl Transport for Panicking {
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        let spot = self.plan.take(request.uri().path());
        assert!(spot != Some(Spot::Sending), "a defect, on purpose");
        let emulator = self.emulator.clone();
        Box::pin(async move {
            let answer = emulator.send(request).await;
            assert!(spot != Some(Spot::Waiting), "a defect, on purpose");
            let breaks = |response: Response<Body>| response.map(|_| Body::stream(Breaks::default()));
            if spot == Some(Spot::Body) { answer.map(breaks) } else { answer }
        })
    }
}

/// A body that panics a second after its first bytes.
#[derive(Default)]
struct Breaks {
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl HttpBody for Breaks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.pause {
            Some(pause) => {
                std::task::ready!(pause.as_mut().poll(cx));
                panic!("a defect, on purpose")
            }
            pause => {
                *pause = Some(Box::pin(tokio::time::sleep(Duration::from_secs(1))));
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"first bytes")))))
            }
        }
    }
}

/// A body that panics as soon as anybody looks whether there is more of it; but only once.
#[derive(Default)]
struct Fragile(AtomicBool);

impl HttpBody for Fragile {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        assert!(self.0.swap(true, Ordering::SeqCst), "a defect, on purpose");
        true
    }
}

async fn world_with(config: &str) -> (World, Plan) {
    let plan = Plan::default();
    let around = plan.clone();
    let making = World::making().config(config);
    let making = making.around(move |emulator| Arc::new(Panicking { emulator, plan: around }));
    (making.await_first_token().await, plan)
}

async fn world() -> (World, Plan) {
    world_with("").await
}

#[track_caller]
fn assert_internal(answer: &Answer) {
    answer.assert_status(500);
    assert_eq!(answer.code(), "SIDECAR_INTERNAL");
    assert_eq!(answer.header("x-request-id"), "mine");
    assert!(!answer.text().contains("on purpose"), "what the panic said is for the log: {}", answer.text());
}

fn asking(path: &str) -> Request<Body> {
    with_headers(request(Method::GET, path, ""), &[("x-request-id", "mine")])
}

fn line_of(log: &str, id: &str) -> serde_json::Value {
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&format!(r#""{id}""#))).collect();
    assert_eq!(lines.len(), 1, "one line each: {log}");
    serde_json::from_str(lines[0]).unwrap()
}

#[track_caller]
fn assert_line(log: &str) {
    let line = line_of(log, "mine");
    assert_eq!((&line["status"], &line["refusal"]), (&500.into(), &"SIDECAR_INTERNAL".into()), "{line}");
    assert_eq!(line["cache"], "refused", "{line}");
}

const INTERNAL: &str = r#"zoho_sidecar_refusals_total{code="SIDECAR_INTERNAL"}"#;

#[tokio::test(start_paused = true)]
async fn a_panic_before_a_request_is_sent_on_is_an_internal_refusal() {
    let (world, _) = world().await;
    let request = asking(ASSOCIATED_USERS_COUNT).map(|_| Body::stream(Fragile::default()));
    assert_internal(&world.send(request).await);
    assert_eq!((world.metric(INTERNAL), world.calls()), (Some(1.0), 0));
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    assert_line(&world.log());
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_request_is_forwarded_is_an_internal_refusal() {
    for spot in [Spot::Sending, Spot::Waiting] {
        let (world, plan) = world().await;
        plan.panics("/users", spot, 1);
        assert_internal(&world.send(asking(USERS)).await);
        assert_eq!(world.metric(INTERNAL), Some(1.0), "{spot:?}");
        world.get(USERS).await.assert_status(200);
        assert_line(&world.log());
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_who_waits_for_a_shared_fetch_that_panics_is_told_at_once() {
    for spot in [Spot::Sending, Spot::Waiting, Spot::Body] {
        let (world, plan) = world().await;
        plan.panics("/associated_users_count", spot, 1);
        let began = world.now();
        for answer in world.get_at_once(ASSOCIATED_USERS_COUNT, 20).await {
            answer.assert_status(500);
            assert_eq!(answer.code(), "SIDECAR_INTERNAL", "{spot:?}");
        }
        assert!(world.now() - began < Duration::from_secs(5), "{spot:?}: {:?}", world.now() - began);
        assert_eq!(world.metric(INTERNAL), Some(20.0), "{spot:?}");
        world.passes(Duration::from_secs(60)).await;
        world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_stands_in_for_a_fetch_that_panics() {
    let (world, plan) = world().await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    world.passes(Duration::from_secs(400)).await;
    plan.panics("/associated_users_count", Spot::Waiting, usize::MAX);
    world
        .get(ASSOCIATED_USERS_COUNT)
        .await
        .assert_status(200)
        .assert_cache("zoho-sidecar; hit; ttl=-100; detail=stale-if-error");
    let panics = world.metric(r#"zoho_sidecar_task_panics_total{task="shared-fetch"}"#);
    assert_eq!(panics, Some(1.0), "it is logged and counted by its name");
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    assert_eq!(plan.panicked.load(Ordering::SeqCst), 1, "the next fetch waits like after any other failure");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_in_the_background_that_panics_spoils_no_hit() {
    let (world, plan) = world().await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    world.passes(Duration::from_secs(310)).await;
    plan.panics("/associated_users_count", Spot::Waiting, 1);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    world.settles().await;
    assert_eq!(plan.panicked.load(Ordering::SeqCst), 1);
    assert_eq!(world.metric(INTERNAL), None, "nobody was refused");
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_is_broken_off_and_its_line_says_so() {
    let (world, plan) = world().await;
    plan.panics("/users", Spot::Body, 1);
    let mut caller = world.connect();
    let request = format!("GET {USERS} HTTP/1.1\r\nhost: sidecar\r\nx-request-id: mine\r\n\r\n");
    caller.say(request).await;
    let heard = caller.rest().await;
    assert!(heard.starts_with("HTTP/1.1 200 OK") && heard.contains("first bytes"), "{heard}");
    assert!(!heard.ends_with("\r\n0\r\n\r\n"), "it must not look complete: {heard}");
    world.settles().await;
    let line = line_of(&world.log(), "mine");
    assert_eq!((&line["status"], &line["cut_short"]), (&200.into(), &true.into()), "{line}");
    assert_eq!(line["refusal"], "SIDECAR_INTERNAL", "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_leaves_the_other_streams_of_its_connection_alone() {
    use http_body_util::BodyExt;

    let (world, plan) = world().await;
    let mut caller = world.connect_by_http2().await;
    plan.panics("/users", Spot::Body, 1);
    let uri = |path: &str| format!("http://sidecar{path}");
    let ask = |path: &str| Request::get(uri(path)).body(Body::empty()).unwrap();
    caller.ready().await.unwrap();
    let broken = caller.send_request(ask(USERS)).await.unwrap();
    caller.ready().await.unwrap();
    let whole = caller.send_request(ask(ASSOCIATED_USERS_COUNT)).await.unwrap();
    assert_eq!((broken.status().as_u16(), whole.status().as_u16()), (200, 200));
    assert!(broken.into_body().collect().await.is_err());
    assert!(whole.into_body().collect().await.is_ok());
    caller.ready().await.unwrap();
    assert_eq!(caller.send_request(ask(USERS)).await.unwrap().status().as_u16(), 200, "and it goes on");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_token_endpoint_is_an_internal_refusal() {
    let (world, _) = world().await;
    let ask = with_headers(request(Method::POST, "/oauth/v2/token", ""), &[("x-request-id", "mine")]);
    let answer = world.send(ask.map(|_| Body::stream(Breaks::default()))).await;
    assert_internal(&answer);
    assert_eq!(world.metric(INTERNAL), Some(1.0));
    assert_line(&world.log());
}

#[tokio::test(start_paused = true)]
async fn a_mint_that_panics_is_tried_again_and_requests_wait_for_it() {
    for spot in [Spot::Sending, Spot::Waiting] {
        let plan = Plan::default();
        plan.panics("/oauth/v2/token", spot, 1);
        let around = plan.clone();
        let making = World::making()
            .around(move |emulator| Arc::new(Panicking { emulator, plan: around }))
            .unsettled();
        let world = making.start().await;
        let began = world.now();
        world.get(USERS).await.assert_status(200);
        assert_eq!(plan.panicked.load(Ordering::SeqCst), 1);
        let took = world.now() - began;
        assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&took), "{spot:?}: {took:?}");
        let restarts = world.metric(r#"zoho_sidecar_task_restarts_total{task="token-renewal/acme"}"#);
        assert_eq!(restarts, Some(1.0), "{spot:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_panics_leaves_the_living_token_and_is_made_up_for() {
    let (world, plan) = world().await;
    plan.panics("/oauth/v2/token", Spot::Waiting, 2);
    world.passes(Duration::from_mins(50)).await;
    world.get(USERS).await.assert_status(200);
    world.passes(Duration::from_mins(20)).await;
    world.get(USERS).await.assert_status(200);
    assert_eq!(plan.panicked.load(Ordering::SeqCst), 2);
    let restarts = world.metric(r#"zoho_sidecar_task_restarts_total{task="token-renewal/acme"}"#);
    assert_eq!(restarts, Some(2.0));
}

#[tokio::test(start_paused = true)]
async fn mints_that_panic_count_for_the_budget() {
    let plan = Plan::default();
    plan.panics("/oauth/v2/token", Spot::Waiting, usize::MAX);
    let around = plan.clone();
    let making =
        World::making().around(move |emulator| Arc::new(Panicking { emulator, plan: around })).unsettled();
    let world = making.start().await;
    world.passes(Duration::from_secs(5)).await;
    assert!(!world.app().tokens()[0].state().minting, "between two attempts none is under way");
    world.passes(Duration::from_mins(9)).await;
    let attempts = plan.panicked.load(Ordering::SeqCst);
    assert!((4..=6).contains(&attempts), "{attempts} in nine minutes");
    world.get(USERS).await.assert_status(503);
    assert!(world.ask_admin("/readyz").text.contains("budget_spent"), "{}", world.ask_admin("/readyz").text);
}

#[tokio::test(start_paused = true)]
async fn an_admin_page_that_panics_is_a_500_and_the_others_are_answered() {
    let tenant = "[state]\ndirectory = \"none\"\n[tenants.acme]\ndata_center = \"eu\"\nclient_id = \"1000.MADEUP\"\nclient_secret = \"made-up\"\nrefresh_token = \"1000.made-up\"\n";
    let source = Source { name: "(test)".to_owned(), text: tenant.to_owned() };
    let config = config::load_texts(&[source]).config.unwrap();
    let (metrics, clock) = (Arc::new(Metrics::new()), Clock::system());
    let supervisor = Supervisor::new(clock.clone(), metrics.tasks.clone());
    let admin = Admin::new(
        Arc::new(config.rulebook),
        Vec::new(),
        metrics.clone(),
        || panic!("a defect, on purpose"),
        Box::new(|_, _| panic!("a defect, on purpose")),
        Vec::new(),
        supervisor,
        clock,
    );
    let (asker, ours) = tokio::io::duplex(64 * 1024);
    let access = Access { token: None, is_local: true };
    tokio::spawn(serve_connection(ours, admin, access));
    let mut asker = Peer(asker);
    for (start, body, status) in [
        ("GET /metrics", "", "500"),
        ("GET /livez", "", "200"),
        ("POST /purge", r#"{"all":true}"#, "500"),
        ("GET /status", "", "500"),
        ("GET /livez", "", "200"),
    ] {
        let length = body.len();
        asker
            .say(format!("{start} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}"))
            .await;
        let answer = asker.whole_answer().await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{start}: {answer}");
        assert!(!answer.contains("on purpose"), "{answer}");
        assert!(status == "200" || answer.contains("a defect of its own"), "{answer}");
    }
    let panics = metrics.text();
    assert!(panics.contains(r#"zoho_sidecar_task_panics_total{task="admin-request"} 3"#), "{panics}");
}

#[tokio::test(start_paused = true)]
async fn a_vital_task_that_stalls_makes_livez_fail_and_another_one_is_reported_as_degraded() {
    let world = World::shipped().await;
    let supervisor = world.app().supervisor();
    let worker = supervisor.heartbeat("worker-0", Importance::Vital);
    let writer = supervisor.heartbeat("log-writer", Importance::Degrading);
    worker.beat();
    let busy = writer.busy();
    world.passes(Duration::from_secs(29)).await;
    assert_eq!(world.ask_admin("/livez").status, 200);

    world.passes(Duration::from_secs(2)).await;
    let live = world.ask_admin("/livez");
    assert_eq!((live.status.as_u16(), &live.json()["live"]), (503, &false.into()));
    assert_eq!(live.json()["stalled"], serde_json::json!([{ "task": "worker-0", "seconds": 31 }]));
    assert_eq!(world.metric(r#"zoho_sidecar_task_stalled{task="log-writer"}"#), Some(1.0));
    assert_eq!(world.metric(r#"zoho_sidecar_task_last_beat_seconds{task="worker-0"}"#), Some(31.0));

    worker.beat();
    assert_eq!(world.ask_admin("/livez").status, 200);
    let ready = world.ask_admin("/readyz");
    assert_eq!(ready.status, 200, "{}", ready.text);
    let reason = &ready.json()["reasons"][0];
    assert_eq!((&reason["reason"], &reason["task"]), (&"task_stalled".into(), &"log-writer".into()));
    drop(busy);
    assert_eq!(world.ask_admin("/readyz").json()["reasons"], serde_json::json!([]));
}
