//! Supervision of everything that outlives a single request: background tasks, threads, and their heartbeats.
//!
//! A panic in a supervised task or thread is logged with the task's name, counted, and followed by a restart after
//! a pause. A task that cannot be started again ends the process ([`Supervisor::essential`]). Nothing here knows
//! what the tasks do.
//!
//! - here: tasks on the current runtime
//! - [`Thread`]: threads, with or without a runtime of their own
//! - [`Heartbeat`]: when a task last made progress; old heartbeats make `/livez` fail or `/readyz` report
//! - [`caught()`]: a future whose panic is a value
//! - `backoff`: how long a restart waits
//! - [`ServiceManager`]: what systemd is told
//! - [`Watchdog`]: the thread that looks at all heartbeats and tells systemd
//!
//! Other modules start tasks and threads through this one only: after a panic a plain `tokio::spawn` just stops.

mod backoff;
mod caught;
mod heartbeat;
mod metrics;
mod notices;
mod thread;
mod watchdog;

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::clock::{Clock, Instant};
use backoff::Backoff;
use heartbeat::Pulse;

pub use caught::{Caught, Panicked, caught, caught_now};
pub use heartbeat::{Busy, Heartbeat, Importance, Stalled};
pub use metrics::TaskMetrics;
pub use notices::ServiceManager;
pub use thread::Thread;
pub use watchdog::Watchdog;

/// A heartbeat this old belongs to a task that is stuck.
pub const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Starts tasks and threads, and knows how they are. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    clock: Clock,
    /// What heartbeats count from.
    epoch: Instant,
    stall_limit: Duration,
    metrics: TaskMetrics,
    pulses: Mutex<Vec<Weak<Pulse>>>,
    failure: watch::Sender<Option<Failure>>,
}

/// A task that the process cannot do without has ended and cannot be started again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{task} cannot go on: {reason}")]
pub struct Failure {
    /// Which task.
    pub task: String,
    /// Why it ended.
    pub reason: String,
}

/// Owns a task: dropping it stops the task.
#[derive(Debug)]
#[must_use = "dropping it stops the task"]
pub struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Task {
    /// Stops the task, and waits until everything that it held is dropped.
    pub async fn stop(mut self) {
        self.0.abort();
        self.ended().await;
    }

    /// Waits until the task has returned by itself.
    pub async fn ended(&mut self) {
        // The error case is an abort, which is an end as well: the supervised future catches its own panics.
        let _ = (&mut self.0).await;
    }
}

impl Supervisor {
    /// Supervises by this clock and counts in these metrics.
    pub fn new(clock: Clock, metrics: TaskMetrics) -> Self {
        Self::stalling_after(STALL_LIMIT, clock, metrics)
    }

    /// The same with another age at which heartbeats are too old.
    pub fn stalling_after(stall_limit: Duration, clock: Clock, metrics: TaskMetrics) -> Self {
        let inner = Inner {
            epoch: clock.now(),
            clock,
            stall_limit,
            metrics,
            pulses: Mutex::default(),
            failure: watch::Sender::new(None),
        };
        Self(Arc::new(inner))
    }

    /// For commands without metrics, and for tests: panics are logged, and counted nowhere.
    pub fn unobserved() -> Self {
        Self::new(Clock::system(), TaskMetrics::default())
    }

    /// Runs a task on the current runtime until its [`Task`] is dropped. `start` makes the task's future: once, and
    /// again after each panic. What must survive a panic is kept by `start`, or shared with it. A future that returns
    /// has done its work and is not started again.
    ///
    /// The task shows by the heartbeat that it gets when it begins a piece of work, and that it waits again. A piece that
    /// takes too long makes the sidecar degraded.
    pub fn task<F, Fut>(&self, name: impl Into<Arc<str>>, start: F) -> Task
    where
        F: FnMut(Heartbeat) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Task(spawn(self.clone().keep_running(name.into(), start)))
    }

    /// Runs a future that the process cannot do without and that cannot be started again: its panic ends the process,
    /// see [`Self::failed`], and this does not end any more.
    pub async fn essential<F: Future + Unpin>(&self, name: &str, future: F) -> F::Output {
        match caught(future).await {
            Ok(output) => output,
            Err(panicked) => {
                self.note_panic(name, &panicked);
                self.fail(name, &panicked.to_string());
                std::future::pending().await
            }
        }
    }

    /// Runs a short task to its end, whoever waits for it or not. Its panic is logged and counted, and has to reach
    /// those who wait for the task by what the task drops.
    pub fn once(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let (supervisor, future) = (self.clone(), Box::pin(future));
        spawn(async move {
            if let Err(panicked) = caught(future).await {
                supervisor.note_panic(name, &panicked);
            }
        })
        .abort_handle()
    }

    /// Runs a task to its end, also when nobody waits for its output any more. A panic is logged and counted, and comes
    /// back as an error.
    pub async fn detached<T: Send + 'static>(
        &self,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Panicked> {
        let (sender, output) = tokio::sync::oneshot::channel();
        let (supervisor, future) = (self.clone(), Box::pin(future));
        spawn(async move {
            let output = caught(future).await.inspect_err(|panicked| supervisor.note_panic(name, panicked));
            // Nobody may be waiting any more.
            let _ = sender.send(output);
        });
        output.await.unwrap_or_else(|_| Err(Panicked::cancelled()))
    }

    /// Runs work that may block on a thread for such work. Its panic is logged and counted, and comes back as an error.
    pub async fn blocking<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let done = tokio::task::spawn_blocking(|| caught_now(work)).await;
        let done = done.unwrap_or_else(|_| Err(Panicked::cancelled()));
        done.inspect_err(|panicked| self.note_panic(name, panicked))
    }

    /// Ends the process: the server drains as for a signal, and the exit code is 1. The first failure is the one that
    /// is reported.
    pub fn fail(&self, task: &str, reason: &str) {
        let failure = Failure { task: task.to_owned(), reason: reason.to_owned() };
        tracing::error!(task, reason, "the process cannot go on without this task and ends");
        self.0.failure.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(failure);
            is_first
        });
    }

    /// Ends when a task has failed that the process cannot do without.
    pub async fn failed(&self) -> Failure {
        let mut failures = self.0.failure.subscribe();
        loop {
            if let Some(failure) = failures.borrow_and_update().clone() {
                return failure;
            }
            if failures.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// The failure that ends the process, if there was one.
    pub fn failure(&self) -> Option<Failure> {
        self.0.failure.borrow().clone()
    }

    /// Logs and counts a panic that was caught elsewhere.
    pub fn note_panic(&self, task: &str, panicked: &Panicked) {
        self.0.metrics.count_panic(task);
        tracing::error!(task, panic = panicked.text(), "a task panicked");
    }

    async fn keep_running<F, Fut>(self, name: Arc<str>, mut start: F)
    where
        F: FnMut(Heartbeat) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let mut backoff = Backoff::default();
        let heartbeat = self.heartbeat(name.clone(), Importance::Degrading);
        loop {
            let began = self.0.clock.now();
            let Err(panicked) = run_once(|| start(heartbeat.clone())).await else { return };
            heartbeat.rest();
            let pause = self.pause_after(&name, &panicked, &mut backoff, began);
            tokio::time::sleep(pause).await;
            self.0.metrics.count_restart(&name);
        }
    }

    fn pause_after(
        &self,
        name: &str,
        panicked: &Panicked,
        backoff: &mut Backoff,
        began: Instant,
    ) -> Duration {
        let pause = backoff.next(self.0.clock.now().saturating_duration_since(began));
        self.0.metrics.count_panic(name);
        tracing::error!(
            task = name,
            panic = panicked.text(),
            restart_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "a task panicked and will be started again"
        );
        pause
    }
}

