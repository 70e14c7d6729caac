//! Notes: a module of its own, and a list at each record.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::external::reach;
use super::items::{self, id_in, text};
use super::model::Record;
use super::records;
use super::state::Crm;
use crate::emulator::replies::{self, Reply, problem};

/// The module that notes are kept in.
pub(super) const MODULE: &str = "Notes";
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

/// A new note as it is kept, with the record that it is about, which must be there. Newer versions name that
/// by `Parent_Id: {id, module}`, older ones by `Parent_Id` and `se_module`.
pub(super) fn checked(crm: &Crm, item: &Map<String, Value>) -> Result<Map<String, Value>, Value> {
    let missing =
        |name: &str| problem("MANDATORY_NOT_FOUND", json!({ "api_name": name }), "required field not found");
    let id = id_in(item, "Parent_Id").or_else(|| text(item, "Parent_Id").map(str::to_owned));
    let id = id.ok_or_else(|| missing("Parent_Id"))?;
    let module = item.get("Parent_Id").and_then(|parent| parent.get("module"));
    let module = module.and_then(|module| module.get("api_name")).and_then(Value::as_str);
    let module = module.or_else(|| text(item, "se_module")).or_else(|| text(item, "$se_module"));
    let module = module.ok_or_else(|| missing("se_module"))?.to_owned();
    if text(item, "Note_Content").is_none() {
        return Err(missing("Note_Content"));
    }
    let unknown = || problem("INVALID_DATA", json!({ "api_name": "Parent_Id" }), "invalid data");
    let module_id = crm.module(&module).ok_or_else(unknown)?.id.clone();
    crm.record(&module, &id).ok_or_else(unknown)?;
    let mut note = item.clone();
    note.remove("se_module");
    let name = crm.name_of(&module, &id);
    note.insert("$se_module".to_owned(), Value::from(module.clone()));
    let parent = json!({ "id": id, "name": name, "module": { "id": module_id, "api_name": module } });
    note.insert("Parent_Id".to_owned(), parent);
    Ok(note)
}

fn parent(note: &Record) -> Option<&String> {
    match note.values.get("Parent_Id")?.get("id")? {
        Value::String(id) => Some(id),
        _ => None,
    }
}
