//! The bulk jobs that an organisation has, and what each is to do.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::criteria::Criteria;
use crate::clock::BootTime;
use crate::emulator::crm::ask::Ask;

/// How many jobs are remembered.
const REMEMBERED: usize = 100;

/// The bulk jobs of an organisation, oldest first; the oldest give way.
#[derive(Clone, Default)]
pub(in crate::emulator::crm) struct Bulk(pub(in crate::emulator::crm) VecDeque<Job>);

/// A job, and what it does.
#[derive(Clone)]
pub(in crate::emulator::crm) struct Job {
    pub(in crate::emulator::crm) id: String,
    pub(in crate::emulator::crm) begun: BootTime,
    pub(in crate::emulator::crm) created: SystemTime,
    pub(in crate::emulator::crm) task: Task,
}

/// What a job does. What comes of it is there once the job is completed.
#[derive(Clone)]
pub(in crate::emulator::crm) enum Task {
    Read { query: Query, found: Option<Found> },
    Write { order: Order, written: Option<Written> },
}

/// How far a job is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::emulator::crm) enum Progress {
    Added,
    UnderWay,
    Completed,
}

/// What is to be read.
#[derive(Clone)]
pub(in crate::emulator::crm) struct Query {
    pub(in crate::emulator::crm) module: String,
    pub(in crate::emulator::crm) fields: Vec<String>,
    pub(in crate::emulator::crm) criteria: Option<Criteria>,
    pub(in crate::emulator::crm) page: usize,
    /// As it was given, to be told again.
    pub(in crate::emulator::crm) given: Value,
}

/// What was read.
#[derive(Clone)]
pub(in crate::emulator::crm) struct Found {
    pub(in crate::emulator::crm) count: usize,
    pub(in crate::emulator::crm) more: bool,
}

/// What is to be written.
#[derive(Clone)]
pub(in crate::emulator::crm) struct Order {
    pub(in crate::emulator::crm) operation: Operation,
    pub(in crate::emulator::crm) module: String,
    /// The field that tells which record a line is about.
    pub(in crate::emulator::crm) find_by: String,
    pub(in crate::emulator::crm) mappings: Vec<Mapping>,
    /// The file's name, and its lines without the first.
    pub(in crate::emulator::crm) file: String,
    pub(in crate::emulator::crm) lines: Vec<Vec<String>>,
    /// The first resource of the request and the encoding, to be told again.
    pub(in crate::emulator::crm) given: (Value, Value),
}

/// Where a field's value comes from: a column, or always the same.
#[derive(Clone)]
pub(in crate::emulator::crm) struct Mapping {
    pub(in crate::emulator::crm) field: String,
    pub(in crate::emulator::crm) index: Option<usize>,
    pub(in crate::emulator::crm) default: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::emulator::crm) enum Operation {
    Insert,
    Update,
    Upsert,
}

/// What came of a bulk write.
#[derive(Clone, Default)]
pub(in crate::emulator::crm) struct Written {
    pub(in crate::emulator::crm) added: usize,
    pub(in crate::emulator::crm) updated: usize,
    pub(in crate::emulator::crm) skipped: usize,
}

impl Bulk {
    /// Begins a job.
    pub(in crate::emulator::crm) fn begin(&mut self, id: String, ask: &Ask<'_>, task: Task) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Job { id, begun: ask.now, created: ask.wall, task });
    }

    pub(in crate::emulator::crm) fn find(&self, id: &str) -> Option<&Job> {
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

    pub(in crate::emulator::crm) fn is_due(&self, takes: Duration, now: BootTime) -> bool {
        self.begun + takes <= now && !self.is_done()
    }

    /// A job is added for half of its time, and in progress for the other half.
    pub(in crate::emulator::crm) fn progress(&self, takes: Duration, now: BootTime) -> Progress {
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
    pub(in crate::emulator::crm) fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::UnderWay => "IN PROGRESS",
            Self::Completed => "COMPLETED",
        }
    }
}

impl Operation {
    const ALL: [Self; 3] = [Self::Insert, Self::Update, Self::Upsert];

    pub(in crate::emulator::crm) fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert => "upsert",
        }
    }

    pub(in crate::emulator::crm) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.as_str() == name)
    }
}
