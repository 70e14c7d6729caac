//! A note as it is kept: a record that is about another record.

use serde_json::{Map, Value, json};

use super::items::{id_in, text};
use super::state::Crm;
use crate::emulator::replies::problem;

/// The module that notes are kept in.
pub(super) const MODULE: &str = "Notes";
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
