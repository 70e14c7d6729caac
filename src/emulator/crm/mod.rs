//! The CRM's API, as far as the emulator knows it: one table of paths, and what is behind them.
//!
//! Every version of the API answers alike.

mod ask;
mod attachments;
mod bulk;
mod composite;
mod coql;
mod cost;
mod counts;
mod external;
mod files;
mod items;
mod jobs;
mod members;
mod metadata;
mod model;
mod note;
mod notes;
mod organisation;
mod photos;
mod records;
mod related;
mod search;
mod state;
pub(super) mod streams;
mod tags;
mod territories;
pub(super) mod upload;
mod users;
mod views;
mod watch;

use super::replies::{self, Reply};
use crate::clock::BootTime;
pub(super) use ask::{ApiPath, Ask};
pub(super) use cost::{credits, is_complex};
pub(super) use state::Crm;
use upload::Upload;

/// Does what is asked.
pub(super) fn answer(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    settle(crm, ask.now);
    let segments = ask.path.segments();
    if ask.path.bulk {
        return bulk::answer(crm, ask, &segments);
    }
    match segments.as_slice() {
        ["settings", "territories", ..] | ["users", _, "territories", ..] if !crm.territory_management => {
            territories::not_enabled()
        }
        ["settings", rest @ ..] => settings(crm, ask, rest),
        ["users", rest @ ..] => users(crm, ask, rest),
        ["org", rest @ ..] => organisation(crm, ask, rest),
        ["files"] => files::download(crm, ask),
        ["coql"] => coql::answer(crm, ask),
        ["actions", "watch"] => watch::answer(crm, ask),
        ["__composite_requests"] => composite::answer(crm, ask),
        [module, rest @ ..] => of_module(crm, ask, module, rest),
        [] => replies::invalid_url(),
    }
}

/// Does what is asked with an upload; the body of `ask` is empty.
pub(super) fn answer_upload(crm: &mut Crm, ask: &Ask<'_>, upload: &Upload) -> Reply {
    settle(crm, ask.now);
    match ask.path.segments().as_slice() {
        ["files"] => files::store(crm, ask, upload),
        ["upload"] => files::for_bulk_write(crm, ask, upload),
        ["org", "photo"] => photos::of_organisation(crm, ask, Some(upload)),
        [module, id, "photo"] => photos::of_record(crm, ask, module, id, Some(upload)),
        [module, id, "Attachments"] => attachments::attach(crm, ask, module, id, upload),
        _ => replies::invalid_url(),
    }
}

/// Does what is due by now.
pub(super) fn settle(crm: &mut Crm, now: BootTime) {
    crm.finish_jobs(now);
    bulk::settle(crm, now);
}

/// `/settings/…`
fn settings(crm: &mut Crm, ask: &Ask<'_>, segments: &[&str]) -> Reply {
    match *segments {
        ["territories", "actions", "associated_users_count"] => counts::territories(crm, ask),
        ["territories", "actions", "transfer_and_delete"] => territories::transfer(crm, ask, None),
        ["territories"] => territories::all(crm, ask),
        ["territories", id] => territories::one(crm, ask, id),
        ["territories", id, "__child_territories"] => territories::children(crm, ask, id),
        ["territories", id, "actions", "transfer_and_delete"] => territories::transfer(crm, ask, Some(id)),
        ["territories", id, "users"] => members::of_territory(crm, ask, id, None),
        ["territories", id, "users", user] => members::of_territory(crm, ask, id, Some(user)),
        ["user_groups", "actions", "associated_users_count"] => counts::user_groups(crm, ask),
        ["modules"] => metadata::modules(crm, ask),
        ["modules", module] => metadata::module(crm, ask, module),
        ["fields"] => metadata::fields(crm, ask, None),
        ["fields", field] => metadata::fields(crm, ask, Some(field)),
        [kind @ ("roles" | "profiles")] => metadata::fixed(crm, ask, kind),
        [kind @ ("layouts" | "custom_views" | "related_lists")] => views::answer(crm, ask, kind, None),
        [kind @ ("layouts" | "custom_views" | "related_lists"), id] => {
            views::answer(crm, ask, kind, Some(id))
        }
        ["tags"] => tags::settings(crm, ask, None),
        ["tags", id] => tags::settings(crm, ask, Some(id)),
        ["tags", id, "actions", "records_count"] => tags::records_count(crm, ask, id),
        _ => replies::invalid_url(),
    }
}

/// `/users…`
fn users(crm: &mut Crm, ask: &Ask<'_>, segments: &[&str]) -> Reply {
    match *segments {
        [] => users::all(crm, ask),
        ["actions", "transfer_and_delete"] => jobs::transfer_and_delete(crm, ask, None),
        [id] => users::one(crm, ask, id),
        [id, "actions", "transfer_and_delete"] => jobs::transfer_and_delete(crm, ask, Some(id)),
        [id, "territories"] => members::of_user(crm, ask, id, None),
        [id, "territories", "actions", "transfer_and_delink"] => members::delink(crm, ask, id, None),
        [id, "territories", territory, "actions", "transfer_and_delink"] => {
            members::delink(crm, ask, id, Some(territory))
        }
        [id, "territories", territory] => members::of_user(crm, ask, id, Some(territory)),
        _ => replies::invalid_url(),
    }
}

/// `/org…`
fn organisation(crm: &mut Crm, ask: &Ask<'_>, segments: &[&str]) -> Reply {
    match *segments {
        [] => organisation::told(crm, ask),
        ["photo"] => photos::of_organisation(crm, ask, None),
        ["currencies"] => organisation::currencies(crm, ask),
        ["currencies", "actions", "enable"] => organisation::enable(crm, ask),
        ["currencies", id] => organisation::currency(crm, ask, id),
        ["taxes"] => organisation::taxes(crm, ask),
        ["taxes", id] => organisation::tax(crm, ask, id),
        _ => replies::invalid_url(),
    }
}

/// `/{module}…`
fn of_module(crm: &mut Crm, ask: &Ask<'_>, module: &str, segments: &[&str]) -> Reply {
    match *segments {
        [] => records::all(crm, ask, module),
        ["actions", "count"] => search::count(crm, ask, module),
        ["actions", "add_tags"] => tags::on_records(crm, ask, module, None, true),
        ["actions", "remove_tags"] => tags::on_records(crm, ask, module, None, false),
        [id, "actions", "add_tags"] => tags::on_records(crm, ask, module, Some(id), true),
        [id, "actions", "remove_tags"] => tags::on_records(crm, ask, module, Some(id), false),
        ["actions", ..] | [_, "actions", ..] => replies::invalid_url(),
        ["search"] => search::search(crm, ask, module),
        ["upsert"] => records::upsert(crm, ask, module),
        ["deleted"] => search::deleted(crm, ask, module),
        [id] => records::one(crm, ask, module, id),
        [id, "Notes"] => notes::of_record(crm, ask, module, id),
        [_, "Notes", note] => records::one(crm, ask, note::MODULE, note),
        [id, "Attachments"] => attachments::all(crm, ask, module, id),
        [id, "Attachments", attachment] => attachments::one(crm, ask, module, id, attachment),
        [id, "photo"] => photos::of_record(crm, ask, module, id, None),
        [id, list] => related::all(crm, ask, module, id, list),
        [id, list, other] => related::one(crm, ask, (module, id), list, other),
        _ => replies::invalid_url(),
    }
}
