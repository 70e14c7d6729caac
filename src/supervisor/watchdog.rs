//! The thread that looks at all heartbeats, tells systemd, and makes sure that a failed process ends.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Importance, ServiceManager, Supervisor, Thread};

/// How often heartbeats are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the end by force waits for the log.
const LAST_LINE: Duration = Duration::from_millis(200);

/// What is told to the service manager; tests replace it.
type Notify = Box<dyn Fn() + Send>;

/// Looks at all heartbeats until it is dropped.
#[must_use = "dropping it ends the watch"]
pub struct Watchdog {
    thread: Thread,
    is_over: Arc<AtomicBool>,
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.thread() {
            thread.unpark();
        }
    }
}

impl Supervisor {
    /// Starts the thread `supervisor`, which has a vital heartbeat of its own. While all vital heartbeats are fresh it
    /// tells systemd so, at half the interval that systemd asks for (`WatchdogSec`, in `$WATCHDOG_USEC`). It depends
    /// on no runtime, so that it can tell when all of them are stuck. A vital task that stalls is logged once.
    ///
    /// `patience` is how long the process may take to end after a failure; then the thread ends it.
    pub fn watch(&self, patience: Duration, manager: &ServiceManager) -> io::Result<Watchdog> {
        let interval = sd_notify::watchdog_enabled().map(|interval| interval / 2);
        let manager = manager.clone();
        let notify = Box::new(move || manager.tell(sd_notify::NotifyState::Watchdog));
        let end = Box::new(|| {
            // The log's own thread writes the last line meanwhile.
            std::thread::sleep(LAST_LINE);
            std::process::exit(1);
        });
        self.watch_with(interval, patience, notify, end)
    }

    fn watch_with(
        &self,
        interval: Option<Duration>,
        patience: Duration,
        notify: Notify,
        end: Box<dyn Fn() + Send>,
    ) -> io::Result<Watchdog> {
        let (supervisor, is_over) = (self.clone(), Arc::new(AtomicBool::new(false)));
        let (heartbeat, ends) = (self.heartbeat("supervisor", Importance::Vital), is_over.clone());
        let mut watch =
            Watch { interval, patience, failed_for: None, last_told: None, dead: BTreeSet::new() };
        let thread = self.thread("supervisor", move || {
            while !ends.load(Ordering::Acquire) {
                heartbeat.beat();
                let pause = watch.look(&supervisor, &*notify, &*end);
                std::thread::park_timeout(pause);
            }
            heartbeat.rest();
        })?;
        Ok(Watchdog { thread, is_over })
    }
}

struct Watch {
    interval: Option<Duration>,
    patience: Duration,
    /// Since when there is a failure.
    failed_for: Option<crate::clock::Instant>,
    last_told: Option<crate::clock::Instant>,
    /// The tasks that were dead at the last look.
    dead: BTreeSet<Arc<str>>,
}

impl Watch {
    /// One look, and how long the next one may wait.
    fn look(&mut self, supervisor: &Supervisor, notify: &dyn Fn(), end: &dyn Fn()) -> Duration {
        let now = supervisor.0.clock.now();
        let dead = supervisor.dead();
        for stalled in dead.iter().filter(|stalled| !self.dead.contains(&stalled.task)) {
            let seconds = stalled.age.as_secs();
            tracing::error!(
                task = &*stalled.task,
                seconds,
                "a task makes no progress; the process is not live"
            );
        }
        let dead: BTreeSet<_> = dead.into_iter().map(|stalled| stalled.task).collect();
        for task in self.dead.difference(&dead) {
            tracing::warn!(task = &**task, "a task makes progress again");
        }
        self.dead.clone_from(&dead);
        if let Some(failure) = supervisor.failure() {
            let since = *self.failed_for.get_or_insert(now);
            if now.saturating_duration_since(since) >= self.patience {
                tracing::error!(
                    task = failure.task,
                    reason = failure.reason,
                    "the process did not end in time"
                );
                end();
            }
        }
        let Some(interval) = self.interval else { return LOOK_EVERY };
        let is_due = self.last_told.is_none_or(|told| now.saturating_duration_since(told) >= interval);
        if is_due && dead.is_empty() {
            notify();
            self.last_told = Some(now);
        }
        LOOK_EVERY.min(interval)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn watch() -> Watch {
        let patience = Duration::from_secs(25);
        Watch { interval: Some(INTERVAL), patience, failed_for: None, last_told: None, dead: BTreeSet::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_service_manager_is_told_at_each_interval_while_all_vital_tasks_beat() {
        let (supervisor, told, mut watch) = (Supervisor::unobserved(), Cell::new(0), watch());
        let worker = supervisor.heartbeat("worker-0", Importance::Vital);
        let _writer = supervisor.heartbeat("log-writer", Importance::Degrading);
        worker.beat();
        let mut passes = async |seconds: u64, beats: bool| {
            for _ in 0..seconds {
                watch.look(&supervisor, &|| told.set(told.get() + 1), &|| unreachable!("nothing failed"));
                tokio::time::advance(LOOK_EVERY).await;
                if beats {
                    worker.beat();
                }
            }
            told.get()
        };
        assert_eq!(passes(60, true).await, 6);
        assert_eq!(passes(300, false).await, 6 + 3, "none after the last beat is 30 seconds old");
        assert_eq!(passes(2, true).await, 10, "and again as soon as it beats");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_process_that_does_not_end_is_ended() {
        let (supervisor, ended, mut watch) = (Supervisor::unobserved(), Cell::new(0), watch());
        let mut passes = async |seconds: u64| {
            for _ in 0..seconds {
                watch.look(&supervisor, &|| {}, &|| ended.set(ended.get() + 1));
                tokio::time::advance(LOOK_EVERY).await;
            }
            ended.get()
        };
        assert_eq!(passes(60).await, 0);
        supervisor.fail("example", "no reason");
        assert_eq!(passes(25).await, 0);
        assert_eq!(passes(1).await, 1);
    }

    #[test]
    fn the_thread_beats_and_ends_when_it_is_dropped() {
        let supervisor = Supervisor::unobserved();
        let (told, tells) = std::sync::mpsc::channel();
        let notify = Box::new(move || told.send(()).unwrap_or_default());
        let interval = Some(Duration::from_millis(1));
        let watchdog = supervisor.watch_with(interval, INTERVAL, notify, Box::new(|| {})).unwrap();
        tells.recv().unwrap();
        tells.recv().unwrap();
        drop(watchdog);
        assert!(tells.iter().count() < 1000, "the channel closes with the thread");
    }
}
