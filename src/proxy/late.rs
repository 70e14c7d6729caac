//! Invalidations that are repeated later.
//!
//! Zoho may still execute a write whose caller was told of a timeout or a 5xx, and a job that it accepted ends later.
//! What such a write invalidates is invalidated once more after a pause. While Zoho fails there can be thousands of them,
//! so they share one timer, and what is due at about the same time for the same tenant is one invalidation.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Proxy;
use crate::cache::epochs::UrlSlot;
use crate::clock::BootTime;

/// How many URLs are remembered, for all tenants together. Beyond it all URLs of a tenant are invalidated.
const MOST_URLS: usize = 4096;
/// A pause is prolonged by up to this part of it, so that there are no more invalidations for one length of a pause.
const PART: u32 = 64;
/// But by up to this, however short it is.
const LEAST: Duration = Duration::from_millis(10);

/// The URLs whose entries a write invalidates (RFC 9111 section 4.4), as far as entries can be stored for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Urls {
    These(Vec<UrlSlot>),
    All,
}

impl Default for Urls {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

/// What writes of one tenant invalidate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalidation {
    pub(super) groups: Vec<usize>,
    pub(super) urls: Urls,
}

/// The invalidations that are due later.
#[derive(Default)]
pub(super) struct Late {
    state: Mutex<State>,
    /// Wakes the timer when something is due earlier than what it waits for.
    earlier: Notify,
}

#[derive(Default)]
struct State {
    /// By when they are due, and their tenant.
    due: BTreeMap<(BootTime, usize), Invalidation>,
    /// How many URLs are in them.
    urls: usize,
    /// Times are rounded to multiples of some pause after this one.
    origin: Option<BootTime>,
    has_timer: bool,
}

impl Proxy {
    /// Invalidates once more after a pause.
    pub(super) fn forget_again(&self, tenant: usize, write: Invalidation, pause: Duration) {
        let needs_timer = self.shared.late.add(tenant, write, pause, self.shared.clock.boot_time());
        if needs_timer {
            let proxy = self.clone();
            self.shared.supervisor.once("late-invalidation", async move { proxy.forget_when_due().await });
        }
    }

    /// Does what is due until nothing is left.
    async fn forget_when_due(&self) {
        let (late, clock) = (&self.shared.late, &self.shared.clock);
        let mut timer = Timer { late, is_over: false };
        loop {
            let now = clock.boot_time();
            for (tenant, Invalidation { groups, urls }) in late.take(now) {
                self.forget(tenant, &groups, &urls);
            }
            let Some(next) = late.next_or_none() else {
                timer.is_over = true;
                return;
            };
            tokio::select! {
                // Zoho goes on while this machine is suspended.
                () = clock.sleep_until(next) => {}
                () = late.earlier.notified() => {}
            }
        }
    }
}

/// The task that waits. If it ends early, as with its worker, the next write that adds something starts another.
struct Timer<'a> {
    late: &'a Late,
    is_over: bool,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.late.lock().has_timer = false;
        }
    }
}

impl Late {
    /// Adds an invalidation, and says whether it takes a new timer to have it done.
    fn add(&self, tenant: usize, write: Invalidation, pause: Duration, now: BootTime) -> bool {
        let mut state = self.lock();
        let due = state.rounded(now, pause);
        let is_first = state.due.first_key_value().is_none_or(|((first, _), _)| due < *first);
        state.merge((due, tenant), write);
        if state.has_timer && is_first {
            self.earlier.notify_one();
        }
        !std::mem::replace(&mut state.has_timer, true)
    }

