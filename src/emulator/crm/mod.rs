//! The CRM's API, as far as the emulator knows it: one table of paths, and what is behind them.
//!
//! Every version of the API answers alike.

mod attachments;
mod bulk;
mod composite;
mod cost;
mod counts;
mod criteria;
mod external;
mod files;
mod items;
mod jobs;
mod members;
mod metadata;
mod model;
mod notes;
mod photos;
mod records;
mod search;
mod state;
pub(super) mod streams;
mod territories;
pub(super) mod upload;
mod users;

use std::time::SystemTime;

use http::{HeaderMap, Method};

use super::form::{self, Form};
use super::replies::{self, Reply};
use crate::clock::Instant;
use crate::zoho::path::is_version;
pub(super) use cost::{credits, is_complex};
pub(super) use state::Crm;

/// A call of the API whose body is in memory.
pub(super) struct Ask<'a> {
    /// The method; `HEAD` is asked as `GET`.
    pub(super) method: &'a Method,
    pub(super) path: &'a ApiPath,
    pub(super) query: &'a Form,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    /// The origin that results are told to lie at.
    pub(super) home: &'a str,
    pub(super) wall: SystemTime,
    pub(super) now: Instant,
}

/// A path of the API, taken apart.
pub(super) struct ApiPath {
    /// Whether it is of the form `/crm/bulk/{version}/…`.
    pub(super) bulk: bool,
    /// The version as it was written.
    version: String,
    /// What follows the version, decoded.
    segments: Vec<String>,
}

impl ApiPath {
    /// Reads `/crm/{version}/…` and `/crm/bulk/{version}/…`, and `/v2/crm/…`, where results of bulk writes lie.
    pub(super) fn read(path: &str) -> Option<Self> {
        if let Some(result) = path.strip_prefix("/v2/crm/") {
            let segments = result.split('/').map(form::decode).collect();
            return Some(Self { bulk: true, version: "v2".to_owned(), segments });
        }
        let mut segments = path.strip_prefix("/crm/")?.split('/').peekable();
        let bulk = segments.next_if_eq(&"bulk").is_some();
        let version = segments.next().filter(|version| is_version(version))?.to_owned();
        let segments = segments.map(|segment| form::decode(&segment.replace('+', "%2B"))).collect();
        Some(Self { bulk, version, segments })
    }

    /// What follows the version.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }
}

/// Does what is asked.
pub(super) fn answer(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    crm.settle(ask.now);
    let segments = ask.path.segments();
    if ask.path.bulk {
        return bulk::answer(crm, ask, &segments);
    }
    match segments.as_slice() {
        ["settings", "territories", ..] | ["users", _, "territories", ..] if !crm.territory_management => {
            territories::not_enabled()
        }
        ["settings", "territories", "actions", "associated_users_count"] => counts::territories(crm, ask),
        ["settings", "territories", "actions", "transfer_and_delete"] => {
            territories::transfer(crm, ask, None)
        }
        ["settings", "territories"] => territories::all(crm, ask),
        ["settings", "territories", id] => territories::one(crm, ask, id),
        ["settings", "territories", id, "__child_territories"] => territories::children(crm, ask, id),
        ["settings", "territories", id, "actions", "transfer_and_delete"] => {
            territories::transfer(crm, ask, Some(id))
        }
        ["settings", "territories", id, "users"] => members::of_territory(crm, ask, id, None),
        ["settings", "territories", id, "users", user] => members::of_territory(crm, ask, id, Some(user)),
        ["settings", "user_groups", "actions", "associated_users_count"] => counts::user_groups(crm, ask),
        ["users", "actions", "transfer_and_delete"] => jobs::transfer_and_delete(crm, ask, None),
        ["users"] => users::all(crm, ask),
        ["users", id] => users::one(crm, ask, id),
        ["users", id, "actions", "transfer_and_delete"] => jobs::transfer_and_delete(crm, ask, Some(id)),
        ["users", id, "territories"] => members::of_user(crm, ask, id, None),
        ["users", id, "territories", "actions", "transfer_and_delink"] => members::delink(crm, ask, id, None),
        ["users", id, "territories", territory, "actions", "transfer_and_delink"] => {
            members::delink(crm, ask, id, Some(territory))
        }
        ["users", id, "territories", territory] => members::of_user(crm, ask, id, Some(territory)),
        ["org", "photo"] => photos::of_organisation(crm, ask, None),
        ["org"] => metadata::organisation(crm, ask),
        ["settings", "modules"] => metadata::modules(crm, ask),
        ["settings", "modules", module] => metadata::module(crm, ask, module),
        ["settings", "fields"] => metadata::fields(crm, ask, None),
        ["settings", "fields", field] => metadata::fields(crm, ask, Some(field)),
        ["settings", kind @ ("roles" | "profiles")] => metadata::fixed(crm, ask, kind),
        ["settings", ..] => replies::invalid_url(),
        ["files"] => files::download(crm, ask),
        ["__composite_requests"] => composite::answer(crm, ask),
        [module] => records::all(crm, ask, module),
        [module, "actions", "count"] => search::count(crm, ask, module),
        [module, "search"] => search::search(crm, ask, module),
        [module, "upsert"] => records::upsert(crm, ask, module),
        [module, "deleted"] => search::deleted(crm, ask, module),
        [module, id] => records::one(crm, ask, module, id),
        [module, id, "Notes"] => notes::of_record(crm, ask, module, id),
        [_, _, "Notes", note] => records::one(crm, ask, notes::MODULE, note),
        [module, id, "Attachments"] => attachments::all(crm, ask, module, id),
        [module, id, "Attachments", attachment] => attachments::one(crm, ask, module, id, attachment),
        [module, id, "photo"] => photos::of_record(crm, ask, module, id, None),
        _ => replies::invalid_url(),
    }
}
