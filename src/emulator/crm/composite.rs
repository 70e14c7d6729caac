//! `POST /__composite_requests`: up to five calls in one.
//!
//! References from one call to another's answer (`@{…}`) are not emulated.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::ask::{ApiPath, Ask};
use super::items;
use super::state::Crm;
use crate::emulator::replies::{self, Reply};
use crate::net::form::Form;

const KEY: &str = "__composite_requests";
const AT_MOST: usize = 5;

/// What became of one call.
enum Outcome {
    Done(Reply),
    /// It was done, and undone because a later one failed.
    Undone(Reply),
    /// One before it failed.
    Stopped,
}

/// Does one call after the other, also where they may be done at once (`parallel_execution`,
/// `concurrent_execution`). What one did stays done if a later one fails, unless `rollback_on_fail` is true.
pub(super) fn answer(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    if ask.method != Method::POST {
        return replies::invalid_method();
    }
    let given = match items::given(ask, KEY, AT_MOST) {
        Ok(given) if given.is_empty() => return items::refused(&items::missing(KEY)),
        Ok(given) => given,
        Err(reply) => return reply,
    };
    let given: Vec<Value> = given.into_iter().map(Value::Object).collect();
    let body: Value = serde_json::from_slice(ask.body).unwrap_or_default();
    let outcomes = if body.get("rollback_on_fail").and_then(Value::as_bool) == Some(true) {
        all_or_nothing(crm, ask, &given)
    } else {
        given.iter().map(|item| Outcome::Done(one(crm, ask, item))).collect()
    };
    let is_well = outcomes.iter().all(Outcome::is_well);
    let results: Vec<Value> = outcomes
        .iter()
        .zip(&given)
        .enumerate()
        .map(|(at, (outcome, item))| told(at, outcome, item))
        .collect();
    let status = if is_well { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Reply::json(status, &json!({ KEY: results }))
}

fn all_or_nothing(crm: &mut Crm, ask: &Ask<'_>, given: &[Value]) -> Vec<Outcome> {
    let before = crm.clone();
    let mut outcomes = Vec::new();
    for item in given {
        let reply = one(crm, ask, item);
        let failed = !reply.status.is_success();
        outcomes.push(Outcome::Done(reply));
        if failed {
            break;
        }
    }
    let Some((Outcome::Done(last), done)) = outcomes.split_last_mut() else { return outcomes };
    if !last.status.is_success() {
        *crm = before;
        for outcome in done {
            if let Outcome::Done(reply) = std::mem::replace(outcome, Outcome::Stopped) {
                *outcome = Outcome::Undone(reply);
            }
        }
    }
    outcomes.resize_with(given.len(), || Outcome::Stopped);
    outcomes
}

fn told(at: usize, outcome: &Outcome, item: &Value) -> Value {
    let id = item.get("sub_request_id").cloned().unwrap_or_else(|| Value::from((at + 1).to_string()));
    let (code, message) = outcome.words();
    let details = match outcome {
        Outcome::Done(reply) | Outcome::Undone(reply) => json!({ "response": {
            "status_code": reply.status.as_u16(),
            "headers": { "Content-Type": reply.content_type },
            "body": reply.value(),
        } }),
        Outcome::Stopped => json!({}),
    };
    json!({
        "code": code,
        "sub_request_id": id,
        "details": details,
        "message": message,
        "status": if outcome.is_well() { "success" } else { "error" },
    })
}

fn one(crm: &mut Crm, ask: &Ask<'_>, item: &Value) -> Reply {
    let uri = item.get("uri").and_then(Value::as_str).unwrap_or_default();
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let Some(path) = ApiPath::read(path).filter(|path| !path.segments().contains(&KEY)) else {
        return replies::invalid_url();
    };
    let method = item.get("method").and_then(Value::as_str).unwrap_or("GET");
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return replies::invalid_method();
    };
    let body = item.get("body").map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let query = Form::urlencoded(query).and(parameters(item));
    let headers = headers(item);
    let ask = Ask { method: &method, path: &path, query: &query, headers: &headers, body: &body, ..*ask };
    super::answer(crm, &ask)
}

fn parameters(item: &Value) -> Form {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs = item.get("params").and_then(Value::as_object);
    Form::of(pairs.into_iter().flatten().map(|(name, value)| (name.clone(), text(value))))
}

fn headers(item: &Value) -> HeaderMap {
    let pairs = item.get("headers").and_then(Value::as_object).into_iter().flatten();
    let pairs = pairs.filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.as_str()?).ok()?))
    });
    pairs.collect()
}

impl Outcome {
    fn is_well(&self) -> bool {
        matches!(self, Self::Done(reply) if reply.status.is_success())
    }

    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Done(_) if self.is_well() => ("SUCCESS", "composite sub request executed"),
            Self::Done(_) => ("FAILED", "composite sub request failed"),
            Self::Undone(_) => ("ROLLBACK_PERFORMED", "rolled back, because another sub request failed"),
            Self::Stopped => ("PROCESSING_STOPPED", "not executed, because another sub request failed"),
        }
    }
}
