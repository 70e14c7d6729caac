//! Who may use what: callers are known by what they show, held to what they may, also on answers that are kept.

use std::fmt::Write as _;
use std::time::Duration;

use http::{Method, Request};
use serde_json::Value;
use zoho_sidecar::emulator::{Fault, Target};
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::peer::Peer;

use crate::world::{ASSOCIATED_USERS_COUNT, Answer, USERS, World, request, with_headers};

/// Made-up tokens, and `printf %s TOKEN | sha256sum` of each.
const BILLING: (&str, &str) =
    ("made-up-billing-token", "181bf52ad7827239d0f536cd2fadfbbf273134a6018a52ab0cfc84ab8ad1ae36");
const REPORTS: (&str, &str) =
    ("made-up-reports-token", "e538b34dd4c8ea0677fe3935e205fa637e2d8cdc34acdeb772735d1e9f6fd9e6");

/// A caller known by its token, with these keys.
fn caller(name: &str, (_, hash): (&str, &str), keys: &str) -> String {
    format!("[callers.{name}]\ntoken = \"sha256:{hash}\"\n{keys}\n")
}

async fn one_caller(keys: &str) -> World {
    World::with(&caller("billing", BILLING, keys)).await
}

async fn two_tenants(keys: &str) -> World {
    let config = caller("billing", BILLING, keys);
    World::making().tenants(&["acme", "globex"]).config(&config).await_first_token().await
}

fn showing(token: &str, asked: Request<Body>) -> Request<Body> {
    with_headers(asked, &[("authorization", &format!("Bearer {token}"))])
}

/// What billing gets.
async fn ask(world: &World, method: Method, path: &str) -> Answer {
    world.send(showing(BILLING.0, request(method, path, ""))).await
}

async fn get(world: &World, path: &str) -> Answer {
    ask(world, Method::GET, path).await
}

