//! `fresh_for = "origin"`: the answer's own headers decide, as RFC 9111 says of a shared cache.

use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{Answer, World, request, with_headers};

const PATH: &str = "/crm/v8/settings/roles";
const CONFIG: &str = "[routes.roles]\nmatch = \"GET /crm/{version}/settings/roles\"\nfresh_for = \"origin\"\nstale_if_error = \"1h\"\n";

async fn world() -> World {
    World::with(CONFIG).await
}

/// The headers by which Zoho forbids to store all its answers, taken away.
const USUAL: [&str; 4] = ["set-cookie", "cache-control", "pragma", "expires"];

/// An answer of this status, body and headers, without Zoho's usual ones.
fn answer(status: u16, body: &str, headers: &[(&str, &str)]) -> Fault {
    let usual = USUAL.iter().map(|name| ((*name).to_owned(), String::new()));
    let given = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let bare = Fault::Status { status, body: body.to_owned(), headers: Vec::new() };
    bare.and(Fault::Headers(usual.chain(given).collect()))
}

/// That is Zoho's next answer.
fn next(world: &World, status: u16, body: &str, headers: &[(&str, &str)]) {
    world.zoho().script().next(Target::Api, answer(status, body, headers));
}

async fn first(world: &World, headers: &[(&str, &str)]) -> Answer {
    next(world, 200, "first", headers);
    world.get(PATH).await
}

async fn second(world: &World) -> String {
    next(world, 200, "second", &[]);
    let answer = world.get(PATH).await;
    world.zoho().script().clear();
    answer.text().to_owned()
}

