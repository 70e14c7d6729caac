//! The bulk jobs that an organisation has, and what each is to do.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::clock::Instant;
use crate::emulator::crm::ask::Ask;
use crate::emulator::crm::criteria::Criteria;

/// How many jobs are remembered.
const REMEMBERED: usize = 100;

/// The bulk jobs of an organisation, oldest first; the oldest give way.
#[derive(Clone, Default)]
pub(in crate::emulator::crm) struct Bulk(pub(super) VecDeque<Job>);

/// A job, and what it does.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) begun: Instant,
    pub(super) created: SystemTime,
    pub(super) task: Task,
}

/// What a job does. What comes of it is there once the job is completed.
#[derive(Clone)]
pub(super) enum Task {
    Read { query: Query, found: Option<Found> },
    Write { order: Order, written: Option<Written> },
}

/// How far a job is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Added,
    UnderWay,
    Completed,
}

/// What is to be read.
#[derive(Clone)]
pub(super) struct Query {
    pub(super) module: String,
    pub(super) fields: Vec<String>,
    pub(super) criteria: Option<Criteria>,
    pub(super) page: usize,
    /// As it was given, to be told again.
    pub(super) given: Value,
}

/// What was read.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) count: usize,
    pub(super) more: bool,
}

/// What is to be written.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) operation: Operation,
    pub(super) module: String,
    /// The field that tells which record a line is about.
    pub(super) find_by: String,
    pub(super) mappings: Vec<Mapping>,
    /// The file's name, and its lines without the first.
    pub(super) file: String,
    pub(super) lines: Vec<Vec<String>>,
    /// The first resource of the request and the encoding, to be told again.
    pub(super) given: (Value, Value),
}

/// Where a field's value comes from: a column, or always the same.
#[derive(Clone)]
pub(super) struct Mapping {
    pub(super) field: String,
    pub(super) index: Option<usize>,
    pub(super) default: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Insert,
    Update,
    Upsert,
}

/// What came of a bulk write.
#[derive(Clone, Default)]
pub(super) struct Written {
    pub(super) added: usize,
    pub(super) updated: usize,
    pub(super) skipped: usize,
}

impl Bulk {
    /// Begins a job.
    pub(super) fn begin(&mut self, id: String, ask: &Ask<'_>, task: Task) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Job { id, begun: ask.now, created: ask.wall, task });
    }

    pub(super) fn find(&self, id: &str) -> Option<&Job> {
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

    pub(super) fn is_due(&self, takes: Duration, now: Instant) -> bool {
        self.begun + takes <= now && !self.is_done()
    }

    /// A job is added for half of its time, and in progress for the other half.
    pub(super) fn progress(&self, takes: Duration, now: Instant) -> Progress {
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
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::UnderWay => "IN PROGRESS",
            Self::Completed => "COMPLETED",
        }
    }
}

impl Operation {
    const ALL: [Self; 3] = [Self::Insert, Self::Update, Self::Upsert];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert => "upsert",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }
}
