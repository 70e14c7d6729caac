//! Bulk jobs: many records read or written at once. A job is added, is in progress, and is completed.
//!
//! No callback is ever called.

mod csv;
mod read;
mod write;
mod zip;

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::ask::Ask;
use super::state::Crm;
use crate::clock::Instant;
use crate::emulator::replies::{self, Reply};

/// How many jobs are remembered.
const REMEMBERED: usize = 100;

/// The bulk jobs of an organisation, oldest first; the oldest give way.
#[derive(Clone, Default)]
pub(super) struct Bulk(VecDeque<Job>);

#[derive(Clone)]
struct Job {
    id: String,
    begun: Instant,
    created: SystemTime,
    task: Task,
}

/// What a job does. What comes of it is there once the job is completed.
#[derive(Clone)]
enum Task {
    Read { query: read::Query, found: Option<read::Found> },
    Write { order: write::Order, written: Option<write::Written> },
}

/// How far a job is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Added,
    UnderWay,
    Completed,
}

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
pub(super) fn settle(crm: &mut Crm, now: Instant) {
    let takes = crm.bulk_job_takes;
    if !crm.bulk.0.iter().any(|job| job.is_due(takes, now)) {
        return;
    }
    for mut job in std::mem::take(&mut crm.bulk.0) {
        if job.is_due(takes, now) {
            job = job.completed(crm);
        }
        crm.bulk.0.push_back(job);
    }
}

impl Bulk {
    /// Begins a job.
    fn begin(&mut self, id: String, ask: &Ask<'_>, task: Task) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Job { id, begun: ask.now, created: ask.wall, task });
    }

    fn find(&self, id: &str) -> Option<&Job> {
        self.0.iter().find(|job| job.id == id)
    }
}

impl Job {
    fn is_done(&self) -> bool {
        match &self.task {
            Task::Read { found, .. } => found.is_some(),
            Task::Write { written, .. } => written.is_some(),
        }
    }

    fn is_due(&self, takes: Duration, now: Instant) -> bool {
        self.begun + takes <= now && !self.is_done()
    }

    fn completed(self, crm: &mut Crm) -> Self {
        match self.task {
            Task::Read { .. } => read::complete(crm, self),
            Task::Write { .. } => write::complete(crm, self),
        }
    }

    /// A job is added for half of its time, and in progress for the other half.
    fn progress(&self, takes: Duration, now: Instant) -> Progress {
        if self.is_done() {
            Progress::Completed
        } else if self.begun + takes / 2 <= now {
            Progress::UnderWay
        } else {
            Progress::Added
        }
    }
}

impl Progress {
    fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::UnderWay => "IN PROGRESS",
            Self::Completed => "COMPLETED",
        }
    }
}

fn no_such_job(id: &str) -> Reply {
    let message = "The requested resource doesn't exist.";
    Reply::error(StatusCode::NOT_FOUND, "RESOURCE_NOT_FOUND", json!({ "id": id }), message)
}

fn no_such_module(name: &str) -> Reply {
    let message = format!("Requested module '{name}' is not available.");
    Reply::bad("MODULE_NOT_AVAILABLE", json!({ "module": name }), &message)
}

/// The name of a module: newer versions give an object, older ones a text.
fn module_name(value: &Value) -> Option<&str> {
    value.get("api_name").unwrap_or(value).as_str()
}
