//! The organisation itself: who it is, its currencies, its taxes.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::items::{self, duplicate, missing, text, unknown_id};
use super::state::Crm;
use crate::emulator::replies::{self, Reply, success};

/// What one call may write.
const CURRENCIES: (&str, usize) = ("currencies", 100);
/// How many taxes and currencies there may be, each.
const MOST: usize = 200;

/// `/org`
pub(super) fn told(crm: &Crm, ask: &Ask<'_>) -> Reply {
    if ask.method != http::Method::GET {
        return replies::invalid_method();
    }
    let base = crm.money.currencies.first();
    let of_base = |name: &str| base.and_then(|base| base.get(name)).cloned();
    let email = crm.users.first().map(|user| &user.email);
    let organisation = json!({
        "id": format!("{}000000000", crm.zgid),
        "zgid": crm.zgid,
        "company_name": crm.name,
        "primary_email": email,
        "country_code": "US",
        "country": "United States",
        "currency": of_base("name").unwrap_or("US Dollar - USD".into()),
        "currency_symbol": of_base("symbol").unwrap_or("$".into()),
        "iso_code": of_base("iso_code").unwrap_or("USD".into()),
        "currency_locale": "en_US",
        "time_zone": "Asia/Kolkata",
        "max_per_page": 200,
        "mc_status": base.is_some(),
        "photo_id": crm.files.of(&super::model::Holder::Organisation).next().map(|file| &file.id),
        "privacy_settings": false,
    });
    Reply::ok(&json!({ "org": [organisation] }))
}

/// `/org/currencies`
pub(super) fn currencies(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    match ask.method.as_str() {
        "GET" => {
            let rows = crm.money.currencies.iter().cloned().map(Value::Object).collect();
            items::list(ask, CURRENCIES.0, rows, 200)
        }
        "POST" => items::each(crm, ask, CURRENCIES, StatusCode::CREATED, |crm, ask, item| {
            let id = add_currency(crm, ask, item, false)?;
            Ok(success(json!({ "id": id }), "The currency created successfully"))
        }),
        "PUT" => items::each(crm, ask, CURRENCIES, StatusCode::OK, |crm, ask, item| {
            change_currency(crm, ask, text(item, "id").unwrap_or_default(), item)
        }),
        _ => replies::invalid_method(),
    }
}

/// `/org/currencies/{id}`
pub(super) fn currency(crm: &mut Crm, ask: &Ask<'_>, id: &str) -> Reply {
    match ask.method.as_str() {
        "GET" => match crm.money.currencies.iter().find(|one| text(one, "id") == Some(id)) {
            Some(currency) => Reply::ok(&json!({ CURRENCIES.0: [currency] })),
            None => Reply::empty(StatusCode::NO_CONTENT),
        },
        "PUT" => items::each(crm, ask, CURRENCIES, StatusCode::OK, |crm, ask, item| {
            change_currency(crm, ask, id, item)
        }),
        _ => replies::invalid_method(),
    }
}

/// `/org/currencies/actions/enable`: with the base currency the others become possible.
pub(super) fn enable(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    let body: Value = serde_json::from_slice(ask.body).unwrap_or_default();
    let Some(base) = body.get("base_currency").and_then(Value::as_object) else {
        return items::refused(&missing("base_currency"));
    };
    let outcome = match (ask.method.as_str(), crm.money.currencies.first().cloned()) {
        ("POST", None) => add_currency(crm, ask, base, true),
        ("POST", Some(_)) => Err(duplicate("base_currency")),
        ("PUT", Some(there)) => {
            let id = text(&there, "id").unwrap_or_default().to_owned();
            change_currency(crm, ask, &id, base).map(|_| id)
        }
        ("PUT", None) => Err(missing("base_currency")),
        _ => return replies::invalid_method(),
    };
    match outcome {
        Ok(id) => {
            let message = "The multi-currency feature is enabled and the base currency is set successfully";
            Reply::ok(&json!({ "base_currency": success(json!({ "id": id }), message) }))
        }
        Err(problem) => Reply::json(StatusCode::BAD_REQUEST, &json!({ "base_currency": problem })),
    }
}

