//! What a call costs in credits, and whether it counts as complex, by Zoho's page on API limits.

use http::Method;
use serde_json::Value;

use super::ask::ApiPath;
use super::coql;
use crate::net::form::Form;

/// The credits of a call.
pub(in crate::emulator) fn credits(method: &Method, path: &ApiPath, query: &Form, body: &[u8]) -> u64 {
    let segments = path.segments();
    match (method.as_str(), segments.as_slice()) {
        ("POST", ["read"]) if path.bulk => 50,
        ("POST", ["write"]) if path.bulk => 500,
        ("GET", [_, "deleted"]) => 2,
        ("POST", ["coql"]) => coql::credits(body),
        ("GET", [_]) if query.value("cvid").is_some() => 3,
        ("GET" | "POST", [_, "actions", "count"]) => 50,
        ("POST" | "PUT", [module] | [module, "upsert"]) if *module != "users" => {
            records(body).div_ceil(10).max(1)
        }
        _ => 1,
    }
}

/// Whether a call counts against the smaller limit for complex ones.
pub(in crate::emulator) fn is_complex(method: &Method, path: &ApiPath, query: &Form, body: &[u8]) -> bool {
    let segments = path.segments();
    match (method.as_str(), segments.as_slice()) {
        ("POST", ["coql" | "__composite_requests"]) | ("GET", [_, "search"]) => true,
        ("GET", [_]) => query.value("cvid").is_some() || query.value("sort_by").is_some(),
        ("POST" | "PUT", [_] | [_, "upsert"]) => records(body) > 10,
        _ => false,
    }
}

fn records(body: &[u8]) -> u64 {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body.get("data").and_then(Value::as_array).map_or(0, |data| data.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_cost_what_zohos_table_says() {
        let cost = |method: Method, path: &str, query: &str, records: usize| {
            let body = serde_json::json!({ "data": vec![0; records] }).to_string();
            credits(&method, &ApiPath::read(path).unwrap(), &Form::urlencoded(query), body.as_bytes())
        };
        assert_eq!(
            cost(Method::GET, "/crm/v8/settings/territories/actions/associated_users_count", "", 0),
            1
        );
        assert_eq!(cost(Method::GET, "/crm/v8/Leads", "cvid=1", 0), 3);
        assert_eq!(cost(Method::POST, "/crm/v8/Leads", "", 11), 2);
        assert_eq!(cost(Method::POST, "/crm/v8/Leads/upsert", "", 100), 10);
        assert_eq!(cost(Method::POST, "/crm/bulk/v8/write", "", 0), 500);
        assert_eq!(cost(Method::GET, "/crm/v8/Leads/deleted", "", 0), 2);
    }
}
