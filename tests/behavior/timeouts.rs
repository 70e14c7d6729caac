//! Every phase of a call has its limit, and each ends in a refusal of its own.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body::Frame;
use zoho_sidecar::emulator::{Fault, Target};
use zoho_sidecar::net::body::Body;

use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World, request};

const LIMITS: &str =
    "[upstream]\nfirst_byte_timeout = \"5s\"\nidle_timeout = \"3s\"\ntotal_timeout = \"20s\"\n";

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_begin() {
    let world = World::with(LIMITS).await;
    world.zoho().script().next(Target::Api, Fault::Hang);
    let answer = world.get(USERS).await;
    answer.assert_status(504);
    assert_eq!(answer.code(), "SIDECAR_FIRST_BYTE_TIMEOUT");
    assert_eq!(answer.header("proxy-status"), "zoho-sidecar; error=http_response_timeout");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stops_coming_is_broken_off_towards_the_caller_too() {
    let world = World::with(LIMITS).await;
    world.zoho().script().next(Target::Api, Fault::DelayBody(Duration::from_secs(4)));
    let error = world.try_send(request(Method::GET, USERS, "")).await.unwrap_err();
    assert!(error.contains("stopped coming"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_shared_answer_that_stops_coming() {
    let world = World::with(LIMITS).await;
    world.zoho().script().next(Target::Api, Fault::DelayBody(Duration::from_secs(4)));
    let answer = world.get(ASSOCIATED_USERS_COUNT).await;
    answer.assert_status(504);
    assert_eq!(answer.code(), "SIDECAR_IDLE_TIMEOUT");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_drips_has_a_limit_as_a_whole() {
    let world = World::with(LIMITS).await;
    let drip = Fault::Drip { bytes: 1, every: Duration::from_secs(1) };
    world.zoho().script().next(Target::Api, drip.clone());
    let error = world.try_send(request(Method::GET, USERS, "")).await.unwrap_err();
    assert!(error.contains("longer than 20s"), "{error}");

    world.zoho().script().next(Target::Api, drip);
    let answer = world.get(ASSOCIATED_USERS_COUNT).await;
    answer.assert_status(504);
    assert_eq!(answer.code(), "SIDECAR_TOTAL_TIMEOUT");
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_within_its_limits_comes_whole() {
    let world = World::with(LIMITS).await;
    let whole = world.get(USERS).await;
    world.zoho().script().next(Target::Api, Fault::Drip { bytes: 200, every: Duration::from_secs(2) });
    assert_eq!(world.get(USERS).await.body, whole.body);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks() {
    let world = World::with(LIMITS).await;
    for (fault, status, code) in [
        (Fault::Refuse, 502, "SIDECAR_UNREACHABLE"),
        (Fault::Drop, 502, "SIDECAR_CONNECTION_BROKEN"),
        (Fault::DropAfter, 502, "SIDECAR_CONNECTION_BROKEN"),
    ] {
        world.zoho().script().next(Target::Api, fault);
        let answer = world.get(USERS).await;
        answer.assert_status(status);
        assert_eq!(answer.code(), code);
    }
}

/// A body of which a piece comes every so often, so many times; then no more if `stalls`.
fn dripping(pieces: usize, every: Duration, stalls: bool) -> Body {
    struct Drip(usize, Duration, bool, Option<std::pin::Pin<Box<tokio::time::Sleep>>>);
    impl http_body::Body for Drip {
        type Data = Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            use std::task::Poll;
            if self.0 == 0 {
                return if self.2 { Poll::Pending } else { Poll::Ready(None) };
            }
            let every = self.1;
            let sleep = self.3.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            (self.3, self.0) = (None, self.0 - 1);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; 20_000])))))
        }
    }
    Body::stream(Drip(pieces, every, stalls, None))
}

