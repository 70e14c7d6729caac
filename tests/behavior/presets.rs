//! The preset `crm-metadata`: what it keeps, and that each write forgets what it changes and nothing else.

use http::Method;
use zoho_sidecar::emulator::{Fault, Target};
use zoho_sidecar::rulebook::Rulebook;

use crate::world::{ASSOCIATED_USERS_COUNT, World, request};

const PRESET: &str = "presets = [\"crm-metadata\"]\n";

/// Every path template filled in: `/crm/v8/settings/roles/7`.
fn concrete(template: &str) -> String {
    let path = template.split_once(' ').map_or(template, |(_, path)| path);
    let fill = |segment: &str| match segment {
        "{version}" => "v8".to_owned(),
        _ if segment.starts_with('{') => "7".to_owned(),
        _ => segment.to_owned(),
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

async fn with_everything_kept(world: &World, rules: &Rulebook) {
    for route in rules.routes.all() {
        world.get(&concrete(&route.template.to_string())).await.assert_status(200);
    }
}

#[tokio::test(start_paused = true)]
async fn every_write_forgets_what_it_changes_and_nothing_else() {
    let world = World::with(PRESET).await;
    let fine = Fault::Status { status: 200, body: "{}\n".into(), headers: Vec::new() };
    world.zoho().script().always(Target::Api, fine);
    let rules = world.app().rules();
    assert!(rules.routes.all().len() > 40, "the preset has routes");

    for write in rules.routes.writes() {
        for template in &write.templates {
            with_everything_kept(&world, rules).await;
            let path = concrete(&template.to_string());
            let forgets = rules.routes.forgotten_by(&template.method, &path).groups;
            world.send(request(template.method.clone(), &path, "{}")).await.assert_status(200);
            for route in rules.routes.all() {
                let read = concrete(&route.template.to_string());
                let answer = world.get(&read).await;
                let is_forgotten = route.rule.groups.iter().any(|group| forgets.contains(group));
                let is_kept = answer.cache_status().contains("hit")
                    || !is_forgotten
                        && is_kept_by_another_query(&world, &read, &template.method, &path).await;
                assert_ne!(is_forgotten, is_kept, "{template} and {}", route.name);
            }
        }
    }
}

/// What gateways and overloaded servers say 200 to.
fn no_answers() -> [(&'static str, Fault); 4] {
    let ok = |body: &str| Fault::Status { status: 200, body: body.to_owned(), headers: Vec::new() };
    let page = Fault::Headers(vec![("content-type".to_owned(), "text/html".to_owned())]);
    let envelope = r#"{"code":"INTERNAL_ERROR","details":{},"message":"made up","status":"error"}"#;
    [
        ("empty", ok("")),
        ("a page by its type", ok("<html><title>Sign in</title></html>").and(page)),
        ("a page that calls itself JSON", ok("<!DOCTYPE html>")),
        ("an error envelope", ok(envelope)),
    ]
}

/// The path of a template, with ids that the emulator lists, where it lists some.
async fn existing(world: &World, template: &str) -> String {
    let (_, template) = template.split_once(' ').unwrap();
    let mut path = String::new();
    for segment in template.split('/').skip(1) {
        let filled = match segment {
            "{version}" => "v8".to_owned(),
            "{module}" => "Leads".to_owned(),
            _ if segment.starts_with('{') => first_id(world, &path).await.unwrap_or_else(|| "7".to_owned()),
            name => name.to_owned(),
        };
        path.extend(["/", &filled]);
    }
    path + "?module=Leads"
}

/// The id of the first item that is listed at a path.
async fn first_id(world: &World, path: &str) -> Option<String> {
    let listed = world.get(&format!("{path}?module=Leads")).await;
    let json: serde_json::Value = serde_json::from_slice(&listed.body).ok()?;
    let items = json.as_object()?.values().find_map(serde_json::Value::as_array)?;
    Some(items.first()?["id"].as_str()?.to_owned())
}

#[tokio::test(start_paused = true)]
async fn on_every_cached_route_an_answer_is_stored_and_what_is_no_answer_is_not() {
    let world = World::with(PRESET).await;
    let rules = world.app().rules();
    let mut answered_by_the_emulator = 0;
    for route in rules.routes.all() {
        let (name, path) = (&route.name, existing(&world, &route.template.to_string()).await);
        world.purge(r#"{"all":true}"#);
        for (what, fault) in no_answers() {
            world.zoho().script().next(Target::Api, fault);
            let answer = world.get(&path).await;
            answer.assert_status(200);
            let expected = "zoho-sidecar; fwd=uri-miss; detail=invalid-response";
            assert_eq!(answer.cache_status(), expected, "{name}: {what} at {path}");
        }
        let mut answer = world.get(&path).await;
        if answer.status == 200 {
            answered_by_the_emulator += 1;
        } else {
            // The emulator has no such thing; Zoho's answers have this form.
            let body = r#"{"things":[{"id":"7","name":"Made Up"}],"info":{"count":1,"more_records":false}}"#;
            let listed = Fault::Status { status: 200, body: body.to_owned(), headers: Vec::new() };
            world.zoho().script().next(Target::Api, listed);
            world.purge(r#"{"all":true}"#);
            answer = world.get(&path).await;
        }
        assert_eq!(answer.cache_status(), "zoho-sidecar; fwd=uri-miss; stored", "{name}: {path}");
        assert!(world.get(&path).await.cache_status().contains("hit"), "{name}: {path}");
    }
    let routes = rules.routes.all().len();
    assert!(routes > 40 && answered_by_the_emulator > 20, "{answered_by_the_emulator} of {routes}");
}

/// Whether a write leaves a read alone if both have another query. Two URLs may share a counter by chance, one pair in
/// 16,384; that they do so with this query too would be no chance.
async fn is_kept_by_another_query(world: &World, read: &str, method: &Method, path: &str) -> bool {
    let other = |path: &str| format!("{path}?other=1");
    world.get(&other(read)).await.assert_status(200);
    world.send(request(method.clone(), &other(path), "{}")).await.assert_status(200);
    world.get(&other(read)).await.cache_status().contains("hit")
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_changed_is_read_anew_and_profiles_are_not() {
    let world = World::with(PRESET).await;
    let (roles, profiles) = ("/crm/v8/settings/roles", "/crm/v8/settings/profiles");
    let fine = Fault::Status { status: 200, body: "{}\n".into(), headers: Vec::new() };
    world.zoho().script().always(Target::Api, fine);
    world.get(roles).await;
    world.get(profiles).await;
    world.send(request(Method::PUT, "/crm/v5/settings/roles/1", "{}")).await.assert_status(200);
    world.get(roles).await.assert_cache("zoho-sidecar; fwd=uri-miss; stored");
    world.get(profiles).await.assert_cache("zoho-sidecar; hit; ttl=600");
}

#[tokio::test(start_paused = true)]
async fn records_queries_and_jobs_are_never_kept() {
    let world = World::with(PRESET).await;
    for path in [
        "/crm/v8/Leads",
        "/crm/v8/Leads/1",
        "/crm/v8/Leads/search?word=x",
        "/crm/bulk/v8/read/1",
        "/crm/v8/users/actions/transfer_and_delete?job_id=1",
        "/crm/v8/files?id=1",
        "/crm/v8/Leads/actions/mass_update?job_id=1",
    ] {
        let answer = world.get(path).await;
        assert!(answer.cache_status().contains("fwd=bypass"), "{path}: {}", answer.cache_status());
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_preset_only_the_count_is_kept() {
    let world = World::shipped().await;
    assert_eq!(world.app().rules().routes.all().len(), 1);
    world.get("/crm/v8/settings/roles").await.assert_cache("zoho-sidecar; fwd=bypass");
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_preset_can_be_changed_and_a_route_switched_off() {
    let config =
        format!("{PRESET}[routes.crm-roles]\nfresh_for = \"1h\"\n[routes.crm-profiles]\nenabled = false\n");
    let world = World::with(&config).await;
    world.get("/crm/v8/settings/roles").await.assert_status(200);
    world.get("/crm/v8/settings/roles").await.assert_cache("zoho-sidecar; hit; ttl=3600");
    world.get("/crm/v8/settings/profiles").await.assert_cache("zoho-sidecar; fwd=bypass");
}

#[tokio::test(start_paused = true)]
async fn groups_are_announced_where_the_rule_says_so() {
    let world = World::with("[routes.associated-users-count]\nannounce_groups = true\n").await;
    for _ in 0..2 {
        let answer = world.get(ASSOCIATED_USERS_COUNT).await;
        assert_eq!(answer.header("cache-groups"), r#""territory-users""#);
    }
    assert_eq!(World::shipped().await.get(ASSOCIATED_USERS_COUNT).await.header("cache-groups"), "");
}
