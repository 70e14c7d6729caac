//! What the sidecar answers in the place of Zoho's accounts server, so that SDKs run unchanged.

use std::time::Duration;

use http::{Method, Request};
use zoho_sidecar::emulator::{Fault, Target};
use zoho_sidecar::net::body::Body;

use crate::world::{Answer, USERS, World, request, with_headers};

const TOKEN: &str = "/oauth/v2/token";
const REFRESH: &str = "refresh_token=1000.made-up-refresh&client_id=1000.MADEUP&client_secret=made-up-secret\
                       &grant_type=refresh_token";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn by_form(path: &str, form: &str) -> Request<Body> {
    with_headers(request(Method::POST, path, form.to_owned()), &[FORM])
}

fn multipart() -> Request<Body> {
    let part = |name, value| {
        format!("--made-up\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = part("client_id", "1000.MADEUP") + &part("grant_type", "refresh_token");
    let content_type = ("content-type", "multipart/form-data; boundary=made-up");
    with_headers(request(Method::POST, TOKEN, parts + "--made-up--\r\n"), &[content_type])
}

fn by_query() -> Request<Body> {
    request(Method::POST, &format!("{TOKEN}?{REFRESH}"), "")
}

/// Nothing of Zoho's, of the tenant's, or of what the caller sent.
fn assert_placeholder(answer: &Answer) {
    answer.assert_status(200);
    let json = answer.json();
    assert_eq!(json["access_token"], "made-up-token-of-zoho-sidecar");
    assert_eq!(json["token_type"], "Bearer");
    assert_eq!(json["expires_in"], 3600);
    assert!(json.get("expires_in_sec").is_none());
    assert_eq!(answer.header("content-type"), "application/json;charset=UTF-8");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_had_by_form_by_multipart_and_by_query() {
    let world = World::shipped().await;
    for asked in [by_form(TOKEN, REFRESH), multipart(), by_query()] {
        let answer = world.send(asked).await;
        assert_placeholder(&answer);
        assert_eq!(answer.json()["api_domain"], "http://sidecar:8080");
        assert!(answer.json().get("refresh_token").is_none());
    }
    assert_eq!((world.calls(), world.mints()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_code_is_exchanged_for_a_refresh_token_too() {
    let world = World::shipped().await;
    let answer = world.send(by_form(TOKEN, "grant_type=authorization_code&code=1000.made-up-code")).await;
    assert_placeholder(&answer);
    assert!(answer.json()["refresh_token"].is_string());
}

#[tokio::test(start_paused = true)]
async fn the_token_brings_the_next_call_through_the_sidecar() {
    let world = World::shipped().await;
    let token = world.send(by_form(TOKEN, REFRESH)).await.json();
    let authorization = format!("Zoho-oauthtoken {}", token["access_token"].as_str().unwrap());
    world.get_with(USERS, &[("authorization", &authorization)]).await.assert_status(200);
    let seen = world.zoho().ledger().entries().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some("Zoho-oauthtoken [token #1 of acme]"));
}

#[tokio::test(start_paused = true)]
async fn the_api_is_where_the_caller_asked_for_the_token() {
    let world = World::making().tenants(&["acme", "globex"]).await_first_token().await;
    let at = |path: &str, host: &str| {
        let mut asked = by_form(path, REFRESH);
        asked.headers_mut().insert("host", host.parse().unwrap());
        asked
    };
    let by_path = world.send(at("/tenants/globex/oauth/v2/token", "127.0.0.1:8080")).await;
    assert_eq!(by_path.json()["api_domain"], "http://127.0.0.1:8080/tenants/globex");
    let by_header = with_headers(at(TOKEN, "localhost"), &[("x-zoho-tenant", "globex")]);
    assert_eq!(world.send(by_header).await.json()["api_domain"], "http://localhost");
    let forwarded = [("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example")];
    let forwarded = with_headers(at("/tenants/acme/oauth/v2/token", "sidecar:8080"), &forwarded);
    assert_eq!(world.send(forwarded).await.json()["api_domain"], "http://sidecar:8080/tenants/acme");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_none_is_not_named_in_an_answer() {
    let world = World::shipped().await;
    for host in ["evil@sidecar", "sidecar:8080/path", "sidecar:x", ""] {
        let mut asked = by_form(TOKEN, REFRESH);
        asked.headers_mut().insert("host", host.parse().unwrap());
        let answer = world.send(asked).await;
        answer.assert_status(400);
        assert_eq!(answer.code(), "SIDECAR_AMBIGUOUS_REQUEST", "{host}");
    }
    let mut nowhere = by_form(TOKEN, REFRESH);
    nowhere.headers_mut().remove("host");
    *nowhere.version_mut() = http::Version::HTTP_10;
    world.send(nowhere).await.assert_status(400);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_had_while_zoho_is_down_and_no_token_lives() {
    let world = World::making().fault(Target::Mints, Fault::Refuse).start().await;
    world.zoho().script().always(Target::Mints, Fault::Refuse);
    world.get(USERS).await.assert_status(503);
    assert_placeholder(&world.send(by_form(TOKEN, REFRESH)).await);
}

#[tokio::test(start_paused = true)]
async fn another_grant_is_an_error_in_zohos_shape() {
    let world = World::shipped().await;
    let answer = world.send(by_form(TOKEN, "grant_type=password")).await;
    answer.assert_status(200);
    assert_eq!(answer.text(), r#"{"error":"unsupported_grant_type"}"#);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_token_reads_in_error_what_is_wrong() {
    let world = World::making().tenants(&["acme", "globex"]).await_first_token().await;
    let missing = world.send(by_form(TOKEN, REFRESH)).await;
    missing.assert_status(400);
    insta::assert_snapshot!(missing.json()["error"].as_str().unwrap(), @"SIDECAR_TENANT_MISSING: This sidecar serves several organisations; name one of acme, globex. Remedy: name one tenant: by the header X-Zoho-Tenant, or by a base URL that ends in /tenants/NAME");
    let unknown = world.send(by_form("/tenants/acm/oauth/v2/token", REFRESH)).await;
    unknown.assert_status(404);
    insta::assert_snapshot!(unknown.json()["error"].as_str().unwrap(), @r#"SIDECAR_TENANT_UNKNOWN: There is no tenant named "acm". Remedy: check the tenant's name against the sidecar's configuration"#);
    assert!(world.get("/tenants/acm/crm/v8/org").await.json().get("error").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_kindly_answered_and_revokes_nothing() {
    let world = World::shipped().await;
    for path in ["/oauth/v2/token/revoke?token=1000.made-up", "/oauth/v2/revoke/token"] {
        let answer = world.send(by_form(path, "token=1000.made-up")).await;
        answer.assert_status(200);
        assert_eq!(answer.text(), r#"{"status":"success"}"#);
    }
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.mints(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_path_of_the_accounts_server_reaches_an_api_host() {
    let world = World::shipped().await;
    for (method, path) in [
        (Method::GET, "/oauth/v2/token?client_secret=made-up-secret"),
        (Method::HEAD, "/oauth/v2/token"),
        (Method::PUT, "/oauth/v2/token"),
        (Method::POST, "/OAuth/v2/token"),
        (Method::POST, "/oauth/v2/token/"),
        (Method::GET, "/oauth/v2/auth"),
        (Method::POST, "/oauth/user/info"),
        (Method::GET, "/oauth/user/info/"),
        (Method::GET, "/tenants/acme/oauth/v2/auth"),
        (Method::GET, "/oauth"),
    ] {
        let answer = world.send(request(method.clone(), path, "")).await;
        assert_eq!(answer.status, 404, "{method} {path}");
        assert!(method == Method::HEAD || answer.code() == "SIDECAR_OAUTH_UNKNOWN", "{method} {path}");
    }
    for path in ["//oauth/v2/token", "/oauth%2Fv2/token", "/x%5c../oauth/v2/token"] {
        world.send(request(Method::POST, path, "")).await.assert_status(400);
    }
    assert_eq!(world.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_form_is_held_to_a_length_and_to_time() {
    let world = World::shipped().await;
    let long = world.send(by_form(TOKEN, &"a".repeat(64 * 1024 + 1))).await;
    long.assert_status(413);
    assert_eq!(long.code(), "SIDECAR_FORM_TOO_LONG");

    let mut stalled = by_form(TOKEN, "");
    *stalled.body_mut() = Body::stream(Silence);
    let asked = world.begin(stalled);
    world.passes(Duration::from_secs(61)).await;
    let answer = asked.await.unwrap();
    answer.assert_status(408);
    assert_eq!(answer.code(), "SIDECAR_REQUEST_STALLED");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_before_its_form_came_is_logged_as_gone() {
    let world = World::shipped().await;
    let mut stalled = by_form(TOKEN, "");
    *stalled.body_mut() = Body::stream(Silence);
    let asked = world.begin(stalled);
    world.settles().await;
    asked.abort();
    world.settles().await;
    let log = world.log();
    assert!(log.contains(r#""status":499"#), "{log}");
}

#[tokio::test(start_paused = true)]
async fn what_callers_send_for_a_token_is_never_told() {
    let world = World::shipped().await;
    for asked in [by_form(TOKEN, REFRESH), by_query(), multipart()] {
        let answer = world.send(asked).await;
        assert!(!answer.text().contains("MADEUP") && !answer.text().contains("1000."), "{}", answer.text());
    }
    let metrics = world.metrics();
    let log = world.log();
    assert!(log.contains(r#""route":"accounts""#) && log.contains(r#""cache":"stand-in""#), "{log}");
    for secret in ["1000.made-up-refresh", "made-up-secret", "MADEUP"] {
        assert!(!log.contains(secret) && !metrics.contains(secret), "{secret}");
    }
}

/// A body that never comes.
struct Silence;

impl http_body::Body for Silence {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn an_sdk_learns_whose_the_token_is_as_zoho_says_it() {
    const USER_INFO: &str = "/oauth/user/info";
    let world = World::making().tenants(&["acme", "globex"]).await_first_token().await;
    let shown =
        [("authorization", "Zoho-oauthtoken made-up-token-of-zoho-sidecar"), ("x-request-id", "id-1")];
    for (tenant, path, header) in [
        ("acme", "/tenants/acme/oauth/user/info", None),
        ("globex", USER_INFO, Some(("x-zoho-tenant", "globex"))),
    ] {
        let headers: Vec<(&str, &str)> = shown.into_iter().chain(header).collect();
        let answer = world.get_with(path, &headers).await;
        answer.assert_status(200);
        let users = world.get_with(USERS, &[("x-zoho-tenant", tenant)]).await.json();
        let user = &users["users"][0];
        let info = answer.json();
        assert!(info["Email"].as_str().is_some_and(|email| email.contains('@')), "{info}");
        for (name, of_user) in [("Email", "email"), ("Display_Name", "full_name")] {
            assert_eq!(info[name], user[of_user], "{name}");
        }
        assert_eq!(answer.header("content-type"), "application/json;charset=UTF-8");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-request-id"), "id-1");
    }
    // Without a choice, with a choice that is none, and while Zoho is down, it says so like any other request.
    assert_eq!(world.get(USER_INFO).await.code(), "SIDECAR_TENANT_MISSING");
    assert_eq!(world.get("/tenants/nobody/oauth/user/info").await.code(), "SIDECAR_TENANT_UNKNOWN");
    world.zoho().script().always(Target::Api, Fault::Refuse);
    assert_eq!(world.get("/tenants/acme/oauth/user/info").await.code(), "SIDECAR_UNREACHABLE");
    let log = world.log();
    assert_eq!(log.lines().filter(|line| line.contains("id-1")).count(), 2, "one line for each request");
}

#[tokio::test(start_paused = true)]
async fn a_user_info_whose_call_breaks_in_its_body_is_counted_and_logged_once() {
    let world = World::shipped().await;
    let requests = || {
        let counted = world.metrics();
        let of_requests = counted.lines().filter(|line| line.starts_with("zoho_sidecar_requests_total{"));
        of_requests.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    let (before, start) = (requests(), world.now());
    world.zoho().script().next(Target::Api, Fault::CutBody(20));
    let answer = world.get_with("/oauth/user/info", &[("x-request-id", "id-broken")]).await;
    answer.assert_status(502);
    assert_eq!(answer.header("x-request-id"), "id-broken");
    assert!(world.now() - start < std::time::Duration::from_secs(1));
    assert_eq!(requests() - before, 1);
    let log = world.log();
    assert_eq!(log.lines().filter(|line| line.contains("id-broken")).count(), 1, "{log}");
}

#[tokio::test(start_paused = true)]
async fn whose_the_token_is_is_told_to_those_only_who_may_read_it() {
    let world = World::with(
        "[callers.billing]\ntoken = \"sha256:181bf52ad7827239d0f536cd2fadfbbf273134a6018a52ab0cfc84ab8ad1ae36\"\n\
         paths = [\"GET /crm/{version}/Leads\"]\n",
    )
    .await;
    assert_eq!(world.get("/oauth/user/info").await.code(), "SIDECAR_CALLER_UNKNOWN");
    let shown = [("authorization", "Bearer made-up-billing-token")];
    assert_eq!(world.get_with("/oauth/user/info", &shown).await.code(), "SIDECAR_CALLER_FORBIDDEN");
    assert_eq!(world.calls(), 0);
}
