//! How a credential is doing: a closed list of states, each with a sentence and a remedy.

use std::time::Duration;

use crate::net::origin::Origin;

/// How a credential is doing. The names are those of metrics, logs and `/status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// No token has been asked for yet.
    Starting,
    /// The last mint went well, or a token from the state directory still lives.
    Healthy,
    /// Zoho's accounts server refuses because too many tokens were minted.
    Throttled,
    /// The sidecar's own budget of mints is spent; Zoho's has room left for others.
    BudgetSpent {
        /// What the last exchanges ended with, if not with tokens.
        after: Option<Box<Health>>,
    },
    /// The accounts server cannot be reached, or answers with a server error.
    EndpointDown,
    /// The accounts server answers with something that is neither a token nor an error it documents.
    Nonsense,
    /// `invalid_code`: the refresh token is wrong, revoked, or pushed out by newer ones.
    GrantDead,
    /// `invalid_client` or `invalid_client_secret`.
    ClientDead,
    /// A token was minted, but it is for hosts that the tenant is not configured for.
    WrongDataCenter {
        /// The API host that the tenant is configured for.
        expected: String,
        /// The API host that the accounts server named.
        got: String,
    },
    /// A token was minted that ends too soon to be used.
    ShortLived {
        /// How long it lives.
        seconds: u64,
    },
    /// A token that was just minted is refused by the API.
    TokenRejected,
    /// A secret cannot be read.
    SecretMissing {
        /// Which, and why.
        problem: String,
    },
}

/// The names of all states, for metrics.
pub const STATES: [&str; 12] = [
    "starting",
    "healthy",
    "throttled",
    "budget_spent",
    "endpoint_down",
    "nonsense",
    "grant_dead",
    "client_dead",
    "wrong_data_center",
    "short_lived",
    "token_rejected",
    "secret_missing",
];

/// A token that lives shorter than this would be renewed without end.
pub(super) const SHORTEST_LIFE: Duration = Duration::from_secs(30);

impl Health {
    /// Whether the accounts server did not work as one: it may recover at any moment, and a probe finds that out for free.
    pub(super) fn is_for_probing(&self) -> bool {
        matches!(self, Self::EndpointDown | Self::Nonsense | Self::ShortLived { .. })
    }

    /// The name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Throttled => "throttled",
            Self::BudgetSpent { .. } => "budget_spent",
            Self::EndpointDown => "endpoint_down",
            Self::Nonsense => "nonsense",
            Self::GrantDead => "grant_dead",
            Self::ClientDead => "client_dead",
            Self::WrongDataCenter { .. } => "wrong_data_center",
            Self::ShortLived { .. } => "short_lived",
            Self::TokenRejected => "token_rejected",
            Self::SecretMissing { .. } => "secret_missing",
        }
    }

    /// What follows from the API host that a token answer names. It is checked, never followed: a token that is for
    /// other hosts stops the tenant, since sending it anywhere would be wrong.
    pub(super) fn of_api_domain(named: &str, expected: &Origin) -> Option<Self> {
        if named.trim().parse::<Origin>().is_ok_and(|origin| origin == *expected) {
            return None;
        }
        let got = named.chars().filter(|c| !c.is_control()).take(200).collect();
        Some(Self::WrongDataCenter { expected: expected.to_string(), got })
    }

    /// What a person should do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Starting => "wait a moment: the first token is being fetched".to_owned(),
            Self::Healthy => "nothing to do".to_owned(),
            Self::Throttled => {
                "something else mints tokens with the same refresh token: find it, or give it a refresh token of its own"
                    .to_owned()
            }
            Self::BudgetSpent { after: None } => {
                "too many tokens died early: something else may mint with the same refresh token; the next is minted by itself as soon as the window of ten minutes allows"
                    .to_owned()
            }
            Self::BudgetSpent { after: Some(after) } => format!(
                "too many exchanges brought no token but may have minted one; the next is tried by itself as soon as the window of ten minutes allows. They ended with {}: {}",
                after.as_str(),
                after.remedy()
            ),
            Self::EndpointDown => {
                "check that this machine reaches the accounts server of the data centre; it is asked every few seconds, and a token is minted as soon as it answers"
                    .to_owned()
            }
            Self::Nonsense => {
                "check the accounts URL of the data centre, and any proxy between here and there".to_owned()
            }
            Self::GrantDead => {
                "create a new refresh token for this client and put it where the tenant's refresh_token points"
                    .to_owned()
            }
            Self::ClientDead => {
                "compare client_id and client_secret with the API console of this data centre; secrets may differ between data centres"
                    .to_owned()
            }
            Self::WrongDataCenter { expected, got } => format!(
                "the credentials belong to {got}, the tenant is configured for {expected}: correct data_center or environment"
            ),
            Self::ShortLived { seconds } => format!(
                "the accounts server gives out access tokens that end after {seconds} s, and Zoho's live an hour: find out what answers at its URL, or who has shortened them; {} s is the least that is of use",
                SHORTEST_LIFE.as_secs()
            ),
            Self::TokenRejected => {
                "check that data_center and environment of the tenant are those the refresh token was made in"
                    .to_owned()
            }
            Self::SecretMissing { problem } => format!("provide the secret: {problem}"),
        }
    }

    /// Whether only a person can mend it.
    pub fn is_dead(&self) -> bool {
        matches!(
            self,
            Self::GrantDead
                | Self::ClientDead
                | Self::WrongDataCenter { .. }
                | Self::TokenRejected
                | Self::SecretMissing { .. }
        )
    }

    /// How long to wait before the next attempt, after this many failures in a row.
    ///
    /// Dead states are probed at most once a minute. A throttled endpoint is left alone for minutes: Zoho's
    /// block lasts for the rest of its ten minutes, and knocking is said to prolong it. A server that did not
    /// answer is first asked whether it does, so that the first of these questions may come at once.
    pub fn pause(&self, failures: u32) -> Duration {
        let doubling = |first: Duration, most: Duration| {
            first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most)
        };
        match self {
            Self::Starting | Self::Healthy => Duration::ZERO,
            Self::Throttled | Self::BudgetSpent { .. } => {
                doubling(Duration::from_mins(3), Duration::from_mins(10))
            }
            Self::EndpointDown if failures <= 1 => Duration::from_millis(250),
            Self::EndpointDown | Self::Nonsense | Self::ShortLived { .. } => {
                doubling(Duration::from_secs(1), Duration::from_mins(1))
            }
            _ => doubling(Duration::from_mins(1), Duration::from_mins(5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_states_are_probed_at_most_once_a_minute() {
        for health in [
            Health::GrantDead,
            Health::ClientDead,
            Health::TokenRejected,
            Health::SecretMissing { problem: String::new() },
        ] {
            for failures in 0..40 {
                assert!(health.pause(failures) >= Duration::from_mins(1), "{health:?}");
                assert!(health.pause(failures) <= Duration::from_mins(5), "{health:?}");
            }
        }
    }

    #[test]
    fn an_endpoint_that_is_down_is_tried_again_soon_and_then_less_often() {
        assert_eq!(Health::EndpointDown.pause(1), Duration::from_millis(250));
        assert_eq!(Health::Nonsense.pause(1), Duration::from_secs(1));
        assert_eq!(Health::EndpointDown.pause(4), Duration::from_secs(8));
        assert_eq!(Health::EndpointDown.pause(u32::MAX), Duration::from_mins(1));
    }
}