/// One run of a task; making its future may panic too, and so may dropping it.
async fn run_once<F, Fut>(start: F) -> Result<(), Panicked>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = ()>,
{
    let mut future = Box::pin(caught_now(start)?);
    let ended = Caught::new(future.as_mut()).await;
    caught_now(move || drop(future))?;
    ended
}

fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(future)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn observed() -> (Supervisor, TaskMetrics) {
        let metrics = TaskMetrics::default();
        (Supervisor::new(Clock::system(), metrics.clone()), metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_counted_and_started_again_after_pauses_that_double() {
        let (supervisor, metrics) = observed();
        let (clock, runs) = (Clock::system(), Arc::new(AtomicU32::new(0)));
        let (seen, began) = (runs.clone(), clock.now());
        let mut task = supervisor.task("example", move |_| {
            let run = seen.fetch_add(1, Ordering::SeqCst);
            async move { assert!(run == 3, "a defect, on purpose") }
        });
        task.ended().await;
        assert_eq!(clock.now() - began, Duration::from_secs(1 + 2 + 4));
        assert_eq!((metrics.panics("example"), metrics.restarts("example")), (3, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_panics_is_tried_again() {
        let (supervisor, metrics) = observed();
        let runs = AtomicU32::new(0);
        let mut task = supervisor.task("example", move |_| {
            assert!(runs.fetch_add(1, Ordering::SeqCst) > 0, "a defect, on purpose");
            async {}
        });
        task.ended().await;
        assert_eq!(metrics.restarts("example"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_owner_stops_its_task() {
        struct Ends(Arc<AtomicU32>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let ends = Arc::new(AtomicU32::new(0));
        let seen = ends.clone();
        let task = Supervisor::unobserved().task("example", move |_| {
            let ends = Ends(seen.clone());
            async move {
                let _ends = ends;
                std::future::pending::<()>().await;
            }
        });
        tokio::task::yield_now().await;
        drop(task);
        tokio::task::yield_now().await;
        assert_eq!(ends.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_panic_of_an_essential_task_is_a_failure_and_its_end_is_none() {
        let (supervisor, metrics) = observed();
        assert_eq!(supervisor.essential("fine", std::future::ready(7)).await, 7);
        assert_eq!(supervisor.failure(), None);
        let panics = Box::pin(async { panic!("a defect, on purpose") });
        tokio::select! {
            () = supervisor.essential("example", panics) => unreachable!("it has not ended well"),
            _ = supervisor.failed() => {}
        }
        let failure = supervisor.failed().await;
        assert_eq!(failure.to_string(), "example cannot go on: it panicked: a defect, on purpose");
        supervisor.fail("other", "late");
        assert_eq!(supervisor.failed().await, failure, "the first one counts");
        assert_eq!((metrics.panics("example"), metrics.restarts("example")), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn panics_of_short_and_of_blocking_tasks_are_counted() {
        let (supervisor, metrics) = observed();
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        supervisor.once("short", async move {
            let _sender = sender;
            panic!("a defect, on purpose")
        });
        assert!(receiver.await.is_err(), "who waits is told by what is dropped");
        let panicked = supervisor.blocking("file", || -> u32 { panic!("a defect, on purpose") }).await;
        assert_eq!(panicked.unwrap_err().text(), "a defect, on purpose");
        assert_eq!(supervisor.blocking("file", || 7).await.unwrap(), 7);
        assert_eq!((metrics.panics("short"), metrics.panics("file")), (1, 1));
    }
}