fn add_currency(
    crm: &mut Crm,
    ask: &Ask<'_>,
    item: &Map<String, Value>,
    is_base: bool,
) -> Result<String, Value> {
    if crm.money.currencies.is_empty() && !is_base {
        let message = "Multi-Currency feature is not enabled";
        return Err(replies::problem("FEATURE_NOT_ENABLED", json!({}), message));
    }
    let code = text(item, "iso_code").ok_or_else(|| missing("iso_code"))?;
    if crm.money.currencies.iter().any(|one| text(one, "iso_code") == Some(code)) {
        return Err(duplicate("iso_code"));
    }
    if crm.money.currencies.len() >= MOST {
        return Err(items::full());
    }
    let (id, now, who) = (crm.new_id(), replies::iso(ask.wall), crm.me());
    let mut currency = item.clone();
    for (name, value) in [
        ("id", json!(id)),
        ("is_base", json!(is_base)),
        ("created_time", json!(now)),
        ("modified_time", json!(now)),
        ("created_by", who.clone()),
        ("modified_by", who),
    ] {
        currency.insert(name.to_owned(), value);
    }
    currency.entry("is_active").or_insert(Value::from(true));
    crm.money.currencies.push(currency);
    Ok(id)
}

fn change_currency(
    crm: &mut Crm,
    ask: &Ask<'_>,
    id: &str,
    item: &Map<String, Value>,
) -> Result<Value, Value> {
    let currency = crm.money.currencies.iter_mut().find(|one| text(one, "id") == Some(id));
    let currency = currency.ok_or_else(|| unknown_id(id))?;
    let changed = item.iter().filter(|(name, _)| !["id", "is_base"].contains(&name.as_str()));
    currency.extend(changed.map(|(name, value)| (name.clone(), value.clone())));
    currency.insert("modified_time".to_owned(), Value::from(replies::iso(ask.wall)));
    Ok(success(json!({ "id": id }), "The currency updated successfully"))
}

/// `/org/taxes`: `PUT` adds, changes, and with `_delete` takes away.
pub(super) fn taxes(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    match ask.method.as_str() {
        "GET" => {
            let preference = json!({ "auto_populate_tax": false, "modify_tax_rates": false });
            Reply::ok(&json!({ "org_taxes": { "taxes": crm.money.taxes, "preference": preference } }))
        }
        "PUT" => {
            let body: Value = serde_json::from_slice(ask.body).unwrap_or_default();
            let given = body.get("org_taxes").and_then(|taxes| taxes.get("taxes")).and_then(Value::as_array);
            let Some(given) = given else { return items::refused(&missing("taxes")) };
            let put = given.iter().filter_map(Value::as_object).map(|item| put_tax(crm, item));
            match put.collect::<Result<Vec<String>, Value>>() {
                Ok(ids) => {
                    let details =
                        json!({ "taxes": ids.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>() });
                    Reply::ok(&json!({ "org_taxes": success(details, "tax updated") }))
                }
                Err(problem) => Reply::json(StatusCode::BAD_REQUEST, &json!({ "org_taxes": problem })),
            }
        }
        _ => replies::invalid_method(),
    }
}

/// `/org/taxes/{id}`
pub(super) fn tax(crm: &Crm, ask: &Ask<'_>, id: &str) -> Reply {
    match (ask.method.as_str(), crm.money.taxes.iter().find(|tax| text(tax, "id") == Some(id))) {
        ("GET", Some(tax)) => Reply::ok(&json!({ "org_taxes": { "taxes": [tax] } })),
        ("GET", None) => Reply::empty(StatusCode::NO_CONTENT),
        _ => replies::invalid_method(),
    }
}

fn put_tax(crm: &mut Crm, item: &Map<String, Value>) -> Result<String, Value> {
    let Some(id) = text(item, "id") else {
        text(item, "name").ok_or_else(|| missing("name"))?;
        item.get("value").ok_or_else(|| missing("value"))?;
        if crm.money.taxes.len() >= MOST {
            return Err(items::full());
        }
        let id = crm.new_id();
        let mut tax = item.clone();
        tax.insert("id".to_owned(), Value::from(id.as_str()));
        crm.money.taxes.push(tax);
        return Ok(id);
    };
    let at = crm.money.taxes.iter().position(|tax| text(tax, "id") == Some(id));
    let at = at.ok_or_else(|| unknown_id(id))?;
    if item.get("_delete").and_then(Value::as_bool) == Some(true) {
        crm.money.taxes.remove(at);
    } else {
        crm.money.taxes[at].extend(item.clone());
    }
    Ok(id.to_owned())
}
