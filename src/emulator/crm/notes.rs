//! Notes: a module of its own, and a list at each record.

use http::StatusCode;
use serde_json::{Value, json};

use super::ask::Ask;
use super::external::reach;
use super::items;
use super::model::Record;
use super::note::MODULE;
use super::records;
use super::state::Crm;
use crate::emulator::replies::{self, Reply};

/// What one call may write.
const LIST: (&str, usize) = ("data", 100);

/// `/{module}/{id}/Notes`
pub(super) fn of_record(crm: &mut Crm, ask: &Ask<'_>, module: &str, record: &str) -> Reply {
    let record = match reach(crm, ask, module, record) {
        Ok(record) => record,
        Err(reply) => return reply,
    };
    match ask.method.as_str() {
        "GET" => match crm.module_mut(MODULE) {
            Some(notes) => records::list(notes, ask, |_, note| parent(note) == Some(&record)),
            None => Reply::empty(StatusCode::NO_CONTENT),
        },
        "POST" => items::each(crm, ask, LIST, StatusCode::CREATED, |crm, ask, item| {
            let parent = json!({ "id": record, "module": { "api_name": module } });
            let mut item = item.clone();
            item.insert("Parent_Id".to_owned(), parent);
            records::create(crm, ask.wall, MODULE, &item)
        }),
        "DELETE" => records::all(crm, ask, MODULE),
        _ => replies::invalid_method(),
    }
}

fn parent(note: &Record) -> Option<&String> {
    match note.values.get("Parent_Id")?.get("id")? {
        Value::String(id) => Some(id),
        _ => None,
    }
}
