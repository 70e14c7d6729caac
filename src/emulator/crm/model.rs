//! What a CRM is made of.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::clock::Instant;

/// A territory and who belongs to it.
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
pub(in crate::emulator) struct User {
    pub(in crate::emulator) id: String,
    pub(in crate::emulator) name: String,
    pub(super) email: String,
    pub(super) active: bool,
    pub(super) modified: SystemTime,
}

/// A module, its fields and its records.
pub(in crate::emulator) struct Module {
    pub(super) id: String,
    pub(super) api_name: String,
    pub(super) plural_label: String,
    pub(super) modified: SystemTime,
    pub(super) fields: Vec<Field>,
    pub(super) records: BTreeMap<String, Record>,
    pub(super) deleted: Vec<(String, SystemTime)>,
}

/// A field of a module.
pub(in crate::emulator) struct Field {
    pub(super) id: String,
    pub(super) api_name: String,
    pub(super) label: String,
    pub(super) data_type: String,
}

/// A record.
pub(in crate::emulator) struct Record {
    pub(super) values: Map<String, Value>,
    pub(super) created: SystemTime,
    pub(super) modified: SystemTime,
}

/// A user's deletion that takes its time.
pub(super) struct Job {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) due: Instant,
    pub(super) done: bool,
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

impl Module {
    /// Whether it has a field.
    pub(super) fn has(&self, field: &str) -> bool {
        let by_itself = ["id", "Id", "Created_Time", "Modified_Time"].contains(&field);
        by_itself || self.fields.iter().any(|one| one.api_name == field)
    }
}

impl Field {
    pub(super) fn new(id: String, api_name: &str) -> Self {
        let data_type = if api_name == "Email" { "email" } else { "text" };
        Self {
            id,
            api_name: api_name.to_owned(),
            label: api_name.replace('_', " "),
            data_type: data_type.to_owned(),
        }
    }
}

impl Job {
    pub(super) fn finish(&mut self) -> String {
        self.done = true;
        self.user.clone()
    }
}
