//! When a request came, and by what it is known.

use std::sync::OnceLock;

use http::Request;
use http::header::HeaderValue;

use super::kinds::Kinds;
use super::{inspect, request_id};
use crate::callers::policy::Excess;
use crate::clock::BootTime;

/// When a request came, and its id.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) at: BootTime,
    pub(super) request_id: HeaderValue,
    pub(super) kinds: Kinds,
    /// What it would be refused for if its caller were not in shadow mode.
    pub(super) would_refuse: OnceLock<Excess>,
}

impl Arrival {
    /// Removes from the request what its `Connection` says is not for Zoho, so that nothing of that decides anything.
    pub(super) fn of<B>(request: &mut Request<B>, at: BootTime) -> Self {
        let mut kinds = Kinds::of(request.headers());
        if kinds.have(Kinds::INSPECTED) {
            let stripped = inspect::strip_connection_named(request.headers_mut());
            if stripped.has_removed {
                kinds = Kinds::of(request.headers());
            }
            kinds = kinds.and(stripped.fault);
        }
        let request_id = request_id::of(request.headers(), kinds);
        Self { at, request_id, kinds, would_refuse: OnceLock::new() }
    }
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;
    use http::{Method, Version};

    use super::*;
    use crate::clock::Clock;
    use crate::net::headers::READ;
    use crate::upstream::outbound::{Audience, Outbound, Received};

    #[test]
    fn connection_is_read_once_for_a_request_and_what_it_names_does_not_go_out() {
        let mut request = Request::get("/crm/v8/users").header("host", "sidecar");
        for (name, value) in [("connection", "close, X-Private"), ("x-private", "1"), ("x-kept", "1")] {
            request = request.header(name, value);
        }
        let mut request = request.body(()).unwrap();
        READ.set(0);
        let arrival = Arrival::of(&mut request, Clock::system().boot_time());
        assert_eq!(inspect::check(&request, arrival.kinds), Ok(()));
        let outbound = Outbound::new(
            Method::GET,
            "https://www.zohoapis.eu".parse().unwrap(),
            PathAndQuery::from_static("/crm/v8/users"),
            Received { headers: request.headers(), version: Version::HTTP_11 },
            &arrival.request_id,
            Audience::Caller,
            &[],
        );
        let names: Vec<_> = outbound.headers().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, READ.get()), (vec!["x-kept", "via", "x-request-id"], 1));
    }
}
