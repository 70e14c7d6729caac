//! Threads that serve connections, each with a runtime of its own. One that panics is replaced, and gets no connections
//! until then.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, OwnedSemaphorePermit, watch};

use super::connection::serve_stream;
use super::limits::Limits;
use super::listener::Stream;
use super::tls::Tls;
use super::{Counts, Greet, Phase, Settings};
use crate::net::standing::{Standing, UnidentifiedConnections};
use crate::supervisor::{Heartbeat, Supervisor, Thread, caught, caught_now};

/// A connection on its way to a worker, with its place among all connections.
pub(super) struct Accepted {
    pub(super) stream: Stream,
    /// Where TLS is spoken.
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) place: OwnedSemaphorePermit,
}

/// All workers.
pub(super) struct Workers(Vec<Worker>);

struct Worker {
    /// Unbounded, and yet never longer than the places there are.
    connections: UnboundedSender<Accepted>,
    open: Arc<AtomicUsize>,
    is_serving: Arc<AtomicBool>,
    heartbeat: Heartbeat,
    thread: Thread,
}

impl Workers {
    pub(super) fn start<G: Greet>(
        settings: &Settings,
        counts: &Counts,
        make: impl Fn() -> G + Clone + Send + 'static,
        phases: &watch::Receiver<Phase>,
        unidentified: &UnidentifiedConnections,
        supervisor: &Supervisor,
    ) -> io::Result<Self> {
        let limits = Arc::new(Limits::of(settings));
        let start = |number: usize| {
            let (connections, waiting) = unbounded_channel();
            let (open, is_serving) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
            let work = Arc::new(Work {
                waiting: Mutex::new(waiting),
                limits: limits.clone(),
                counts: counts.clone(),
                phases: phases.clone(),
                unidentified: unidentified.clone(),
                open: open.clone(),
                is_serving: is_serving.clone(),
                supervisor: supervisor.clone(),
            });
            let make = make.clone();
            let (thread, heartbeat) = supervisor.runtime_thread(&format!("worker-{number}"), move || {
                let (work, host) = (work.clone(), make());
                async move { work.run(host).await }
            })?;
            Ok(Worker { connections, open, is_serving, heartbeat, thread })
        };
        (0..settings.workers.max(1)).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// No worker at all, where nothing can be handed over.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// Gives a connection to the worker that has the fewest, among those that serve; if none does, it waits for one
    /// that is being started again.
    pub(super) fn hand_over(&self, accepted: Accepted) {
        let least =
            self.0.iter().min_by_key(|worker| rank(worker.serves(), worker.open.load(Ordering::Relaxed)));
        let worker = least.expect("there is at least one worker");
        worker.open.fetch_add(1, Ordering::Relaxed);
        // A worker that is gone means that all is over; the connection closes.
        let _ = worker.connections.send(accepted);
    }

    /// Waits for all workers to end.
    pub(super) fn join(self) {
        for worker in self.0 {
            drop(worker.connections);
            worker.thread.join();
        }
    }
}

impl Worker {
    fn serves(&self) -> bool {
        self.is_serving.load(Ordering::Acquire) && !self.heartbeat.is_stalled()
    }
}

/// Workers in the order in which they get the next connection: those that serve, the one with the fewest first.
fn rank(serves: bool, open: usize) -> impl Ord {
    (!serves, open)
}

/// What a worker has; it outlives a panic of the worker.
struct Work {
    waiting: Mutex<UnboundedReceiver<Accepted>>,
    limits: Arc<Limits>,
    counts: Counts,
    phases: watch::Receiver<Phase>,
    unidentified: UnidentifiedConnections,
    open: Arc<AtomicUsize>,
    is_serving: Arc<AtomicBool>,
    supervisor: Supervisor,
}

/// Shows that a worker serves, until it is dropped by the worker's end or by its panic.
struct Serving<'a>(&'a AtomicBool);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Work {
    async fn run<G: Greet>(&self, host: G) {
        self.is_serving.store(true, Ordering::Release);
        let _serving = Serving(&self.is_serving);
        let (mut waiting, mut phases) = (self.waiting.lock().await, self.phases.clone());
        loop {
            let accepted = tokio::select! {
                accepted = waiting.recv() => accepted,
                _ = phases.wait_for(|phase| *phase == Phase::Over) => None,
            };
            let Some(accepted) = accepted else { break };
            self.serve(accepted, &host);
        }
        // Connections may still be draining when no new ones can come.
        let _ = phases.wait_for(|phase| *phase == Phase::Over).await;
    }

    /// Starts the connection's task. It catches its own panic, since a task of the supervisor's would need another
    /// allocation for each connection.
    fn serve<G: Greet>(&self, Accepted { stream, tls, place }: Accepted, host: &G) {
        let standing = Standing::new(self.unidentified.clone());
        let guard = OpenConnection::new(&self.open, &self.counts, standing.clone(), place);
        let supervisor = self.supervisor.clone();
        let (limits, phases, shown) = (self.limits.clone(), self.phases.clone(), standing.clone());
        let begun = caught_now(|| serve_stream(stream, tls, host, shown, limits, phases));
        let task = tokio::spawn(async move {
            let ended = match begun {
                Ok(Ok(serving)) => caught(serving).await,
                Ok(Err(error)) => Ok(Err(error.into())),
                Err(panicked) => Err(panicked),
            };
            if let Err(panicked) = &ended {
                supervisor.note_panic("connection", panicked);
            }
            if !matches!(ended, Ok(Ok(()))) {
                guard.counts.errors.inc();
            }
        });
        standing.watch(task.abort_handle());
    }
}

/// Counts a connection as open for as long as it lives; its worker's own count began when it was handed over.
struct OpenConnection {
    open: Arc<AtomicUsize>,
    counts: Counts,
    standing: Standing,
    _place: OwnedSemaphorePermit,
}

impl OpenConnection {
    fn new(
        open: &Arc<AtomicUsize>,
        counts: &Counts,
        standing: Standing,
        place: OwnedSemaphorePermit,
    ) -> Self {
        counts.open.inc();
        Self { open: open.clone(), counts: counts.clone(), standing, _place: place }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.counts.open.dec();
        self.standing.end();
    }
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn a_worker_that_does_not_serve_comes_after_all_that_do() {
        assert!(rank(true, 1) < rank(true, 2));
        assert!(rank(true, 1000) < rank(false, 0), "however many it has");
        assert!(rank(false, 0) < rank(false, 1), "if none serves, it waits for its turn");
    }
}