async fn compose(world: &World, items: &str) -> Answer {
    let body = format!(r#"{{"__composite_requests":[{items}]}}"#);
    let asked = request(Method::POST, "/crm/v8/__composite_requests", body);
    world.send(showing(BILLING.0, asked)).await
}

#[track_caller]
fn assert_forbidden(answer: &Answer) {
    answer.assert_status(403);
    assert_eq!(answer.code(), "SIDECAR_CALLER_FORBIDDEN");
}

#[tokio::test(start_paused = true)]
async fn with_a_caller_configured_who_is_none_is_refused() {
    let world = one_caller("").await;
    get(&world, USERS).await.assert_status(200);
    for headers in [
        &[][..],
        &[("authorization", "Bearer made-up-wrong-token")],
        &[("authorization", "Basic bWFkZTp1cA==")],
        &[
            ("authorization", "Bearer made-up-billing-token"),
            ("authorization", "Bearer made-up-billing-token"),
        ],
    ] {
        let answer = world.get_with(USERS, headers).await;
        answer.assert_status(401);
        assert_eq!(answer.code(), "SIDECAR_CALLER_UNKNOWN");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    world.send(request(Method::OPTIONS, "*", "")).await.assert_status(401);
    assert_eq!(world.calls(), 1);
    let series = r#"zoho_sidecar_caller_refusals_total{caller="unknown",reason="unknown",mode="enforce"}"#;
    assert_eq!(world.metric(series), Some(5.0));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_taken_by_either_scheme_and_never_passed_on() {
    let world = one_caller("").await;
    for scheme in ["Bearer", "bearer", "Zoho-oauthtoken", "ZOHO-OAUTHTOKEN"] {
        let shown = format!("{scheme} {}", BILLING.0);
        world.get_with(USERS, &[("authorization", &shown)]).await.assert_status(200);
    }
    for entry in world.zoho().ledger().entries() {
        assert!(!entry.header("authorization").unwrap_or_default().contains(BILLING.0));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_unknown_does_not_learn_which_tenants_there_are() {
    let world = two_tenants("").await;
    for path in [USERS, "/tenants/acme/crm/v8/org", "/tenants/none/crm/v8/org", "/oauth/v2/token"] {
        let answer = world.get(path).await;
        answer.assert_status(401);
        assert!(!answer.text().contains("acme") && !answer.text().contains("globex"), "{}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_answer_is_not_for_those_who_may_not_ask_for_it() {
    let config =
        caller("billing", BILLING, "") + &caller("reports", REPORTS, "paths = [\"/crm/{version}/users\"]");
    let world = World::with(&config).await;
    get(&world, ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    assert!(get(&world, ASSOCIATED_USERS_COUNT).await.cache_status().contains("hit"));

    let answer = world.send(showing(REPORTS.0, request(Method::GET, ASSOCIATED_USERS_COUNT, ""))).await;
    assert_forbidden(&answer);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(401);
    assert_eq!(world.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_by_which_rule_and_never_what_was_shown() {
    let world =
        two_tenants("tenants = [\"acme\"]\nmethods = [\"GET\", \"POST\"]\npaths = [\"/crm/{version}/**\"]\nread_only = true")
            .await;
    let mut told = String::new();
    for (method, path) in [
        (Method::GET, "/tenants/globex/crm/v8/users"),
        (Method::DELETE, "/crm/v8/users/1"),
        (Method::GET, "/other/v8/users"),
        (Method::POST, "/crm/v8/Leads"),
    ] {
        let answer = ask(&world, method, path).await;
        assert_forbidden(&answer);
        assert_eq!(answer.header("proxy-status"), "zoho-sidecar; error=http_request_denied");
        assert!(!answer.text().contains(BILLING.0) && !answer.text().contains(BILLING.1));
        let _ = writeln!(told, "{}", answer.json()["message"].as_str().unwrap());
    }
    insta::assert_snapshot!(told, @r#"
    The caller "billing" may not use this tenant
    The caller "billing" may not use this method
    The caller "billing" may not ask for this path
    The caller "billing" may not change anything: it is read-only
    "#);
    assert_eq!(world.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_may_use_one_tenant_need_not_name_it() {
    let world = two_tenants("tenants = [\"globex\"]").await;
    get(&world, USERS).await.assert_status(200);
    let seen = world.zoho().ledger().entries().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some("Zoho-oauthtoken [token #1 of globex]"));
}

#[tokio::test(start_paused = true)]
async fn no_spelling_of_a_path_gets_past_its_template() {
    let world =
        one_caller("paths = [\"GET /crm/{version}/users/{user}\", \"/crm/{version}/settings/**\"]").await;
    for path in ["/crm/v8/%75sers/1", "/crm/v8/settings/territories"] {
        assert_ne!(get(&world, path).await.status, 403, "{path}");
    }
    let calls = world.calls();
    for path in [
        "/crm/v8/users",
        "/crm/v8/users/1/territories",
        "/crm/v8/users/1%2Fterritories",
        "/crm/v8/users/1%5Cterritories",
        "/crm/v8/users/1%252Fterritories",
        "/crm/v8/users//1",
        "/crm//v8/Leads",
        "/crm/v8/settings/../Leads",
        "/crm/v8/settings/%2e%2e/Leads",
        "/crm/v8/settings/..%2fLeads",
        "/crm/v8/settings/%252e%252e/Leads",
        "/crm/v8/Leads",
        "/crm/v8/users/1;x",
        "/crm/v8/users/%2531",
        "/tenants/acme/crm/v8/Leads",
        "//tenants/acme/crm/v8/users/1",
    ] {
        let answer = get(&world, path).await;
        assert!(matches!(answer.status.as_u16(), 400 | 403), "{path}: {}", answer.status);
    }
    assert_eq!(world.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_reader_reads_by_get_head_coql_and_count_and_changes_nothing() {
    let world = one_caller("read_only = true").await;
    for (method, path) in [
        (Method::GET, USERS),
        (Method::HEAD, USERS),
        (Method::OPTIONS, USERS),
        (Method::POST, "/crm/v8/coql"),
        (Method::POST, "/crm/v8/Leads/actions/count"),
    ] {
        assert_ne!(ask(&world, method.clone(), path).await.status, 403, "{method} {path}");
    }
    let calls = world.calls();
    for (method, path) in [
        (Method::POST, "/crm/v8/Leads"),
        (Method::PUT, "/crm/v8/users/1"),
        (Method::PATCH, "/crm/v8/actions/watch"),
        (Method::DELETE, "/crm/v8/Leads"),
        (Method::POST, "/crm/bulk/v8/read"),
        (Method::GET, "/crm/v8/functions/sweep/actions/execute"),
    ] {
        assert_forbidden(&ask(&world, method, path).await);
    }
    let renamed = with_headers(request(Method::GET, USERS, ""), &[("x-http-method-override", "DELETE")]);
    assert_forbidden(&world.send(showing(BILLING.0, renamed)).await);
    assert_eq!(world.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_composite_request_may_do_what_its_calls_may() {
    let world = one_caller("paths = [\"/crm/{version}/users\"]\nread_only = true").await;
    let within = compose(&world, r#"{"sub_request_id":"1","method":"GET","uri":"/crm/v8/users"}"#).await;
    assert_ne!(within.status, 403, "{}", within.text());
    let calls = world.calls();
    for items in [
        r#"{"method":"GET","uri":"/crm/v8/users;a=b"}"#,
        r#"{"method":"GET","uri":"/crm/v8/users"},{"method":"POST","uri":"/crm/v8/users"}"#,
        r#"{"method":"GET","uri":"/crm/v8/Leads"}"#,
        r#"{"method":"GET","uri":"/crm/v8/users/%2e%2e/Leads"}"#,
        r#"{"method":"GET","uri":"users"}"#,
        r#"{"method":"POST","uri":"/crm/v8/__composite_requests"}"#,
        r#"{"method":"GET","uri":"/crm/v8/users","headers":{"X-HTTP-Method-Override":"DELETE"}}"#,
        "broken",
    ] {
        assert_forbidden(&compose(&world, items).await);
    }
    let hidden = request(Method::POST, "/crm/v8/%5F_composite_requests", "{}");
    assert_forbidden(&world.send(showing(BILLING.0, hidden)).await);
    assert_eq!(world.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn who_may_do_everything_may_compose_anything() {
    let world = one_caller("tenants = [\"acme\"]").await;
    let answer = compose(&world, "broken").await;
    assert_ne!(answer.status, 403, "{}", answer.text());
    assert_eq!(world.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn in_shadow_everything_passes_and_is_told() {
    let world = two_tenants("tenants = [\"acme\"]\nread_only = true\nmode = \"shadow\"").await;
    assert_ne!(ask(&world, Method::POST, "/crm/v8/Leads").await.status, 403);
    get(&world, "/tenants/globex/crm/v8/users?type=AllUsers").await.assert_status(200);
    let composed = compose(&world, r#"{"method":"DELETE","uri":"/crm/v8/users/1"}"#).await;
    assert_ne!(composed.status, 403);
    let told = |reason: &str| {
        let labels = format!(r#"caller="billing",reason="{reason}",mode="shadow""#);
        world.metric(&format!("zoho_sidecar_caller_refusals_total{{{labels}}}"))
    };
    assert_eq!((told("read-only"), told("tenant")), (Some(2.0), Some(1.0)));
    world.get(USERS).await.assert_status(401);
    get(&world, USERS).await.assert_status(200);
    let log = world.log();
    let reasons: Vec<_> = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    let reasons: Vec<_> = reasons.iter().map(|line| line["would_refuse"].as_str()).collect();
    assert_eq!(reasons, [Some("read-only"), Some("tenant"), Some("read-only"), None, None], "{log}");
    assert_eq!(log.matches("would_refuse").count(), 3, "absent where nothing would be: {log}");
}

#[tokio::test(start_paused = true)]
async fn a_kept_answer_says_in_the_log_that_it_would_be_refused() {
    let world = one_caller("paths = [\"/crm/{version}/org\"]\nmode = \"shadow\"").await;
    get(&world, ASSOCIATED_USERS_COUNT).await.assert_status(200);
    assert!(get(&world, ASSOCIATED_USERS_COUNT).await.cache_status().contains("hit"));
    let log = world.log();
    let hit = log.lines().last().unwrap();
    assert!(hit.contains(r#""cache":"hit""#) && hit.contains(r#""would_refuse":"path""#), "{log}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_a_composite_request_leaves_word_of_what_it_would_be_refused_for() {
    let world = one_caller("read_only = true\nmode = \"shadow\"").await;
    world.zoho().script().always(Target::Api, Fault::Delay(Duration::from_secs(10)));
    let asked = compose(&world, r#"{"method":"DELETE","uri":"/crm/v8/users/1"}"#);
    assert!(tokio::time::timeout(Duration::from_secs(1), asked).await.is_err(), "it waits");
    // What it may have changed is forgotten once more later, and the log is open until then.
    tokio::time::sleep(Duration::from_mins(10)).await;
    let log = world.log();
    assert!(log.contains(r#""would_refuse":"read-only""#) && log.contains(r#""status":499"#), "{log}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_tells_a_caller_and_the_token_of_an_sdk_does_not_hide_it() {
    let world = World::with(
        "[callers.web]\nuid = [1000, 1001]\n[callers.others]\nanybody = true\npaths = [\"/crm/{version}/org\"]\n",
    )
    .await;
    let web = || Peer { uid: Some(1001), ..Peer::default() };
    let placeholder = [("authorization", "Zoho-oauthtoken made-up-token-of-an-sdk")];
    world.send_from(web(), request(Method::GET, USERS, "")).await.assert_status(200);
    world
        .send_from(web(), with_headers(request(Method::GET, USERS, ""), &placeholder))
        .await
        .assert_status(200);
    let other = Peer { uid: Some(1002), ..Peer::default() };
    assert_forbidden(&world.send_from(other, request(Method::GET, USERS, "")).await);
    assert_ne!(world.get("/crm/v8/org").await.status, 403, "anybody may");
    let log = world.log();
    let callers: Vec<_> = log.lines().map(|line| line.contains(r#""caller":"web""#)).collect();
    assert_eq!(callers, [true, true, false, false], "{log}");
    assert_eq!(log.matches(r#""caller":"others","tenant":"acme""#).count(), 2, "{log}");
}

#[tokio::test(start_paused = true)]
async fn status_tells_of_callers_and_not_of_what_they_show() {
    let world = one_caller("methods = [\"GET\"]\npaths = [\"/crm/{version}/settings/**\"]").await;
    let callers = world.ask_admin("/status").json()["callers"].to_string();
    insta::assert_snapshot!(callers, @r#"[{"known_by":["token"],"methods":["GET"],"mode":"enforce","name":"billing","paths":["/crm/{version}/settings/**"],"read_only":false,"tenants":null}]"#);
}

#[tokio::test(start_paused = true)]
async fn an_sdk_that_sends_its_token_for_zohos_gets_it_back() {
    let world = one_caller("").await;
    for name in ["refresh_token", "code", "client_secret"] {
        let form = format!("grant_type=refresh_token&{name}={}", BILLING.0);
        let answer = world.send(form_of(form)).await;
        answer.assert_status(200);
        assert_eq!(answer.json()["access_token"], BILLING.0);
    }
    for form in ["grant_type=refresh_token", "grant_type=refresh_token&refresh_token=made-up-wrong-token"] {
        let answer = world.send(form_of(form.to_owned())).await;
        answer.assert_status(401);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with("SIDECAR_CALLER_UNKNOWN: "), "{error}");
    }
    assert!(!world.log().contains(BILLING.0));
}

#[tokio::test(start_paused = true)]
async fn an_sdk_that_its_connection_tells_gets_a_placeholder_and_where_it_came_from() {
    let world = World::with("[callers.web]\nuid = 1000\n").await;
    let web = Peer { uid: Some(1000), is_tls: true, ..Peer::default() };
    let answer = world.send_from(web, form_of("grant_type=refresh_token".to_owned())).await;
    assert_eq!(answer.json()["access_token"], "made-up-token-of-zoho-sidecar");
    assert_eq!(answer.json()["api_domain"], "https://sidecar:8080");
}

fn form_of(form: String) -> Request<Body> {
    let content_type = [("content-type", "application/x-www-form-urlencoded")];
    with_headers(request(Method::POST, "/oauth/v2/token", form), &content_type)
}

#[tokio::test(start_paused = true)]
async fn an_sdk_that_may_use_one_tenant_of_several_need_not_name_it() {
    let world = two_tenants("tenants = [\"acme\"]").await;
    let form = |base: &str| {
        let body = format!("grant_type=refresh_token&refresh_token={}", BILLING.0);
        request(Method::POST, &format!("{base}/oauth/v2/token"), body)
    };
    for (base, api_domain) in
        [("", "http://sidecar:8080"), ("/tenants/acme", "http://sidecar:8080/tenants/acme")]
    {
        let answer = world.send(form(base)).await;
        answer.assert_status(200);
        assert_eq!(answer.json()["api_domain"], api_domain);
    }
    world.send(form("/tenants/globex")).await.assert_status(403);
}

#[tokio::test(start_paused = true)]
async fn nor_does_one_who_asks_for_a_token() {
    let world = one_caller("").await;
    for path in ["/oauth/v2/token", "/oauth/v2/other", "/crm/v8/users"] {
        let told: Vec<_> = ["/tenants/acme", "/tenants/nosuch"]
            .map(|base| request(Method::POST, &format!("{base}{path}"), "grant_type=refresh_token"))
            .into();
        let mut answers = Vec::new();
        for asked in told {
            let answer = world.send(asked).await;
            answers.push((answer.status.as_u16(), answer.code()));
        }
        assert_eq!(answers, vec![(401, "SIDECAR_CALLER_UNKNOWN".to_owned()); 2], "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn composite_requests_that_two_readers_could_take_differently_are_beyond_a_callers_policy() {
    let world = one_caller("paths = [\"GET /crm/{version}/settings/**\"]").await;
    let plain = r#"{"uri":"/crm/v8/settings/roles","method":"GET"}"#;
    for (path, call) in [
        ("/crm/v8/__composite_requests", r#"{"uri":"/crm/v8/settings/x#/../../Leads","method":"GET"}"#),
        ("/crm/v8/__composite_requests", r#"{"uri":"/crm/v8/settings/x?/../../Leads","method":"GET"}"#),
        ("/crm/v8/__composite_requests", r#"{"uri":"/crm/v8/settings/\u00e9","method":"GET"}"#),
        ("/crm/v8/__composite_requests", r#"{"uri":"/crm/v8/settings/x","method":"GET","METHOD":"DELETE"}"#),
        ("/crm/v8/__composite_requests", r#"{"uri":"/crm/v8/settings/x","URI":"/crm/v8/Leads"}"#),
        ("/crm/x/v8/__composite_requests", plain),
        ("/crm/bulk/v8/__composite_requests", plain),
        ("/crm/v8/__composite_requests/x", plain),
        ("/crm/v8/__Composite_requests", plain),
        ("/crm/v8/__composite_requests.json", plain),
        ("/crm/v8/__composite_requests%20", plain),
    ] {
        let body = format!(r#"{{"__composite_requests":[{call}]}}"#);
        let authorization = format!("Bearer {}", BILLING.0);
        let asked = with_headers(request(Method::POST, path, body), &[("authorization", &authorization)]);
        let answer = world.send(asked).await;
        assert_eq!(answer.status, 403, "{path} {call}: {}", answer.text());
    }
    assert_eq!(world.calls(), 0);
}
