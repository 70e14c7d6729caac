//! How a route is cached.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};

use super::media::ContentTypes;
use super::origin::Terms;

/// How a route is cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// How long an answer with a body is served without asking Zoho.
    pub fresh_for: Duration,
    /// The same for 204, which says that there is nothing yet.
    pub empty_fresh_for: Duration,
    /// How much longer it is served while a new one is fetched behind the caller's back (RFC 5861).
    pub stale_while_revalidate: Duration,
    /// How much longer it is served when Zoho cannot answer (RFC 5861).
    pub stale_if_error: Duration,
    /// The groups whose writes make entries of this route untrue, by number.
    pub groups: Vec<usize>,
    /// Request headers that change the answer, beside those in every key.
    pub vary_by: Vec<HeaderName>,
    /// The content types that are stored; `None` for any, of which nothing is looked at.
    pub content_types: Option<ContentTypes>,
    /// How long before the end of its freshness an entry that is asked for is renewed.
    pub refresh_ahead: Duration,
    /// However insistent callers are, an entry younger than this is served to them.
    pub min_refresh_interval: Duration,
    /// Whether an entry that a write made untrue may still be served when Zoho cannot answer.
    pub stale_after_write: bool,
    /// Whether the answer's own headers decide instead (RFC 9111).
    pub obeys_origin: bool,
    /// The groups by name, for callers that keep answers themselves (`Cache-Groups`, RFC 9875).
    pub cache_groups: Option<HeaderValue>,
}

impl Rule {
    /// A rule that only says how long answers are fresh.
    pub fn lasting(fresh_for: Duration) -> Self {
        Self {
            fresh_for,
            empty_fresh_for: fresh_for,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            groups: Vec::new(),
            vary_by: Vec::new(),
            content_types: None,
            refresh_ahead: Duration::ZERO,
            min_refresh_interval: Duration::ZERO,
            stale_after_write: false,
            obeys_origin: false,
            cache_groups: None,
        }
    }

    /// How long an answer of this status is fresh; zero for one that is not stored at all.
    pub fn fresh_for(&self, status: StatusCode) -> Duration {
        match status {
            StatusCode::OK => self.fresh_for,
            StatusCode::NO_CONTENT => self.empty_fresh_for,
            _ => Duration::ZERO,
        }
    }

    /// How long an entry of this status may be of any use.
    pub fn keep_for(&self, status: StatusCode) -> Duration {
        self.fresh_for(status) + self.stale_while_revalidate.max(self.stale_if_error)
    }

    /// Only answers that say what there is are stored: never an error, never a partial answer.
    pub fn stores(&self, status: StatusCode) -> bool {
        !self.fresh_for(status).is_zero()
    }

    /// Whether an answer may be stored: for a rule that obeys the origin, whether that set terms for it.
    pub fn may_store(&self, status: StatusCode, terms: Option<&Terms>) -> bool {
        if self.obeys_origin { terms.is_some() } else { self.stores(status) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_and_204_are_stored() {
        for status in 100..600 {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                Rule::lasting(Duration::from_secs(1)).stores(status),
                matches!(status.as_u16(), 200 | 204),
                "{status}"
            );
        }
    }
}