#[tokio::test(start_paused = true)]
async fn a_long_upload_is_no_slow_answer() {
    let world = World::with(LIMITS).await;
    let mut upload = request(Method::POST, "/crm/v8/__echo", "");
    *upload.body_mut() = dripping(9, Duration::from_secs(2), false);
    let answer = world.send(upload).await;
    answer.assert_status(200);
    assert_eq!(answer.json()["body_length"], 180_000);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_body_is_looked_into_has_one_limit_as_a_whole() {
    for path in ["/crm/v8/__composite_requests", "/crm/v8/Leads"] {
        let world = World::with(LIMITS).await;
        world.zoho().script().next(Target::Api, Fault::Delay(Duration::from_secs(4)));
        let began = world.now();
        let mut upload = request(Method::POST, path, "");
        *upload.body_mut() = dripping(9, Duration::from_secs(2), false);
        let answer = world.send(upload).await;
        assert_eq!(answer.code(), "SIDECAR_TOTAL_TIMEOUT", "{path}");
        assert_eq!((world.now() - began).as_secs(), 20, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_stops_sending_is_told_so() {
    let world = World::with(LIMITS).await;
    for pieces in [1, 6] {
        let mut upload = request(Method::POST, "/crm/v8/__echo", "");
        *upload.body_mut() = dripping(pieces, Duration::from_millis(10), true);
        let answer = world.send(upload).await;
        answer.assert_status(408);
        assert_eq!(answer.code(), "SIDECAR_REQUEST_STALLED", "{pieces} pieces");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_ends_its_call() {
    let world = World::shipped().await;
    world.zoho().script().next(Target::Api, Fault::Delay(Duration::from_secs(30)));
    let caller = world.begin(request(Method::POST, "/crm/v8/Leads", r#"{"data":[{"Last_Name":"Never"}]}"#));
    world.settles().await;
    caller.abort();
    world.passes(Duration::from_mins(1)).await;
    let cancelled = world.zoho().ledger().entries().pop().unwrap();
    assert_eq!((cancelled.method.as_str(), cancelled.status), ("POST", None));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_is_logged_and_counted() {
    let world = World::shipped().await;
    world.zoho().script().next(Target::Api, Fault::Delay(Duration::from_secs(30)));
    let caller = world.begin(request(Method::GET, USERS, ""));
    world.settles().await;
    caller.abort();
    world.settles().await;
    let series =
        r#"zoho_sidecar_requests_total{tenant="acme",route="pass/users",status="4xx",cache="abandoned"}"#;
    assert_eq!(world.metric(series), Some(1.0));
    let log = world.log();
    assert!(log.contains(r#""status":499,"cache":"abandoned""#), "{log}");
}

/// Answers the first call over HTTP/1.1 so long after its whole body has come, if it reads the body at all.
fn silent_after(reads: bool) -> impl crate::wire::Script {
    move |_, mut peer: crate::wire::Peer| -> zoho_sidecar::net::transport::BoxFuture<()> {
        Box::pin(async move {
            let _ = peer.head().await;
            if reads {
                peer.stays().await;
            } else {
                std::future::pending::<()>().await;
            }
        })
    }
}

const UNEQUAL: &str =
    "[upstream]\nfirst_byte_timeout = \"5s\"\nidle_timeout = \"40s\"\ntotal_timeout = \"10m\"\n";

#[tokio::test(start_paused = true)]
async fn the_time_for_an_answer_runs_from_the_last_byte_of_a_body_of_any_length() {
    for (pieces, every) in [(1, 0), (3, 0), (9, 0), (9, 3)] {
        let world = World::making().config(UNEQUAL).api(silent_after(true)).await_first_token().await;
        let began = world.now();
        let mut upload = request(Method::POST, "/crm/v8/Leads", "");
        *upload.body_mut() = dripping(pieces, Duration::from_secs(every), false);
        let answer = world.send(upload).await;
        assert_eq!(answer.code(), "SIDECAR_FIRST_BYTE_TIMEOUT", "{pieces} pieces every {every} s");
        let took = (world.now() - began).as_secs();
        assert_eq!(took, 5 + every * pieces as u64, "{pieces} pieces every {every} s");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_zoho_does_not_read_is_told_apart_from_a_caller_that_stalls() {
    const LIMITS: &str =
        "[upstream]\nfirst_byte_timeout = \"5s\"\nidle_timeout = \"10s\"\nmin_body_rate = \"0B\"\n";
    // The last piece comes when there is no room for it any more, so that nobody asks the caller for more.
    for pieces in [200, 7] {
        let world = World::making().config(LIMITS).api_by_http2(window_of_64_kib()).await_first_token().await;
        let mut upload = request(Method::POST, "/crm/v8/Leads", "");
        *upload.body_mut() = dripping(pieces, Duration::from_secs(1), true);
        let answer = world.send(upload).await;
        answer.assert_status(504);
        assert_eq!(answer.code(), "SIDECAR_UPLOAD_TIMEOUT", "{pieces} pieces");
    }
}

/// Takes requests over HTTP/2 and reads nothing of their bodies, beyond what the first window lets through.
fn window_of_64_kib() -> impl crate::wire::Script {
    |_, peer: crate::wire::Peer| -> zoho_sidecar::net::transport::BoxFuture<()> {
        Box::pin(async move {
            let mut connection = h2::server::handshake(peer.0).await.unwrap();
            let mut taken: Vec<(_, h2::server::SendResponse<Bytes>)> = Vec::new();
            while let Some(Ok(asked)) = connection.accept().await {
                taken.push(asked);
            }
        })
    }
}
