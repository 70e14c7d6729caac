//! The credits that calls cost, over the last 24 hours.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::BootTime;

const HOUR: Duration = Duration::from_hours(1);
const HOURS: u64 = 24;

/// The credits that calls cost, by the hour.
pub(in crate::emulator) struct Credits {
    daily: u64,
    enforced: bool,
    start: BootTime,
    /// What was used in which hour since the start; at most 25 of them.
    used: VecDeque<(u64, u64)>,
}

impl Credits {
    pub(super) fn new(daily: u64, enforced: bool, start: BootTime) -> Self {
        Self { daily, enforced, start, used: VecDeque::new() }
    }

    /// Takes the cost of a call; tells whether there was enough.
    pub(in crate::emulator) fn take(&mut self, cost: u64, now: BootTime) -> bool {
        let used = self.used(now);
        if self.enforced && used + cost > self.daily {
            return false;
        }
        let hour = self.hour(now);
        match self.used.back_mut() {
            Some((last, sum)) if *last == hour => *sum += cost,
            _ => self.used.push_back((hour, cost)),
        }
        true
    }

    /// What is left, once half of it is used; Zoho does not tell before.
    pub(in crate::emulator) fn told_left(&mut self, now: BootTime) -> Option<u64> {
        let used = self.used(now);
        (used * 2 >= self.daily).then(|| self.daily.saturating_sub(used))
    }

    /// What was used within the last 24 hours.
    pub(in crate::emulator) fn used(&mut self, now: BootTime) -> u64 {
        let oldest = (self.hour(now) + 1).saturating_sub(HOURS);
        while self.used.front().is_some_and(|&(hour, _)| hour < oldest) {
            self.used.pop_front();
        }
        self.used.iter().map(|&(_, sum)| sum).sum()
    }

    fn hour(&self, now: BootTime) -> u64 {
        (now - self.start).as_secs() / HOUR.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_left_is_told_from_half_use_and_comes_back_after_a_day() {
        let start = crate::clock::Clock::system().boot_time();
        let mut credits = Credits::new(10, true, start);
        assert!(credits.take(4, start));
        assert_eq!(credits.told_left(start), None);
        assert!(credits.take(1, start));
        assert_eq!(credits.told_left(start), Some(5));
        assert!(!credits.take(6, start));
        assert_eq!(credits.used(start + HOUR * 23), 5);
        assert_eq!(credits.used(start + HOUR * 24), 0);
    }
}
