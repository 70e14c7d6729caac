//! Keys whose fetch failed lately: renewing them is left for a while, longer after each failure.

use std::time::Duration;

use moka::sync::Cache as Moka;

use super::digest::{Digest, Digests};
use crate::clock::BootTime;

pub(super) struct Setbacks {
    recent: Moka<Digest, Setback>,
    digests: Digests,
}

#[derive(Clone, Copy)]
struct Setback {
    failures: u32,
    until: BootTime,
}

/// How many are remembered, without their keys; each costs some 200 bytes.
const MOST: u64 = 10_000;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Zoho is asked at least this often whether it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A key that was not asked for so long begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

impl Setbacks {
    pub(super) fn new() -> Self {
        let recent = Moka::builder().max_capacity(MOST).time_to_live(FORGOTTEN_AFTER).build();
        Self { recent, digests: Digests::default() }
    }

    pub(super) fn note(&self, key: &[u8], now: BootTime) {
        let key = self.digests.of(key);
        // moka's time stands still while the machine is suspended; it only bounds memory.
        let before = self.recent.get(&key).filter(|setback| now < setback.until + FORGOTTEN_AFTER);
        let failures = before.map_or(0, |setback| setback.failures).saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_PAUSE);
        self.recent.insert(key, Setback { failures, until: now + pause });
    }

    pub(super) fn clear(&self, key: &[u8]) {
        let key = self.digests.of(key);
        if self.recent.contains_key(&key) {
            self.recent.invalidate(&key);
        }
    }

    /// How many keys are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.recent.run_pending_tasks();
        self.recent.entry_count()
    }

    pub(super) fn holds(&self, key: &[u8], now: BootTime) -> bool {
        self.recent.get(&self.digests.of(key)).is_some_and(|setback| now < setback.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn pauses_grow_to_a_bound_and_success_ends_them() {
        let (setbacks, key, now) = (Setbacks::new(), b"/a", Clock::system().boot_time());
        let seconds = Duration::from_secs;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            setbacks.note(key, now);
            assert!(setbacks.holds(b"/a", now + seconds(pause) - Duration::from_millis(1)), "{pause}");
            assert!(!setbacks.holds(b"/a", now + seconds(pause)), "{pause}");
        }
        setbacks.clear(key);
        assert!(!setbacks.holds(b"/a", now));
    }

    #[tokio::test]
    async fn failures_from_before_a_long_suspension_do_not_lengthen_a_pause() {
        let (setbacks, key, now) = (Setbacks::new(), b"/a", Clock::system().boot_time());
        (0..5).for_each(|_| setbacks.note(key, now));
        let later = now + Duration::from_hours(2);
        setbacks.note(key, later);
        assert!(!setbacks.holds(b"/a", later + FIRST_PAUSE));
    }
}
