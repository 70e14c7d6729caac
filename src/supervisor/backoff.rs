//! How long a restart waits.

use std::time::Duration;

/// The pause before the first restart; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause, and how long a task has to run before it counts as healthy again.
const LONGEST: Duration = Duration::from_mins(1);

/// The pauses between a task's restarts.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    panics: u32,
}

impl Backoff {
    /// The pause after a run that took so long.
    pub(super) fn next(&mut self, ran: Duration) -> Duration {
        if ran >= LONGEST {
            self.panics = 0;
        }
        let factor = 1_u32.checked_shl(self.panics).unwrap_or(u32::MAX);
        self.panics = self.panics.saturating_add(1);
        FIRST.saturating_mul(factor).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_a_healthy_run() {
        let mut backoff = Backoff::default();
        let mut next = |ran| backoff.next(Duration::from_secs(ran)).as_secs();
        let pauses: Vec<u64> = (0..9).map(|_| next(0)).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!((next(59), next(60), next(0)), (60, 1, 2));
        let last = (0..100).map(|_| next(0)).last();
        assert_eq!(last, Some(60), "however often");
    }
}
