//! `POST /coql`: queries over one module. Joins, functions and grouping are not emulated.

mod parse;

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::model::Record;
use super::model::criteria::{self, Criteria};
use super::state::Crm;
use crate::emulator::replies::{self, Reply};

/// The most rows of one query, and how many there are unless told otherwise.
const MOST: usize = 2_000;
const UNLESS_TOLD: usize = 200;

/// A query as it was understood.
#[derive(Debug, PartialEq)]
struct Query {
    fields: Vec<String>,
    module: String,
    criteria: Criteria,
    /// Fields to sort by; whether downwards.
    order: Vec<(String, bool)>,
    limit: usize,
    offset: usize,
}

/// What is wrong with a query.
#[derive(Debug, PartialEq)]
enum Mistake {
    /// A clause is not there.
    Missing(&'static str),
    /// Something else stands where this was expected.
    Near(String),
}

/// `POST /coql`
pub(super) fn answer(crm: &Crm, ask: &Ask<'_>) -> Reply {
    if ask.method != Method::POST {
        return replies::invalid_method();
    }
    let Some(text) = text(ask.body) else {
        let details = json!({ "api_name": "select_query" });
        return Reply::bad("MANDATORY_NOT_FOUND", details, "required field not found");
    };
    match Query::parse(&text) {
        Ok(query) => found(crm, &query),
        Err(Mistake::Missing(clause)) => {
            Reply::bad("SYNTAX_ERROR", json!({ "clause": clause }), "missing clause")
        }
        Err(Mistake::Near(near)) => {
            Reply::bad("SYNTAX_ERROR", json!({ "near": near }), "error occured while parsing the query")
        }
    }
}

/// What a query costs: by its limit, 1 to 3 credits.
pub(super) fn credits(body: &[u8]) -> u64 {
    let query = text(body).and_then(|text| Query::parse(&text).ok());
    match query.map_or(0, |query| query.limit) {
        0..=200 => 1,
        201..=1_000 => 2,
        _ => 3,
    }
}

fn text(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body.get("select_query")?.as_str()?.to_owned())
}

fn found(crm: &Crm, query: &Query) -> Reply {
    let invalid = |details: Value| Reply::bad("INVALID_QUERY", details, "invalid query formed");
    let Some(module) = crm.module(&query.module) else {
        return invalid(json!({ "reason": "invalid module name", "module": query.module }));
    };
    let fields = query.fields.iter().chain(query.order.iter().map(|(field, _)| field)).map(String::as_str);
    if let Some(unknown) = fields.chain(query.criteria.fields()).find(|field| !module.has(field)) {
        return invalid(json!({ "reason": "invalid column name", "column_name": unknown }));
    }
    if query.limit > MOST {
        return Reply::bad("LIMIT_EXCEEDED", json!({ "limit": MOST }), "the limit of rows is exceeded");
    }
    let mut rows: Vec<(&String, &Record)> =
        module.records.iter().filter(|(id, record)| query.criteria.holds(id, record)).collect();
    for (field, downwards) in query.order.iter().rev() {
        rows.sort_by(|one, other| {
            let value = |(id, record): &(&String, &Record)| record.value(id, field);
            let order = criteria::compare(&value(one), &value(other)).unwrap_or(std::cmp::Ordering::Equal);
            if *downwards { order.reverse() } else { order }
        });
    }
    let all = rows.len();
    let page: Vec<Value> =
        rows.iter().skip(query.offset).take(query.limit).map(|row| shown(query, row)).collect();
    if page.is_empty() {
        return Reply::empty(StatusCode::NO_CONTENT);
    }
    let info = json!({ "count": page.len(), "more_records": query.offset + page.len() < all });
    Reply::ok(&json!({ "data": page, "info": info }))
}

fn shown(query: &Query, (id, record): &(&String, &Record)) -> Value {
    let mut row = Map::new();
    for field in &query.fields {
        row.insert(field.clone(), record.value(id, field));
    }
    row.insert("id".to_owned(), Value::from(id.as_str()));
    Value::Object(row)
}
