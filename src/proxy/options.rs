//! `OPTIONS` about the sidecar itself, and not about a resource of Zoho's.

use http::header::{ALLOW, HeaderValue, MAX_FORWARDS};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;

use super::account::{self, Facts, Label};
use super::call::access;
use super::panics::take;
use super::refusal::Refusal;
use super::{Arrival, Handling, Proxy, inspect};
use crate::callers::Identity;
use crate::net::body::Body;
use crate::net::headers::REQUEST_ID;
use crate::telemetry::outcome::Outcome;

/// The methods that pass.
const ALLOWED: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Whether the sidecar is who is asked: by a target that names no resource (RFC 9110 section 9.3.7), or because
/// the request may go no further (section 7.6.2).
pub(super) fn is_about_us<B>(request: &Request<B>) -> bool {
    *request.method() == Method::OPTIONS
        && (request.uri().path() == "*"
            || request.headers().get(MAX_FORWARDS).is_some_and(|left| left.as_bytes() == b"0"))
}

impl Proxy {
    /// Says which methods pass.
    pub(super) fn tell_options<B>(
        &self,
        held: &mut Option<Request<B>>,
        caller: Identity,
        arrival: &Arrival,
    ) -> Handling
    where
        B: HttpBody + Into<Body>,
    {
        let request = held.as_ref().expect("a request is held until it is taken");
        let is_known = caller != Identity::Unknown;
        let access = access(&self.shared.rules, caller, &self.peer);
        let checked = inspect::check(request, arrival.kinds).and_then(|()| {
            if self.shared.settings.allow_browsers {
                return Ok(());
            }
            inspect::check_not_a_browser(request.headers(), arrival.kinds, access)
        });
        if let Err(refusal) = checked.and_then(|()| is_known.then_some(()).ok_or(Refusal::CallerUnknown)) {
            let answer = self.refuse_unread(request, caller, arrival, &refusal);
            return self.turn_away(take(held), caller, answer, &refusal);
        }
        let (shared, status, outcome) = (&*self.shared, StatusCode::NO_CONTENT, Outcome::StandIn);
        shared.counters.of(None, Label::Unknown).count(status, outcome);
        if shared.books.log.is_on() {
            let facts = Facts { status, outcome, ..Self::facts_unread(request, caller, arrival) };
            account::write(&shared.books, &facts, 0, false);
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static(ALLOWED));
        headers.insert(REQUEST_ID, arrival.request_id.clone());
        Handling::now(response)
    }
}
