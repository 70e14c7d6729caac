//! Tenants, data centres, routes and writes, checked against each other.

use std::time::Duration;

use http::HeaderValue;

use crate::cache::media::{ContentTypes, MediaRange};
use crate::cache::rule::Rule;
use crate::net::origin::{Origin, OriginError};
use crate::oauth::Credential;
use crate::routes::template::Template;
use crate::routes::{Route, Routes, Write};
use crate::tenants::{Tenant, Tenants, is_name};
use crate::zoho::data_center::{ApiOrigins, DataCenter, Environment, built_in};
use crate::zoho::edition::Edition;

use super::section::Section;

/// The presets themselves were laid under the user's files; here their names are checked.
pub(super) fn presets(root: &Section<'_>) {
    let known: Vec<&str> = super::PRESETS.iter().map(|(name, _)| *name).collect();
    let named: Vec<String> = root.list("presets", "\"crm-metadata\"");
    if let Some(name) = named.iter().find(|name| !known.contains(&name.as_str())) {
        root.wrong(
            "presets",
            format!("there is no preset \"{name}\""),
            format!("there is {}", known.join(", ")),
        );
    }
}

pub(super) fn tenants(root: &Section<'_>) -> (Tenants, Vec<Credential>) {
    let data_centers = data_centers(root);
    let mut tenants = Vec::new();
    let mut credentials = Vec::new();
    for (number, (name, section)) in root.named("tenants", Some("tenant_defaults")).into_iter().enumerate() {
        let (tenant, credential) = tenant(number, &name, section, &data_centers);
        tenants.push(tenant);
        credentials.push(credential);
    }
    if tenants.is_empty() {
        root.missing(
            "tenants",
            "there is no tenant",
            "write [tenants.NAME] with data_center, client_id, client_secret and refresh_token",
        );
    }
    check_tenant_defaults(root);
    (Tenants::new(tenants), credentials)
}

/// Also when no tenant uses them.
fn check_tenant_defaults(root: &Section<'_>) {
    let section = root.section("tenant_defaults");
    environment(&section);
    edition(&section);
    section.finish();
}

fn tenant(
    number: usize,
    name: &str,
    section: Section<'_>,
    data_centers: &[DataCenter],
) -> (Tenant, Credential) {
    if !is_name(name) {
        section.wrong(
            "(name)",
            format!("\"{name}\" cannot be a tenant's name"),
            "use letters, digits, hyphens, underscores and dots: the name stands in URLs and headers",
        );
    }
    let data_center = data_center(&section, data_centers);
    let environment = environment(&section);
    let client_id = section.text("client_id", "the client id, as \"1000.ABCDEFG\"");
    if section.is_text("client_id") && client_id.trim().is_empty() {
        section.wrong("client_id", "this is empty", "copy it from Zoho's API console");
    }
    let credential = Credential {
        tenant: name.to_owned(),
        accounts: data_center.accounts.clone(),
        api: data_center.api.clone(),
        environment,
        client_id,
        client_secret: section.secret("client_secret"),
        refresh_token: section.secret("refresh_token"),
    };
    let tenant =
        Tenant { number, name: name.to_owned(), data_center, environment, edition: edition(&section) };
    section.finish();
    (tenant, credential)
}

fn environment(section: &Section<'_>) -> Environment {
    let choices = Environment::ALL.map(|environment| (environment.as_str(), environment));
    section.choice("environment", &choices).unwrap_or_default()
}

fn edition(section: &Section<'_>) -> Option<Edition> {
    let mut choices = vec![("none", None)];
    choices.extend(Edition::ALL.map(|edition| (edition.as_str(), Some(edition))));
    section.choice("edition", &choices).flatten()
}

fn data_center(section: &Section<'_>, known: &[DataCenter]) -> DataCenter {
    let name = section.text(
        "data_center",
        "one of \"us\", \"eu\", \"in\", \"au\", \"jp\", \"cn\", \"ca\", \"sa\", \"uk\", \"ae\", \"sg\"",
    );
    if let Some(found) = known.iter().find(|row| row.name == name) {
        return found.clone();
    }
    if !name.is_empty() {
        let names: Vec<String> = known.iter().map(|row| format!("\"{}\"", row.name)).collect();
        section.missing(
            "data_center",
            format!("there is no data centre \"{name}\""),
            format!("write one of {}, or add [data_centers.{name}]", names.join(", ")),
        );
    }
    known[0].clone()
}

