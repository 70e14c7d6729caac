//! The one place that reads a clock.
//!
//! Everything else receives the time or sleeps on tokio's time. There are three clocks:
//!
//! - [`Clock::now`], monotonic: for timers, deadlines and heartbeats. It stands still while the machine is suspended.
//! - [`Clock::boot_time`], boot time: for ages, freshness, expiry, backoffs and windows. It counts the time that the
//!   machine is suspended. Its values have a type of their own, so that the compiler keeps the two apart.
//! - [`Clock::wall`]: for what outlives the process or is read by people. It may be stepped at any moment, so that no age
//!   is computed from it within the process.
//!
//! Under a paused test clock all of them move together with tokio's time, so that an hour passes in no time and nothing
//! depends on the machine.

mod boot_time;

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

pub use boot_time::BootTime;
pub use tokio::time::Instant;

/// Reads monotonic time, boot time and wall time.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// Boot time is tokio's time, paused or not, and wall time is the machine's.
    Tokio,
    /// Boot time and wall time are the machine's.
    Machine(Arc<Notify>),
    /// Everything is derived from tokio's time.
    Simulated(Arc<Simulation>),
}

/// A machine whose suspensions and steps of the wall clock are made up.
#[derive(Debug)]
struct Simulation {
    /// The wall clock at the beginning.
    start: SystemTime,
    since: Instant,
    /// For how many nanoseconds the machine has been suspended in all.
    suspended: AtomicU64,
    /// By how many milliseconds the wall clock has been stepped in all.
    stepped: AtomicI64,
    resumed: Notify,
}

/// One moment on the monotonic clock and in boot time. Two of them show for how long the machine was suspended between.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The moment on the monotonic clock.
    pub now: Instant,
    /// The same in boot time.
    pub boot_time: BootTime,
}

/// A shorter suspension is not reported, and ends no connection: two clocks cannot be read at once, and whatever comes
/// between must not be taken for a suspension.
pub const SHORTEST_SUSPENSION: Duration = Duration::from_secs(1);

