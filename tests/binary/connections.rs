//! The limits of a connection, and what HTTP allows on one.

use std::time::Duration;

use zoho_sidecar::emulator::Fault;

use crate::caller::{Http2, Wire, get};
use crate::sidecar::Sidecar;
use crate::until;
use crate::zoho::{COUNT, USERS, Zoho};

#[tokio::test]
async fn one_connection_too_many_takes_the_place_of_one_that_has_asked_for_nothing() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "server.max_connections = 2").await;
    let get = format!("GET {COUNT} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut served = Wire::connect(sidecar.proxy()).await;
    served.say(&get).await;
    assert!(served.hear_answer().await.starts_with("HTTP/1.1 200"));
    let silent = Wire::connect(sidecar.proxy()).await;
    until("two connections", async || sidecar.metric("zoho_sidecar_connections ").await >= 2.0).await;

    let mut newcomer = Wire::connect(sidecar.proxy()).await;
    newcomer.say(&get).await;
    assert!(newcomer.hear_answer().await.starts_with("HTTP/1.1 200"));
    assert_eq!(silent.hear_all().await, "");
    assert!(sidecar.metric("zoho_sidecar_connections_evicted_total ").await >= 1.0);

    let one_too_many = Wire::connect(sidecar.proxy()).await;
    assert_eq!(one_too_many.hear_all().await, "", "both places are callers'");
    assert!(sidecar.metric("zoho_sidecar_connections_refused_total ").await >= 1.0);
    served.say(&get).await;
    assert!(served.hear_answer().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn the_place_of_a_connection_that_ended_is_free_again() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "server.max_connections = 1").await;
    for _ in 0..3 {
        until("an answer", async || {
            let mut wire = Wire::connect(sidecar.proxy()).await;
            wire.say(&format!("GET {COUNT} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await;
            wire.hear_all().await.starts_with("HTTP/1.1 200")
        })
        .await;
    }
}

/// A made-up token, and `printf %s TOKEN | sha256sum` of it.
const TOKEN: &str = "made-up-billing-token";
const CALLERS: &str = "[server]\nmax_connections = 4\n[callers.billing]\n\
    token = \"sha256:181bf52ad7827239d0f536cd2fadfbbf273134a6018a52ab0cfc84ab8ad1ae36\"\n\
    [callers.others]\nanybody = true\npaths = [\"GET /crm/{version}/users\"]\n";

#[tokio::test]
async fn connections_of_a_caller_without_a_credential_keep_no_known_caller_out() {
    let zoho = Zoho::start().await;
    let known = format!("GET {COUNT} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    // One whose request is refused, and one whose request is answered.
    for (path, status) in [("/crm/v8/Leads", 403), (USERS, 200)] {
        let sidecar = Sidecar::run(&zoho, CALLERS).await;
        let anybodys = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut held = Vec::new();
        for _ in 0..6 {
            let mut wire = Wire::connect(sidecar.proxy()).await;
            wire.say(&anybodys).await;
            let answer = wire.hear_answer().await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            held.push(wire);
        }
        let mut caller = Wire::connect(sidecar.proxy()).await;
        caller.say(&known).await;
        assert!(caller.hear_answer().await.starts_with("HTTP/1.1 200 "), "beside {path}");
        for _ in 0..6 {
            let mut wire = Wire::connect(sidecar.proxy()).await;
            wire.say(&anybodys).await;
            wire.hear_answer().await;
            held.push(wire);
        }
        caller.say(&known).await;
        assert!(caller.hear_answer().await.starts_with("HTTP/1.1 200 "), "no connection takes its place");
    }
}

#[tokio::test]
async fn a_caller_without_a_credential_whose_request_was_refused_makes_room_before_one_that_was_answered() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, CALLERS).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut answered = Wire::connect(sidecar.proxy()).await;
    answered.say(&get(USERS)).await;
    assert!(answered.hear_answer().await.starts_with("HTTP/1.1 200 "));
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut wire = Wire::connect(sidecar.proxy()).await;
        wire.say(&get("/crm/v8/Leads")).await;
        assert!(wire.hear_answer().await.starts_with("HTTP/1.1 403 "));
        held.push(wire);
    }
    answered.say(&get(USERS)).await;
    assert!(answered.hear_answer().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_short_body_is_read_before_its_request_is_refused() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let mut wire = Wire::connect(sidecar.proxy()).await;
    let target = "/tenants/nobody/crm/v8/Leads";
    wire.say(&format!("POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 8\r\n\r\n")).await;
    let refused = r#"zoho_sidecar_refusals_total{code="SIDECAR_TENANT_UNKNOWN"} 1"#;
    until("a refusal", async || get(sidecar.admin(), "/metrics").await.text().contains(refused)).await;

    // Nobody has broken the pipe, and the connection serves on.
    wire.say("made-up=").await;
    assert!(wire.hear("\r\n\r\n").await.starts_with("HTTP/1.1 404"));
    wire.say(&format!("GET {COUNT} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await;
    assert!(wire.hear_all().await.contains("HTTP/1.1 200"));
}

/// The limit below is far shorter than the test's patience, and its default is longer.
const SHORT: &str = "server.header_read_timeout = \"300ms\"";

#[tokio::test]
async fn a_connection_that_does_not_come_to_the_point_is_closed() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, SHORT).await;
    for said in ["", "G", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost: loc", "GET / HTTP/1.1\r\n"] {
        let mut wire = Wire::connect(sidecar.proxy()).await;
        wire.say(said).await;
        let heard = wire.hear_all().await;
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 408"), "{said:?}: {heard}");
    }
}

#[tokio::test]
async fn a_kept_connection_is_closed_when_no_further_request_comes() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, SHORT).await;
    for said in ["", "GET / HTT"] {
        let mut wire = Wire::connect(sidecar.proxy()).await;
        wire.say("GET /tenants/none HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        wire.hear_answer().await;
        wire.say(said).await;
        let heard = wire.hear_all().await;
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 408"), "{said:?}: {heard}");
    }
}

