//! What a CRM is made of.

pub(super) mod bulk;
pub(super) mod criteria;
mod files;
mod record;

use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::clock::BootTime;
pub(super) use files::{File, Files, Holder, KEPT};
pub(super) use record::{Field, Link, Module, Record, Tag, text};

/// How many records, users, territories, fields an organisation holds at most, each.
pub(super) const MOST: usize = 20_000;

/// A territory and who belongs to it.
#[derive(Clone)]
pub(in crate::emulator) struct Territory {
    pub(in crate::emulator) id: String,
    pub(in crate::emulator) name: String,
    pub(super) description: Option<String>,
    pub(super) manager: Option<String>,
    pub(super) reporting_to: Option<String>,
    pub(super) members: Vec<String>,
    pub(super) created: SystemTime,
    pub(super) modified: SystemTime,
}

/// A user.
#[derive(Clone)]
pub(in crate::emulator) struct User {
    pub(in crate::emulator) id: String,
    pub(in crate::emulator) name: String,
    pub(super) email: String,
    pub(super) active: bool,
    pub(super) modified: SystemTime,
}

/// A user's deletion that takes its time.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) due: BootTime,
    pub(super) done: bool,
}

/// Where somebody wants to be told of what.
#[derive(Clone)]
pub(super) struct Channel {
    pub(super) id: String,
    /// `Leads.create`, `Contacts.all` …
    pub(super) events: Vec<String>,
    pub(super) expires: BootTime,
    pub(super) notify_url: String,
    pub(super) token: Option<String>,
}

/// The currencies of an organisation, the base one first, and its taxes: each as it is told.
#[derive(Clone, Default)]
pub(super) struct Money {
    pub(super) currencies: Vec<Map<String, Value>>,
    pub(super) taxes: Vec<Map<String, Value>>,
}

impl Territory {
    pub(super) fn new(id: String, name: String, now: SystemTime) -> Self {
        Self {
            id,
            name,
            description: None,
            manager: None,
            reporting_to: None,
            members: Vec::new(),
            created: now,
            modified: now,
        }
    }
}

impl Job {
    pub(super) fn finish(&mut self) -> String {
        self.done = true;
        self.user.clone()
    }
}