#[tokio::test(start_paused = true)]
async fn what_zoho_forbids_to_store_is_not_stored() {
    for cache_control in
        ["no-store", "private", "max-age=60, no-store", "private, max-age=60", "no-cache", "max-age=0"]
    {
        let world = world().await;
        first(&world, &[("cache-control", cache_control)]).await;
        assert_eq!(second(&world).await, "second", "{cache_control}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_it_allows_is_kept_for_as_long_as_it_says() {
    let world = world().await;
    let one = first(&world, &[("cache-control", "max-age=60")]).await;
    one.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    assert_eq!(one.header("cache-control"), "max-age=60", "callers are told what Zoho said");
    world.passes(Duration::from_secs(59)).await;
    world.get(PATH).await.assert_cache("zoho-sidecar; hit; ttl=1");
    world.passes(Duration::from_secs(1)).await;
    assert_eq!(second(&world).await, "second");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_old_on_arrival_lasts_shorter() {
    let world = world().await;
    first(&world, &[("cache-control", "max-age=60"), ("age", "50")]).await;
    let hit = world.get(PATH).await;
    hit.assert_cache("zoho-sidecar; hit; ttl=10");
    assert_eq!(hit.header("age"), "50");
}

#[tokio::test(start_paused = true)]
async fn a_cookie_keeps_an_answer_from_being_stored_and_from_being_shared() {
    let world = world().await;
    let cookie = answer(200, "mine", &[("cache-control", "max-age=60"), ("set-cookie", "a=b")]);
    world.zoho().script().always(Target::Api, cookie.and(Fault::Delay(Duration::from_secs(1))));
    let answers = world.get_at_once(PATH, 5).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.header("set-cookie").is_empty()));
    assert_eq!(world.calls(), 5, "each has its own answer");
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_validated_and_a_304_renews_it() {
    let world = world().await;
    first(&world, &[("cache-control", "max-age=60"), ("etag", "\"v1\""), ("x-old", "1")]).await;
    world.passes(Duration::from_secs(61)).await;

    next(&world, 304, "", &[("cache-control", "max-age=120"), ("etag", "\"v1\""), ("x-new", "1")]);
    let renewed = world.get(PATH).await;

    renewed.assert_status(200).assert_cache("zoho-sidecar; fwd=stale; stored");
    assert_eq!(renewed.text(), "first");
    assert_eq!((renewed.header("x-old"), renewed.header("x-new")), ("1", "1"));
    let asked = world.zoho().ledger().entries().pop().unwrap();
    assert_eq!(asked.header("if-none-match"), Some("\"v1\""));
    world.get(PATH).await.assert_cache("zoho-sidecar; hit; ttl=120");
}

#[tokio::test(start_paused = true)]
async fn a_304_about_something_else_is_no_answer() {
    let world = world().await;
    first(&world, &[("cache-control", "max-age=60"), ("etag", "\"v1\"")]).await;
    world.passes(Duration::from_secs(61)).await;
    next(&world, 304, "", &[("etag", "\"v2\"")]);
    next(&world, 200, "second", &[("cache-control", "max-age=60")]);
    let answer = world.get(PATH).await;
    answer.assert_status(200);
    assert_eq!(answer.text(), "second");
}

#[tokio::test(start_paused = true)]
async fn answers_that_vary_are_kept_apart() {
    let world = world().await;
    let vary = [("cache-control", "max-age=60"), ("vary", "Accept-Language")];
    for language in ["de", "en"] {
        next(&world, 200, language, &vary);
        world.get_with(PATH, &[("accept-language", language)]).await.assert_status(200);
    }
    for language in ["en", "de"] {
        let answer = world.get_with(PATH, &[("accept-language", language)]).await;
        assert_eq!(answer.text(), language);
        answer.assert_cache("zoho-sidecar; hit; ttl=60");
    }
    assert_eq!(world.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_to_the_same_url_makes_it_untrue_and_so_do_the_urls_it_names() {
    for (target, headers) in [
        (PATH, vec![]),
        ("/crm/v8/other", vec![("location", PATH)]),
        ("/crm/v8/other", vec![("content-location", "https://www.zohoapis.com/crm/v8/settings/roles")]),
    ] {
        let world = world().await;
        first(&world, &[("cache-control", "max-age=60")]).await;
        next(&world, 201, "", &headers);
        world.send(request(Method::POST, target, "{}")).await.assert_status(201);
        assert_eq!(second(&world).await, "second", "{target} {headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_failed_or_that_names_another_host_changes_nothing() {
    for (status, headers) in
        [(400, vec![]), (201, vec![("location", "https://www.example.com/crm/v8/settings/roles")])]
    {
        let world = world().await;
        first(&world, &[("cache-control", "max-age=60")]).await;
        next(&world, status, "", &headers);
        let target = if status == 400 { PATH } else { "/crm/v8/other" };
        world.send(request(Method::POST, target, "{}")).await.assert_status(status);
        world.get(PATH).await.assert_cache("zoho-sidecar; hit; ttl=60");
    }
}

#[tokio::test(start_paused = true)]
async fn must_revalidate_is_never_served_stale() {
    for (cache_control, status) in
        [("max-age=60", 200), ("max-age=60, must-revalidate", 502), ("s-maxage=60", 502)]
    {
        let world = world().await;
        first(&world, &[("cache-control", cache_control)]).await;
        world.passes(Duration::from_secs(61)).await;
        world.zoho().script().always(Target::Api, Fault::Refuse);
        world.get(PATH).await.assert_status(status);
        let asked = with_headers(request(Method::GET, PATH, ""), &[("cache-control", "max-stale")]);
        world.send(asked).await.assert_status(status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_callers_own_credentials_keep_nothing_from_being_stored_or_served() {
    for name in ["authorization", "cookie", "proxy-authorization"] {
        let world = world().await;
        next(&world, 200, "first", &[("cache-control", "max-age=60")]);
        world.get_with(PATH, &[(name, "Bearer callers-own")]).await.assert_status(200);
        assert_eq!(second(&world).await, "first", "{name}");
        let answer = world.get_with(PATH, &[(name, "Bearer anothers-own")]).await;
        answer.assert_cache("zoho-sidecar; hit; ttl=60");
        assert_eq!(world.calls(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_age_that_is_no_number_of_seconds_is_ignored() {
    for (age, left) in [("abc", 60), ("-1", 60), ("1.5", 60), ("20", 40), ("20, abc", 40), ("20, 50", 40)] {
        let world = world().await;
        first(&world, &[("cache-control", "max-age=60"), ("age", age)]).await.assert_status(200);
        let hit = world.get(PATH).await;
        assert_eq!(hit.cache_status(), format!("zoho-sidecar; hit; ttl={left}"), "{age}");
        assert_eq!(hit.header("age"), (60 - left).to_string(), "{age}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_targeted_field_with_a_value_of_another_type_is_ignored() {
    let world = world().await;
    let headers = [("cdn-cache-control", "max-age=\"10000\""), ("cache-control", "max-age=60")];
    first(&world, &headers).await.assert_status(200);
    world.get(PATH).await.assert_cache("zoho-sidecar; hit; ttl=60");
    let other = format!("{PATH}?page=2");
    next(&world, 200, "first", &headers[..1]);
    let answer = world.get(&other).await;
    assert!(!answer.cache_status().contains("stored"), "{}", answer.cache_status());
}

#[tokio::test(start_paused = true)]
async fn hostile_headers_poison_nothing() {
    for (name, value) in [
        ("age", "99999999999999999999"),
        ("age", "-1"),
        ("expires", "Fri, 31 Dec 99999 23:59:59 GMT"),
        ("date", "Thu, 01 Jan 1800 00:00:00 GMT"),
        ("cache-control", "max-age=99999999999999999999, max-age=-1"),
        ("vary", "*, \u{1}"),
        ("etag", "\""),
        ("cdn-cache-control", "max-age=(((("),
    ] {
        let world = world().await;
        let mut headers = vec![("last-modified", "Mon, 23 Nov 2026 08:00:00 GMT")];
        if http::HeaderValue::from_str(value).is_ok() {
            headers.push((name, value));
        }
        first(&world, &headers).await.assert_status(200);
        world.get(PATH).await.assert_status(200);
    }
}
