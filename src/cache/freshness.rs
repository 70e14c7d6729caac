//! The pure decision: fresh, stale or gone.

use std::time::Duration;

use super::entry::Entry;
use super::rule::Rule;
use crate::clock::BootTime;

/// What an entry may be served for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Served as it is.
    Fresh {
        /// For how much longer.
        left: Duration,
    },
    /// Past its freshness by `by`.
    Stale {
        /// How long it has been stale.
        by: Duration,
        /// Whether it may be served while a new one is fetched.
        while_revalidate: bool,
        /// Whether it may be served if Zoho cannot answer.
        if_error: bool,
        /// Whether it may be served to who says that stale will do.
        if_asked: bool,
    },
    /// Not served for anything.
    Gone,
}

/// Judges an entry. A pure function of entry, rule and time.
pub fn judge(entry: &Entry, rule: &Rule, now: BootTime) -> Freshness {
    let age = entry.age(now);
    let terms = Terms::of(entry, rule);
    let by_hand = entry.is_expired_by_hand();
    if let Some(left) = terms.fresh_for.checked_sub(age).filter(|left| !left.is_zero() && !by_hand) {
        return Freshness::Fresh { left };
    }
    let by = age.saturating_sub(terms.fresh_for);
    let while_revalidate = by < terms.while_revalidate && !by_hand;
    let if_error = by < terms.if_error;
    if while_revalidate || if_error || terms.can_be_validated {
        Freshness::Stale { by, while_revalidate, if_error, if_asked: terms.may_be_stale }
    } else {
        Freshness::Gone
    }
}

/// What holds for an entry: the rule's word, or the answer's own.
struct Terms {
    fresh_for: Duration,
    while_revalidate: Duration,
    if_error: Duration,
    may_be_stale: bool,
    can_be_validated: bool,
}

impl Terms {
    fn of(entry: &Entry, rule: &Rule) -> Self {
        let Some(own) = entry.terms() else {
            return Self {
                fresh_for: rule.fresh_for(entry.status()),
                while_revalidate: rule.stale_while_revalidate,
                if_error: rule.stale_if_error,
                may_be_stale: true,
                can_be_validated: false,
            };
        };
        let allowed = |said: Option<Duration>, rules: Duration| {
            if own.may_be_stale { said.unwrap_or(rules) } else { Duration::ZERO }
        };
        Self {
            fresh_for: own.fresh_for,
            while_revalidate: allowed(own.stale_while_revalidate, rule.stale_while_revalidate),
            if_error: allowed(own.stale_if_error, rule.stale_if_error),
            may_be_stale: own.may_be_stale,
            can_be_validated: entry.has_validator(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::Fetched;
    use crate::clock::Clock;
    use http::StatusCode;

    fn rule() -> Rule {
        Rule {
            empty_fresh_for: Duration::from_secs(60),
            stale_while_revalidate: Duration::from_secs(30),
            stale_if_error: Duration::from_secs(600),
            ..Rule::lasting(Duration::from_secs(300))
        }
    }

    #[tokio::test]
    async fn an_entry_passes_through_its_ages_in_order() {
        let stored = Clock::system().boot_time();
        let judged = |status: StatusCode, age: u64| {
            let entry = Entry::new(&rule(), 0, Fetched::plain(status, "", stored, 0));
            judge(&entry, &rule(), stored + Duration::from_secs(age))
        };
        let stale = |by, while_revalidate, if_error| Freshness::Stale {
            by: Duration::from_secs(by),
            while_revalidate,
            if_error,
            if_asked: true,
        };
        let (full, empty) = (StatusCode::OK, StatusCode::NO_CONTENT);
        assert_eq!(judged(full, 0), Freshness::Fresh { left: Duration::from_secs(300) });
        assert_eq!(judged(full, 299), Freshness::Fresh { left: Duration::from_secs(1) });
        assert_eq!(judged(full, 300), stale(0, true, true));
        assert_eq!(judged(full, 330), stale(30, false, true));
        assert_eq!(judged(full, 900), Freshness::Gone);
        assert_eq!(judged(empty, 59), Freshness::Fresh { left: Duration::from_secs(1) });
        assert_eq!(judged(empty, 60), stale(0, true, true));
    }
}