#[tokio::test]
async fn a_kept_connection_that_idles_out_is_no_error_and_has_no_line_of_its_own() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, SHORT).await;
    let mut wire = Wire::connect(sidecar.proxy()).await;
    wire.say("GET /tenants/none HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    wire.hear_answer().await;
    assert_eq!(wire.hear_all().await, "");
    until("its end", async || sidecar.metric("zoho_sidecar_connections ").await < 1.0).await;
    assert!(sidecar.metric("zoho_sidecar_connection_errors_total ").await < 1.0);

    let end = sidecar.stop().await;
    assert_eq!(end.lines.len(), 1, "{:?}", end.lines);
    assert!(end.lines[0].contains("/tenants/none"), "{:?}", end.lines);
}

#[tokio::test]
async fn the_limit_for_a_head_does_not_end_a_connection_whose_answers_take_longer() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, SHORT).await;
    let slow = Fault::Delay(Duration::from_millis(700));
    zoho.next_call(slow.clone());
    assert_eq!(sidecar.get(USERS).await.status, 200);
    zoho.next_call(slow);
    assert_eq!(Http2::connect(sidecar.proxy()).await.get(USERS).await.status, 200);
}

#[tokio::test]
async fn a_head_with_too_many_headers_is_431() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "server.max_headers = 10").await;
    for (headers, status) in [(10, "200"), (11, "431")] {
        let mut wire = Wire::connect(sidecar.proxy()).await;
        let more = "x-more: 1\r\n".repeat(headers - 1);
        wire.say(&format!("GET {COUNT} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n")).await;
        assert!(wire.hear("\r\n").await.starts_with(&format!("HTTP/1.1 {status}")), "{headers} headers");
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_431() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "server.max_header_bytes = \"8KiB\"").await;
    let mut wire = Wire::connect(sidecar.proxy()).await;
    wire.say(&format!("GET {COUNT} HTTP/1.1\r\nhost: localhost\r\nx-long: {}", "x".repeat(9000))).await;
    assert!(wire.hear("\r\n").await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_path_that_is_too_long_is_414_in_our_words() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "server.max_uri_bytes = \"1KiB\"").await;
    let query = "?ids=";
    let of_length = |bytes: usize| format!("{COUNT}{query}{}", "7".repeat(bytes - COUNT.len() - query.len()));
    assert_eq!(sidecar.get(&of_length(1024)).await.status, 200);

    let refused = sidecar.get(&of_length(1025)).await;

    assert_eq!((refused.status, &refused.json()["code"]), (414, &"SIDECAR_URI_TOO_LONG".into()));
    assert_eq!(refused.json()["message"], "The path with its query is longer than 1024 bytes");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    zoho.next_call(Fault::Delay(Duration::from_millis(200)));
    let mut wire = Wire::connect(sidecar.proxy()).await;
    let ids = ["first", "second", "third"];
    let paths = [USERS, "/tenants/none", COUNT];
    let requests = ids.iter().zip(paths).map(|(id, path)| {
        let last = if *id == "third" { "connection: close\r\n" } else { "" };
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nx-request-id: {id}\r\n{last}\r\n")
    });

    wire.say(&requests.collect::<String>()).await;
    let heard = wire.hear_all().await;

    let answered: Vec<&str> = heard.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
    assert_eq!(answered, ids, "{heard}");
    // A refusal does not end in a line feed.
    let statuses = heard.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.lines().next());
    assert_eq!(statuses.collect::<Vec<&str>>(), ["200 OK", "404 Not Found", "200 OK"]);
}
