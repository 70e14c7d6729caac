//! Heartbeats: when a task last made progress.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Supervisor;

/// What an old heartbeat means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// The process does not serve without this task: `/livez` is 503, and the watchdog is not fed.
    Vital,
    /// The process serves, but not as it should: `/readyz` stays 200 and names the task.
    Degrading,
}

/// Shows that a task makes progress. Dropping the last clone ends the observation.
#[derive(Clone)]
pub struct Heartbeat {
    supervisor: Supervisor,
    pulse: Arc<Pulse>,
}

pub(super) struct Pulse {
    name: Arc<str>,
    importance: Importance,
    /// Milliseconds from the supervisor's start to the last beat; [`RESTING`] while nothing is due.
    at: AtomicU64,
}

/// How often the heartbeat of a runtime beats within the time after which it is too old.
const BEATS_PER_LIMIT: u32 = 6;

/// No beat is due.
const RESTING: u64 = u64::MAX;

/// A task whose heartbeat is too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stalled {
    /// Which task.
    pub task: Arc<str>,
    /// What that means.
    pub importance: Importance,
    /// How old its last heartbeat is.
    pub age: Duration,
}

impl Supervisor {
    /// A heartbeat under this name. It rests until its first beat.
    pub fn heartbeat(&self, name: impl Into<Arc<str>>, importance: Importance) -> Heartbeat {
        let pulse = Arc::new(Pulse { name: name.into(), importance, at: AtomicU64::new(RESTING) });
        let mut pulses = self.0.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(|pulse| pulse.strong_count() > 0);
        pulses.push(Arc::downgrade(&pulse));
        drop(pulses);
        Heartbeat { supervisor: self.clone(), pulse }
    }

    /// The tasks whose heartbeat is too old.
    pub fn stalled(&self) -> Vec<Stalled> {
        let is_old = |stalled: &Stalled| stalled.age >= self.0.stall_limit;
        self.ages().into_iter().filter(is_old).collect()
    }

    /// The vital tasks whose heartbeat is too old: without them the process does not serve.
    pub fn dead(&self) -> Vec<Stalled> {
        self.stalled().into_iter().filter(|stalled| stalled.importance == Importance::Vital).collect()
    }

    /// Brings the metrics of heartbeats up to date.
    pub fn observe(&self) {
        self.0.metrics.observe(&self.ages(), self.0.stall_limit);
    }

    fn ages(&self) -> Vec<Stalled> {
        let now = self.elapsed_ms();
        let pulses = self.0.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        let age_of = |pulse: Arc<Pulse>| Stalled {
            task: pulse.name.clone(),
            importance: pulse.importance,
            age: Duration::from_millis(match pulse.at.load(Ordering::Relaxed) {
                RESTING => 0,
                at => now.saturating_sub(at),
            }),
        };
        pulses.iter().filter_map(|pulse| pulse.upgrade().map(age_of)).collect()
    }

    fn elapsed_ms(&self) -> u64 {
        let elapsed = self.0.clock.now().saturating_duration_since(self.0.epoch);
        u64::try_from(elapsed.as_millis()).unwrap_or(RESTING - 1)
    }
}

impl Heartbeat {
    /// The task makes progress now, and will show the next beat in time.
    pub fn beat(&self) {
        self.pulse.at.store(self.supervisor.elapsed_ms(), Ordering::Relaxed);
    }

    /// The task waits for something to do: no beat is due until the next one.
    pub fn rest(&self) {
        self.pulse.at.store(RESTING, Ordering::Relaxed);
    }

    /// A piece of work that must not take long begins: a beat now, rest when the guard is dropped. For work that is
    /// done several times at once each has a heartbeat of its own.
    pub fn busy(&self) -> Busy<'_> {
        self.beat();
        Busy(self)
    }

    /// Whether it is too old.
    pub fn is_stalled(&self) -> bool {
        let at = self.pulse.at.load(Ordering::Relaxed);
        let limit = u64::try_from(self.supervisor.0.stall_limit.as_millis()).unwrap_or(u64::MAX);
        at != RESTING && self.supervisor.elapsed_ms().saturating_sub(at) >= limit
    }

    /// Beats for as long as the runtime runs that polls this: for the heartbeat of a runtime.
    pub async fn keep_beating(&self) {
        loop {
            self.beat();
            tokio::time::sleep(self.supervisor.0.stall_limit / BEATS_PER_LIMIT).await;
        }
    }
}

/// Work under way; the heartbeat rests when this is dropped.
#[must_use = "the work ends when it is dropped"]
pub struct Busy<'a>(&'a Heartbeat);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{STALL_LIMIT, TaskMetrics};
    use super::*;
    use crate::clock::Clock;

    async fn passes(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_is_stalled_when_it_is_thirty_seconds_old() {
        let supervisor = Supervisor::unobserved();
        let worker = supervisor.heartbeat("worker-0", Importance::Vital);
        let writer = supervisor.heartbeat("log-writer", Importance::Degrading);
        passes(100).await;
        assert_eq!(supervisor.stalled(), [], "before the first beat none is due");
        worker.beat();
        let busy = writer.busy();
        passes(29).await;
        assert_eq!((supervisor.stalled(), worker.is_stalled()), (vec![], false));
        passes(1).await;
        let stalled = supervisor.stalled();
        assert_eq!(
            stalled.iter().map(|stalled| &*stalled.task).collect::<Vec<_>>(),
            ["worker-0", "log-writer"]
        );
        assert_eq!((stalled[0].age, worker.is_stalled()), (STALL_LIMIT, true));
        assert_eq!(supervisor.dead(), stalled[..1]);
        drop(busy);
        worker.beat();
        assert_eq!(supervisor.stalled(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_gone_is_not_stalled() {
        let supervisor = Supervisor::unobserved();
        let one = supervisor.heartbeat("one", Importance::Vital);
        one.beat();
        let same = one.clone();
        drop(one);
        passes(30).await;
        assert_eq!(supervisor.dead().len(), 1, "a clone keeps it");
        drop(same);
        assert_eq!(supervisor.dead(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_running_runtime_keeps_beating() {
        let supervisor = Supervisor::unobserved();
        let heartbeat = supervisor.heartbeat("main", Importance::Vital);
        let beating = heartbeat.keep_beating();
        let long = Duration::from_hours(1);
        assert!(tokio::time::timeout(long, beating).await.is_err());
        assert_eq!(supervisor.stalled(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn ages_are_metrics() {
        let metrics = TaskMetrics::default();
        let supervisor = Supervisor::new(Clock::system(), metrics.clone());
        let heartbeat = supervisor.heartbeat("worker-0", Importance::Vital);
        heartbeat.beat();
        passes(31).await;
        supervisor.observe();
        assert_eq!(metrics.last_beat("worker-0"), (31.0, 1));
        heartbeat.beat();
        supervisor.observe();
        assert_eq!(metrics.last_beat("worker-0"), (0.0, 0));
    }
}
