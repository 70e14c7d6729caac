//! The common part of commands that serve: a runtime, signals that do not end the process, and a start that may
//! hang without holding the stop.

use std::io;
use std::panic::resume_unwind;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::signals::Signals;

/// Made before anything else, so that a signal during the start does not end the process half-way.
pub(super) struct Service {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    pub(super) signals: Signals,
}

/// How long the end waits for work of the system, as looking up a name. What takes longer is left behind.
const LAST_WORK: Duration = Duration::from_secs(1);

impl Service {
    pub(super) fn new() -> io::Result<Self> {
        let runtime = super::runtime()?;
        let signals = {
            let _inside = runtime.enter();
            Signals::install()?
        };
        Ok(Self { runtime: Some(runtime), signals })
    }

    /// Does a part of the start that may block, such as reading files. `None` if a signal asked to stop meanwhile.
    pub(super) fn prepare<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (runtime, signals) = self.parts();
        runtime.block_on(async {
            let work = tokio::task::spawn_blocking(work);
            tokio::select! {
                done = work => match done {
                    Ok(done) => Some(done),
                    Err(panic) => resume_unwind(panic.into_panic()),
                },
                () = signals.stop_before_the_log() => None,
            }
        })
    }

    /// Runs a future to its end.
    pub(super) fn run<T>(&mut self, work: impl AsyncFnOnce(&mut Signals) -> T) -> T {
        let (runtime, signals) = self.parts();
        runtime.block_on(work(signals))
    }

    fn parts(&mut self) -> (&Runtime, &mut Signals) {
        let runtime = self.runtime.as_ref().expect("it is taken only when dropped");
        (runtime, &mut self.signals)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(LAST_WORK);
        }
    }
}
