//! Handling of a token that Zoho refused: it is replaced, or it stays and a route does without.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::rejections::{Rejection, Rejections, RouteKey, Verdict};
use super::ruling::Accepted;
use super::{Health, State, Token, Tokens, Unavailable};

/// A token that was refused this soon after its mint, without ever having been accepted, was hardly pushed out by
/// newer ones: if the next fares no better, it was never good for what it is used for.
const YOUNG: Duration = Duration::from_mins(1);

impl Tokens {
    /// A token other than `rejected`, which the API refused on a route. The first of many callers that name the
    /// same token causes at most one mint; the others get its result.
    pub async fn replace(&self, rejected: &Token, route: RouteKey) -> Result<Arc<Token>, Unavailable> {
        match self.reject(rejected, route, false) {
            Some(unavailable) => Err(unavailable),
            None => self.current_for(|| route).await,
        }
    }

    /// Notes that the API refused the token that [`Self::replace`] gave, for the same call. Says if there will be none
    /// for this route.
    pub fn reject_replay(&self, rejected: &Token, route: RouteKey) -> Option<Unavailable> {
        self.reject(rejected, route, true)
    }

    fn reject(&self, rejected: &Token, route: RouteKey, is_replay: bool) -> Option<Unavailable> {
        let mut unavailable = None;
        let changed = self.state.send_if_modified(|state| {
            if state.token.as_ref().is_none_or(|token| token.number() != rejected.number()) {
                return false; // A newer one has taken its place already.
            }
            let before = state.token.is_some();
            unavailable = self.withdraw(state, rejected, route, is_replay);
            before != state.token.is_some() || unavailable.is_some()
        });
        if changed {
            // The renewal task sleeps until the withdrawn token's end; it has to look again.
            self.wanted.notify_one();
        }
        unavailable
    }

    /// Notes that the API accepted a token for the first time on a route.
    pub fn accept(&self, token: &Token, route: RouteKey) {
        self.rejections().accepted(route, token.number());
        self.state.send_if_modified(|state| {
            let is_in_use = state.token.as_ref().is_some_and(|ours| ours.number() == token.number());
            let was_suspect = is_in_use && state.health == Health::TokenRejected;
            if was_suspect {
                (state.suspended, state.failures) = (None, 0);
                self.change_health(state, Health::Healthy);
            }
            was_suspect
        });
    }

    /// Whether what is reported of a route was not reported lately; it counts as reported then.
    pub fn is_news(&self, route: RouteKey) -> bool {
        self.rejections().is_news(route, self.clock.boot_time())
    }

    /// Takes a rejected token out of use, unless the route is to blame; then says for how long it does without.
    fn withdraw(
        &self,
        state: &mut State,
        rejected: &Token,
        route: RouteKey,
        is_replay: bool,
    ) -> Option<Unavailable> {
        let (now, accepted) = (self.clock.boot_time(), rejected.accepted(route));
        let is_young = now.saturating_duration_since(rejected.minted()) < YOUNG;
        let refusals = rejected.acceptance().note_refusal();
        let token = rejected.number();
        let is_accepted_elsewhere = rejected.acceptance().is_known_besides(route);
        let rejection =
            Rejection { route, token, accepted, is_accepted_elsewhere, is_replay, refusals, is_young };
        // Some of the budget is left for tokens that are dead.
        let most_in_vain = (self.settings.mints_per_window / 2).max(1);
        let (verdict, in_vain) = {
            let mut rejections = self.rejections();
            (rejections.judge(rejection, most_in_vain, now), rejections.in_vain())
        };
        match verdict {
            Verdict::Replace => {
                tracing::warn!(
                    tenant = self.credential.tenant,
                    generation = rejected.generation(),
                    "Zoho refused an access token before its end; if this repeats, something else mints with the same refresh token"
                );
                self.metrics.early_deaths.inc();
                (state.token, state.suspended) = (None, None);
                None
            }
            Verdict::OnlyHere(rest) => {
                if accepted == Accepted::Never {
                    rejected.acceptance().vouch();
                }
                if in_vain > 1 && !rejected.acceptance().is_proven() {
                    // No route accepts it, be it for reasons of their own.
                    self.change_health(state, Health::TokenRejected);
                }
                Some(Unavailable {
                    tenant: self.credential.tenant.clone(),
                    health: Health::TokenRejected,
                    retry_after: rest,
                    is_only_here: true,
                })
            }
            // The token stays, for other routes to try.
            Verdict::Suspect(refused) => {
                let until = match state.suspended {
                    Some((suspended, until)) if suspended == route && now < until => until,
                    _ => now + Health::TokenRejected.pause(refused - 1),
                };
                state.suspended = Some((route, until));
                self.change_health(state, Health::TokenRejected);
                Some(self.unavailable(state, until - now))
            }
            // Minting again at once is how limits die.
            Verdict::Pause(refused) => {
                self.metrics.early_deaths.inc();
                (state.token, state.suspended) = (None, None);
                state.failures = refused - 1;
                state.next_attempt = Some(now + Health::TokenRejected.pause(state.failures));
                self.change_health(state, Health::TokenRejected);
                None
            }
        }
    }

    fn rejections(&self) -> MutexGuard<'_, Rejections> {
        self.rejections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
