//! A point in boot time: the age of the machine, with the time that it was suspended.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use super::Instant;

/// A point in boot time. Not comparable with [`Instant`], which does not count suspensions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BootTime {
    /// Nanoseconds since a century before the boot, so that what is older than the machine's uptime has a time too.
    nanoseconds: u64,
}

/// A century, in nanoseconds.
const BEFORE_BOOT: u64 = 100 * 365 * 24 * 60 * 60 * NANOSECONDS;

const NANOSECONDS: u64 = 1_000_000_000;

impl BootTime {
    /// The time that a clock shows by seconds and nanoseconds since the boot.
    pub(super) fn after_boot(seconds: i64, nanoseconds: i64) -> Self {
        let since_boot = seconds.cast_unsigned().wrapping_mul(NANOSECONDS);
        let nanoseconds = since_boot.wrapping_add(nanoseconds.cast_unsigned()).wrapping_add(BEFORE_BOOT);
        Self { nanoseconds }
    }

    /// The time `now` on a machine that booted at `boot`, before or after that.
    pub(super) fn between(boot: Instant, now: Instant) -> Self {
        let boot_time = Self { nanoseconds: BEFORE_BOOT };
        match now.checked_duration_since(boot) {
            Some(passed) => boot_time + passed,
            None => boot_time.saturating_sub(boot.saturating_duration_since(now)),
        }
    }

    /// How long ago `earlier` was; nothing if it is later.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanoseconds.saturating_sub(earlier.nanoseconds))
    }

    /// How long ago `earlier` was; `None` if it is later.
    pub fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        self.nanoseconds.checked_sub(earlier.nanoseconds).map(Duration::from_nanos)
    }

    /// A time so much earlier; at most a century before the boot.
    #[must_use]
    pub fn saturating_sub(self, time: Duration) -> Self {
        Self { nanoseconds: self.nanoseconds.saturating_sub(nanoseconds(time)) }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self { nanoseconds: self.nanoseconds.saturating_add(nanoseconds(time)) }
    }
}

impl AddAssign<Duration> for BootTime {
    fn add_assign(&mut self, time: Duration) {
        *self = *self + time;
    }
}

impl Sub<Duration> for BootTime {
    type Output = Self;

    fn sub(self, time: Duration) -> Self {
        self.saturating_sub(time)
    }
}

impl Sub for BootTime {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_the_boot_and_far_in_the_future_are_times_too() {
        let (boot, hour) = (BootTime::after_boot(0, 0), Duration::from_hours(1));
        assert_eq!(boot - (boot - hour), hour);
        assert_eq!((boot + hour) - boot, hour);
        assert_eq!(boot - (boot + hour), Duration::ZERO);
        assert_eq!(boot.checked_duration_since(boot + hour), None);
        assert!(boot + Duration::MAX > boot + hour);
        assert!(boot - Duration::MAX < boot - hour);
        assert_eq!(BootTime::after_boot(1, 999_999_999) - boot, Duration::new(1, 999_999_999));
    }

    #[tokio::test]
    async fn a_reading_from_before_the_first_one_lies_before_it() {
        let hour = Duration::from_hours(1);
        let boot = crate::clock::Clock::system().now() + hour;
        let (before, after) = (BootTime::between(boot, boot - hour), BootTime::between(boot, boot + hour));
        assert_eq!(after - before, 2 * hour);
    }
}
