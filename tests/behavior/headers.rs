//! What crosses the sidecar, and what does not.

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World, request, with_headers};

#[tokio::test(start_paused = true)]
async fn a_callers_credentials_and_network_never_reach_zoho() {
    let world = World::shipped().await;
    let never = [
        ("authorization", "Bearer callers-own"),
        ("cookie", "crmcsr=callers-own"),
        ("proxy-authorization", "Basic callers-own"),
        ("forwarded", "for=10.0.0.1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_for", "10.0.0.2"),
        ("connection", "keep-alive, x-only-here"),
        ("x-only-here", "1"),
        ("te", "trailers"),
        ("x-zoho-tenant", "acme"),
    ];
    world.send(with_headers(request(Method::GET, USERS, ""), &never)).await.assert_status(200);

    let seen = world.zoho().ledger().entries().pop().unwrap();
    let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    for (name, _) in never.iter().skip(1) {
        assert!(!names.contains(name), "{name} in {names:?}");
    }
    assert_eq!(seen.header("authorization"), Some("Zoho-oauthtoken [token #1 of acme]"));
}

#[tokio::test(start_paused = true)]
async fn what_zoho_needs_reaches_it_untouched() {
    let world = World::shipped().await;
    let kept = [
        ("accept", "application/json"),
        ("if-modified-since", "2019-07-25T15:26:49+05:30"),
        ("x-external", "Leads.External"),
        ("x-crm-org", "600000001"),
        ("x-zoho-sdk", "Linux/6.1/python-5.0/3.11:2.0.0"),
        ("feature", "bulk-write"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    world.send(with_headers(request(Method::GET, USERS, ""), &kept)).await;
    let seen = world.zoho().ledger().entries().pop().unwrap();
    for (name, value) in kept {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn zohos_cookies_and_token_expiry_reach_nobody() {
    let world = World::shipped().await;
    for path in [USERS, ASSOCIATED_USERS_COUNT, ASSOCIATED_USERS_COUNT, "/crm/v8/nonsense"] {
        let answer = world.get(path).await;
        for never in ["set-cookie", "x-accesstoken-reset", "connection", "transfer-encoding", "keep-alive"] {
            assert_eq!(answer.header(never), "", "{never} for {path}");
        }
        assert_eq!(answer.header("x-frame-options"), "SAMEORIGIN", "Zoho's other headers stay");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sane_request_id_is_kept_and_a_missing_one_made() {
    let world = World::shipped().await;
    for path in [USERS, ASSOCIATED_USERS_COUNT, ASSOCIATED_USERS_COUNT, "/crm/../x"] {
        let answer = world.get_with(path, &[("x-request-id", "order-66_a.b")]).await;
        assert_eq!(answer.header("x-request-id"), "order-66_a.b", "{path}");
        assert_eq!(world.get(path).await.header("x-request-id").len(), 16, "{path}");
    }
    world.get_with(USERS, &[("x-request-id", "to-zoho-too")]).await;
    let seen = world.zoho().ledger().entries().pop().unwrap();
    assert_eq!(seen.header("x-request-id"), Some("to-zoho-too"));
}

#[tokio::test(start_paused = true)]
async fn times_are_told_of_what_was_waited_for() {
    let world = World::shipped().await;
    world.zoho_takes(std::time::Duration::from_millis(250));
    let answer = world.get(USERS).await;
    assert_eq!(answer.header("server-timing"), "queue;dur=0.0, token;dur=0.0, upstream;dur=250.0");
}

#[tokio::test(start_paused = true)]
async fn limits_that_zoho_tells_of_are_passed_on() {
    let world = World::shipped().await;
    let told = vec![("X-API-CREDITS-REMAINING".to_owned(), "1000".to_owned())];
    world.zoho().script().next(Target::Api, Fault::Headers(told));
    assert_eq!(world.get(USERS).await.header("x-api-credits-remaining"), "1000");
}

#[tokio::test(start_paused = true)]
async fn a_coded_answer_keeps_its_coding() {
    let world = World::shipped().await;
    let gzip = [("accept-encoding", "gzip")];
    for path in [USERS, ASSOCIATED_USERS_COUNT] {
        world.zoho().script().next(Target::Api, Fault::Gzip);
        let answer = world.get_with(path, &gzip).await;
        assert_eq!(answer.header("content-encoding"), "gzip", "{path}");
        assert_eq!(&answer.body[..2], &[0x1f, 0x8b], "{path}");
    }
    let kept = world.get_with(ASSOCIATED_USERS_COUNT, &gzip).await;
    kept.assert_cache("zoho-sidecar; hit; ttl=300");
    assert_eq!(kept.header("content-encoding"), "gzip");
}

#[tokio::test(start_paused = true)]
async fn a_header_that_connection_names_goes_nowhere_and_decides_nothing() {
    let config = "[routes.associated-users-count]\nvary_by = [\"accept-language\"]\n\
        [routes.roles]\nmatch = \"GET /crm/{version}/settings/roles\"\nfresh_for = \"origin\"\n";
    for connection in
        ["close, X-Foo, accept-language", "X_Foo,Accept_Language", "x.foo, , accept-language, close"]
    {
        let world = World::with(config).await;
        let asked = [("accept-language", "de"), ("x-foo", "1"), ("x_foo", "2"), ("connection", connection)];
        for path in [ASSOCIATED_USERS_COUNT, "/crm/v8/settings/roles", USERS] {
            world.get_with(path, &asked).await.assert_status(200);
        }
        for entry in world.zoho().ledger().entries() {
            for name in ["x-foo", "x_foo", "accept-language", "connection"] {
                assert_eq!(entry.header(name), None, "{connection}: {name}");
            }
        }
        // It is stored as the answer to a request without that header, and only as that.
        let hit = "zoho-sidecar; hit; ttl=300";
        world.get_with(ASSOCIATED_USERS_COUNT, &asked).await.assert_cache(hit);
        world.get_with(ASSOCIATED_USERS_COUNT, &asked[..0]).await.assert_cache(hit);
        let plain = [("accept-language", "de"), ("connection", "close")];
        world
            .get_with(ASSOCIATED_USERS_COUNT, &plain)
            .await
            .assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    }
}

#[tokio::test(start_paused = true)]
async fn what_connection_names_of_what_is_meant_for_the_sidecar_counts_all_the_same() {
    let world = World::making().tenants(&["acme", "globex"]).await_first_token().await;
    let named = [
        ("connection", "close, X-Zoho-Tenant, Host, X-Request-Id"),
        ("x-zoho-tenant", "globex"),
        ("x-request-id", "made-up-id"),
    ];
    let answer = world.get_with(USERS, &named).await;
    answer.assert_status(200);
    assert_eq!(answer.header("x-request-id"), "made-up-id");
    let seen = world.zoho().ledger().entries().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some("Zoho-oauthtoken [token #1 of globex]"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_header_with_more_options_than_any_client_has_is_refused() {
    let world = World::shipped().await;
    for options in ["x,".repeat(30_000), ",".repeat(32), "a,".repeat(16) + "close, b," + &"c,".repeat(16)] {
        for path in [ASSOCIATED_USERS_COUNT, USERS] {
            let answer = world.get_with(path, &[("connection", &options), ("x-foo", "1")]).await;
            answer.assert_status(400);
            assert_eq!(answer.code(), "SIDECAR_AMBIGUOUS_REQUEST");
        }
    }
    assert_eq!(world.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn cookies_and_other_ways_to_zoho_reach_nobody_and_are_not_stored() {
    let config = "[routes.roles]\nmatch = \"GET /crm/{version}/settings/roles\"\nfresh_for = \"origin\"\n";
    let world = World::with(config).await;
    let names = ["alt-svc", "set-cookie2", "set-cookie"];
    let told = names.map(|name| (name.to_owned(), "h3=\":443\"; made-up=1".to_owned()));
    world.zoho().script().always(Target::Api, Fault::Headers(told.to_vec()));
    for path in [USERS, ASSOCIATED_USERS_COUNT, ASSOCIATED_USERS_COUNT, "/crm/v8/settings/roles"] {
        let answer = world.get(path).await;
        answer.assert_status(200);
        for name in names {
            assert!(!answer.headers.contains_key(name), "{path} {name}");
        }
    }
    // As with `Set-Cookie`, an answer with the older cookies is not for others.
    world.zoho().script().clear();
    let mut headers =
        vec![("set-cookie".to_owned(), String::new()), ("cache-control".to_owned(), "max-age=60".to_owned())];
    world.zoho().script().next(Target::Api, Fault::Headers(headers.clone()));
    let path = "/crm/v8/settings/roles?page=2";
    world.get(path).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    headers.push(("set-cookie2".to_owned(), "made-up=1".to_owned()));
    world.zoho().script().next(Target::Api, Fault::Headers(headers));
    let answer = world.get("/crm/v8/settings/roles?page=3").await;
    assert!(!answer.cache_status().contains("stored"), "{}", answer.cache_status());
}

#[tokio::test(start_paused = true)]
async fn fields_about_one_call_reach_the_requests_that_made_it_and_no_other() {
    let world = World::shipped().await;
    let names = ["x-api-credits-remaining", "x-ratelimit-remaining", "retry-after", "server-timing"];
    let told = names.map(|name| (name.to_owned(), "1000".to_owned()));
    world.zoho().script().next(Target::Api, Fault::Headers(told.to_vec()));

    let made_it = world.get_at_once(ASSOCIATED_USERS_COUNT, 3).await;
    let hit = world.get(ASSOCIATED_USERS_COUNT).await;

    for answer in &made_it {
        for name in names {
            let values: Vec<_> = answer.headers.get_all(name).iter().collect();
            assert!(values.contains(&&"1000".parse().unwrap()), "{name}: {:?}", answer.headers);
        }
        assert_eq!(answer.headers.get_all("x-api-credits-remaining").iter().count(), 1);
    }
    assert!(hit.cache_status().contains("hit"), "{}", hit.cache_status());
    for name in names {
        assert!(!hit.headers.contains_key(name), "{name}: {:?}", hit.headers);
    }
    assert!(hit.headers.contains_key("date") && hit.headers.contains_key("content-type"));
}
