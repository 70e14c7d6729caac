//! Bulk jobs: many records read or written at once. A job is added, is in progress, and is completed.
//!
//! No callback is ever called.

mod csv;
mod named;
mod read;
mod write;
mod zip;

use http::Method;

use super::ask::Ask;
use super::model::bulk::{Job, Task};
use super::state::Crm;
use crate::clock::BootTime;
use crate::emulator::replies::{self, Reply};

/// `/crm/bulk/{version}/…`
pub(super) fn answer(crm: &mut Crm, ask: &Ask<'_>, segments: &[&str]) -> Reply {
    match (ask.method, segments) {
        (&Method::POST, ["read"]) => read::begin(crm, ask),
        (&Method::GET, ["read", id]) => read::told(crm, ask, id),
        (&Method::GET, ["read", id, "result"]) => read::result(crm, id),
        (&Method::POST, ["write"]) => write::begin(crm, ask),
        (&Method::GET, ["write", id]) => write::told(crm, ask, id),
        (&Method::GET, [_, "bulk-write", id, _]) => write::result(crm, id),
        (_, ["read" | "write"] | ["read" | "write", _] | ["read", _, "result"]) => replies::invalid_method(),
        _ => replies::invalid_url(),
    }
}

/// Completes every job that is due.
pub(super) fn settle(crm: &mut Crm, now: BootTime) {
    let takes = crm.bulk_job_takes;
    if !crm.bulk.0.iter().any(|job| job.is_due(takes, now)) {
        return;
    }
    for mut job in std::mem::take(&mut crm.bulk.0) {
        if job.is_due(takes, now) {
            job = completed(crm, job);
        }
        crm.bulk.0.push_back(job);
    }
}

fn completed(crm: &mut Crm, job: Job) -> Job {
    match job.task {
        Task::Read { .. } => read::complete(crm, job),
        Task::Write { .. } => write::complete(crm, job),
    }
}
