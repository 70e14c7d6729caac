//! What describes how a module is shown: layouts, custom views, related lists. All follow from the module.

use http::StatusCode;
use serde_json::{Value, json};

use super::ask::Ask;
use super::items::unknown_module;
use super::metadata::shown_field;
use super::model::Module;
use super::related;
use super::state::Crm;
use crate::emulator::replies::{self, Reply};

/// `/settings/{kind}[/{id}]?module=` where the kind is one of layouts, custom views and related lists.
pub(super) fn answer(crm: &Crm, ask: &Ask<'_>, kind: &str, only: Option<&str>) -> Reply {
    if ask.method != http::Method::GET {
        return replies::invalid_method();
    }
    let Some(name) = ask.query.value("module") else {
        let details = json!({ "param_name": "module" });
        return Reply::bad("REQUIRED_PARAM_MISSING", details, "One of the expected parameter is missing");
    };
    let Some(module) = crm.module(name) else { return unknown_module() };
    let mut rows = match kind {
        "layouts" => vec![layout(crm, module)],
        "custom_views" => vec![custom_view(crm, module)],
        _ => related_lists(crm, module),
    };
    rows.retain(|row| only.is_none_or(|only| row["id"] == only));
    if rows.is_empty() { Reply::empty(StatusCode::NO_CONTENT) } else { Reply::ok(&json!({ kind: rows })) }
}

/// The id of something that a module has one of, or several: the module's with another digit in the middle.
fn id_of(crm: &Crm, module: &Module, kind: u8, number: usize) -> String {
    let rest = module.id.strip_prefix(&crm.zgid).unwrap_or_default();
    format!("{}{kind}{number:02}{}", crm.zgid, rest.get(3..).unwrap_or_default())
}

fn layout(crm: &Crm, module: &Module) -> Value {
    let fields: Vec<Value> = module.fields.iter().map(shown_field).collect();
    let section = json!({
        "name": format!("{} Information", module.plural_label.trim_end_matches('s')),
        "display_label": format!("{} Information", module.plural_label.trim_end_matches('s')),
        "sequence_number": 1,
        "column_count": 2,
        "isSubformSection": false,
        "fields": fields,
    });
    json!({
        "id": id_of(crm, module, 7, 0),
        "name": "Standard",
        "display_label": "Standard",
        "visible": true,
        "status": "active",
        "created_for": null,
        "modified_time": replies::iso(module.modified),
        "profiles": [],
        "sections": [section],
    })
}

fn custom_view(crm: &Crm, module: &Module) -> Value {
    let fields: Vec<Value> =
        module.fields.iter().map(|field| json!({ "api_name": field.api_name, "id": field.id })).collect();
    let name = format!("All {}", module.plural_label);
    json!({
        "id": id_of(crm, module, 6, 0),
        "name": name,
        "display_value": name,
        "system_name": "ALLVIEWS",
        "system_defined": true,
        "default": true,
        "category": "public_views",
        "module": { "api_name": module.api_name, "id": module.id },
        "criteria": null,
        "fields": fields,
    })
}

fn related_lists(crm: &Crm, module: &Module) -> Vec<Value> {
    let own = ["Notes", "Attachments"].into_iter();
    let names = own.chain(related::lists(crm, &module.api_name));
    let list = |(number, name): (usize, &str)| {
        let other = crm.module(name);
        json!({
            "id": id_of(crm, module, 5, number),
            "sequence_number": (number + 1).to_string(),
            "api_name": name,
            "name": name,
            "display_label": name.replace('_', " "),
            "href": format!("{}/{{ENTITYID}}/{name}", module.api_name),
            "module": other.map(|other| json!({ "api_name": other.api_name, "id": other.id })),
            "type": "default",
            "visible": true,
        })
    };
    names.enumerate().map(list).collect()
}