/// How often [`Clock::watch_suspensions`] looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Clock {
    /// A clock on tokio's time, which tests can pause. It knows nothing of suspensions.
    pub fn system() -> Self {
        Self { source: Source::Tokio }
    }

    /// The machine's clocks, for a process that serves. Where the system has no `CLOCK_BOOTTIME`, as on macOS, boot time
    /// is monotonic time, and suspensions are not counted.
    pub fn machine() -> Self {
        Self { source: Source::Machine(Arc::default()) }
    }

    /// A wall clock that reads `start` now, and with boot time moves exactly with tokio's time, paused or not, except for
    /// [`Self::suspend`] and [`Self::step_wall`].
    pub fn simulated(start: SystemTime) -> Self {
        let (suspended, stepped) = (AtomicU64::new(0), AtomicI64::new(0));
        let resumed = Notify::new();
        let simulation = Simulation { start, since: now(), suspended, stepped, resumed };
        Self { source: Source::Simulated(Arc::new(simulation)) }
    }

    /// Monotonic time: for timers, deadlines and heartbeats. It stands still while the machine is suspended.
    pub fn now(&self) -> Instant {
        now()
    }

    /// Boot time: for ages and everything else that goes on while the machine is suspended.
    pub fn boot_time(&self) -> BootTime {
        match &self.source {
            Source::Tokio => tokio_boot_time(),
            Source::Machine(_) => machine_boot_time(),
            Source::Simulated(simulation) => tokio_boot_time() + simulation.suspended(),
        }
    }

    /// This moment by both clocks.
    pub fn moment(&self) -> Moment {
        Moment { now: self.now(), boot_time: self.boot_time() }
    }

    /// Sleeps until this boot time, also across suspensions: a timer would sleep longer by each of them. Suspensions are
    /// noticed by [`Self::watch_suspensions`].
    pub async fn sleep_until(&self, until: BootTime) {
        loop {
            // Listens from before the look at the clock, so that no suspension is missed.
            let mut resumed = pin!(self.resumed());
            let is_resumed = poll_fn(|cx| Poll::Ready(resumed.as_mut().poll(cx).is_ready())).await;
            let left = until.saturating_duration_since(self.boot_time());
            if left.is_zero() {
                return;
            }
            if !is_resumed {
                tokio::select! {
                    () = tokio::time::sleep(left) => {}
                    () = resumed => {}
                }
            }
        }
    }

    /// Ends after the next suspension, once [`Self::watch_suspensions`] has noticed it.
    pub async fn resumed(&self) {
        match &self.source {
            Source::Tokio => pending().await,
            Source::Machine(resumed) => resumed.notified().await,
            Source::Simulated(simulation) => simulation.resumed.notified().await,
        }
    }

    /// Notices suspensions of the machine since this moment, logs them, and wakes who sleeps until a boot time. Does not
    /// end.
    pub async fn watch_suspensions(&self, since: Moment) {
        let mut last = since;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let moment = self.moment();
            let suspended = last.suspended_until(moment);
            last = moment;
            if suspended >= SHORTEST_SUSPENSION {
                let suspended_seconds = suspended.as_secs();
                tracing::warn!(
                    suspended_seconds,
                    "the machine was suspended; stored responses and tokens have aged by that time"
                );
                self.wake();
            }
        }
    }

    fn wake(&self) {
        match &self.source {
            Source::Tokio => {}
            Source::Machine(resumed) => resumed.notify_waiters(),
            Source::Simulated(simulation) => simulation.resumed.notify_waiters(),
        }
    }

    /// Suspends a simulated machine for this long: boot time and wall time go on, tokio's time does not.
    ///
    /// # Panics
    ///
    /// Panics if the clock is not simulated.
    pub fn suspend(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.simulation().suspended.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Steps the wall clock of a simulated machine, forwards or backwards.
    ///
    /// # Panics
    ///
    /// Panics if the clock is not simulated.
    pub fn step_wall(&self, milliseconds: i64) {
        self.simulation().stepped.fetch_add(milliseconds, Ordering::Relaxed);
    }

    fn simulation(&self) -> &Simulation {
        match &self.source {
            Source::Simulated(simulation) => simulation,
            _ => panic!("only a simulated machine can be suspended or have its wall clock stepped"),
        }
    }

    /// Runs a future and measures how long it takes. One that is ready at once takes no time, and costs no read of the
    /// clock.
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
        match &self.source {
            Source::Tokio | Source::Machine(_) => SystemTime::now(),
            Source::Simulated(simulation) => simulation.wall(),
        }
    }

    /// Wall time as whole seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
    }
}

impl Simulation {
    fn suspended(&self) -> Duration {
        Duration::from_nanos(self.suspended.load(Ordering::Relaxed))
    }

    fn wall(&self) -> SystemTime {
        let passed = self.start + self.since.elapsed() + self.suspended();
        let stepped = self.stepped.load(Ordering::Relaxed);
        let step = Duration::from_millis(stepped.unsigned_abs());
        if stepped < 0 { passed - step } else { passed + step }
    }
}

