//! Zoho refuses a token before its time: nobody notices, and the limit of mints is not spent on it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use tokio::io::AsyncReadExt;
use zoho_sidecar::emulator::{Fault, Target};
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::transport::BoxFuture;

use crate::wire::Peer;
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
async fn a_long_body_of_which_little_was_sent_is_sent_again_with_the_new_token() {
    let world = with_a_proven_token().await;
    world.acme().kill_access_tokens();
    let long = request(Method::POST, "/crm/v8/__echo", "x".repeat(1024 * 1024));

    let answer = world.send(long).await;

    answer.assert_status(200);
    assert_eq!(answer.json()["body_length"], 1024 * 1024);
    assert_eq!(world.mints(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_too_long_to_be_kept_is_asked_for_again_and_a_token_is_ready_by_then() {
    const LONG: usize = 1024 * 1024;
    const REFUSAL: &str =
        r#"{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}"#;
    let answers = Arc::new(Mutex::new(vec![(200, "{}"), (401, REFUSAL), (200, "{}")].into_iter()));
    let script = move |_, mut peer: Peer| -> BoxFuture<()> {
        let answers = answers.clone();
        Box::pin(async move {
            while let Some(head) = peer.head().await {
                if head.starts_with("POST") {
                    // The whole body is read before the token is looked at.
                    peer.0.read_exact(&mut vec![0; LONG]).await.unwrap();
                }
                let (status, body) = answers.lock().unwrap().next().unwrap();
                let length = body.len();
                peer.say(format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n{body}")).await;
            }
        })
    };
    let world = World::making().api(script).await_first_token().await;
    world.get(USERS).await.assert_status(200);
    let long = || request(Method::POST, "/crm/v8/__echo", "x".repeat(LONG));

    let refused = world.send(long()).await;

    refused.assert_status(503);
    assert_eq!(refused.code(), "SIDECAR_SEND_AGAIN");
    assert_eq!(refused.header("retry-after"), "0");
    world.send(long()).await.assert_status(200);
    assert_eq!(world.mints(), 2);
}

#[tokio::test(start_paused = true)]
async fn fresh_tokens_that_are_refused_too_end_in_a_refusal_and_no_loop() {
    let world = with_a_proven_token().await;
    world.zoho().script().always(Target::Api, Fault::InvalidToken);
    for _ in 0..50 {
        let answer = world.get(USERS).await;
        answer.assert_status(503);
        assert_eq!(answer.code(), "SIDECAR_TOKEN_REJECTED");
    }
    assert_eq!(world.mints(), 3, "one for the proven token, one more for a token that was never accepted");
    assert_eq!(world.calls(), 4, "after that Zoho is left alone for a while");
    assert!(world.ask_admin("/readyz").text.contains("token_rejected"));

    world.zoho().script().clear();
    world.passes(Duration::from_secs(120)).await;
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.ask_admin("/readyz").json()["reasons"].as_array().unwrap().len(), 0);
    assert_eq!(world.mints(), 3);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_were_never_accepted_point_to_the_configuration() {
    let world = World::shipped().await;
    world.zoho().script().always(Target::Api, Fault::InvalidToken);
    let answer = world.get(USERS).await;
    answer.assert_status(503);
    assert_eq!(answer.code(), "SIDECAR_TOKEN_REJECTED");
    assert_eq!(answer.header("retry-after"), "60");
    assert!(answer.json()["details"]["remedy"].as_str().unwrap().contains("data_center"));
    assert_eq!(world.mints(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_revoked_before_its_first_use_costs_one_more_mint() {
    let world = World::shipped().await;
    world.acme().kill_access_tokens();
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.mints(), 2);
    assert_eq!(world.ask_admin("/readyz").status, 200);
    // The count begins anew once one was accepted.
    for mints in 3..=5 {
        world.acme().kill_access_tokens();
        world.get(USERS).await.assert_status(200);
        assert_eq!(world.mints(), mints);
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_that_several_routes_refuse_before_any_accepts_them_are_a_reason_to_wait() {
    let world = World::shipped().await;
    world.zoho().script().always(Target::Api, Fault::InvalidToken);
    world.get(USERS).await.assert_status(503);
    assert_eq!(world.mints(), 2);
    let answer = world.get("/crm/v8/org").await;
    answer.assert_status(503);
    assert_eq!(answer.code(), "SIDECAR_TOKEN_REJECTED");
    let calls = world.calls();
    world.get("/crm/v8/Leads").await.assert_status(503);
    assert_eq!((world.mints(), world.calls()), (2, calls), "nobody gets a token for a while");
    assert_eq!(world.ask_admin("/readyz").status, 503);

    // Then there is a new one, even if nobody asks.
    world.zoho().script().clear();
    world.passes(Duration::from_mins(2)).await;
    assert_eq!(world.ask_admin("/readyz").status, 200);
    assert_eq!(world.mints(), 3);
    world.get(USERS).await.assert_status(200);
}

fn unauthorized(body: &str) -> Fault {
    Fault::Status { status: 401, body: body.to_owned(), headers: Vec::new() }
}

const FAILURE: &str =
    r#"{"code":"AUTHENTICATION_FAILURE","details":{},"message":"Authentication failed","status":"error"}"#;
const SCOPES: &str = r#"{"code":"OAUTH_SCOPE_MISMATCH","details":{},"message":"m","status":"error"}"#;

fn odd_answers() -> Vec<Fault> {
    let in_html = Fault::Headers(vec![("content-type".to_owned(), "text/html".to_owned())]);
    vec![
        Fault::InvalidToken,
        unauthorized(FAILURE),
        unauthorized(FAILURE).and(Fault::Gzip),
        unauthorized(""),
        unauthorized("<html><h1>401 Authorization Required</h1></html>").and(in_html),
        unauthorized(&"<p>".repeat(20_000)),
        unauthorized(r#"{"code":"SOMETHING_NEW"}"#),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_401_is_never_the_callers_fault_whatever_its_body_looks_like() {
    for fault in odd_answers() {
        let world = with_a_proven_token().await;
        world.zoho().script().next(Target::Api, fault.clone());
        world.get(USERS).await.assert_status(200);
        assert_eq!(world.mints(), 2, "{fault:?}");
        let lead = r#"{"data":[{"Last_Name":"Example"}]}"#;
        world.zoho().script().next(Target::Api, fault.clone());
        world.send(request(Method::POST, "/crm/v8/Leads", lead)).await.assert_status(201);
        let leads = world.get("/crm/v8/Leads?fields=Last_Name").await;
        assert_eq!(leads.json()["data"].as_array().unwrap().len(), 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_odd_route_spends_no_mints_of_others() {
    for fault in odd_answers() {
        for odd_comes_first in [false, true] {
            let world = World::shipped().await;
            world.zoho().script().always(Target::Path("/crm/v8/Leads".to_owned()), fault.clone());
            if !odd_comes_first {
                world.get(USERS).await.assert_status(200);
            }
            for minute in 0..30 {
                for id in 0..4 {
                    let odd = world.get(&format!("/crm/v8/Leads/{minute}{id}")).await;
                    odd.assert_status(503);
                    assert_eq!(odd.code(), "SIDECAR_TOKEN_REJECTED", "{fault:?}");
                    assert!(!odd.header("retry-after").is_empty());
                    world.get(USERS).await.assert_status(200);
                }
                world.passes(Duration::from_mins(1)).await;
            }
            // One at the start, and one for the odd route in each ten minutes.
            assert!((2..=4).contains(&world.mints()), "{fault:?}: {}", world.mints());
            assert_eq!(world.ask_admin("/readyz").json()["reasons"], serde_json::json!([]), "{fault:?}");
            let metric =
                r#"zoho_sidecar_unauthorized_total{tenant="acme",route="pass/records",reason="token"}"#;
            assert!(world.metric(metric) > Some(1.0), "{}", world.metrics());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_odd_route_says_that_it_is_the_route() {
    let world = with_a_proven_token().await;
    world.zoho().script().always(Target::Path("/crm/v8/Leads".to_owned()), unauthorized(FAILURE));
    let odd = world.get("/crm/v8/Leads").await;
    odd.assert_status(503);
    assert_eq!(odd.header("retry-after"), "600");
    assert!(odd.text().contains("accepts it for others"), "{}", odd.text());
    world.passes(Duration::from_mins(4)).await;
    assert_eq!(world.get("/crm/v8/Leads").await.header("retry-after"), "360");
    // Another method is another route, with a token of its own to lose.
    let delete = request(Method::DELETE, "/crm/v8/Leads?ids=1", "");
    world.send(delete).await.assert_status(503);
    assert_eq!(world.mints(), 3);
}

#[tokio::test(start_paused = true)]
async fn odd_paths_in_any_number_leave_most_of_the_budget() {
    let world = with_a_proven_token().await;
    world.zoho().script().always(Target::Path("/crm/v8/settings/".to_owned()), unauthorized(""));
    let words = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for first in words {
        for second in words {
            world.get(&format!("/crm/v8/settings/{first}{second}")).await.assert_status(503);
        }
    }
    assert_eq!(world.mints(), 4, "half of the budget of six, and the first");
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.ask_admin("/readyz").json()["reasons"], serde_json::json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_dies_is_replaced_on_every_route_that_is_not_odd() {
    let world = with_a_proven_token().await;
    world.zoho().script().always(Target::Path("/crm/v8/Leads".to_owned()), unauthorized(FAILURE));
    world.get("/crm/v8/Leads").await.assert_status(503);
    for path in [USERS, "/crm/v8/org", "/crm/v8/settings/roles"] {
        world.get(path).await.assert_status(200);
        world.acme().kill_access_tokens();
        world.get(path).await.assert_status(200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_scope_mismatch_passes_untouched_and_names_what_is_missing() {
    let world = with_a_proven_token().await;
    for fault in [unauthorized(SCOPES), unauthorized(SCOPES).and(Fault::Gzip)] {
        world.zoho().script().next(Target::Api, fault.clone());
        let answer = world.get_with("/crm/v8/settings/roles", &[("accept-encoding", "gzip")]).await;
        answer.assert_status(401);
        if fault == unauthorized(SCOPES) {
            assert_eq!(answer.text().trim_end(), SCOPES);
        }
    }
    assert_eq!(world.mints(), 1);
    let metric = r#"zoho_sidecar_scope_mismatches_total{tenant="acme",route="pass/settings",scopes="ZohoCRM.settings.roles.READ"}"#;
    assert_eq!(world.metric(metric), Some(2.0), "{}", world.metrics());
    let metric =
        r#"zoho_sidecar_unauthorized_total{tenant="acme",route="pass/settings",reason="scope_mismatch"}"#;
    assert_eq!(world.metric(metric), Some(2.0));
}

fn forbidden(body: &str) -> Fault {
    Fault::Status { status: 403, body: body.to_owned(), headers: Vec::new() }
}

#[tokio::test(start_paused = true)]
async fn a_scope_mismatch_with_403_is_counted_and_reported_like_one_with_401() {
    let path = "/crm/v8/settings/roles";
    for fault in [forbidden(SCOPES), unauthorized(SCOPES)] {
        for proven in [true, false] {
            let world = if proven { with_a_proven_token().await } else { World::shipped().await };
            for fault in [fault.clone(), fault.clone().and(Fault::Gzip)] {
                world.zoho().script().next(Target::Api, fault.clone());
                let answer = world.get_with(path, &[("accept-encoding", "gzip")]).await;
                assert!([401, 403].contains(&answer.status.as_u16()), "{fault:?}: {answer:?}");
                if answer.header("content-encoding").is_empty() {
                    assert_eq!(answer.text().trim_end(), SCOPES);
                }
            }
            assert_eq!(world.mints(), 1);
            let count = |labels: &str| {
                let labels = format!("tenant=\"acme\",route=\"pass/settings\",{labels}");
                let mismatches = world.metric(&format!("zoho_sidecar_scope_mismatches_total{{{labels}}}"));
                mismatches.or(world.metric(&format!("zoho_sidecar_unauthorized_total{{{labels}}}")))
            };
            assert_eq!(count(r#"scopes="ZohoCRM.settings.roles.READ""#), Some(2.0), "{}", world.metrics());
            assert_eq!(count(r#"reason="scope_mismatch""#), Some(2.0), "{}", world.metrics());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_403_passes_and_counts_as_nothing() {
    let world = with_a_proven_token().await;
    for body in [r#"{"code":"NO_PERMISSION"}"#.to_owned(), String::new(), "<p>".repeat(20_000)] {
        world.zoho().script().next(Target::Api, forbidden(&body));
        let answer = world.get("/crm/v8/settings/roles").await;
        answer.assert_status(403);
        assert_eq!(answer.text(), body);
    }
    assert_eq!(world.mints(), 1);
    assert!(!world.metrics().contains("zoho_sidecar_unauthorized_total{"), "{}", world.metrics());
}

#[tokio::test(start_paused = true)]
async fn a_401_in_an_answer_to_a_composite_request_stays_there() {
    let world = with_a_proven_token().await;
    let body = format!(
        r#"{{"__composite_requests":[{{"details":{{"response":{{"status_code":401,"body":{FAILURE}}}}}}}]}}"#
    );
    let answer = Fault::Status { status: 207, body: body.clone(), headers: Vec::new() };
    world.zoho().script().next(Target::Api, answer);
    let composite = r#"{"__composite_requests":[{"uri":"/crm/v8/users","method":"GET"}]}"#;
    let answer = world.send(request(Method::POST, "/crm/v8/__composite_requests", composite)).await;
    answer.assert_status(207);
    assert_eq!((answer.text(), world.mints()), (body.as_str(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_head_alone_that_is_refused_is_not_the_tokens_fault() {
    let world = with_a_proven_token().await;
    let heads = Target::Call { method: "HEAD".to_owned(), path: "/crm/".to_owned() };
    world.zoho().script().always(heads, unauthorized(FAILURE));
    for _ in 0..20 {
        world.head(USERS).await.assert_status(503);
        world.get(USERS).await.assert_status(200);
    }
    assert_eq!(world.mints(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_body_of_which_nothing_was_sent_is_sent_again_on_an_odd_route_and_then_refused_for_the_route()
{
    let world = with_a_proven_token().await;
    let writes = Target::Call { method: "POST".to_owned(), path: "/crm/v8/__echo".to_owned() };
    world.zoho().script().always(writes, unauthorized(""));
    let long = || request(Method::POST, "/crm/v8/__echo", "x".repeat(64 * 1024 + 1));
    let codes =
        [world.send(long()).await.code(), world.send(long()).await.code(), world.send(long()).await.code()];
    assert_eq!(codes, ["SIDECAR_TOKEN_REJECTED"; 3]);
    assert_eq!(world.mints(), 2);
    world.get(USERS).await.assert_status(200);
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
async fn a_token_that_died_unused_in_the_night_is_replaced_like_any_other() {
    let world = World::shipped().await;
    world.passes(Duration::from_mins(10)).await;
    world.acme().kill_access_tokens();
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.mints(), 2);
}
