//! How many tokens may still be minted. Pure.
//!
//! Zoho lets one refresh token mint ten access tokens in ten minutes, whoever asks (its accounts
//! documentation, "token limits"). The sidecar keeps to a part of that, so that people and other tools
//! sharing the refresh token have the rest.

use std::time::Duration;

/// Zoho's window.
pub(super) const WINDOW: Duration = Duration::from_mins(10);

/// The mints of the last [`WINDOW`], as Unix milliseconds: wall time, because they outlive the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mints(Vec<u64>);

impl Mints {
    /// Mints at these times. A time in the future, after the wall clock was set back, counts as `now`: it was
    /// lately, and must not count for longer than the window.
    pub(super) fn at(times: Vec<u64>, now: u64) -> Self {
        Self(times.into_iter().map(|time| time.min(now)).collect())
    }

    /// The times.
    pub(super) fn times(&self) -> &[u64] {
        &self.0
    }

    /// Notes a mint, or one that is about to be tried.
    pub(super) fn note(&mut self, now: u64) {
        self.forget_old(now);
        self.0.push(now);
    }

    /// Takes back a note: the attempt certainly minted nothing.
    pub(super) fn take_back(&mut self, noted: u64) {
        if let Some(at) = self.0.iter().rposition(|time| *time == noted) {
            self.0.remove(at);
        }
    }

    /// How long to wait until another mint is within `budget`; `None` if it is now.
    pub(super) fn wait(&self, budget: usize, now: u64) -> Option<Duration> {
        let window = millis(WINDOW);
        let mut ages: Vec<u64> =
            self.0.iter().map(|time| now.saturating_sub(*time)).filter(|age| *age < window).collect();
        if ages.len() < budget {
            return None;
        }
        ages.sort_unstable();
        // When the oldest of the newest `budget` mints leaves the window, there is room for one.
        let leaving = ages[budget.saturating_sub(1)];
        Some(Duration::from_millis(window - leaving))
    }

    fn forget_old(&mut self, now: u64) {
        self.0.retain(|time| now.saturating_sub(*time) < millis(WINDOW));
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("ten minutes are not 500 million years")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn within_the_budget_nobody_waits() {
        let mut mints = Mints::default();
        for _ in 0..5 {
            assert_eq!(mints.wait(6, NOW), None);
            mints.note(NOW);
        }
        assert_eq!(mints.wait(6, NOW), None);
        mints.note(NOW);
        assert_eq!(mints.wait(6, NOW), Some(WINDOW));
    }

    #[test]
    fn room_comes_back_as_mints_leave_the_window() {
        let mints = Mints::at(vec![NOW, NOW + 60_000], NOW + 60_000);
        assert_eq!(mints.wait(2, NOW + 90_000), Some(Duration::from_secs(600 - 90)));
        assert_eq!(mints.wait(2, NOW + 600_000), None);
    }

    #[test]
    fn more_mints_than_the_budget_wait_for_the_right_one_to_leave() {
        // Three noted under a larger budget; with a budget of one, the newest has to leave.
        let mints = Mints::at(vec![NOW, NOW + 1_000, NOW + 2_000], NOW + 2_000);
        assert_eq!(mints.wait(1, NOW + 2_000), Some(WINDOW));
    }

    #[test]
    fn a_clock_that_was_set_back_neither_forgives_nor_locks_out() {
        let mints = Mints::at(vec![NOW + 3_600_000], NOW);
        assert_eq!(mints.wait(1, NOW), Some(WINDOW));
        assert_eq!(mints.wait(1, NOW + 600_000), None);
    }

    #[test]
    fn an_attempt_that_minted_nothing_is_taken_back() {
        let mut mints = Mints::default();
        mints.note(NOW);
        mints.note(NOW + 1);
        mints.take_back(NOW);
        assert_eq!(mints.times(), [NOW + 1]);
    }
}
