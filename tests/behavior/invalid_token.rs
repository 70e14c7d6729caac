//! Zoho refuses a token before its time: nobody notices, and the limit of mints is not spent on it.

use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};
use zoho_sidecar::net::body::Body;

use crate::world::{USERS, World, request};

/// An access token was accepted once, so that its refusal means something else than a wrong configuration.
async fn with_a_proven_token() -> World {
    let world = World::shipped().await;
    world.get(USERS).await.assert_status(200);
    world
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_token_is_replaced_and_the_call_sent_again() {
    let world = with_a_proven_token().await;
    world.acme().kill_access_tokens();
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.mints(), 2);
    assert_eq!(world.metric(r#"zoho_sidecar_token_early_deaths_total{tenant="acme"}"#), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_refused_calls_cost_one_mint() {
    let world = with_a_proven_token().await;
    world.zoho_takes(Duration::from_millis(100));
    world.acme().kill_access_tokens();
    let answers = world.get_at_once(USERS, 100).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(world.mints(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_with_a_short_body_is_sent_again_whole() {
    let world = with_a_proven_token().await;
    world.acme().kill_access_tokens();
    let body = "x".repeat(64 * 1024);
    let answer = world.send(request(Method::POST, "/crm/v8/__echo", body.clone())).await;
    answer.assert_status(200);
    let sent = world
        .zoho()
        .ledger()
        .entries()
        .into_iter()
        .filter(|e| e.method == "POST" && e.path() == "/crm/v8/__echo");
    let lengths: Vec<_> = sent.map(|entry| entry.body_length).collect();
    assert_eq!(lengths.last(), Some(&(body.len() as u64)), "{lengths:?}");
    assert_eq!(lengths.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_too_long_to_be_kept_is_asked_for_again_and_a_token_is_ready_by_then() {
    let world = with_a_proven_token().await;
    world.acme().kill_access_tokens();
    let long = || request(Method::POST, "/crm/v8/__echo", "x".repeat(64 * 1024 + 1));

    let refused = world.send(long()).await;

    refused.assert_status(503);
    assert_eq!(refused.code(), "SIDECAR_SEND_AGAIN");
    assert_eq!(refused.header("retry-after"), "0");
    world.send(long()).await.assert_status(200);
    assert_eq!(world.mints(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fresh_token_that_is_refused_too_ends_in_a_refusal_and_no_loop() {
    let world = with_a_proven_token().await;
    world.zoho().script().always(Target::Api, Fault::InvalidToken);
    for _ in 0..50 {
        let answer = world.get(USERS).await;
        answer.assert_status(503);
        assert_eq!(answer.code(), "SIDECAR_TOKEN_REJECTED");
    }
    assert_eq!(world.mints(), 2, "the first refusal may have been an eviction; the second is not");
    assert!(world.ask_admin("/readyz").text.contains("token_rejected"));

    world.zoho().script().clear();
    world.passes(Duration::from_secs(120)).await;
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.ask_admin("/readyz").status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_never_accepted_points_to_the_configuration() {
    let world = World::shipped().await;
    world.zoho().script().always(Target::Api, Fault::InvalidToken);
    let answer = world.get(USERS).await;
    answer.assert_status(503);
    assert_eq!(answer.code(), "SIDECAR_TOKEN_REJECTED");
    assert!(answer.json()["details"]["remedy"].as_str().unwrap().contains("data_center"));
    assert_eq!(world.mints(), 1);
}

#[tokio::test(start_paused = true)]
async fn other_401s_pass_untouched_and_cost_no_mint() {
    let world = with_a_proven_token().await;
    for code in ["OAUTH_SCOPE_MISMATCH", "AUTHENTICATION_FAILURE"] {
        let body = format!(r#"{{"code":"{code}","details":{{}},"message":"m","status":"error"}}"#);
        let fault = Fault::Status { status: 401, body: body.clone(), headers: Vec::new() };
        world.zoho().script().next(Target::Api, fault);
        let answer = world.get(USERS).await;
        answer.assert_status(401);
        assert_eq!(answer.text().trim_end(), body);
    }
    let fault =
        Fault::Status { status: 403, body: r#"{"code":"NO_PERMISSION"}"#.into(), headers: Vec::new() };
    world.zoho().script().next(Target::Api, fault);
    world.get(USERS).await.assert_status(403);
    assert_eq!(world.mints(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_refused_for_its_token_is_done_once() {
    let world = with_a_proven_token().await;
    world.acme().kill_access_tokens();
    let lead = r#"{"data":[{"Last_Name":"Example","Company":"Acme"}]}"#;
    world.send(request(Method::POST, "/crm/v8/Leads", lead)).await.assert_status(201);
    let leads = world.get("/crm/v8/Leads?fields=Last_Name").await;
    assert_eq!(leads.json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unread_upload_is_not_lost_on_a_living_token() {
    let world = with_a_proven_token().await;
    let long = Body::full("x".repeat(1 << 20));
    let mut upload = request(Method::POST, "/crm/v8/__echo", "");
    *upload.body_mut() = long;
    let answer = world.send(upload).await;
    assert_eq!(answer.json()["body_length"], 1 << 20, "{}", answer.text());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_gzip_is_understood() {
    let world = with_a_proven_token().await;
    world.zoho().script().next(Target::Api, Fault::InvalidToken.and(Fault::Gzip));
    world.get_with(USERS, &[("accept-encoding", "gzip")]).await.assert_status(200);
    assert_eq!(world.mints(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_finds_out_by_get_why_it_was_refused() {
    let world = with_a_proven_token().await;
    world.acme().kill_access_tokens();
    world.head(USERS).await.assert_status(200);
    assert_eq!(world.mints(), 2);

    let scope = r#"{"code":"OAUTH_SCOPE_MISMATCH"}"#.to_owned();
    let fault = Fault::Status { status: 401, body: scope, headers: Vec::new() };
    world.zoho().script().times(2, Target::Api, fault);
    world.head(USERS).await.assert_status(401);
    assert_eq!(world.mints(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_whose_body_does_not_come_is_not_waited_for_without_end() {
    let world = World::with("[upstream]\nidle_timeout = \"5s\"\n").await;
    let slow = Fault::InvalidToken.and(Fault::DelayBody(Duration::from_hours(1)));
    world.zoho().script().next(Target::Api, slow);
    let answer = world.get(USERS).await;
    answer.assert_status(504);
    assert_eq!(answer.code(), "SIDECAR_IDLE_TIMEOUT");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_died_unused_in_the_night_is_replaced_like_any_other() {
    let world = World::shipped().await;
    world.passes(Duration::from_mins(10)).await;
    world.acme().kill_access_tokens();
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.mints(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_replaced_after_a_while_even_if_nobody_asks() {
    let world = World::shipped().await;
    world.zoho().script().next(Target::Api, Fault::InvalidToken);
    world.get(USERS).await.assert_status(503);
    world.passes(Duration::from_mins(2)).await;
    assert_eq!(world.ask_admin("/readyz").status, 200);
    assert_eq!(world.mints(), 2);
}