/// The built-in table with what configuration adds to it or puts in place of a row.
fn data_centers(root: &Section<'_>) -> Vec<DataCenter> {
    let mut table = built_in();
    for (name, section) in root.named("data_centers", None) {
        let built_in = table.iter().position(|row| row.name == name);
        let row = data_center_row(name, section, built_in.map(|at| &table[at]));
        match built_in {
            Some(at) => table[at] = row,
            None => table.push(row),
        }
    }
    table
}

fn data_center_row(name: String, section: Section<'_>, built_in: Option<&DataCenter>) -> DataCenter {
    let inherited = |of: fn(&DataCenter) -> Origin| built_in.map(of);
    let accounts = origin(&section, "accounts", inherited(|row| row.accounts.clone()));
    let api = api_origins(&section, built_in.map(|row| row.api.clone()));
    let uploads = if section.has("uploads") || built_in.is_some() {
        origin(&section, "uploads", inherited(|row| row.uploads.clone()))
    } else {
        api.production.clone()
    };
    section.finish();
    DataCenter { name, accounts, api, uploads }
}

/// `api` is one URL for all environments, or a table with one each.
fn api_origins(section: &Section<'_>, inherited: Option<ApiOrigins>) -> ApiOrigins {
    if section.is_text("api") || (!section.has("api") && inherited.is_none()) {
        return ApiOrigins::all(&origin(section, "api", None));
    }
    if !section.has("api")
        && let Some(api) = inherited
    {
        return api;
    }
    let each = section.section("api");
    let of = |environment: Environment| {
        origin(&each, environment.as_str(), inherited.as_ref().map(|api| api.of(environment).clone()))
    };
    let origins = ApiOrigins {
        production: of(Environment::Production),
        sandbox: of(Environment::Sandbox),
        developer: of(Environment::Developer),
    };
    each.finish();
    origins
}

fn origin(section: &Section<'_>, key: &str, inherited: Option<Origin>) -> Origin {
    let example =
        if key == "accounts" { "\"https://accounts.zoho.com\"" } else { "\"https://www.zohoapis.com\"" };
    if !section.has(key)
        && let Some(origin) = inherited
    {
        return origin;
    }
    let text = section.text(key, example);
    match text.parse::<Origin>() {
        Ok(origin) => return origin,
        Err(_) if text.is_empty() => {}
        Err(OriginError::PlainHttp) => section.wrong(
            key,
            format!("\"{text}\" would send credentials over a network in the clear"),
            "write https://…; plain http is only for loopback addresses",
        ),
        // What stands before an @ may be a secret.
        Err(error) if text.contains('@') => {
            section.wrong(key, format!("this URL {error}"), format!("write it as in {example}"));
        }
        Err(error) => {
            section.wrong(key, format!("\"{text}\" {error}"), format!("write it as in {example}"));
        }
    }
    "https://invalid.invalid".parse().expect("a placeholder is well formed")
}

pub(super) fn routes(root: &Section<'_>) -> Routes {
    let mut groups = Vec::new();
    let mut number_of = |name: String| match groups.iter().position(|known| *known == name) {
        Some(number) => number,
        None => {
            groups.push(name);
            groups.len() - 1
        }
    };
    let writes: Vec<Write> = root
        .named("writes", None)
        .into_iter()
        .map(|(name, section)| write(name, section, &mut number_of))
        .collect();
    let routes: Vec<Route> = root
        .named("routes", Some("route_defaults"))
        .into_iter()
        .filter_map(|(name, section)| route(name, section, &writes, &mut number_of))
        .collect();
    check_route_defaults(root, &writes, &mut number_of);

    let routes = Routes::new(routes, writes, groups);
    for (first, twin) in routes.twins() {
        root.section("routes").wrong(
            &twin.name,
            format!("this matches the same requests as routes.{}", first.name),
            "keep one of them",
        );
    }
    routes
}

/// Also when no route uses them.
fn check_route_defaults(root: &Section<'_>, writes: &[Write], number_of: &mut impl FnMut(String) -> usize) {
    let section = root.section("route_defaults");
    section.flag("enabled");
    read_rule(&section, writes, number_of);
    section.finish();
}

