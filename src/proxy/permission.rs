//! What a caller asks beyond what it may: refused before cache and credential are touched, or only told of.

use std::sync::atomic::{AtomicU8, Ordering};

use http::Request;

use super::call::{Call, Reading};
use super::refusal::{Forbidden, Place, Refusal};
use super::{Arrival, Proxy};
use crate::callers::policy::Excess;
use crate::callers::{CallerNumber, Identity, Mode};
use crate::zoho::composite::Part;

/// Stands for the caller where it is none of the configured ones.
const UNKNOWN: &str = "unknown";

/// Of which callers and reasons the log has told that a request was beyond what its caller may: one bit for each
/// reason, by the caller's number.
pub(super) struct Told(Vec<AtomicU8>);

impl Told {
    pub(super) fn nothing(callers: usize) -> Self {
        Self((0..callers).map(|_| AtomicU8::new(0)).collect())
    }

    /// Whether this is the first time.
    fn is_news(&self, caller: CallerNumber, excess: Excess) -> bool {
        let (told, bit) = (&self.0[caller], 1 << excess as u8);
        // Looked at first, so that workers do not fight over what is settled.
        told.load(Ordering::Relaxed) & bit == 0 && told.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

impl Proxy {
    /// Whether the caller may make this request.
    pub(super) fn permit<B>(
        &self,
        reading: &Reading<'_>,
        request: &Request<B>,
        arrival: &Arrival,
    ) -> Result<(), Refusal> {
        let Some(number) = reading.caller.number() else { return Ok(()) };
        let policy = &self.shared.rules.callers.caller(number).policy;
        policy
            .permits(reading.tenant, request.method(), reading.path, request.headers())
            .and_then(|()| {
                let is_held = reading.is_overridden && policy.judges_calls();
                if is_held { Err(Excess::Method) } else { Ok(()) }
            })
            .or_else(|excess| self.exceeds(number, excess, Place::Request, arrival))
    }

    /// Whether the caller may use this tenant at all.
    pub(super) fn permit_tenant(
        &self,
        caller: Identity,
        tenant: usize,
        arrival: &Arrival,
    ) -> Result<(), Refusal> {
        let Some(number) = caller.number() else { return Ok(()) };
        let own = &self.shared.rules.callers.caller(number).policy.tenants;
        if own.as_ref().is_none_or(|own| own.contains(&tenant)) {
            return Ok(());
        }
        self.exceeds(number, Excess::Tenant, Place::Request, arrival)
    }

    /// Whether the caller may make the calls in its composite request; `None` if they could not be read.
    pub(super) fn permit_parts(
        &self,
        call: &Call,
        parts: Option<&[Part]>,
        arrival: &Arrival,
    ) -> Result<(), Refusal> {
        let Some(number) = call.caller else { return Ok(()) };
        let policy = &self.shared.rules.callers.caller(number).policy;
        policy.permits_parts(parts).or_else(|excess| self.exceeds(number, excess, Place::Composite, arrival))
    }

    /// Counts a request beyond what its caller may, and refuses it unless that is only to be told of.
    fn exceeds(
        &self,
        number: CallerNumber,
        excess: Excess,
        place: Place,
        arrival: &Arrival,
    ) -> Result<(), Refusal> {
        let caller = self.shared.rules.callers.caller(number);
        let (name, mode, reason) = (&*caller.name, caller.mode.as_str(), excess.as_str());
        self.shared.metrics.count_caller_refusal(name, reason, mode);
        if caller.mode == Mode::Shadow {
            // Two excesses of one request would be one too many for its line; the first is what would refuse it.
            let _ = arrival.would_refuse.set(excess);
            if self.shared.told.is_news(number, excess) {
                tracing::warn!(
                    caller = name,
                    reason,
                    request_id = arrival.request_id.to_str().unwrap_or_default(),
                    "a request is beyond what its caller may; it is served, as its mode is shadow, and no more is told here of others like it"
                );
            }
            return Ok(());
        }
        Err(Refusal::CallerForbidden(Box::new(Forbidden { caller: name.to_owned(), excess, place })))
    }

    /// Counts a request of one who is none of the configured callers.
    pub(super) fn count_unknown(&self) {
        self.shared.metrics.count_caller_refusal(UNKNOWN, UNKNOWN, Mode::Enforce.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_and_reason_is_news_once() {
        const ALL: [Excess; 5] =
            [Excess::Tenant, Excess::Method, Excess::Path, Excess::ReadOnly, Excess::Composite];
        let told = Told::nothing(2);
        for caller in [0, 1] {
            assert!(ALL.iter().all(|excess| told.is_news(caller, *excess)), "{caller}");
            assert!(!ALL.iter().any(|excess| told.is_news(caller, *excess)), "{caller}");
        }
    }
}