impl Moment {
    /// For how long the machine was suspended between this moment and a later one: by so much boot time has grown more
    /// than monotonic time.
    pub fn suspended_until(self, later: Self) -> Duration {
        let passed = later.boot_time.saturating_duration_since(self.boot_time);
        passed.saturating_sub(later.now.saturating_duration_since(self.now))
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the monotonic clock")]
fn now() -> Instant {
    Instant::now()
}

/// Boot time on a machine that is never suspended. All clocks on tokio's time agree on it.
fn tokio_boot_time() -> BootTime {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let now = now();
    let origin = *ORIGIN.get_or_init(|| now);
    BootTime::between(origin, now)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads boot time")]
fn machine_boot_time() -> BootTime {
    use rustix::time::{ClockId, clock_gettime};
    // Through the vDSO, as monotonic time is.
    let since_boot = clock_gettime(ClockId::Boottime);
    BootTime::after_boot(since_boot.tv_sec, since_boot.tv_nsec)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn machine_boot_time() -> BootTime {
    tokio_boot_time()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

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

    #[tokio::test(start_paused = true)]
    async fn boot_time_moves_with_paused_time_and_grows_by_suspensions() {
        let clock = Clock::simulated(UNIX_EPOCH + 24 * HOUR);
        let (before, wall) = (clock.moment(), clock.wall());
        tokio::time::advance(HOUR).await;
        clock.suspend(2 * HOUR);
        let after = clock.moment();
        assert_eq!(after.now - before.now, HOUR);
        assert_eq!(after.boot_time.saturating_duration_since(before.boot_time), 3 * HOUR);
        assert_eq!(before.suspended_until(after), 2 * HOUR);
        assert_eq!(clock.wall().duration_since(wall).unwrap(), 3 * HOUR);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_of_the_wall_clock_changes_nothing_else() {
        let clock = Clock::simulated(UNIX_EPOCH + 24 * HOUR);
        let before = clock.moment();
        for step in [-7_200_000, 3_600_000] {
            clock.step_wall(step);
        }
        assert_eq!(clock.wall(), UNIX_EPOCH + 23 * HOUR);
        assert_eq!(clock.boot_time(), before.boot_time);
        assert_eq!(before.suspended_until(clock.moment()), Duration::ZERO);
    }

    #[test]
    fn a_suspension_is_what_boot_time_grows_more_than_monotonic_time() {
        let (now, boot_time) = (now(), BootTime::after_boot(100, 0));
        let seconds = Duration::from_secs;
        let suspended = |monotonic: u64, boot: u64| {
            let later = Moment { now: now + seconds(monotonic), boot_time: boot_time + seconds(boot) };
            Moment { now, boot_time }.suspended_until(later)
        };
        assert_eq!(suspended(5, 5), Duration::ZERO);
        assert_eq!(suspended(5, 7_205), seconds(7_200));
        assert_eq!(suspended(0, 7_200), seconds(7_200));
        // Whatever comes between two readings must not count as negative.
        assert_eq!(suspended(5, 4), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_boot_time_of_the_machine_goes_on_with_its_monotonic_time() {
        let clock = Clock::machine();
        let before = clock.moment();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let after = clock.moment();
        assert!(after.boot_time.saturating_duration_since(before.boot_time) >= Duration::from_millis(20));
        assert!(before.suspended_until(after) < SHORTEST_SUSPENSION);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_boot_time_of_the_machine_is_the_systems_uptime() {
        // `/proc/uptime` counts suspensions too.
        let uptime = || -> f64 {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        };
        let before = uptime();
        let read = machine_boot_time().saturating_duration_since(BootTime::after_boot(0, 0)).as_secs_f64();
        assert!((before - 1.0..uptime() + 1.0).contains(&read), "{read} {before}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_until_a_boot_time_ends_when_a_suspension_has_passed_it() {
        let clock = Clock::simulated(UNIX_EPOCH + 24 * HOUR);
        let watching = tokio::spawn({
            let clock = clock.clone();
            async move { clock.watch_suspensions(clock.moment()).await }
        });
        let (began, until) = (clock.now(), clock.boot_time() + 3 * HOUR);
        let sleeping = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(until).await }
        });
        tokio::time::sleep(HOUR).await;
        // Too short to end the sleep, and yet it shortens what is left.
        clock.suspend(HOUR / 2);
        tokio::time::sleep(HOUR / 2).await;
        assert!(!sleeping.is_finished());
        clock.suspend(2 * HOUR);
        sleeping.await.unwrap();
        let took = clock.now() - began;
        assert!((HOUR * 3 / 2..=HOUR * 3 / 2 + LOOK_EVERY).contains(&took), "{took:?}");

        let (began, until) = (clock.now(), clock.boot_time() + HOUR);
        clock.sleep_until(until).await;
        assert_eq!(clock.now() - began, HOUR, "without a suspension it sleeps to the end");
        watching.abort();
    }
}
