//! Records named by a value of the caller's own system: `X-EXTERNAL: Leads.Number,Products.Article`.

use std::borrow::Cow;

use serde_json::Value;

use super::ask::Ask;
use super::items::{self, unknown_id, unknown_module};
use super::model;
use super::state::Crm;
use crate::emulator::replies::Reply;

/// The id of the record that a segment of the path names: itself, or, where the header names a field of the
/// module, the record whose field holds it.
pub(super) fn id<'a>(crm: &Crm, ask: &Ask<'_>, module: &str, named: &'a str) -> Cow<'a, str> {
    let header = ask.headers.get("x-external").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut fields = header.split(',').filter_map(|pair| pair.trim().split_once('.'));
    let Some((_, field)) = fields.find(|(of, _)| *of == module) else { return Cow::Borrowed(named) };
    let holds = |value: &Value| model::text(value) == named;
    let records = crm.module(module).into_iter().flat_map(|module| &module.records);
    let mut found = records.filter(|(_, record)| record.values.get(field).is_some_and(holds));
    found.next().map_or(Cow::Borrowed(named), |(id, _)| Cow::Owned(id.clone()))
}

/// The id of a record that a path names, which must be there.
pub(super) fn reach(crm: &mut Crm, ask: &Ask<'_>, name: &str, id: &str) -> Result<String, Reply> {
    let id = self::id(crm, ask, name, id).into_owned();
    match crm.module(name) {
        None => Err(unknown_module()),
        Some(module) if !module.records.contains_key(&id) => Err(items::refused(&unknown_id(&id))),
        Some(_) => Ok(id),
    }
}
