//! Threads that serve connections, each with a runtime of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::address::Stream;
use super::connection::serve_stream;
use super::limits::Limits;
use super::tls::Tls;
use super::{Counts, Greet, Phase, Settings};

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
    thread: JoinHandle<()>,
}

impl Workers {
    pub(super) fn start<G: Greet>(
        settings: &Settings,
        counts: &Counts,
        make: impl Fn() -> G + Clone + Send + 'static,
        phases: &watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let limits = Arc::new(Limits::of(settings));
        let start = |number: usize| {
            let (connections, waiting) = unbounded_channel();
            let open = Arc::new(AtomicUsize::new(0));
            // The runtime is made here, so that a failure is an error and not a dead thread.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let work = Work {
                waiting,
                limits: limits.clone(),
                counts: counts.clone(),
                phases: phases.clone(),
                open: open.clone(),
            };
            let make = make.clone();
            let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                runtime.block_on(work.run(make()));
                // A look-up of a name that hangs in the system cannot be ended; it is left behind.
                runtime.shutdown_background();
            })?;
            Ok(Worker { connections, open, thread })
        };
        (0..settings.workers.max(1)).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Gives a connection to the worker that has the fewest.
    pub(super) fn hand_over(&self, accepted: Accepted) {
        let least = self.0.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed));
        let worker = least.expect("there is at least one worker");
        worker.open.fetch_add(1, Ordering::Relaxed);
        // A worker that is gone means that all is over; the connection closes.
        let _ = worker.connections.send(accepted);
    }

    /// Waits for all workers to end.
    pub(super) fn join(self) {
        for worker in self.0 {
            drop(worker.connections);
            if worker.thread.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
    }
}

struct Work {
    waiting: UnboundedReceiver<Accepted>,
    limits: Arc<Limits>,
    counts: Counts,
    phases: watch::Receiver<Phase>,
    open: Arc<AtomicUsize>,
}

impl Work {
    async fn run<G: Greet>(mut self, host: G) {
        let mut phases = self.phases.clone();
        loop {
            let accepted = tokio::select! {
                accepted = self.waiting.recv() => accepted,
                _ = phases.wait_for(|phase| *phase == Phase::Over) => None,
            };
            let Some(Accepted { stream, tls, place }) = accepted else { break };
            let guard = OpenConnection::new(&self.open, &self.counts, place);
            let served = serve_stream(stream, tls, &host, self.limits.clone(), self.phases.clone());
            tokio::spawn(async move {
                let ended = match served {
                    Ok(serving) => serving.await,
                    Err(error) => Err(error.into()),
                };
                if ended.is_err() {
                    guard.counts.errors.inc();
                }
            });
        }
        // Connections may still be draining when no new ones can come.
        let _ = phases.wait_for(|phase| *phase == Phase::Over).await;
    }
}

/// Counts a connection as open for as long as it lives.
struct OpenConnection {
    open: Arc<AtomicUsize>,
    counts: Counts,
    _place: OwnedSemaphorePermit,
}

impl OpenConnection {
    fn new(open: &Arc<AtomicUsize>, counts: &Counts, place: OwnedSemaphorePermit) -> Self {
        counts.open.inc();
        Self { open: open.clone(), counts: counts.clone(), _place: place }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.counts.open.dec();
    }
}
