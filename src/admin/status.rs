//! The running sidecar at a glance.

use serde_json::{Value, json};

use super::Admin;
use crate::oauth::Tokens;

pub(super) fn status(admin: &Admin) -> Value {
    let now = admin.clock.boot_time();
    let (entries, bytes) = (admin.cache_size)();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": (now - admin.started).as_secs(),
        "listeners": admin.listeners,
        "connections": admin.metrics.connections.get(),
        "callers": callers(admin),
        "tenants": admin.tokens.iter().enumerate().map(|(n, tokens)| tenant(admin, n, tokens)).collect::<Vec<_>>(),
        "cache": { "entries": entries, "bytes": bytes },
        "routes": routes(admin),
        "writes": admin.rules.routes.writes().iter().map(|write| {
            json!({
                "name": write.name,
                "match": write.templates.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "forgets": group_names(admin, &write.forgets),
            })
        }).collect::<Vec<_>>(),
    })
}

/// Never how a caller could be mistaken for another: no hash, and of certificates and users only that they count.
fn callers(admin: &Admin) -> Vec<Value> {
    let texts = |all: &Vec<_>| all.iter().map(ToString::to_string).collect::<Vec<String>>();
    let names = |all: &Vec<usize>| -> Vec<&str> {
        all.iter().map(|number| admin.rules.tenants.tenant(*number).name.as_str()).collect()
    };
    let callers = admin.rules.callers.all().iter();
    callers
        .map(|caller| {
            let policy = &caller.policy;
            json!({
                "name": caller.name,
                "known_by": caller.credential.kinds(),
                "mode": caller.mode.as_str(),
                "tenants": policy.tenants.as_ref().map(names),
                "methods": policy.methods.as_ref().map(|all| all.iter().map(http::Method::as_str).collect::<Vec<_>>()),
                "paths": policy.paths.as_ref().map(texts),
                "read_only": policy.read_only,
            })
        })
        .collect()
}

fn tenant(admin: &Admin, number: usize, tokens: &Tokens) -> Value {
    let now = admin.clock.boot_time();
    let (state, tenant) = (tokens.state(), admin.rules.tenants.tenant(number));
    json!({
        "name": tenant.name,
        "data_center": tenant.data_center.name,
        "environment": tenant.environment.as_str(),
        "edition": tenant.edition.map(crate::zoho::edition::Edition::as_str),
        "health": state.health.as_str(),
        "remedy": state.health.remedy(),
        "token": state.token.map(|token| json!({
            "generation": token.generation(),
            "lives": token.lives(now),
            "age_seconds": now.saturating_duration_since(token.minted()).as_secs(),
            "left_seconds": token.expires().saturating_duration_since(now).as_secs(),
        })),
        "next_attempt_in_seconds":
            state.next_attempt.map(|at| at.saturating_duration_since(now).as_secs()),
    })
}

fn routes(admin: &Admin) -> Vec<Value> {
    let routes = admin.rules.routes.all().iter();
    routes
        .map(|route| {
            json!({
                "name": route.name,
                "match": route.template.to_string(),
                "fresh_for_seconds": route.rule.fresh_for.as_secs(),
                "empty_fresh_for_seconds": route.rule.empty_fresh_for.as_secs(),
                "stale_while_revalidate_seconds": route.rule.stale_while_revalidate.as_secs(),
                "stale_if_error_seconds": route.rule.stale_if_error.as_secs(),
                "groups": group_names(admin, &route.rule.groups),
            })
        })
        .collect()
}

fn group_names<'a>(admin: &'a Admin, numbers: &[usize]) -> Vec<&'a str> {
    numbers.iter().map(|number| admin.rules.routes.groups()[*number].as_str()).collect()
}
