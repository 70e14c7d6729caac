//! A 200 that is no answer is passed on, never stored, and counts as a failure.

use std::time::Duration;

use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, World};

const ENVELOPE: &str = r#"{"code":"INTERNAL_ERROR","details":{},"message":"made up","status":"error"}"#;
const ROLES: &str = "/crm/v8/settings/roles";

fn ok(body: &str) -> Fault {
    Fault::Status { status: 200, body: body.to_owned(), headers: Vec::new() }
}

fn typed(content_type: &str, body: &str) -> Fault {
    ok(body).and(Fault::Headers(vec![("content-type".to_owned(), content_type.to_owned())]))
}

/// What gateways and login pages say 200 to.
fn no_answers() -> Vec<Fault> {
    vec![
        Fault::Empty200,
        Fault::Html200,
        Fault::Garbage,
        ok(""),
        ok(" \n"),
        ok("<html><title>Sign in</title></html>"),
        ok(ENVELOPE),
        ok(ENVELOPE).and(Fault::Gzip),
        ok("{\"associated_users_count\":[{\"count\":\"1\""),
        ok("null"),
        ok("\"ok\""),
        typed("text/html", "{}"),
        typed("text/plain", "OK"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_200_that_is_no_answer_is_passed_on_and_not_stored() {
    for fault in no_answers() {
        let world = World::shipped().await;
        world.zoho().script().next(Target::Api, fault.clone());
        let first = world.get(ASSOCIATED_USERS_COUNT).await;
        assert_eq!(first.status, 200, "{fault:?}");
        assert_eq!(first.cache_status(), "zoho-sidecar; fwd=uri-miss; detail=invalid-response", "{fault:?}");
        assert_eq!(first.header("age"), "", "{fault:?}");
        let second = world.get(ASSOCIATED_USERS_COUNT).await;
        assert_eq!(second.cache_status(), "zoho-sidecar; fwd=uri-miss; stored", "{fault:?}");
        assert_eq!(second.count_of("Overseas"), "0");
    }
}

#[tokio::test(start_paused = true)]
async fn it_counts_as_a_failure_and_leaves_what_is_stored() {
    for fault in no_answers() {
        let world = World::shipped().await;
        let good = world.get(ASSOCIATED_USERS_COUNT).await;
        world.passes(Duration::from_secs(400)).await;
        world.zoho().script().next(Target::Api, fault.clone());
        for _ in 0..3 {
            let answer = world.get(ASSOCIATED_USERS_COUNT).await;
            let expected = "zoho-sidecar; hit; ttl=-100; detail=stale-if-error";
            assert_eq!(answer.cache_status(), expected, "{fault:?}");
            assert_eq!(answer.body, good.body, "{fault:?}");
        }
        assert_eq!(world.calls(), 2, "{fault:?}: fetching is left alone for a while");
        world.passes(Duration::from_secs(2)).await;
        world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=stale; stored");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_behind_the_callers_back_that_brings_no_answer_replaces_nothing() {
    for fault in no_answers() {
        let world = World::shipped().await;
        let good = world.get(ASSOCIATED_USERS_COUNT).await;
        world.passes(Duration::from_secs(310)).await;
        world.zoho().script().next(Target::Api, fault.clone());
        for _ in 0..2 {
            let stale = world.get(ASSOCIATED_USERS_COUNT).await;
            stale.assert_cache("zoho-sidecar; hit; ttl=-10; detail=stale-while-revalidate");
            assert_eq!(stale.body, good.body, "{fault:?}");
            world.settles().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_json_is_stored_whatever_it_says_of_its_parts() {
    for body in [
        "{}",
        "[]",
        "\u{feff}{\"a\":1}\n",
        r#"{"data":[{"code":"SUCCESS","status":"success"},{"code":"INVALID_DATA","status":"error"}]}"#,
    ] {
        for fault in [ok(body), ok(body).and(Fault::Gzip)] {
            let world = World::shipped().await;
            world.zoho().script().next(Target::Api, fault);
            let gzip = [("accept-encoding", "gzip")];
            let first = world.get_with(ASSOCIATED_USERS_COUNT, &gzip).await;
            first.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
            world.get_with(ASSOCIATED_USERS_COUNT, &gzip).await.assert_cache("zoho-sidecar; hit; ttl=300");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_stores_the_types_that_it_names() {
    let route = |types: &str| {
        format!("[routes.roles]\nmatch = \"GET /crm/{{version}}/settings/roles\"\ncontent_types = {types}\n")
    };
    for (types, content_type, body, is_stored) in [
        ("\"auto\"", "text/csv", "a,b", false),
        ("[\"text/csv\"]", "text/csv;charset=UTF-8", "a,b", true),
        ("[\"text/csv\"]", "application/json", "{}", false),
        ("[\"text/csv\"]", "text/csv", "<html>", false),
        ("[\"text/*\", \"application/json\"]", "text/html", "<html>", true),
        ("[\"text/*\", \"application/json\"]", "application/json", ENVELOPE, false),
        ("[\"*/*\"]", "image/png", "made up", true),
        ("[\"*/*\"]", "image/png", "", false),
    ] {
        let world = World::with(&route(types)).await;
        world.zoho().script().next(Target::Api, typed(content_type, body));
        let expected = if is_stored {
            "zoho-sidecar; fwd=uri-miss; stored"
        } else {
            "zoho-sidecar; fwd=uri-miss; detail=invalid-response"
        };
        assert_eq!(world.get(ROLES).await.cache_status(), expected, "{types} {content_type} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_obeys_the_origin_looks_at_types_only_if_it_names_them() {
    for (types, expected) in [
        ("", "zoho-sidecar; fwd=uri-miss; stored"),
        ("content_types = [\"application/json\"]\n", "zoho-sidecar; fwd=uri-miss; detail=invalid-response"),
    ] {
        let config = format!(
            "[routes.roles]\nmatch = \"GET /crm/{{version}}/settings/roles\"\nfresh_for = \"origin\"\n{types}"
        );
        let world = World::with(&config).await;
        let headers = [("cache-control", "max-age=60"), ("content-type", "text/html"), ("set-cookie", "")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let page = ok("<html>").and(Fault::Headers(headers.into()));
        world.zoho().script().next(Target::Api, page);
        world.get(ROLES).await.assert_cache(expected);
    }
}

/// Errors, and 200s that are no answer, of more bytes than a stored response may have.
fn long_failures() -> Vec<Fault> {
    let page = "<html>".repeat(1_000);
    let envelope = format!("{{\"status\":\"error\",\"code\":\"{}\"}}", "X".repeat(5_000));
    let error = |status| Fault::Status { status, body: page.clone(), headers: Vec::new() };
    vec![
        typed("text/html", &page),
        ok(&page),
        // Numbers compress less than repetition does, so that it stays long.
        ok(&format!("{page}{}", (0..9_000).map(|n| n.to_string()).collect::<String>())).and(Fault::Gzip),
        ok(&envelope),
        ok(&"Out of order. ".repeat(1_000)),
        error(429),
        error(500),
        error(503),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_long_error_or_page_is_a_failure_too() {
    for fault in long_failures() {
        let world = World::with("[cache]\nmax_entry_bytes = \"2KiB\"\n").await;
        let gzip = [("accept-encoding", "gzip")];
        world
            .get_with(ASSOCIATED_USERS_COUNT, &gzip)
            .await
            .assert_cache("zoho-sidecar; fwd=uri-miss; stored");
        world.passes(Duration::from_secs(400)).await;
        world.zoho().script().next(Target::Api, fault.clone());
        for _ in 0..3 {
            let answer = world.get_with(ASSOCIATED_USERS_COUNT, &gzip).await;
            let expected = "zoho-sidecar; hit; ttl=-100; detail=stale-if-error";
            assert_eq!(answer.cache_status(), expected, "{fault:?}");
        }
        assert_eq!(world.calls(), 2, "{fault:?}: fetching is left alone for a while");
        world.passes(Duration::from_secs(2)).await;
        let renewed = world.get_with(ASSOCIATED_USERS_COUNT, &gzip).await;
        assert_eq!(renewed.cache_status(), "zoho-sidecar; fwd=stale; stored", "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_failure_reaches_its_caller_whole_and_the_next_read_is_shared_and_stored() {
    for fault in long_failures() {
        let world = World::with("[cache]\nmax_entry_bytes = \"2KiB\"\n").await;
        let expected = {
            world.zoho().script().next(Target::Api, fault.clone());
            world.get("/crm/v8/org").await
        };
        world.zoho().script().next(Target::Api, fault.clone());
        let failed = world.get(ASSOCIATED_USERS_COUNT).await;
        assert_eq!((failed.status, &failed.body), (expected.status, &expected.body), "{fault:?}");
        let next = world.get(ASSOCIATED_USERS_COUNT).await;
        assert_eq!(next.cache_status(), "zoho-sidecar; fwd=uri-miss; stored", "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_that_begins_as_one_is_no_failure() {
    let world = World::with("[cache]\nmax_entry_bytes = \"2KiB\"\n").await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    for body in [format!("{{\"a\":\"{}\"}}", "é".repeat(3_000)), format!("[{}1]", "1,".repeat(3_000))] {
        for fault in [ok(&body), ok(&body).and(Fault::Chunked)] {
            world.passes(Duration::from_secs(400)).await;
            world.zoho().script().next(Target::Api, fault);
            let long = world.get(ASSOCIATED_USERS_COUNT).await;
            long.assert_cache("zoho-sidecar; fwd=stale; detail=too-long");
            assert_eq!(long.text(), body);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_together_is_answered_together_and_nobody_after_them() {
    let world = World::shipped().await;
    let page = Fault::Delay(Duration::from_secs(1)).and(Fault::Html200);
    world.zoho().script().next(Target::Api, page);
    let answers = world.get_at_once(ASSOCIATED_USERS_COUNT, 20).await;
    assert!(answers.iter().all(|answer| answer.cache_status().ends_with("detail=invalid-response")));
    assert_eq!(world.calls(), 1);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
}
