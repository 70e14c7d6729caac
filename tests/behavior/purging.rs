//! Forgetting by hand: by tenant, route, path, group or all; for good, or so that it still helps in need.

use std::time::Duration;

use http::Method;
use tokio::task::JoinHandle;
use zoho_sidecar::emulator::{Fault, Target};
use zoho_sidecar::server::{Handler, Repeat};

use crate::world::{ASSOCIATED_USERS_COUNT, Answer, World, request, with_headers};

const ROLES: &str = "/crm/v8/settings/roles";
const CONFIG: &str =
    "[routes.roles]\nmatch = \"GET /crm/{version}/settings/roles\"\nstale_if_error = \"1h\"\n";

/// Two tenants, each with two counts and a list of roles: six entries.
async fn with_six_entries() -> World {
    let world = World::making().tenants(&["acme", "globex"]).config(CONFIG).await_first_token().await;
    for tenant in ["acme", "globex"] {
        for path in
            [ASSOCIATED_USERS_COUNT.to_owned(), format!("{ASSOCIATED_USERS_COUNT}?page=1"), ROLES.to_owned()]
        {
            world.get(&format!("/tenants/{tenant}{path}")).await.assert_status(200);
        }
    }
    world
}

#[tokio::test(start_paused = true)]
async fn what_is_named_is_forgotten_and_nothing_else() {
    let count = ASSOCIATED_USERS_COUNT;
    for (body, forgotten) in [
        (r#"{"all":true}"#.to_owned(), 6),
        (r#"{"tenant":"acme"}"#.to_owned(), 3),
        (r#"{"route":"roles"}"#.to_owned(), 2),
        (format!(r#"{{"path":"{count}"}}"#), 4),
        (r#"{"group":"territory-users"}"#.to_owned(), 4),
        (r#"{"tenant":"globex","group":"territory-users"}"#.to_owned(), 2),
        (r#"{"tenant":"globex","route":"roles","path":"/nowhere"}"#.to_owned(), 0),
    ] {
        let world = with_six_entries().await;
        let answer = world.purge(&body);
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(answer.json()["forgotten"], forgotten, "{body}");
        assert_eq!(world.metric("zoho_sidecar_cache_entries"), Some(6.0 - f64::from(forgotten)), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_fetched_anew() {
    let world = with_six_entries().await;
    world.purge(r#"{"tenant":"acme","route":"roles"}"#);
    world.get(&format!("/tenants/acme{ROLES}")).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    world.get(&format!("/tenants/globex{ROLES}")).await.assert_cache("zoho-sidecar; hit; ttl=300");
}

#[tokio::test(start_paused = true)]
async fn what_is_softly_forgotten_still_helps_in_need() {
    let world = with_six_entries().await;
    assert_eq!(world.purge(r#"{"route":"roles","soft":true}"#).json()["forgotten"], 2);
    world.zoho().script().next(Target::Api, Fault::Refuse);
    let acme = format!("/tenants/acme{ROLES}");
    world.get(&acme).await.assert_cache("zoho-sidecar; hit; ttl=-0; detail=stale-if-error");
    world.passes(Duration::from_secs(1)).await;
    world.get(&acme).await.assert_cache("zoho-sidecar; fwd=stale; stored");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_began_before_a_purge_is_not_kept() {
    for body in [r#"{"all":true}"#, r#"{"group":"territory-users"}"#, r#"{"all":true,"soft":true}"#] {
        let world = World::shipped().await;
        world.zoho().script().next(Target::Api, Fault::DelayAnswer(Duration::from_secs(5)));
        let slow = world.begin(request(http::Method::GET, ASSOCIATED_USERS_COUNT, ""));
        world.settles().await;
        world.purge(body);
        slow.await.unwrap().assert_status(200).assert_cache("zoho-sidecar; fwd=uri-miss; detail=overtaken");
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_cannot_be_understood_forgets_nothing_and_says_what_would_be_right() {
    let world = with_six_entries().await;
    for (body, told) in [
        ("", "as in"),
        ("[]", "say what to forget"),
        ("{}", "say what to forget"),
        (r#"{"soft":true}"#, "say what to forget"),
        (r#"{"all":true,"tenant":"acme"}"#, "say what to forget"),
        (r#"{"tenants":"acme"}"#, "unknown field `tenants`"),
        (r#"{"tenant":"initech"}"#, "there is acme, globex"),
        (r#"{"route":"nope"}"#, "associated-users-count"),
        (r#"{"group":"nope"}"#, "territory-users"),
        (r#"{"path":"crm"}"#, "begins with /"),
        (r#"{"path":"/crm?x=1"}"#, "no query"),
    ] {
        let answer = world.purge(body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["error"].as_str().unwrap().contains(told), "{body}: {}", answer.text);
    }
    assert_eq!(world.metric("zoho_sidecar_cache_entries"), Some(6.0));
    assert_eq!(world.ask_admin("/purge").status, 405);
}

/// The kinds of purge, each of which covers the count of acme.
fn every_kind() -> [String; 8] {
    let path = format!(r#"{{"path":"{ASSOCIATED_USERS_COUNT}"}}"#);
    let soft_path = format!(r#"{{"path":"{ASSOCIATED_USERS_COUNT}","soft":true}}"#);
    [
        r#"{"all":true}"#.to_owned(),
        r#"{"tenant":"acme"}"#.to_owned(),
        r#"{"route":"associated-users-count"}"#.to_owned(),
        path,
        r#"{"group":"territory-users"}"#.to_owned(),
        r#"{"all":true,"soft":true}"#.to_owned(),
        r#"{"group":"territory-users","soft":true}"#.to_owned(),
        soft_path,
    ]
}

/// How an old count can be near when a purge comes.
#[derive(Debug, Clone, Copy)]
enum Old {
    Fetched,
    RefreshedBehindTheCallersBack,
    RefreshedAhead,
    Forced,
    CopiedByTheWorker,
    OfAKnownHead,
}

const HEAD: &str =
    "GET /crm/v8/settings/territories/actions/associated_users_count HTTP/1.1\r\nhost: sidecar:8080\r\n\r\n";

/// Makes the old count; what is still under way comes back.
async fn make(old: Old, world: &World) -> Option<tokio::task::JoinHandle<Answer>> {
    let begin = |directive: &'static str| {
        world.zoho().script().next(Target::Api, Fault::DelayAnswer(Duration::from_secs(5)));
        let asked = request(Method::GET, ASSOCIATED_USERS_COUNT, "");
        Some(world.begin(with_headers(asked, &[("cache-control", directive)])))
    };
    if !matches!(old, Old::Fetched) {
        world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    }
    let slow = match old {
        Old::Fetched => begin("max-age=60"),
        Old::RefreshedBehindTheCallersBack => {
            world.passes(Duration::from_secs(310)).await;
            begin("min-made-up")
        }
        Old::RefreshedAhead => {
            world.passes(Duration::from_secs(290)).await;
            begin("min-made-up")
        }
        Old::Forced => begin("no-cache"),
        Old::CopiedByTheWorker => {
            for _ in 0..5 {
                world.get(ASSOCIATED_USERS_COUNT).await.assert_cache("zoho-sidecar; hit; ttl=300");
            }
            None
        }
        Old::OfAKnownHead => {
            let mut caller = world.connect();
            for _ in 0..5 {
                assert!(caller.say(HEAD).await);
                caller.whole_answer().await.unwrap();
            }
            assert_eq!(world.handler().repeat(HEAD.as_bytes(), &mut Vec::new()), Repeat::Done);
            None
        }
    };
    world.settles().await;
    slow
}

#[tokio::test(start_paused = true)]
async fn a_read_after_a_purge_is_a_new_call_whatever_was_under_way_or_remembered() {
    for old in [
        Old::Fetched,
        Old::RefreshedBehindTheCallersBack,
        Old::RefreshedAhead,
        Old::Forced,
        Old::CopiedByTheWorker,
        Old::OfAKnownHead,
    ] {
        for purge in every_kind() {
            let what = format!("{old:?} {purge}");
            let world = World::shipped().await;
            let slow = make(old, &world).await;
            world.acme().add_user_to_territory("Ada Example", "Overseas");
            let calls = world.calls();
            assert_eq!(world.purge(&purge).status, 200, "{what}");
            if matches!(old, Old::OfAKnownHead) {
                let repeat = world.handler().repeat(HEAD.as_bytes(), &mut Vec::new());
                assert_ne!(repeat, Repeat::Done, "{what}");
            }

            let after = world.get(ASSOCIATED_USERS_COUNT).await;

            assert_eq!(world.calls(), calls + 1, "{what}");
            assert_eq!(after.count_of("Overseas"), "1", "{what}");
            assert!(after.cache_status().ends_with("; stored"), "{what}: {}", after.cache_status());
            world.passes(Duration::from_secs(6)).await;
            if let Some(slow) = slow {
                assert_eq!(slow.await.unwrap().count_of("Overseas"), "0", "{what}: it was asked before");
            }
            let later = world.get(ASSOCIATED_USERS_COUNT).await;
            assert_eq!(later.count_of("Overseas"), "1", "{what}: what came late was not stored");
            assert_eq!(world.calls(), calls + 1, "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reads_after_a_purge_share_their_own_fetch() {
    let world = World::shipped().await;
    let old = make(Old::Fetched, &world).await.unwrap();
    world.purge(r#"{"all":true}"#);
    world.zoho().script().next(Target::Api, Fault::DelayAnswer(Duration::from_secs(9)));
    let new = world.get_at_once(ASSOCIATED_USERS_COUNT, 10).await;
    assert_eq!(world.calls(), 2, "also after the older fetch has ended");
    assert!(new.iter().all(|answer| answer.status == 200));
    old.await.unwrap().assert_cache("zoho-sidecar; fwd=uri-miss; detail=overtaken");
}

#[tokio::test(start_paused = true)]
async fn a_purge_of_something_else_leaves_a_fetch_alone() {
    for purge in [
        r#"{"path":"/crm"}"#,
        r#"{"tenant":"globex"}"#,
        r#"{"route":"roles"}"#,
        r#"{"tenant":"globex","group":"territory-users","soft":true}"#,
    ] {
        let world = World::making().tenants(&["acme", "globex"]).config(CONFIG).await_first_token().await;
        let count = format!("/tenants/acme{ASSOCIATED_USERS_COUNT}");
        world.zoho().script().next(Target::Api, Fault::DelayAnswer(Duration::from_secs(5)));
        let slow = world.begin(request(Method::GET, &count, ""));
        world.settles().await;
        assert_eq!(world.purge(purge).status, 200);
        world.get(&count).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored; collapsed");
        slow.await.unwrap().assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    }
}

/// A world whose count is stored and past its freshness.
async fn with_stale_count() -> World {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    world.passes(Duration::from_secs(400)).await;
    world
}

/// A read whose fetch is under way, and fails in five seconds.
async fn begin_failing_renewal(world: &World) -> JoinHandle<Answer> {
    let late = Fault::Delay(Duration::from_secs(5)).and(Fault::Html500);
    world.zoho().script().next(Target::Api, late);
    let renewal = world.begin(request(Method::GET, ASSOCIATED_USERS_COUNT, ""));
    world.settles().await;
    renewal
}

#[tokio::test(start_paused = true)]
async fn what_was_purged_for_good_while_its_renewal_failed_is_not_served() {
    for purge in every_kind() {
        let world = with_stale_count().await;
        let renewal = begin_failing_renewal(&world).await;
        world.purge(&purge);
        let answer = renewal.await.unwrap();
        if purge.contains("soft") {
            answer.assert_cache("zoho-sidecar; hit; ttl=-100; detail=stale-if-error");
        } else {
            answer.assert_status(500).assert_cache("zoho-sidecar; fwd=stale; detail=not-storable");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_read_after_a_purge_fetches_although_the_last_fetch_before_it_failed() {
    for purge in every_kind() {
        let world = with_stale_count().await;
        world.zoho().script().next(Target::Api, Fault::Html500);
        for _ in 0..2 {
            let stale = world.get(ASSOCIATED_USERS_COUNT).await;
            stale.assert_cache("zoho-sidecar; hit; ttl=-100; detail=stale-if-error");
        }
        assert_eq!(world.calls(), 2, "after the failure the stored response answers without another call");

        assert_eq!(world.purge(&purge).status, 200, "{purge}");

        let after = world.get(ASSOCIATED_USERS_COUNT).await;
        assert!(after.cache_status().ends_with("; stored"), "{purge}: {}", after.cache_status());
        assert_eq!(world.calls(), 3, "{purge}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_from_before_a_purge_that_fails_after_it_does_not_keep_the_next_read_from_fetching() {
    for purge in every_kind() {
        let world = with_stale_count().await;
        let renewal = begin_failing_renewal(&world).await;
        world.purge(&purge);
        renewal.await.unwrap();
        let after = world.get(ASSOCIATED_USERS_COUNT).await;
        assert!(after.cache_status().ends_with("; stored"), "{purge}: {}", after.cache_status());
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_by_path_reaches_every_spelling_of_it() {
    const BELOW: &str = "[routes.settings]\nmatch = \"GET /crm/{version}/settings/**\"\n";
    for (stored, purged) in [
        ("/crm/v8/settings/%72oles", ROLES),
        (ROLES, "/crm/v8/settings/%72oles"),
        ("/crm/v8/settings/%72oles?page=2", ROLES),
        ("/crm/v8/settings/roles/", ROLES),
        (ROLES, "/crm/v8/settings/roles/"),
        ("/crm/v8/settings/roles%2F1", "/crm/v8/settings/roles/1"),
    ] {
        for soft in [false, true] {
            let what = format!("{stored} {purged} {soft}");
            let world = World::with(BELOW).await;
            let whole = Fault::Status { status: 200, body: "{}".into(), headers: Vec::new() };
            world.zoho().script().always(Target::Api, whole);
            world.get(stored).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
            world.get(stored).await.assert_cache("zoho-sidecar; hit; ttl=300");
            let answer = world.purge(&format!(r#"{{"path":"{purged}","soft":{soft}}}"#));
            assert_eq!(answer.json()["forgotten"], 1, "{what}");
            let after = world.get(stored).await;
            assert!(after.cache_status().ends_with("; stored"), "{what}: {}", after.cache_status());
        }
        // Of a fetch that is under way too.
        let world = World::with(BELOW).await;
        let slow = Fault::Status { status: 200, body: "{}".into(), headers: Vec::new() }
            .and(Fault::DelayAnswer(Duration::from_secs(5)));
        world.zoho().script().next(Target::Api, slow);
        let under_way = world.begin(request(Method::GET, stored, ""));
        world.settles().await;
        world.purge(&format!(r#"{{"path":"{purged}"}}"#));
        under_way.await.unwrap().assert_cache("zoho-sidecar; fwd=uri-miss; detail=overtaken");
    }
}
