//! What describes the CRM: modules, fields, roles and profiles.

use http::StatusCode;
use serde_json::{Value, json};

use super::ask::Ask;
use super::items::{self, duplicate, missing, text, unknown_module};
use super::model::{Field, MOST, Module};
use super::state::Crm;
use crate::emulator::replies::{self, Reply, success};

/// `/settings/modules`
pub(super) fn modules(crm: &Crm, ask: &Ask<'_>) -> Reply {
    if ask.method != http::Method::GET {
        return replies::invalid_method();
    }
    let since = match items::modified_since(ask) {
        Ok(since) => since,
        Err(reply) => return reply,
    };
    let changed = crm.modules.iter().filter(|module| items::changed(module.modified, since));
    let rows: Vec<Value> = changed.map(shown).collect();
    if rows.is_empty() {
        let status = if since.is_some() { StatusCode::NOT_MODIFIED } else { StatusCode::NO_CONTENT };
        return Reply::empty(status);
    }
    Reply::ok(&json!({ "modules": rows }))
}

/// `/settings/modules/{api name or id}`
pub(super) fn module(crm: &mut Crm, ask: &Ask<'_>, name: &str) -> Reply {
    let Some(module) = crm.module_mut(name) else {
        return unknown_module();
    };
    match ask.method.as_str() {
        "GET" => Reply::ok(&json!({ "modules": [shown(module)] })),
        "PUT" => match items::given(ask, "modules", 1) {
            Ok(given) => {
                if let Some(label) = given.first().and_then(|item| text(item, "plural_label")) {
                    label.clone_into(&mut module.plural_label);
                    module.modified = ask.wall;
                }
                let item = success(json!({ "id": module.id }), "module updated successfully");
                items::outcome("modules", StatusCode::OK, vec![Ok(item)])
            }
            Err(reply) => reply,
        },
        _ => replies::invalid_method(),
    }
}

/// `/settings/fields[/{field}]?module={api name}`
pub(super) fn fields(crm: &mut Crm, ask: &Ask<'_>, only: Option<&str>) -> Reply {
    let Some(name) = ask.query.value("module") else {
        let details = json!({ "param_name": "module" });
        return Reply::bad("REQUIRED_PARAM_MISSING", details, "One of the expected parameter is missing");
    };
    if crm.module_mut(name).is_none() {
        return unknown_module();
    }
    match ask.method.as_str() {
        "GET" => {
            let fields = crm.module_mut(name).map(|module| module.fields.as_slice()).unwrap_or_default();
            let wanted = fields.iter().filter(|field| only.is_none_or(|only| only == field.id));
            let rows: Vec<Value> = wanted.map(shown_field).collect();
            if rows.is_empty() {
                return Reply::empty(StatusCode::NO_CONTENT);
            }
            Reply::ok(&json!({ "fields": rows }))
        }
        "POST" if only.is_none() => {
            items::each(crm, ask, ("fields", 5), StatusCode::CREATED, |crm, ask, item| {
                let label = text(item, "field_label").ok_or_else(|| missing("field_label"))?;
                add_field(crm, ask, name, label)
            })
        }
        _ => replies::invalid_method(),
    }
}

fn add_field(crm: &mut Crm, ask: &Ask<'_>, module: &str, label: &str) -> Result<Value, Value> {
    let id = crm.new_id();
    let module = crm.module_mut(module).ok_or_else(|| missing("module"))?;
    let api_name = label.replace(' ', "_");
    if module.fields.iter().any(|field| field.api_name == api_name) {
        return Err(duplicate("field_label"));
    }
    if module.fields.len() >= MOST {
        return Err(items::full());
    }
    module.fields.push(Field::new(id.clone(), &api_name));
    module.modified = ask.wall;
    Ok(success(json!({ "id": id }), "field created"))
}

/// `/settings/roles` and `/settings/profiles`, of which there are always the same two.
pub(super) fn fixed(crm: &Crm, ask: &Ask<'_>, kind: &str) -> Reply {
    if ask.method != http::Method::GET {
        return replies::invalid_method();
    }
    let id = |number: u32| format!("{}9{number:08}", crm.zgid);
    let names = if kind == "roles" { ["CEO", "Manager"] } else { ["Administrator", "Standard"] };
    let rows = [json!({ "id": id(1), "name": names[0] }), json!({ "id": id(2), "name": names[1] })];
    Reply::ok(&json!({ kind: rows }))
}

fn shown(module: &Module) -> Value {
    json!({
        "id": module.id,
        "api_name": module.api_name,
        "module_name": module.api_name,
        "plural_label": module.plural_label,
        "singular_label": module.plural_label.trim_end_matches('s'),
        "api_supported": true,
        "generated_type": "default",
        "modified_time": replies::iso(module.modified),
    })
}

/// A field as the API shows it.
pub(super) fn shown_field(field: &Field) -> Value {
    json!({
        "id": field.id,
        "api_name": field.api_name,
        "field_label": field.label,
        "data_type": field.data_type,
        "visible": true,
    })
}
