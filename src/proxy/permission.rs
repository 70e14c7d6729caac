//! What a caller asks beyond what it may: refused before cache and credential are touched, or only told of.

use http::{HeaderValue, Request};

use super::Proxy;
use super::call::{Call, Reading};
use super::refusal::{Forbidden, Place, Refusal};
use crate::callers::policy::Excess;
use crate::callers::{CallerNumber, Identity, Mode};
use crate::zoho::composite::Part;

/// Stands for the caller where it is none of the configured ones.
const UNKNOWN: &str = "unknown";

impl Proxy {
    /// Whether the caller may make this request.
    pub(super) fn permit<B>(
        &self,
        reading: &Reading<'_>,
        request: &Request<B>,
        request_id: &HeaderValue,
    ) -> Result<(), Refusal> {
        let Some(number) = reading.caller.number() else { return Ok(()) };
        let policy = &self.shared.rules.callers.caller(number).policy;
        policy
            .permits(reading.tenant, request.method(), reading.path, request.headers())
            .or_else(|excess| self.exceeds(number, excess, Place::Request, request_id))
    }

    /// Whether the caller may use this tenant at all.
    pub(super) fn permit_tenant(
        &self,
        caller: Identity,
        tenant: usize,
        request_id: &HeaderValue,
    ) -> Result<(), Refusal> {
        let Some(number) = caller.number() else { return Ok(()) };
        let own = &self.shared.rules.callers.caller(number).policy.tenants;
        if own.as_ref().is_none_or(|own| own.contains(&tenant)) {
            return Ok(());
        }
        self.exceeds(number, Excess::Tenant, Place::Request, request_id)
    }

    /// Whether the caller may make the calls in its composite request; `None` if they could not be read.
    pub(super) fn permit_parts(&self, call: &Call, parts: Option<&[Part]>) -> Result<(), Refusal> {
        let Some(number) = call.caller else { return Ok(()) };
        let policy = &self.shared.rules.callers.caller(number).policy;
        policy
            .permits_parts(parts)
            .or_else(|excess| self.exceeds(number, excess, Place::Composite, &call.request_id))
    }

    /// Counts a request beyond what its caller may, and refuses it unless that is only to be told of.
    fn exceeds(
        &self,
        number: CallerNumber,
        excess: Excess,
        place: Place,
        request_id: &HeaderValue,
    ) -> Result<(), Refusal> {
        let caller = self.shared.rules.callers.caller(number);
        let (name, mode, reason) = (&*caller.name, caller.mode.as_str(), excess.as_str());
        self.shared.metrics.count_caller_refusal(name, reason, mode);
        if caller.mode == Mode::Shadow {
            tracing::warn!(
                caller = name,
                reason,
                request_id = request_id.to_str().unwrap_or_default(),
                "a request is beyond what its caller may; it is served, as its mode is shadow"
            );
            return Ok(());
        }
        Err(Refusal::CallerForbidden(Box::new(Forbidden { caller: name.to_owned(), excess, place })))
    }

    /// Counts a request of one who is none of the configured callers.
    pub(super) fn count_unknown(&self) {
        self.shared.metrics.count_caller_refusal(UNKNOWN, UNKNOWN, Mode::Enforce.as_str());
    }
}
