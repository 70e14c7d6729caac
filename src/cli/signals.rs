//! Signals of a command that serves.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives the signals that people and service managers send to a service.
///
/// SIGTERM, SIGINT and SIGQUIT ask it to stop. SIGHUP, SIGUSR1 and SIGUSR2 are logged and have no effect. SIGPIPE is
/// ignored by Rust's own start.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
    user_1: Signal,
    user_2: Signal,
}

/// Makes a write to a file that has reached its limit of size an error, which is reported like any other, where SIGXFSZ
/// would end the process. For all commands.
pub(super) fn outlive_full_files() -> io::Result<()> {
    let runtime = super::runtime()?;
    let _inside = runtime.enter();
    // The handler stays when the runtime and this end.
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

impl Signals {
    /// Installs the handlers, on the current runtime.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Ends at the next signal that asks to stop. Signals that arrive between two calls are not lost.
    pub(super) async fn stop(&mut self) {
        loop {
            let without_effect = tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.quit.recv() => return,
                _ = self.hang_up.recv() => "SIGHUP",
                _ = self.user_1.recv() => "SIGUSR1",
                _ = self.user_2.recv() => "SIGUSR2",
            };
            tracing::info!(signal = without_effect, "a signal was received that has no effect here");
        }
    }

    /// Ends as [`Self::stop`] does, and leaves other signals for later, when they can be logged.
    pub(super) async fn stop_before_the_log(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}
