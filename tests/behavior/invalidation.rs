//! Writes that pass through make what they change untrue, before the writer gets its answer.

use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, Answer, World, join_overseas, request, with_headers};

#[tokio::test(start_paused = true)]
async fn a_writer_reads_its_own_write() {
    let world = World::shipped().await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "0");

    world.send(join_overseas(&world)).await.assert_status(200).assert_cache("zoho-sidecar; fwd=method");

    let after = world.get(ASSOCIATED_USERS_COUNT).await;
    after.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    assert_eq!(after.count_of("Overseas"), "1");
    let forgotten = r#"zoho_sidecar_cache_invalidations_total{tenant="acme",group="territory-users"}"#;
    assert_eq!(world.metric(forgotten), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn the_other_direction_of_the_association_forgets_too() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    let acme = world.acme();
    let path = format!("/crm/v5/users/{}/territories", acme.user_id("Ada Example"));
    let body = format!(r#"{{"territories":[{{"id":"{}"}}]}}"#, acme.territory_id("Overseas"));
    world.send(request(Method::PUT, &path, body)).await.assert_status(200);
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_no_proxy_sees_shows_when_the_freshness_is_over() {
    let world = World::with("[routes.associated-users-count]\nstale_while_revalidate = \"0s\"\n").await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.acme().add_user_to_territory("Ada Example", "Overseas");
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "0");
    world.passes(Duration::from_mins(5)).await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_refused_forgets_nothing() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    let path = "/crm/v8/settings/territories/1/users";
    world.send(request(Method::PUT, path, r#"{"users":[{"id":"1"}]}"#)).await.assert_status(400);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_fate_is_unknown_forgets() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.zoho().script().next(Target::Api, Fault::DropAfter);
    world.send(join_overseas(&world)).await.assert_status(502);
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_caller_hangs_up_forgets() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.zoho().script().next(Target::Api, Fault::DelayAnswer(Duration::from_secs(5)));
    let writer = world.begin(join_overseas(&world));
    world.settles().await;
    writer.abort();
    world.settles().await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_reached_zoho_forgets_nothing() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.zoho().script().next(Target::Api, Fault::Refuse);
    world.send(join_overseas(&world)).await.assert_status(502);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_a_write_overtook_is_answered_and_not_stored() {
    let world = World::shipped().await;
    // Zoho has counted, but its answer is slow.
    world.zoho().script().next(Target::Api, Fault::DelayAnswer(Duration::from_secs(5)));
    let slow = world.begin(request(Method::GET, ASSOCIATED_USERS_COUNT, ""));
    world.settles().await;

    world.send(join_overseas(&world)).await.assert_status(200);
    // Who asks after the write does not join the fetch from before it.
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");

    let slow = slow.await.unwrap();
    slow.assert_status(200).assert_cache("zoho-sidecar; fwd=uri-miss; detail=overtaken");
    assert_eq!(slow.count_of("Overseas"), "0");
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_write_of_one_organisation_leaves_the_others_alone() {
    let world = World::making().tenants(&["acme", "globex"]).await_first_token().await;
    let globex = format!("/tenants/globex{ASSOCIATED_USERS_COUNT}");
    world.get(&globex).await;
    let mut write = join_overseas(&world);
    *write.uri_mut() = format!("/tenants/acme{}", write.uri()).parse().unwrap();
    world.send(write).await.assert_status(200);
    world.get(&globex).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

#[tokio::test(start_paused = true)]
async fn a_percent_encoded_write_invalidates_what_its_plain_spelling_would() {
    let world = World::shipped().await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "0");
    let mut write = join_overseas(&world);
    *write.uri_mut() = write.uri().to_string().replace("/users", "/%75sers").parse().unwrap();

    world.send(write).await.assert_status(200);

    let after = world.get(ASSOCIATED_USERS_COUNT).await;
    after.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    assert_eq!(after.count_of("Overseas"), "1");
}

fn composite(world: &World, uri: &str, method: &str) -> http::Request<zoho_sidecar::net::body::Body> {
    let ada = world.acme().user_id("Ada Example");
    let body = format!(
        r#"{{"__composite_requests":[{{"sub_request_id":"1","uri":"{uri}","method":"{method}","body":{{"users":[{{"id":"{ada}"}}]}}}}]}}"#
    );
    request(Method::POST, "/crm/v8/__composite_requests", body)
}

#[tokio::test(start_paused = true)]
async fn a_write_inside_a_composite_request_forgets() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    let uri = format!("/crm/v8/settings/territories/{}/users", world.acme().territory_id("Overseas"));
    world.send(composite(&world, &uri, "PUT")).await.assert_status(200);
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.count_of("Overseas"), "1");
}

#[tokio::test(start_paused = true)]
async fn a_composite_request_that_only_reads_forgets_nothing() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    world.send(composite(&world, "/crm/v8/users", "GET")).await.assert_status(200);
    world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

#[tokio::test(start_paused = true)]
async fn a_composite_request_that_cannot_be_read_forgets_everything() {
    let world = World::shipped().await;
    for body in ["{\"no\":\"composite\"}".to_owned(), "x".repeat((1 << 20) + 1)] {
        world.get(ASSOCIATED_USERS_COUNT).await;
        let fault = Fault::Status { status: 200, body: "{}".into(), headers: Vec::new() };
        world.zoho().script().next(Target::Api, fault);
        world.send(request(Method::POST, "/crm/v8/__composite_requests", body)).await.assert_status(200);
        world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    }
}

/// Begins to delete Ben, who belongs to territories.
async fn begin_deletion(world: &World) {
    let acme = world.acme();
    let (from, to) = (acme.user_id("Ben Example"), acme.user_id("Ada Example"));
    let body = format!(
        r#"{{"transfer_and_delete":[{{"id":"{from}","transfer":{{"records":true,"assignment":true,"criteria":false,"id":"{to}"}},"move_subordinate":{{"id":"{to}"}}}}]}}"#
    );
    let path = "/crm/v8/users/actions/transfer_and_delete";
    let begun = world.send(request(Method::POST, path, body)).await;
    assert!(begun.status.is_success(), "{begun:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_forgets_when_it_is_polled_to_its_end() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await;
    begin_deletion(&world).await;
    let during = world.get(ASSOCIATED_USERS_COUNT).await;
    during.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    world.passes(Duration::from_secs(40)).await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.body, during.body, "nobody has looked yet");

    world.get("/crm/v8/users/actions/transfer_and_delete?job_id=1").await;
    let after = world.get(ASSOCIATED_USERS_COUNT).await;
    assert_ne!(after.body, during.body, "Ben is gone");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_polls_forgets_after_a_while() {
    let config =
        "[routes.associated-users-count]\nfresh_for = \"1h\"\n[writes.user-deletion]\nagain_after = \"1m\"\n";
    let world = World::with(config).await;
    begin_deletion(&world).await;
    let during = world.get(ASSOCIATED_USERS_COUNT).await;
    world.passes(Duration::from_secs(59)).await;
    assert_eq!(world.get(ASSOCIATED_USERS_COUNT).await.body, during.body);
    world.passes(Duration::from_secs(2)).await;
    assert_ne!(world.get(ASSOCIATED_USERS_COUNT).await.body, during.body);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ends_during_a_suspension_invalidates_soon_after_it() {
    let config = "[routes.associated-users-count]\nfresh_for = \"1h\"\n[writes.user-deletion]\nagain_after = \"30m\"\n";
    let world = World::with(config).await;
    begin_deletion(&world).await;
    let during = world.get(ASSOCIATED_USERS_COUNT).await;
    world.is_suspended(Duration::from_mins(31));
    world.passes(Duration::from_secs(2)).await;
    assert_ne!(world.get(ASSOCIATED_USERS_COUNT).await.body, during.body);
}

/// A route that no configured write makes untrue.
const ROLES: &str = "/crm/v8/settings/roles";
const ROLES_ROUTE: &str = "[routes.roles]\nmatch = \"GET /crm/{version}/settings/roles\"\n";
const HIT: &str = "zoho-sidecar; hit; ttl=300";

/// Sends this, which Zoho answers so.
async fn answered(world: &World, method: &str, path: &str, status: u16, headers: &[(&str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let fault = Fault::Status { status, body: "{}".to_owned(), headers: headers.collect() };
    world.zoho().script().next(Target::Api, fault);
    let answer = world.send(request(method.parse().unwrap(), path, "")).await;
    answer.assert_status(status);
    answer
}

#[tokio::test(start_paused = true)]
async fn an_unsafe_request_invalidates_what_is_stored_for_its_url_under_every_rule() {
    for method in ["POST", "PUT", "PATCH", "DELETE", "PROPPATCH"] {
        for status in [200, 201, 302] {
            let world = World::with(ROLES_ROUTE).await;
            let all = [vec![], vec![("x-crm-org", "1")], vec![("accept-encoding", "gzip")]];
            for headers in &all {
                world.get_with(ROLES, headers).await.assert_status(200);
            }
            answered(&world, method, ROLES, status, &[]).await;
            for headers in &all {
                let after = world.get_with(ROLES, headers).await;
                assert_eq!(
                    after.cache_status(),
                    "zoho-sidecar; fwd=uri-miss; stored",
                    "{method} {status} {headers:?}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_safe_or_refused_request_or_one_for_another_url_invalidates_nothing() {
    for (method, path, status) in [
        ("OPTIONS", ROLES, 200),
        ("POST", ROLES, 400),
        ("DELETE", ROLES, 404),
        ("POST", "/crm/v8/settings/roles?page=2", 200),
        ("POST", "/crm/v7/settings/roles", 200),
        ("POST", "/crm/v8/settings/roles/1", 200),
    ] {
        let world = World::with(ROLES_ROUTE).await;
        world.get(ROLES).await.assert_status(200);
        answered(&world, method, path, status, &[]).await;
        assert_eq!(world.get(ROLES).await.cache_status(), HIT, "{method} {path} {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn urls_are_the_same_in_every_spelling_and_differ_by_query() {
    let world = World::with(ROLES_ROUTE).await;
    let pages = [format!("{ROLES}?page=1&x=%7E"), format!("{ROLES}?page=2")];
    for path in &pages {
        world.get(path).await.assert_status(200);
    }
    answered(&world, "POST", "/crm/v8/settings/%72oles?page=1&x=~", 200, &[]).await;
    world.get(&pages[0]).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    world.get(&pages[1]).await.assert_cache(HIT);
}

#[tokio::test(start_paused = true)]
async fn the_urls_that_the_answer_to_a_write_names_are_invalidated_on_the_same_host() {
    for (name, url, is_forgotten) in [
        ("location", "/crm/v8/settings/roles", true),
        ("location", "https://www.zohoapis.com/crm/v8/settings/roles", true),
        ("content-location", "https://WWW.zohoapis.com:443/crm/v8/settings/roles#x", true),
        ("content-location", "//www.zohoapis.com/crm/v8/settings/roles", true),
        ("content-location", "../settings/./roles", true),
        ("location", "https://www.example.com/crm/v8/settings/roles", false),
        ("location", "/crm/v8/settings/roles?page=2", false),
    ] {
        let world = World::with(ROLES_ROUTE).await;
        world.get(ROLES).await.assert_status(200);
        answered(&world, "POST", "/crm/v8/settings/others", 201, &[(name, url)]).await;
        assert_eq!(world.get(ROLES).await.cache_status() != HIT, is_forgotten, "{name}: {url}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_final_slash_changes_nothing_for_what_a_write_invalidates() {
    const BELOW: &str = "[routes.settings]\nmatch = \"GET /crm/{version}/settings/**\"\n";
    for (config, read, write) in [
        (ROLES_ROUTE, ROLES, "/crm/v8/settings/roles/"),
        (ROLES_ROUTE, "/crm/v8/settings/roles?page=2", "/crm/v8/settings/roles/?page=2"),
        (ROLES_ROUTE, ROLES, "/crm/v8/settings/%72oles/"),
        (ROLES_ROUTE, ROLES, "/crm/v8/settings/roles//"),
        (ROLES_ROUTE, ROLES, "/crm/v8//settings/roles"),
        (ROLES_ROUTE, ROLES, "/crm/v8/settings/roles%2F"),
        (BELOW, "/crm/v8/settings/roles/", ROLES),
        (BELOW, "/crm/v8/settings/", "/crm/v8/settings"),
        (BELOW, ROLES, "/crm/v8/settings/roles/"),
    ] {
        // As the request's own URL, as one that its answer names, and as a part of a composite request.
        for kind in ["own", "location", "content-location", "composite"] {
            let world = World::with(config).await;
            let stored = || Fault::Status { status: 200, body: "{}".into(), headers: Vec::new() };
            world.zoho().script().next(Target::Api, stored());
            world.get(read).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
            world.get(read).await.assert_cache(HIT);
            let written = match kind {
                "own" => answered(&world, "PUT", write, 200, &[]).await,
                "composite" => {
                    world.zoho().script().next(Target::Api, stored());
                    world.send(composite(&world, write, "PUT")).await
                }
                header => answered(&world, "POST", "/crm/v8/Leads", 201, &[(header, write)]).await,
            };
            assert!(written.status.is_success(), "{kind} {write}: {}", written.status);
            world.zoho().script().next(Target::Api, stored());
            let after = world.get(read).await;
            assert_eq!(after.cache_status(), "zoho-sidecar; fwd=uri-miss; stored", "{kind} {write}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_to_a_url_overtakes_the_fetch_of_it_that_is_under_way() {
    let world = World::with(ROLES_ROUTE).await;
    world.zoho().script().next(Target::Api, Fault::DelayAnswer(Duration::from_secs(5)));
    let slow = world.begin(request(Method::GET, ROLES, ""));
    world.settles().await;
    answered(&world, "PUT", ROLES, 200, &[]).await;
    world.get(ROLES).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    slow.await.unwrap().assert_cache("zoho-sidecar; fwd=uri-miss; detail=overtaken");
}

#[tokio::test(start_paused = true)]
async fn a_write_to_a_url_whose_fate_is_unknown_invalidates_it() {
    let world = World::with(ROLES_ROUTE).await;
    world.get(ROLES).await.assert_status(200);
    world.zoho().script().next(Target::Api, Fault::DropAfter);
    world.send(request(Method::POST, ROLES, "")).await.assert_status(502);
    world.get(ROLES).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    // Zoho may still have been at it.
    world.passes(Duration::from_secs(61)).await;
    world.get(ROLES).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn a_write_inside_a_composite_request_invalidates_its_url() {
    for (uri, method, is_forgotten) in [
        ("/crm/v8/settings/roles", "POST", true),
        ("v8/settings/roles", "DELETE", true),
        ("/crm/v8/settings/roles?page=2", "POST", false),
        ("/crm/v8/settings/roles", "GET", false),
    ] {
        let world = World::with(ROLES_ROUTE).await;
        world.get(ROLES).await.assert_status(200);
        let fault = Fault::Status { status: 200, body: "{}".into(), headers: Vec::new() };
        world.zoho().script().next(Target::Api, fault);
        world.send(composite(&world, uri, method)).await.assert_status(200);
        assert_eq!(world.get(ROLES).await.cache_status() != HIT, is_forgotten, "{method} {uri}");
    }
    let world = World::with(ROLES_ROUTE).await;
    world.get(ROLES).await.assert_status(200);
    answered(&world, "POST", "/crm/v8/__composite_requests", 200, &[]).await;
    assert_ne!(world.get(ROLES).await.cache_status(), HIT, "one that cannot be read could be anything");
}

#[tokio::test(start_paused = true)]
async fn any_number_of_writes_elsewhere_leaves_an_entry_alone() {
    let world = World::with(ROLES_ROUTE).await;
    world.get(ROLES).await.assert_status(200);
    world
        .zoho()
        .script()
        .always(Target::Api, Fault::Status { status: 200, body: "{}".into(), headers: Vec::new() });
    for n in 0..3_000 {
        let write = request(Method::PUT, &format!("/crm/v8/Leads/{n}"), "");
        world.send(with_headers(write, &[("x-crm-org", "1")])).await.assert_status(200);
    }
    world.get(ROLES).await.assert_cache(HIT);
}

/// Spellings of a path that some server takes for the usual one.
fn odd_spellings(path: &str) -> Vec<String> {
    let spelled = |from: &str, to: &str| path.replacen(from, to, 1);
    vec![
        path.to_uppercase(),
        spelled("/crm", "/CRM"),
        spelled("/v8", "/V8"),
        spelled("/settings", "/Settings"),
        spelled("/settings", "/settings%20"),
        spelled("/settings", "/%20settings"),
        spelled("/settings", "/settings;x"),
        spelled("/settings", "/settings."),
        spelled("/settings", "/settings.json"),
        spelled("/settings", "/%53ettings"),
        spelled("/settings", "/%2573ettings"),
        spelled("/settings", "/%C5%BFettings"),
        spelled("/settings", "/settings%C2%A0"),
        format!("{path}/"),
        format!("{path}%20"),
        format!("{path};x"),
        format!("{path}%20/"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_write_in_an_odd_spelling_invalidates_no_less_than_the_usual_one() {
    let world = World::shipped().await;
    for kind in ["own", "composite"] {
        for path in odd_spellings("/crm/v8/settings/territories/1") {
            world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
            world.get(ASSOCIATED_USERS_COUNT).await.assert_cache(HIT);
            let fault = Fault::Status { status: 200, body: "{}".to_owned(), headers: Vec::new() };
            world.zoho().script().next(Target::Api, fault);
            let write =
                if kind == "own" { request(Method::PUT, &path, "") } else { composite(&world, &path, "PUT") };
            world.send(write).await.assert_status(200);
            let after = world.get(ASSOCIATED_USERS_COUNT).await;
            assert_ne!(after.cache_status(), HIT, "{kind} {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_in_an_odd_spelling_invalidates_the_entries_of_its_url() {
    let world = World::with(ROLES_ROUTE).await;
    let stored = || Fault::Status { status: 200, body: "{}".to_owned(), headers: Vec::new() };
    for path in odd_spellings(ROLES) {
        world.zoho().script().next(Target::Api, stored());
        world.get(ROLES).await.assert_status(200);
        world.get(ROLES).await.assert_cache(HIT);
        answered(&world, "PUT", &path, 200, &[]).await;
        world.zoho().script().next(Target::Api, stored());
        assert_ne!(world.get(ROLES).await.cache_status(), HIT, "{path}");
    }
}
