//! Answers that the sidecar makes itself: in Zoho's shape, with a code, a remedy and a request id.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use zoho_sidecar::emulator::{Fault, Target};
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::transport::TransportError;
use zoho_sidecar::proxy::refusal::Refusal;
use zoho_sidecar::upstream::CallError;

use crate::world::{USERS, World, request, with_headers};

#[tokio::test(start_paused = true)]
async fn a_refusal_has_zohos_shape() {
    let world = World::shipped().await;
    let answer = world.get_with("/crm/../x", &[("x-request-id", "id-1")]).await;
    answer.assert_status(400);
    assert_eq!(answer.header("content-type"), "application/json;charset=UTF-8");
    assert_eq!(answer.header("proxy-status"), "zoho-sidecar; error=http_request_error");
    insta::assert_snapshot!(answer.text().trim_end(), @r#"{"code":"SIDECAR_AMBIGUOUS_REQUEST","details":{"remedy":"send the request in its plain form","request_id":"id-1"},"message":"The request is ambiguous: its path has a dot segment","status":"error"}"#);
}

#[tokio::test(start_paused = true)]
async fn the_same_comes_as_a_problem_document_to_those_who_ask() {
    let world = World::shipped().await;
    let headers = [("accept", "application/json, application/problem+json"), ("x-request-id", "id-1")];
    let answer = world.get_with("/crm/../x", &headers).await;
    assert_eq!(answer.header("content-type"), "application/problem+json");
    insta::assert_snapshot!(answer.text().trim_end(), @r#"{"code":"SIDECAR_AMBIGUOUS_REQUEST","remedy":"send the request in its plain form","request_id":"id-1","status":400,"title":"The request is ambiguous: its path has a dot segment","type":"urn:zoho-sidecar:sidecar_ambiguous_request"}"#);
}

#[tokio::test]
async fn no_connection_left_to_zoho_is_a_refusal_of_its_own() {
    let error = CallError::Transport(TransportError::TooManyConnections);
    assert_eq!((error.reason(), error.may_have_happened()), ("too_many_connections", false));
    let id = HeaderValue::from_static("id-1");
    let answer = Refusal::from(&error).response(&id, &HeaderMap::new(), false);
    assert_eq!(answer.status(), 503);
    let header = |name: &str| answer.headers()[name].to_str().unwrap();
    assert_eq!(header("proxy-status"), "zoho-sidecar; error=connection_limit_reached");
    assert_eq!(header("retry-after"), "1");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    insta::assert_snapshot!(String::from_utf8_lossy(&body).trim_end(), @r#"{"code":"SIDECAR_TOO_MANY_CONNECTIONS","details":{"remedy":"wait as Retry-After says; if it lasts, raise upstream.max_connections","request_id":"id-1"},"message":"There are as many connections to Zoho as the sidecar may have; the request was not sent","status":"error"}"#);
}

#[test]
fn retry_after_is_rounded_up_to_whole_seconds() {
    let id = HeaderValue::from_static("id-1");
    for (milliseconds, seconds) in [(0, "0"), (1, "1"), (999, "1"), (1000, "1"), (1001, "2"), (59_500, "60")]
    {
        let refusal = Refusal::TokenRejected(Duration::from_millis(milliseconds));
        let response = refusal.response(&id, &HeaderMap::new(), false);
        assert_eq!(response.headers()["retry-after"], seconds, "{milliseconds} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn ambiguous_requests_touch_neither_cache_nor_credential() {
    let world = World::shipped().await;
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    for asked in [
        request(Method::GET, "/crm/v8/%2e%2e/users", ""),
        request(Method::PUT, "/crm/v8/users%2f1", ""),
        request(Method::GET, "/crm/v8/users/%00", ""),
        request(Method::GET, "*", ""),
        request(Method::GET, "http://www.zohoapis.com/crm/v8/users", ""),
        request(Method::CONNECT, "www.zohoapis.com:443", ""),
        request(Method::TRACE, "/crm/v8/users", ""),
        with_headers(request(Method::GET, USERS, ""), &upgrade),
        with_headers(request(Method::GET, USERS, ""), &[("host", "another")]),
    ] {
        let what = format!("{} {}", asked.method(), asked.uri());
        let answer = world.send(asked).await;
        assert_eq!(answer.status, 400, "{what}");
        assert!(answer.code().starts_with("SIDECAR_"), "{what}");
    }
    assert_eq!(world.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_path_too_long_is_refused_before_anything_else() {
    let world = World::with("[server]\nmax_uri_bytes = \"1KiB\"\n").await;
    let answer = world.get(&format!("/crm/v8/users?x={}", "y".repeat(1024))).await;
    answer.assert_status(414);
    assert_eq!(answer.code(), "SIDECAR_URI_TOO_LONG");
}

#[tokio::test(start_paused = true)]
async fn our_outage_is_never_a_401() {
    let world = World::shipped().await;
    world.acme().revoke_refresh_token();
    world.acme().kill_access_tokens();
    for _ in 0..3 {
        world.get(USERS).await.assert_status(503);
        world.passes(Duration::from_secs(30)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn zohos_own_errors_pass_untouched() {
    let world = World::shipped().await;
    for (status, body) in
        [(404, "{\"code\":\"X\"}\n"), (429, "{\"code\":\"TOO_MANY_REQUESTS\"}\n"), (500, "<html>")]
    {
        let fault = Fault::Status { status, body: body.to_owned(), headers: Vec::new() };
        world.zoho().script().next(Target::Api, fault);
        let answer = world.get(USERS).await;
        answer.assert_status(status);
        assert_eq!(answer.text(), body);
        assert_eq!(answer.header("proxy-status"), "");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_passed_on_and_never_followed() {
    let world = World::shipped().await;
    world.zoho().script().next(Target::Api, Fault::Redirect("https://evil.example/".into()));
    let answer = world.get(USERS).await;
    answer.assert_status(302);
    assert_eq!(answer.header("location"), "https://evil.example/");
    assert_eq!(world.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_has_the_length_of_the_refused_get() {
    let world = World::shipped().await;
    let head = world.head("/crm/../x").await;
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), world.get("/crm/../x").await.body.len().to_string());
}

#[tokio::test(start_paused = true)]
async fn refusals_are_counted_and_logged_by_code() {
    let world = World::shipped().await;
    world.get("/crm/../x").await;
    assert_eq!(world.metric(r#"zoho_sidecar_refusals_total{code="SIDECAR_AMBIGUOUS_REQUEST"}"#), Some(1.0));
    let log = world.log();
    assert!(log.contains(r#""refusal":"SIDECAR_AMBIGUOUS_REQUEST""#), "{log}");
}

/// A long body that counts its pieces as they are read.
struct Pieces(Arc<AtomicUsize>);

const PIECES: usize = 32;

impl http_body::Body for Pieces {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        let read = self.0.fetch_add(1, Ordering::Relaxed);
        let piece = || Ok(http_body::Frame::data(bytes::Bytes::from(vec![0; 32 * 1024])));
        std::task::Poll::Ready((read < PIECES).then(piece))
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_read_to_its_end_before_it_is_refused() {
    let world = World::making().fault(Target::Mints, Fault::Refuse).start().await;
    world.zoho().script().always(Target::Mints, Fault::Refuse);
    let read = Arc::default();
    for path in ["/crm/v8/files", "/tenants/nobody/crm/v8/files"] {
        let mut upload = request(Method::POST, path, "");
        *upload.body_mut() = Body::stream(Pieces(Arc::clone(&read)));
        let answer = world.send(upload).await;
        assert!(answer.code().starts_with("SIDECAR_T"), "{}", answer.code());
        let pieces = read.swap(0, Ordering::Relaxed);
        assert!(pieces >= PIECES, "{pieces} for {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_waits_for_leave_is_refused_unread() {
    let world = World::shipped().await;
    let read = Arc::default();
    let mut upload = request(Method::POST, "/tenants/nobody/crm/v8/files", "");
    *upload.body_mut() = Body::stream(Pieces(Arc::clone(&read)));
    world.send(with_headers(upload, &[("expect", "100-continue")])).await.assert_status(404);
    assert_eq!(read.load(Ordering::Relaxed), 0);
}
