//! `Vary`: an answer serves only requests that are alike in the headers it names, under every rule.

use std::time::Duration;

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};
use zoho_sidecar::server::{Handler, Repeat};

use crate::world::{Answer, World, request, with_headers};

const PATH: &str = "/crm/v8/settings/roles";
const ROUTE: &str = "[routes.roles]\nmatch = \"GET /crm/{version}/settings/roles\"\n";
const HIT: &str = "zoho-sidecar; hit; ttl=300";
const MISS: &str = "zoho-sidecar; fwd=uri-miss; stored";

/// An answer that names these headers.
fn varying(body: &str, vary: &str) -> Fault {
    let headers = vec![("vary".to_owned(), vary.to_owned())];
    Fault::Status { status: 200, body: format!("{{\"is\":\"{body}\"}}"), headers }
}

async fn get(world: &World, headers: &[(&str, &str)]) -> Answer {
    let answer = world.get_with(PATH, headers).await;
    answer.assert_status(200);
    answer
}

#[tokio::test(start_paused = true)]
async fn answers_with_a_fixed_lifetime_are_kept_apart_by_what_they_name() {
    for name in ["accept-language", "user-agent", "x-made-up"] {
        let world = World::with(ROUTE).await;
        let requests = [vec![(name, "de")], vec![(name, "en")], vec![], vec![(name, "de"), (name, "en")]];
        for (n, headers) in requests.iter().enumerate() {
            world
                .zoho()
                .script()
                .next(Target::Api, varying(&n.to_string(), "Accept-Language, User-Agent, X-Made-Up"));
            get(&world, headers).await.assert_cache(MISS);
        }
        for _ in 0..3 {
            for (n, headers) in requests.iter().enumerate() {
                let answer = get(&world, headers).await;
                answer.assert_cache(HIT);
                assert_eq!(answer.json()["is"], n.to_string(), "{name} {headers:?}");
            }
        }
        assert_eq!(world.calls(), requests.len());
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_value_of_another_header_is_not_alike() {
    let world = World::with(ROUTE).await;
    world.zoho().script().next(Target::Api, varying("language", "accept-language"));
    get(&world, &[("accept-language", "x")]).await.assert_cache(MISS);
    world.zoho().script().next(Target::Api, varying("made up", "x-made-up"));
    get(&world, &[("accept-language", "y")]).await.assert_cache(MISS);
    // Under the names that hold now nothing is stored yet for this one.
    get(&world, &[("x-made-up", "x")]).await.assert_cache(MISS);
}

#[tokio::test(start_paused = true)]
async fn what_never_reaches_zoho_or_stands_in_every_key_cannot_differ() {
    let world = World::with(&format!("{ROUTE}vary_by = [\"x-region\"]\n")).await;
    let vary = "Cookie, Authorization, Origin-Made-Up, X-Forwarded-For, Accept-Encoding, X-CRM-ORG, X-Region";
    world.zoho().script().next(Target::Api, varying("one", &vary.replace("Origin-Made-Up, ", "")));
    get(&world, &[("cookie", "a=1"), ("accept-encoding", "br")]).await.assert_cache(MISS);
    get(&world, &[("cookie", "a=2"), ("x-forwarded-for", "::1")]).await.assert_cache(HIT);
    get(&world, &[("x-region", "other")]).await.assert_cache(MISS);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_varies_by_everything_is_stored_and_shared_by_nobody() {
    for vary in ["*", "accept, *", "not a name"] {
        let world = World::with(ROUTE).await;
        let slow = Fault::Delay(Duration::from_secs(1)).and(varying("mine", vary));
        world.zoho().script().always(Target::Api, slow);
        let answers = world.get_at_once(PATH, 5).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        assert_eq!(world.calls(), 5, "{vary}: each has its own answer");
        get(&world, &[]).await.assert_cache("zoho-sidecar; fwd=miss; detail=uncacheable");
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_at_once_share_a_fetch_with_their_like() {
    let world = World::with(ROUTE).await;
    let slow = Fault::Delay(Duration::from_secs(1)).and(varying("one", "accept-language"));
    world.zoho().script().always(Target::Api, slow);
    let asked = |language| with_headers(request(Method::GET, PATH, ""), &[("accept-language", language)]);
    let callers: Vec<_> = (0..20).map(|n| world.begin(asked(["de", "en"][n % 2]))).collect();
    for caller in callers {
        caller.await.unwrap().assert_status(200);
    }
    assert_eq!(world.calls(), 2);
    for language in ["de", "en"] {
        let answer = get(&world, &[("accept-language", language)]).await;
        assert!(answer.cache_status().starts_with("zoho-sidecar; hit"), "{language}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_head_does_not_hide_that_answers_came_to_vary() {
    let world = World::with(ROUTE).await;
    let head = |language: &str| {
        format!("GET {PATH} HTTP/1.1\r\nhost: sidecar:8080\r\naccept-language: {language}\r\n\r\n")
    };
    let is_known = |head: &str| world.handler().repeat(head.as_bytes(), &mut Vec::new()) == Repeat::Done;
    let mut caller = world.connect();
    // Two heads may share one of 64 places by chance, and only one of them is known then: another language takes the part.
    let mut languages = ["en", "fr", "it", "es", "pt", "pl"].into_iter();
    let other = loop {
        let other = languages.next().expect("one of six heads shares no place with another");
        for _ in 0..5 {
            for language in ["de", other] {
                caller.say(head(language)).await;
                caller.whole_answer().await.unwrap();
            }
        }
        if is_known(&head("de")) && is_known(&head(other)) {
            break other;
        }
    };
    world.purge(r#"{"all":true}"#);
    world.zoho().script().next(Target::Api, varying("german", "accept-language"));
    caller.say(head("de")).await;
    assert!(caller.whole_answer().await.unwrap().contains("german"));
    world.zoho().script().next(Target::Api, varying("english", "accept-language"));
    for _ in 0..5 {
        caller.say(head(other)).await;
        assert!(!caller.whole_answer().await.unwrap().contains("german"));
        caller.say(head("de")).await;
        assert!(caller.whole_answer().await.unwrap().contains("german"));
    }
}

#[tokio::test(start_paused = true)]
async fn writes_and_purges_reach_every_variant() {
    for is_write in [true, false] {
        let world = World::with(ROUTE).await;
        world.zoho().script().always(Target::Api, varying("one", "accept-language"));
        for language in ["de", "en"] {
            get(&world, &[("accept-language", language)]).await.assert_cache(MISS);
            get(&world, &[("accept-language", language)]).await.assert_cache(HIT);
        }
        if is_write {
            world.send(request(Method::PUT, PATH, "{}")).await.assert_status(200);
        } else {
            assert_eq!(world.purge(r#"{"route":"roles"}"#).json()["forgotten"], 2);
        }
        for language in ["de", "en"] {
            get(&world, &[("accept-language", language)]).await.assert_cache(MISS);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_longer_than_a_key_may_hold_passes_unstored() {
    let world = World::with(ROUTE).await;
    world.zoho().script().always(Target::Api, varying("one", "accept-language"));
    get(&world, &[]).await.assert_cache(MISS);
    let long = "x".repeat(1025);
    get(&world, &[("accept-language", &long)])
        .await
        .assert_cache("zoho-sidecar; fwd=miss; detail=uncacheable");
    let only = [("accept-language", long.as_str()), ("cache-control", "only-if-cached")];
    world.get_with(PATH, &only).await.assert_status(504);
    get(&world, &[]).await.assert_cache(HIT);
}

#[tokio::test(start_paused = true)]
async fn one_value_longer_than_a_key_may_hold_keeps_no_other_from_being_stored() {
    let world = World::with(ROUTE).await;
    world.zoho().script().always(Target::Api, varying("one", "accept-language"));
    let long = "x".repeat(1025);
    let first = get(&world, &[("accept-language", &long)]).await;
    assert!(!first.cache_status().contains("stored"), "{}", first.cache_status());
    get(&world, &[("accept-language", "de")]).await.assert_cache(MISS);
    get(&world, &[("accept-language", "de")]).await.assert_cache(HIT);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_value_longer_than_a_key_may_hold_is_not_shared() {
    let world = World::with(ROUTE).await;
    for body in ["long", "short"] {
        let answer = varying(body, "accept-language").and(Fault::Delay(Duration::from_secs(1)));
        world.zoho().script().next(Target::Api, answer);
    }
    let long = "x".repeat(1025);
    let ask = |value: &str| {
        world.begin(with_headers(request(Method::GET, PATH, ""), &[("accept-language", value)]))
    };
    let first = ask(&long);
    world.settles().await;
    let second = ask("de");
    assert_eq!(first.await.unwrap().json()["is"], "long");
    assert_eq!(second.await.unwrap().json()["is"], "short");
}
