//! All that the emulator holds for one organisation.

mod credits;
mod gate;
mod mints;
mod tokens;

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::crm::Crm;
use super::lock::held;
use super::random;
use super::scenario::{Scenario, Seed};
use crate::clock::Clock;
use credits::Credits;
use gate::Gate;
pub(super) use gate::UnderWay;
pub(super) use mints::Denied;
pub(super) use tokens::Issued;
use tokens::{Code, Tokens};

/// How long a grant code of the consent page waits to be exchanged.
const CODE_LIFETIME: Duration = Duration::from_mins(3);

/// All that the emulator holds for one organisation.
pub(super) struct State {
    pub(super) seed: Seed,
    pub(super) gate: Gate,
    tokens: Mutex<Tokens>,
    crm: Mutex<Crm>,
    credits: Mutex<Credits>,
}

impl State {
    pub(super) fn new(seed: &Seed, scenario: &Scenario, clock: &Clock) -> Self {
        Self {
            seed: seed.clone(),
            gate: Gate::new(seed.edition, scenario.limits.concurrency),
            tokens: Mutex::new(Tokens::new(seed, &scenario.limits, clock)),
            crm: Mutex::new(Crm::new(seed, scenario, clock.wall())),
            credits: Mutex::new(Credits::new(
                seed.daily_credits(),
                scenario.limits.credits,
                clock.boot_time(),
            )),
        }
    }

    /// Makes it as it was at the start.
    pub(super) fn reset(&self, scenario: &Scenario, clock: &Clock) {
        let fresh = Self::new(&self.seed, scenario, clock);
        *self.tokens() = fresh.tokens.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        *self.crm() = fresh.crm.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.gate.forget_peak();
        *self.credits() = fresh.credits.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    }

    pub(super) fn tokens(&self) -> MutexGuard<'_, Tokens> {
        held(&self.tokens)
    }

    pub(super) fn crm(&self) -> MutexGuard<'_, Crm> {
        held(&self.crm)
    }

    pub(super) fn credits(&self) -> MutexGuard<'_, Credits> {
        held(&self.credits)
    }

    /// Whether a refresh token or a grant code is of this organisation.
    pub(super) fn knows_grant(&self, credential: &str) -> bool {
        let tokens = self.tokens();
        tokens.knows(credential) || tokens.peek_code(credential).is_some()
    }

    /// Makes a grant code, as the consent page does.
    pub(super) fn issue_code(&self, offline: bool, redirect_uri: Option<String>, clock: &Clock) -> String {
        let code = random::token();
        let expires = clock.boot_time() + CODE_LIFETIME;
        self.tokens().add_code(Code { value: code.clone(), expires, offline, redirect_uri });
        code
    }
}
