//! The one place that reads a clock.
//!
//! Everything else receives `now` or sleeps on tokio's time. Under a paused test clock both kinds of time
//! move together with tokio's, so that an hour passes in no time and nothing depends on the machine.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use tokio::time::Instant;

/// Reads monotonic and wall time.
#[derive(Clone, Debug)]
pub struct Clock {
    wall: Wall,
}

#[derive(Clone, Debug)]
enum Wall {
    /// The machine's own wall clock, steps and all.
    System,
    /// A wall clock that started at `start` and moves with tokio's time.
    Simulated { start: SystemTime, since: Instant },
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self { wall: Wall::System }
    }

    /// A wall clock that reads `start` now and from here on moves exactly with tokio's time, paused or not.
    pub fn simulated(start: SystemTime) -> Self {
        Self { wall: Wall::Simulated { start, since: now() } }
    }

    /// Monotonic time: for ages, deadlines and everything else that must not jump.
    pub fn now(&self) -> Instant {
        now()
    }

    /// What a future brings, and how long that was waited for: where it is there at once, for no time, which takes no look
    /// at the clock.
    pub async fn timed<F: Future>(&self, future: F) -> (F::Output, Duration) {
        let mut future = pin!(future);
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return (output, Duration::ZERO);
        }
        let start = self.now();
        let output = future.await;
        (output, self.now() - start)
    }

    /// Wall time: for what outlives the process or is read by people.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub fn wall(&self) -> SystemTime {
        match &self.wall {
            Wall::System => SystemTime::now(),
            Wall::Simulated { start, since } => *start + since.elapsed(),
        }
    }

    /// Wall time as whole seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_wall_clock_moves_with_paused_time() {
        let start = UNIX_EPOCH + Duration::from_hours(24);
        let clock = Clock::simulated(start);
        let (instant, wall) = (clock.now(), clock.wall());

        tokio::time::advance(Duration::from_hours(1)).await;

        assert_eq!(clock.now() - instant, Duration::from_hours(1));
        assert_eq!(clock.wall().duration_since(wall).unwrap(), Duration::from_hours(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_is_timed() {
        let (clock, second) = (Clock::system(), Duration::from_secs(1));
        assert_eq!(clock.timed(async { 1 }).await, (1, Duration::ZERO));
        assert_eq!(clock.timed(tokio::time::sleep(second)).await, ((), second));
    }
}
