//! Which requests change nothing at Zoho, by their method and path.

use http::Method;

use super::lenient::could_call_function;
use super::path::{decoded, is_version, segments};

/// Whether a request only reads: GET, HEAD and OPTIONS, and the two questions that Zoho takes by POST because
/// they have a body, `POST /crm/{version}/coql` and `POST /crm/{version}/{module}/actions/count`.
///
/// A function of an organisation's own, `/crm/{version}/functions/…`, may do anything by every method, and so may
/// whatever a lenient server could take for one. Jobs, as a bulk read is one, make something and so are no reads.
pub fn only_reads(method: &Method, path: &str) -> bool {
    let asks = match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => true,
        Method::POST => asks_by_post(path),
        _ => false,
    };
    asks && !could_call_function(path)
}

fn asks_by_post(path: &str) -> bool {
    let mut segments = segments(path).map(decoded);
    let mut next = || segments.next();
    if next().as_deref() != Some("crm") || !next().is_some_and(|version| is_version(&version)) {
        return false;
    }
    let rest = [next(), next(), next(), next()];
    let rest = rest.each_ref().map(Option::as_deref);
    matches!(rest, [Some("coql"), None, None, None] | [Some(_), Some("actions"), Some("count"), None])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_told_from_all_else() {
        for (method, path) in [
            (Method::GET, "/crm/v8/Leads"),
            (Method::HEAD, "/crm/v8/settings/roles"),
            (Method::OPTIONS, "/anything"),
            (Method::POST, "/crm/v8/coql"),
            (Method::POST, "/crm/v8/Leads/actions/count"),
            (Method::POST, "/crm/v8/users/actions/%63ount"),
        ] {
            assert!(only_reads(&method, path), "{method} {path}");
        }
        for (method, path) in [
            (Method::POST, "/crm/v8/Leads"),
            (Method::POST, "/crm/v8/coql/1"),
            (Method::POST, "/crm/v8/Leads/actions/count/1"),
            (Method::POST, "/crm/v8/Leads/actions/mass_update"),
            (Method::POST, "/crm/bulk/v8/read"),
            (Method::POST, "/crm/v8/__composite_requests"),
            (Method::PUT, "/crm/v8/coql"),
            (Method::DELETE, "/crm/v8/Leads"),
            (Method::GET, "/crm/v8/functions/sweep/actions/execute"),
            (Method::GET, "/crm/v8/%66unctions/sweep/actions/execute"),
            (Method::HEAD, "/CRM/V8/Functions/sweep/actions/execute"),
            (Method::POST, "/crm/v8/functions/actions/count"),
            (Method::POST, "/crm/v8/Functions/actions/count"),
            (Method::POST, "/crm/v8/functions%20/actions/count"),
            (Method::GET, "/crm/v8/functions%20/sweep/actions/execute"),
            (Method::GET, "/crm/v8/functions;x/sweep/actions/execute"),
            (Method::GET, "/crm/v8/%2566unctions/sweep/actions/execute"),
        ] {
            assert!(!only_reads(&method, path), "{method} {path}");
        }
    }
}
