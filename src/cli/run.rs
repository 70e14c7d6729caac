//! `run`: serve until told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::service::Service;
use super::sidecar::{ServeError, Sidecar};
use super::signals::Signals;
use super::{PROBLEM, check, described};
use crate::app::over_sockets;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::server::Ended;
use crate::supervisor::Supervisor;
use crate::telemetry::log::{Bounds, Log};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request_log::RequestLog;
use crate::telemetry::{Format, log};

/// How the log is bounded where there is no configuration to say so.
pub(super) const BUFFER: Bounds = Bounds { lines: 8192, bytes: 1 << 20 };

pub(super) fn run(files: Vec<PathBuf>) -> Result<ExitCode, ServeError> {
    let mut service = Service::new()?;
    let Some(loaded) = service.prepare(move || config::load(&files)) else { return Ok(ExitCode::SUCCESS) };
    let metrics = Arc::new(Metrics::new());
    let supervisor = Supervisor::new(Clock::system(), metrics.tasks.clone());
    let log = log(loaded.config.as_ref(), &metrics, &supervisor)?;
    log.events().put_lines(&check::report(&loaded.problems));
    let code = match loaded.config {
        Some(config) => serve(service, config, metrics, &log),
        None => PROBLEM,
    };
    let _output_failed = log.finish();
    Ok(code)
}

fn log(config: Option<&Config>, metrics: &Metrics, supervisor: &Supervisor) -> std::io::Result<Log> {
    let settings = config.map(|config| &config.log);
    let format = settings.map_or(Format::Text, |settings| settings.format);
    let buffer = settings.map_or(BUFFER, |settings| settings.buffer);
    let log = Log::start(format, buffer, |stream| metrics.log_lines_dropped(stream), supervisor)?;
    if let Some(settings) = settings {
        log.log_events(&settings.level);
    }
    Ok(log)
}

fn serve(mut service: Service, config: Config, metrics: Arc<Metrics>, log: &Log) -> ExitCode {
    let requests = if config.log.requests { RequestLog::of(log) } else { RequestLog::off() };
    let format = config.log.format;
    let prepared = service.prepare(move || {
        let transports = over_sockets(&config)?;
        Sidecar::new(config, transports, metrics, requests, Clock::system())
    });
    let ended = match prepared {
        None => return ExitCode::SUCCESS,
        Some(Err(error)) => Err(error),
        Some(Ok(sidecar)) => {
            announce(&sidecar, format, log.requests());
            service.run(async |signals| serve_until_told(sidecar, signals).await)
        }
    };
    drop(service);
    match ended {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::Cut(connections)) => {
            tracing::warn!(connections, "connections were cut before their requests had finished");
            PROBLEM
        }
        Err(error) => {
            log.events().put_lines(&described(&error));
            PROBLEM
        }
    }
}

async fn serve_until_told(sidecar: Sidecar, signals: &mut Signals) -> Result<Ended, ServeError> {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (hurry, hurried) = tokio::sync::oneshot::channel();
    let listening = async move {
        signals.stop().await;
        tracing::info!("stopping: requests under way finish, a second signal ends them");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let _ = stop.send(());
        signals.stop().await;
        let _ = hurry.send(());
        loop {
            signals.stop().await;
        }
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let serving = sidecar.serve(async { drop(stopped.await) }, async { drop(hurried.await) });
    tokio::select! {
        ended = serving => ended,
        () = listening => unreachable!("listening for signals never ends"),
    }
}

/// One line per listener, for people and for scripts that asked for a free port.
fn announce(sidecar: &Sidecar, format: Format, output: &log::Queue) {
    for (what, address) in sidecar.addresses() {
        output.put_lines(&match format {
            Format::Text => format!("{what} listening on {address}"),
            Format::Json => serde_json::json!({ "listener": what, "address": address }).to_string(),
        });
    }
}
