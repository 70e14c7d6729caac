//! `run`: serve until told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::sidecar::{ServeError, Sidecar};
use super::{PROBLEM, Signals, check, fail, runtime};
use crate::app::over_sockets;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::server::Ended;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request_log::{RequestLog, Writer};
use crate::telemetry::{self, Format};

pub(super) fn run(files: &[PathBuf]) -> ExitCode {
    let loaded = config::load(files);
    check::print(&loaded.problems);
    let Some(config) = loaded.config else { return PROBLEM };
    telemetry::log_events(&config.log);
    match serve(config) {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::Cut(connections)) => {
            tracing::warn!(connections, "connections were cut before their requests had finished");
            PROBLEM
        }
        Err(error) => fail(&error),
    }
}

fn serve(config: Config) -> Result<Ended, ServeError> {
    let metrics = Arc::new(Metrics::new());
    let (log, writer) = request_log(&config, &metrics)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(serve_until_told(config, metrics, log));
    // Whatever still runs holds the log, and the writer waits for the last who does. A look-up of a name that
    // hangs in the system cannot be ended; it is left behind.
    runtime.shutdown_timeout(LAST_LOOKUPS);
    if let Some(writer) = writer {
        writer.finish();
    }
    ended
}

/// How long the end waits for the system's own work.
const LAST_LOOKUPS: Duration = Duration::from_secs(1);

async fn serve_until_told(
    config: Config,
    metrics: Arc<Metrics>,
    log: RequestLog,
) -> Result<Ended, ServeError> {
    // Before anything else: a signal during the start must not kill the process half-way.
    let mut signals = Signals::new()?;
    let (format, transports) = (config.log.format, over_sockets(&config)?);

    let sidecar = Sidecar::new(config, transports, metrics, log, Clock::system())?;
    announce(&sidecar, format);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (hurry, hurried) = tokio::sync::oneshot::channel();
    let listening = async move {
        signals.next().await;
        tracing::info!("stopping: requests under way finish, a second signal ends them");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let _ = stop.send(());
        signals.next().await;
        let _ = hurry.send(());
        std::future::pending::<()>().await;
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let serving = sidecar.serve(async { drop(stopped.await) }, async { drop(hurried.await) });
    tokio::select! {
        ended = serving => ended,
        () = listening => unreachable!("listening for signals never ends"),
    }
}

fn request_log(config: &Config, metrics: &Metrics) -> std::io::Result<(RequestLog, Option<Writer>)> {
    if !config.log.requests {
        return Ok((RequestLog::off(), None));
    }
    let dropped = metrics.log_lines_dropped.clone();
    let (log, writer) =
        RequestLog::new(config.log.format, config.log.buffer_lines, dropped, std::io::stdout())?;
    Ok((log, Some(writer)))
}

/// One line per listener, for people and for scripts that asked for a free port.
fn announce(sidecar: &Sidecar, format: Format) {
    for (what, address) in sidecar.addresses() {
        match format {
            Format::Text => println!("{what} listening on {address}"),
            Format::Json => println!("{}", serde_json::json!({ "listener": what, "address": address })),
        }
    }
}
