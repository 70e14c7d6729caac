//! Supervised threads, with or without a runtime of their own.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::backoff::Backoff;
use super::{Heartbeat, Importance, Panicked, Supervisor, caught_now};

/// Owns a thread. Dropping it does not end the thread, but ends its restarts.
#[must_use = "a thread without an owner is not started again after a panic"]
pub struct Thread {
    handle: Option<JoinHandle<()>>,
    restarts: Arc<Restarts>,
}

/// Whether a thread may still be started again, and what wakes it from the pause before that.
#[derive(Default)]
struct Restarts {
    are_over: AtomicBool,
    lock: Mutex<()>,
    woken: Condvar,
}

impl Restarts {
    fn end(&self) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.are_over.store(true, Ordering::Release);
        drop(guard);
        self.woken.notify_all();
    }

    fn are_over(&self) -> bool {
        self.are_over.load(Ordering::Acquire)
    }

    /// Waits, and says whether the thread may be started again.
    fn pause(&self, pause: Duration) -> bool {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.woken.wait_timeout_while(guard, pause, |()| !self.are_over());
        drop(waited);
        !self.are_over()
    }
}

impl Thread {
    /// Waits for the thread to end. The thread has to be told to end first.
    pub fn join(mut self) {
        self.restarts.end();
        if let Some(handle) = self.handle.take() {
            // The thread's own panics are caught in it; another would end it in the same way.
            let _ = handle.join();
        }
    }

    /// The thread, to be unparked.
    pub fn thread(&self) -> Option<&std::thread::Thread> {
        self.handle.as_ref().map(JoinHandle::thread)
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.restarts.end();
    }
}

impl Supervisor {
    /// Runs a thread. `run` is called once, and again after each panic; it returns when the thread's work is done.
    pub fn thread(&self, name: &str, mut run: impl FnMut() + Send + 'static) -> io::Result<Thread> {
        let (supervisor, task) = (self.clone(), Arc::<str>::from(name));
        start_thread(name, move |restarts| {
            let mut backoff = Backoff::default();
            loop {
                let began = supervisor.0.clock.now();
                let Err(panicked) = caught_now(&mut run) else { return };
                let pause = supervisor.pause_after(&task, &panicked, &mut backoff, began);
                if !restarts.pause(pause) {
                    return;
                }
                supervisor.0.metrics.count_restart(&task);
            }
        })
    }

    /// Runs a thread with a single-threaded runtime of its own, whose heartbeat is vital. `start` is called on the
    /// thread and makes what the runtime runs: once, and after a panic again on a new runtime. All tasks of the old
    /// runtime end with it.
    pub fn runtime_thread<F, Fut>(&self, name: &str, mut start: F) -> io::Result<(Thread, Heartbeat)>
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = ()>,
    {
        // The first runtime is made here, so that a failure is an error and not a dead thread.
        let mut runtime = Some(new_runtime()?);
        let heartbeat = self.heartbeat(name, Importance::Vital);
        heartbeat.beat();
        let beats = heartbeat.clone();
        let thread = self.thread(name, move || {
            let runtime = match runtime.take() {
                Some(runtime) => runtime,
                None => new_runtime().unwrap_or_else(|error| panic!("there is no new runtime: {error}")),
            };
            let ended = run_on(&runtime, &beats, &mut start);
            // A look-up of a name that hangs in the system cannot be ended; it is left behind.
            runtime.shutdown_background();
            if let Err(panicked) = ended {
                std::panic::resume_unwind(Box::new(panicked.text().to_owned()));
            }
            beats.rest();
        })?;
        Ok((thread, heartbeat))
    }
}

fn start_thread(name: &str, run: impl FnOnce(&Restarts) + Send + 'static) -> io::Result<Thread> {
    let restarts = Arc::<Restarts>::default();
    let own = restarts.clone();
    let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&own))?;
    Ok(Thread { handle: Some(handle), restarts })
}

fn run_on<F, Fut>(runtime: &Runtime, beats: &Heartbeat, start: &mut F) -> Result<(), Panicked>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = ()>,
{
    caught_now(|| {
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = start() => {}
                () = beats.keep_beating() => {}
            }
        });
    })
}

fn new_runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::sync::mpsc::channel;

    use super::super::TaskMetrics;
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_thread_that_panics_is_started_again_and_one_that_returns_is_not() {
        let metrics = TaskMetrics::default();
        let supervisor = Supervisor::new(Clock::system(), metrics.clone());
        let (sender, runs) = channel();
        let count = AtomicU32::new(0);
        let thread = supervisor
            .thread("example", move || {
                sender.send(()).unwrap();
                assert!(count.fetch_add(1, Ordering::SeqCst) > 0, "a defect, on purpose");
            })
            .unwrap();
        assert_eq!(runs.iter().count(), 2, "and the closure is dropped");
        thread.join();
        assert_eq!((metrics.panics("example"), metrics.restarts("example")), (1, 1));
    }

    #[test]
    fn a_thread_without_an_owner_is_not_started_again() {
        let metrics = TaskMetrics::default();
        let supervisor = Supervisor::new(Clock::system(), metrics.clone());
        let (sender, runs) = channel();
        let thread = supervisor
            .thread("example", move || {
                sender.send(()).unwrap();
                panic!("a defect, on purpose")
            })
            .unwrap();
        runs.recv().unwrap();
        thread.join();
        assert_eq!((runs.iter().count(), metrics.restarts("example")), (0, 0));
    }

    #[test]
    fn a_runtime_whose_future_panics_is_replaced_by_another_that_beats() {
        let supervisor = Supervisor::unobserved();
        let (sender, runs) = channel();
        let count = AtomicU32::new(0);
        let (thread, heartbeat) = supervisor
            .runtime_thread("example", move || {
                let (sender, run) = (sender.clone(), count.fetch_add(1, Ordering::SeqCst));
                async move {
                    tokio::task::yield_now().await;
                    sender.send(run).unwrap();
                    assert!(run > 0, "a defect, on purpose");
                }
            })
            .unwrap();
        assert_eq!(runs.iter().collect::<Vec<_>>(), [0, 1]);
        thread.join();
        assert!(!heartbeat.is_stalled());
    }
}
