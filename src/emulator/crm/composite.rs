//! `POST /__composite_requests`: up to five calls in one.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ApiPath, Ask, Crm, items};
use crate::emulator::form::Form;
use crate::emulator::replies::{self, Reply};

const KEY: &str = "__composite_requests";
const AT_MOST: usize = 5;

/// Does one call after the other. What one did stays done if a later one fails.
pub(super) fn answer(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    if ask.method != Method::POST {
        return replies::invalid_method();
    }
    let given = match items::given(ask, KEY, AT_MOST) {
        Ok(given) => given,
        Err(reply) => return reply,
    };
    let mut statuses = Vec::new();
    let mut results = Vec::new();
    for (number, item) in given.iter().enumerate() {
        let item = Value::Object(item.clone());
        let reply = one(crm, ask, &item);
        statuses.push(reply.status);
        let response = json!({
            "status_code": reply.status.as_u16(),
            "headers": { "Content-Type": reply.content_type },
            "body": reply.value(),
        });
        let id = item.get("sub_request_id").cloned().unwrap_or_else(|| Value::from((number + 1).to_string()));
        let well = reply.status.is_success();
        results.push(json!({
            "code": if well { "SUCCESS" } else { "FAILED" },
            "sub_request_id": id,
            "details": { "response": response },
            "message": if well { "composite sub request executed" } else { "composite sub request failed" },
            "status": if well { "success" } else { "error" },
        }));
    }
    let all_well = statuses.iter().all(StatusCode::is_success);
    let status = if all_well { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    Reply::json(status, &json!({ KEY: results }))
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
    super::answer(crm, &Ask { method: &method, path: &path, query: &query, body: &body, ..*ask })
}

fn parameters(item: &Value) -> Form {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs = item.get("params").and_then(Value::as_object);
    Form::of(pairs.into_iter().flatten().map(|(name, value)| (name.clone(), text(value))))
}
