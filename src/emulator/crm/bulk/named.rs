//! How a request names a job or a module, and what is said if there is none.

use http::StatusCode;
use serde_json::{Value, json};

use crate::emulator::replies::Reply;

pub(super) fn no_such_job(id: &str) -> Reply {
    let message = "The requested resource doesn't exist.";
    Reply::error(StatusCode::NOT_FOUND, "RESOURCE_NOT_FOUND", json!({ "id": id }), message)
}

pub(super) fn no_such_module(name: &str) -> Reply {
    let message = format!("Requested module '{name}' is not available.");
    Reply::bad("MODULE_NOT_AVAILABLE", json!({ "module": name }), &message)
}

/// The name of a module: newer versions give an object, older ones a text.
pub(super) fn module_name(value: &Value) -> Option<&str> {
    value.get("api_name").unwrap_or(value).as_str()
}
