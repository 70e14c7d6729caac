//! When it is time to mint: ahead of a token's end, and again after a failure.

use std::sync::Arc;
use std::time::Duration;

use super::health::Health;
use super::reply::MintError;
use super::token::Token;
use super::{State, Tokens};
use crate::clock::BootTime;

/// An attempt that brought no token.
pub(super) struct Setback {
    pub(super) health: Health,
    /// How long to wait, where it is known better than by counting failures.
    pub(super) pause: Option<Duration>,
}

impl From<MintError> for Setback {
    fn from(error: MintError) -> Self {
        let health = match error {
            MintError::Unreachable { .. } | MintError::FateUnknown { .. } | MintError::ServerError { .. } => {
                Health::EndpointDown
            }
            MintError::Throttled { .. } => Health::Throttled,
            MintError::GrantDead => Health::GrantDead,
            MintError::ClientDead { .. } => Health::ClientDead,
            MintError::Refused { .. } | MintError::Nonsense { .. } => Health::Nonsense,
        };
        Self { health, pause: None }
    }
}

/// While no token lives, callers are turned away: whatever may pass by itself is tried again this soon.
const HURRY: Duration = Duration::from_secs(8);

/// What passes by itself is not tried again at once either, however long the last attempt took.
const BREATH: Duration = Duration::from_millis(250);

/// Notes an attempt that began then and has failed now, and when the next is due.
pub(super) fn record(tokens: &Tokens, state: &mut State, setback: Setback, began: BootTime, now: BootTime) {
    let Setback { mut health, pause } = setback;
    state.failures = state.failures.saturating_add(1);
    if let Health::BudgetSpent { after } = &mut health {
        *after = match &state.health {
            Health::Starting | Health::Healthy | Health::TokenRejected => None,
            Health::BudgetSpent { after } => after.clone(),
            before => Some(Box::new(before.clone())),
        };
    }
    if matches!(health, Health::WrongDataCenter { .. }) {
        state.token = None;
    }
    let left = state.token.as_ref().map(|token| token.expires().saturating_duration_since(now));
    let spread = 1.0 + 0.2 * chance();
    let by_count = health.pause(state.failures);
    state.next_attempt = Some(match (pause, &health) {
        (Some(pause), _) => now + pause,
        (None, health) if health.is_for_probing() => {
            let pause = by_count.min(left.unwrap_or_default().max(HURRY));
            (began + pause.mul_f64(spread)).max(now + BREATH.mul_f64(spread))
        }
        (None, _) => now + by_count.mul_f64(spread),
    });
    tokens.change_health(state, health);
}

/// Renewal is due this long before the end, give or take a fifth, so that sidecars started together drift
/// apart; and never before three quarters of a short life are over.
pub(super) fn renew_at(token: &Token, lead: Duration) -> BootTime {
    let lifetime = token.expires() - token.minted();
    token.expires() - lead.mul_f64(0.8 + 0.4 * chance()).min(lifetime / 4)
}

/// A number from 0 to 1.
pub(super) fn chance() -> f64 {
    let mut byte = [0; 1];
    // Without randomness all is as well, only less spread.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

/// Marks an exchange as under way. Requests wait for its end, so that the mark has to go also when the attempt ends in a
/// panic.
pub(super) struct UnderWay(Arc<Tokens>);

impl UnderWay {
    pub(super) fn begin(tokens: &Arc<Tokens>) -> Self {
        tokens.state.send_modify(|state| state.minting = true);
        Self(tokens.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state.send_if_modified(|state| std::mem::take(&mut state.minting));
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::Identity;
    use super::*;
    use crate::clock::Clock;

    fn token(lifetime: Duration) -> Token {
        let refresh_token = "1000.made-up".into();
        let identity = Identity::of("1000.MADEUP", &refresh_token, "https://accounts.zoho.eu", "production");
        Token::new("1000.made-up-token".into(), identity, 1, Clock::system().boot_time(), lifetime).unwrap()
    }

    #[tokio::test]
    async fn renewals_are_spread_by_a_fifth_around_the_lead() {
        let lead = Duration::from_mins(10);
        let token = token(Duration::from_hours(1));
        let ahead: Vec<Duration> = (0..256).map(|_| token.expires() - renew_at(&token, lead)).collect();
        let (earliest, latest) = (ahead.iter().max().unwrap(), ahead.iter().min().unwrap());
        assert!(*earliest <= lead.mul_f64(1.2) && *latest >= lead.mul_f64(0.8), "{earliest:?} {latest:?}");
        // That 256 draws all miss the outer tenth of the range at one end has a chance of 10^-11.
        assert!(*earliest > lead.mul_f64(1.16) && *latest < lead.mul_f64(0.84), "{earliest:?} {latest:?}");
    }

    #[tokio::test]
    async fn three_quarters_of_a_short_life_pass_before_it_is_renewed() {
        let token = token(Duration::from_mins(4));
        for _ in 0..64 {
            let ahead = token.expires() - renew_at(&token, Duration::from_mins(10));
            assert_eq!(ahead, Duration::from_mins(1));
        }
    }
}
