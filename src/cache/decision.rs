//! What to do about a read: a pure function of what is kept, what the rule says and what the caller wishes.

use std::sync::Arc;
use std::time::Duration;

use super::Lookup;
use super::entry::Entry;
use super::freshness::Freshness;
use super::rule::Rule;
use super::wishes::Wishes;
use crate::clock::BootTime;

/// What to do.
#[derive(Debug)]
pub enum Decision {
    /// Answer from this entry.
    Serve(Arc<Entry>, Served),
    /// Answer from this entry, and fetch a new one behind the caller's back.
    ServeAndRenew(Arc<Entry>, Served),
    /// Fetch; if that fails, the fallback may answer.
    Fetch(WhyFetch, Option<Fallback>),
    /// Pass the request on and keep nothing: the caller wishes it so.
    PassUnstored,
    /// Nothing is kept that would do, and the caller does not want Zoho to be asked.
    NotCached,
}

/// Why an entry serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// It is fresh for this much longer.
    Fresh(Duration),
    /// The same, and it is being renewed already, so that nobody has to wait when that is over.
    RefreshAhead(Duration),
    /// The same; the caller wanted a newer one sooner than the rule lets anybody have it.
    TooSoon(Duration),
    /// It has been stale this long, and is being renewed (RFC 5861 stale-while-revalidate).
    WhileRevalidating(Duration),
    /// It has been stale this long, and Zoho could not answer (RFC 5861 stale-if-error).
    IfError(Duration),
    /// It has been stale this long, and the caller said that will do (`max-stale`).
    MaxStale(Duration),
    /// A write has made it untrue, Zoho could not answer, and the rule prefers old to none.
    AfterWrite(Duration),
}

/// Why a fetch is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyFetch {
    /// Nothing is kept.
    Miss,
    /// What is kept is stale.
    Stale,
    /// What is kept does not do for this caller.
    Forced,
}

/// An entry that may answer if a fetch fails.
#[derive(Debug, Clone)]
pub struct Fallback {
    /// The entry.
    pub entry: Arc<Entry>,
    /// How it would serve.
    pub served: Served,
}

/// Decides.
///
/// `is_set_back` says that fetching this key failed lately: then a stale entry that may answer an error
/// answers at once, rather than after one more wait for the same failure.
pub fn decide(
    found: Lookup,
    rule: &Rule,
    wishes: &Wishes,
    is_set_back: impl Fn() -> bool,
    now: BootTime,
) -> Decision {
    let decision = match found {
        Lookup::Fresh(entry, left) => of_fresh(entry, left, rule, wishes, &is_set_back, now),
        Lookup::Stale(entry, Freshness::Stale { by, while_revalidate, if_error, if_asked }) => {
            let age = entry.age(now);
            if if_asked && wishes.accept_stale(age, by) {
                Decision::Serve(entry, Served::MaxStale(by))
            } else if while_revalidate && wishes.accept_while_revalidating(age) {
                let served = Served::WhileRevalidating(by);
                if is_set_back() {
                    Decision::Serve(entry, served)
                } else {
                    Decision::ServeAndRenew(entry, served)
                }
            } else if if_error && is_set_back() && wishes.accept_while_revalidating(age) {
                Decision::Serve(entry, Served::IfError(by))
            } else {
                let fallback =
                    (if_error && !insists(wishes)).then(|| Fallback { entry, served: Served::IfError(by) });
                Decision::Fetch(WhyFetch::Stale, fallback)
            }
        }
        Lookup::Overtaken(entry, by) => {
            let served = Served::AfterWrite(by);
            Decision::Fetch(WhyFetch::Miss, Some(Fallback { entry, served }))
        }
        Lookup::Stale(..) | Lookup::Varies(_) | Lookup::Miss => Decision::Fetch(WhyFetch::Miss, None),
    };
    match decision {
        Decision::Fetch(..) if wishes.only_if_cached => Decision::NotCached,
        Decision::Fetch(..) if wishes.no_store => Decision::PassUnstored,
        Decision::ServeAndRenew(entry, served) if wishes.only_if_cached || wishes.no_store => {
            Decision::Serve(entry, served)
        }
        decision => decision,
    }
}

/// Whoever insists on a new answer is told of a failure, not given what it did not want. A limit of age is no such
/// insistence: RFC 5861 serves stale where the answer would be an error.
fn insists(wishes: &Wishes) -> bool {
    wishes.no_cache || wishes.min_fresh.is_some()
}

fn of_fresh(
    entry: Arc<Entry>,
    left: Duration,
    rule: &Rule,
    wishes: &Wishes,
    is_set_back: &impl Fn() -> bool,
    now: BootTime,
) -> Decision {
    let age = entry.age(now);
    if wishes.accept_fresh(age, left) {
        let is_due = left <= entry.spread(rule.refresh_ahead) && !is_set_back();
        return if is_due {
            Decision::ServeAndRenew(entry, Served::RefreshAhead(left))
        } else {
            Decision::Serve(entry, Served::Fresh(left))
        };
    }
    if age < rule.min_refresh_interval {
        return Decision::Serve(entry, Served::TooSoon(left));
    }
    let fallback = (!insists(wishes) && !rule.stale_if_error.is_zero())
        .then(|| Fallback { entry, served: Served::IfError(Duration::ZERO) });
    Decision::Fetch(WhyFetch::Forced, fallback)
}