    /// Takes what is due.
    fn take(&self, now: BootTime) -> Vec<(usize, Invalidation)> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        while let Some(first) = state.due.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, tenant), write) = first.remove_entry();
            state.urls -= write.urls.count();
            taken.push((tenant, write));
        }
        taken
    }

    /// When the next one is due. If none is, the timer is no more from now on.
    fn next_or_none(&self) -> Option<BootTime> {
        let mut state = self.lock();
        let next = state.due.first_key_value().map(|((due, _), _)| *due);
        state.has_timer = next.is_some();
        next
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The end of a pause, rounded up so that only [`PART`] different ends lie within one pause.
    fn rounded(&mut self, now: BootTime, pause: Duration) -> BootTime {
        let due = now + pause;
        let since = due.saturating_duration_since(*self.origin.get_or_insert(now)).as_nanos();
        let grain = (pause / PART).max(LEAST).as_nanos();
        let rest = since.next_multiple_of(grain) - since;
        due + Duration::from_nanos(u64::try_from(rest).unwrap_or_default())
    }

    fn merge(&mut self, due: (BootTime, usize), write: Invalidation) {
        let none = || Invalidation { groups: Vec::new(), urls: Urls::default() };
        let pending = self.due.entry(due).or_insert_with(none);
        insert_sorted(&mut pending.groups, write.groups);
        let before = pending.urls.count();
        match (&mut pending.urls, write.urls) {
            (Urls::These(urls), Urls::These(more)) => insert_sorted(urls, more),
            (urls, Urls::All) => *urls = Urls::All,
            (Urls::All, Urls::These(_)) => {}
        }
        if self.urls - before + pending.urls.count() > MOST_URLS {
            pending.urls = Urls::All;
        }
        self.urls = self.urls - before + pending.urls.count();
    }
}

impl Urls {
    /// What two writes invalidate together.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::These(mut urls), Self::These(more)) => {
                urls.extend(more);
                Self::These(urls)
            }
            _ => Self::All,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::These(urls) => urls.len(),
            Self::All => 0,
        }
    }
}

/// Inserts what is not there yet.
fn insert_sorted<T: Ord>(sorted: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if let Err(place) = sorted.binary_search(&one) {
            sorted.insert(place, one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::epochs::Epochs;
    use crate::clock::Clock;

    const MINUTE: Duration = Duration::from_mins(1);

    fn of(groups: &[usize], urls: &[UrlSlot]) -> Invalidation {
        Invalidation { groups: groups.to_vec(), urls: Urls::These(urls.to_vec()) }
    }

    #[tokio::test]
    async fn what_is_due_together_is_one_invalidation_and_takes_one_timer() {
        let (late, now, epochs) = (Late::default(), Clock::system().boot_time(), Epochs::new(2, 3));
        let mut urls = [epochs.url(0, "/a", "/a"), epochs.url(0, "/b", "/b")];
        urls.sort_unstable();
        let [one, other] = urls;
        assert!(late.add(0, of(&[2], &[other]), MINUTE, now));
        for write in [of(&[0, 2], &[one]), of(&[], &[other, one])] {
            assert!(!late.add(0, write, MINUTE, now));
        }
        assert!(!late.add(1, of(&[1], &[one]), MINUTE, now));
        assert!(late.take(now + MINUTE - LEAST).is_empty());
        assert_eq!(late.take(now + MINUTE), [(0, of(&[0, 2], &urls)), (1, of(&[1], &[one]))]);
        assert_eq!(late.lock().urls, 0);
        assert!(late.next_or_none().is_none());
        assert!(late.add(0, of(&[1], &[]), MINUTE, now), "the timer has ended");
    }

    #[tokio::test]
    async fn however_many_writes_there_are_little_is_remembered_and_nothing_is_early_or_very_late() {
        let (late, began, epochs) = (Late::default(), Clock::system().boot_time(), Epochs::new(1, 1));
        let step = Duration::from_millis(3);
        for n in 0..20_000_u32 {
            let path = format!("/{n}");
            let url = epochs.url(0, &path, &path);
            late.add(0, of(&[0], &[url]), MINUTE, began + step * n);
            let state = late.lock();
            assert!(state.urls <= MOST_URLS);
            assert!(state.due.len() <= 66, "{}", state.due.len());
            let (last, _) = state.due.last_key_value().unwrap().0;
            let expected = began + step * n + MINUTE;
            assert!(*last >= expected && *last <= expected + MINUTE / PART, "{n}");
        }
        assert!(late.take(began + MINUTE * 3).iter().any(|(_, write)| write.urls == Urls::All));
        assert_eq!(late.lock().urls, 0);
    }
}
