//! Routes on which Zoho has accepted a token.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::rejections::RouteKey;
use super::ruling::Accepted;

/// How many routes are remembered. A route beyond them counts as one that has not accepted the token.
const MOST_ROUTES: usize = 64;

/// An unused slot; no route has this number.
const FREE: u64 = 0;

/// The routes that have accepted one token, and how often it was refused since the last of them did.
pub(super) struct Acceptance {
    /// Filled from the first slot on; a route stays in its slot.
    routes: [AtomicU64; MOST_ROUTES],
    /// Set where no route has accepted the token, but several had accepted the one that it replaced.
    vouched_for: AtomicBool,
    refusals: AtomicU32,
}

impl Acceptance {
    pub(super) fn new() -> Self {
        Self {
            routes: [const { AtomicU64::new(FREE) }; MOST_ROUTES],
            vouched_for: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
        }
    }

    /// Notes that a route has accepted the token; true if it had not before. `route` is not called once no slot is
    /// free.
    pub(super) fn note(&self, route: impl FnOnce() -> RouteKey) -> bool {
        // Every call ends here, so that the cache line is written only where there is something to change.
        if self.refusals.load(Ordering::Relaxed) != 0 {
            self.refusals.store(0, Ordering::Relaxed);
        }
        if self.routes[MOST_ROUTES - 1].load(Ordering::Relaxed) != FREE {
            return false;
        }
        let route = route().number();
        for slot in &self.routes {
            let mut held = slot.load(Ordering::Relaxed);
            if held == FREE {
                match slot.compare_exchange(FREE, route, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return true,
                    Err(other) => held = other,
                }
            }
            if held == route {
                return false;
            }
        }
        false
    }

    /// Notes a refusal. The number of refusals since the token was accepted last, with this one.
    pub(super) fn note_refusal(&self) -> u32 {
        self.refusals.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Notes that the token replaced one that other routes had accepted.
    pub(super) fn vouch(&self) {
        self.vouched_for.store(true, Ordering::Relaxed);
    }

    /// Whether any route has accepted the token.
    pub(super) fn is_proven(&self) -> bool {
        self.routes[0].load(Ordering::Relaxed) != FREE
    }

    /// Whether other routes than this one have accepted the token, or are taken to.
    pub(super) fn is_known_besides(&self, route: RouteKey) -> bool {
        self.routes().any(|held| held != route.number()) || self.vouched_for.load(Ordering::Relaxed)
    }

    /// Who has accepted the token, as seen from a route.
    pub(super) fn seen_from(&self, route: RouteKey) -> Accepted {
        if self.routes().any(|held| held == route.number()) {
            Accepted::Here
        } else if self.is_proven() || self.vouched_for.load(Ordering::Relaxed) {
            Accepted::Elsewhere
        } else {
            Accepted::Never
        }
    }

    /// The numbers of the routes that have accepted the token.
    fn routes(&self) -> impl Iterator<Item = u64> {
        self.routes.iter().map(|slot| slot.load(Ordering::Relaxed)).take_while(|held| *held != FREE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_that_accepted_a_token_is_known_up_to_a_bound() {
        let acceptance = Acceptance::new();
        let route = |number: usize| RouteKey::of(100 + number as u64);
        assert_eq!(acceptance.seen_from(route(0)), Accepted::Never);
        for number in 0..MOST_ROUTES {
            assert!(acceptance.note(|| route(number)));
            assert!(!acceptance.note(|| route(number)), "{number} again");
        }
        for number in 0..MOST_ROUTES {
            assert_eq!(acceptance.seen_from(route(number)), Accepted::Here);
            assert!(acceptance.is_known_besides(route(number)));
        }
        assert!(!acceptance.note(|| route(MOST_ROUTES)));
        assert_eq!(acceptance.seen_from(route(MOST_ROUTES)), Accepted::Elsewhere);
    }

    #[test]
    fn refusals_are_counted_since_the_token_was_accepted_last() {
        let acceptance = Acceptance::new();
        assert_eq!((acceptance.note_refusal(), acceptance.note_refusal()), (1, 2));
        acceptance.note(|| RouteKey::of(100));
        assert_eq!(acceptance.note_refusal(), 1);
        assert!(!acceptance.is_known_besides(RouteKey::of(100)));
    }

    #[test]
    fn a_token_that_is_vouched_for_counts_as_accepted_elsewhere_and_is_not_proven() {
        let acceptance = Acceptance::new();
        acceptance.vouch();
        assert_eq!(acceptance.seen_from(RouteKey::of(100)), Accepted::Elsewhere);
        assert!(!acceptance.is_proven());
    }
}
