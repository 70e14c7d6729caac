//! What operations see.

use http::StatusCode;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World};

#[tokio::test(start_paused = true)]
async fn alive_depends_on_nothing_and_ready_on_a_token() {
    let world = World::making().fault(Target::Accounts, Fault::Refuse).start().await;
    assert_eq!(world.ask_admin("/livez").status, StatusCode::OK);
    let ready = world.ask_admin("/readyz");
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.json()["reasons"][0]["reason"], "endpoint_down");
}

#[tokio::test(start_paused = true)]
async fn a_sidecar_that_stops_is_not_ready() {
    let world = World::shipped().await;
    world.stop();
    let ready = world.ask_admin("/readyz");
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.json()["reasons"][0]["reason"], "stopping");
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_route_status_and_cache_outcome() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.get(USERS).await;
    world.get("/crm/v8/Leads/12345").await;
    world.get("/anything/else").await;
    for (route, status, cache) in [
        ("associated-users-count", "2xx", "miss"),
        ("associated-users-count", "2xx", "hit"),
        ("pass/users", "2xx", "bypass"),
        ("pass/records", "2xx", "bypass"),
        ("pass/other", "4xx", "bypass"),
    ] {
        let series = format!(
            r#"zoho_sidecar_requests_total{{tenant="acme",route="{route}",status="{status}",cache="{cache}"}}"#
        );
        assert_eq!(world.metric(&series), Some(1.0), "{series}");
    }
    assert_eq!(world.metric("zoho_sidecar_cache_entries"), Some(1.0));
    assert!(world.metric("zoho_sidecar_cache_bytes").unwrap() > 500.0);
    assert_eq!(world.metric(r#"zoho_sidecar_upstream_seconds_count{tenant="acme"}"#), Some(4.0));
    assert_eq!(world.metric(r#"zoho_sidecar_token_mints_total{tenant="acme",outcome="minted"}"#), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn no_caller_can_make_metrics_grow() {
    let world = World::shipped().await;
    let series = |world: &World| world.metrics().lines().filter(|line| !line.starts_with('#')).count();
    world.get("/crm/v8/Module0/0").await;
    world.get("/nonsense/0").await;
    let before = series(&world);
    for n in 1..200 {
        world.get(&format!("/crm/v8/Module{n}/{n}")).await;
        world.get_with(&format!("/nonsense/{n}"), &[("x-request-id", &n.to_string())]).await;
    }
    assert_eq!(series(&world), before);
}

#[tokio::test(start_paused = true)]
async fn status_tells_of_tenants_routes_and_cache() {
    let world = World::shipped().await;
    let status = world.ask_admin("/status").json();
    assert_eq!(status["tenants"][0]["name"], "acme");
    assert_eq!(status["tenants"][0]["health"], "healthy");
    assert_eq!(status["tenants"][0]["token"]["generation"], 1);
    assert_eq!(status["routes"][0]["name"], "associated-users-count");
    assert_eq!(status["cache"]["entries"], 0);
}

#[tokio::test(start_paused = true)]
async fn each_request_has_one_line_with_documented_fields() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.get(&format!("{ASSOCIATED_USERS_COUNT}?page=1")).await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.head(USERS).await;
    let log = world.log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line["cache"].as_str().unwrap(), line["method"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("miss", "GET"), ("miss", "GET"), ("hit", "GET"), ("bypass", "HEAD")]);
    assert_eq!(lines[1]["path"], ASSOCIATED_USERS_COUNT, "queries are not logged");
    assert_eq!(lines[0]["tenant"], "acme");
    assert_eq!(lines[3]["bytes"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_cut_answer_is_logged_as_such() {
    let world = World::shipped().await;
    world.zoho().script().next(Target::Api, Fault::CutBody(10));
    let _ = world.try_send(crate::world::request(http::Method::GET, USERS, "")).await;
    let log = world.log();
    assert!(log.contains(r#""cut_short":true"#), "{log}");
}