fn route(
    name: String,
    section: Section<'_>,
    writes: &[Write],
    number_of: &mut impl FnMut(String) -> usize,
) -> Option<Route> {
    const EXAMPLE: &str = "\"GET /crm/{version}/settings/roles\"";
    let text = section.text("match", EXAMPLE);
    let template = match text.parse::<Template>() {
        Ok(template) if template.method == http::Method::GET => Some(template),
        Ok(template) => {
            section.wrong(
                "match",
                format!("a {} cannot be cached", template.method),
                "write a GET; HEAD is answered from it too",
            );
            None
        }
        Err(_) if text.is_empty() => None,
        Err(error) => {
            section.wrong("match", format!("\"{text}\": {error}"), format!("write it as in {EXAMPLE}"));
            None
        }
    };
    let enabled = section.flag("enabled");
    let rule = read_rule(&section, writes, number_of);
    section.finish();
    template.filter(|_| enabled).map(|template| Route { name, template, rule })
}

fn read_rule(section: &Section<'_>, writes: &[Write], number_of: &mut impl FnMut(String) -> usize) -> Rule {
    let names: Vec<String> = section.list("groups", "\"territory-users\"");
    let groups: Vec<usize> = names.iter().cloned().map(number_of).collect();
    for (name, group) in names.iter().zip(&groups) {
        if section.is_whole() && !writes.iter().any(|write| write.forgets.contains(group)) {
            section.doubtful(
                "groups",
                format!("no write forgets the group \"{name}\""),
                "add it to the `forgets` of a [writes.*], or leave it out",
            );
        }
    }
    let obeys_origin = section.is_word("fresh_for", "origin");
    Rule {
        fresh_for: if obeys_origin { Duration::ZERO } else { section.duration("fresh_for") },
        obeys_origin,
        empty_fresh_for: section.duration("empty_fresh_for"),
        stale_while_revalidate: section.duration("stale_while_revalidate"),
        stale_if_error: section.duration("stale_if_error"),
        groups,
        vary_by: section.list("vary_by", "\"X-My-Header\""),
        content_types: content_types(section, obeys_origin),
        refresh_ahead: section.duration("refresh_ahead"),
        min_refresh_interval: section.duration("min_refresh_interval"),
        stale_after_write: section.flag("stale_after_write"),
        cache_groups: section.flag("announce_groups").then(|| cache_groups(&names)).flatten(),
    }
}

/// What is stored; `None` for whatever the origin allows.
fn content_types(section: &Section<'_>, obeys_origin: bool) -> Option<ContentTypes> {
    const KEY: &str = "content_types";
    if section.is_word(KEY, "auto") {
        let _known = section.text(KEY, "\"auto\"");
        return (!obeys_origin).then(ContentTypes::json);
    }
    let ranges: Vec<MediaRange> = section.list(KEY, "\"application/json\", \"text/csv\"");
    if ranges.is_empty() && section.has(KEY) {
        section.wrong(KEY, "no answer would be stored", "write \"auto\", or name the types that are stored");
    }
    Some(ContentTypes::of(ranges))
}

/// The `Cache-Groups` of RFC 9875: a list of strings (RFC 9651).
fn cache_groups(names: &[String]) -> Option<HeaderValue> {
    let quoted: Vec<String> =
        names.iter().map(|name| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))).collect();
    HeaderValue::from_str(&quoted.join(", ")).ok().filter(|value| !value.is_empty())
}

fn write(name: String, section: Section<'_>, number_of: &mut impl FnMut(String) -> usize) -> Write {
    const EXAMPLE: &str = "\"PUT /crm/{version}/settings/roles/{role}\"";
    let templates: Vec<Template> = section.list("match", EXAMPLE);
    if templates.iter().any(|template| template.method == http::Method::GET) {
        section.wrong("match", "a GET changes nothing", "write POST, PUT, PATCH or DELETE");
    }
    let forgets: Vec<String> = section.list("forgets", "\"territory-users\"");
    if forgets.is_empty() && section.has("forgets") {
        section.doubtful("forgets", "nothing is forgotten", "name a group that a route has");
    }
    let again_after = if section.has("again_after") { Some(section.limit("again_after")) } else { None };
    section.finish();
    Write { name, templates, forgets: forgets.into_iter().map(number_of).collect(), again_after }
}
