//! Modules and their records, and what ties records together.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::emulator::replies;

/// A module, its fields and its records.
#[derive(Clone)]
pub(in crate::emulator) struct Module {
    pub(in crate::emulator::crm) id: String,
    pub(in crate::emulator::crm) api_name: String,
    pub(in crate::emulator::crm) plural_label: String,
    pub(in crate::emulator::crm) modified: SystemTime,
    pub(in crate::emulator::crm) fields: Vec<Field>,
    pub(in crate::emulator::crm) records: BTreeMap<String, Record>,
    pub(in crate::emulator::crm) deleted: Vec<(String, SystemTime)>,
}

/// A field of a module.
#[derive(Clone)]
pub(in crate::emulator) struct Field {
    pub(in crate::emulator::crm) id: String,
    pub(in crate::emulator::crm) api_name: String,
    pub(in crate::emulator::crm) label: String,
    pub(in crate::emulator::crm) data_type: String,
}

/// A record.
#[derive(Clone)]
pub(in crate::emulator) struct Record {
    pub(in crate::emulator::crm) values: Map<String, Value>,
    pub(in crate::emulator::crm) created: SystemTime,
    pub(in crate::emulator::crm) modified: SystemTime,
}

/// A tag of a module.
#[derive(Clone)]
pub(in crate::emulator::crm) struct Tag {
    pub(in crate::emulator::crm) id: String,
    pub(in crate::emulator::crm) module: String,
    pub(in crate::emulator::crm) name: String,
    pub(in crate::emulator::crm) color: Option<String>,
}

/// That two records belong to each other, and what is told of that.
#[derive(Clone)]
pub(in crate::emulator::crm) struct Link {
    /// The ids of both.
    pub(in crate::emulator::crm) ends: [String; 2],
    pub(in crate::emulator::crm) values: Map<String, Value>,
}

impl Module {
    /// Whether it has a field.
    pub(in crate::emulator::crm) fn has(&self, field: &str) -> bool {
        let by_itself = ["id", "Id", "Created_Time", "Modified_Time"].contains(&field);
        by_itself || self.fields.iter().any(|one| one.api_name == field)
    }
}

impl Field {
    pub(in crate::emulator::crm) fn new(id: String, api_name: &str) -> Self {
        let data_type = if api_name == "Email" { "email" } else { "text" };
        Self {
            id,
            api_name: api_name.to_owned(),
            label: api_name.replace('_', " "),
            data_type: data_type.to_owned(),
        }
    }
}

impl Record {
    /// The value of a field; null if there is none.
    pub(in crate::emulator::crm) fn value(&self, id: &str, name: &str) -> Value {
        match name {
            "id" | "Id" => Value::from(id),
            "Created_Time" => Value::from(replies::iso(self.created)),
            "Modified_Time" => Value::from(replies::iso(self.modified)),
            _ => self.values.get(name).cloned().unwrap_or_default(),
        }
    }
}

impl Link {
    /// Whether it is between two records, either way round.
    pub(in crate::emulator::crm) fn is_between(&self, one: &str, other: &str) -> bool {
        self.ends == [one, other] || self.ends == [other, one]
    }
}

/// A value as text; that of an object is its id.
pub(in crate::emulator::crm) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(object) => object.get("id").map(text).unwrap_or_default(),
        other => other.to_string(),
    }
}
