//! `run`: serve until told to stop.

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::core_dumps::CoreDumps;
use super::service::Service;
use super::sidecar::{ServeError, Sidecar};
use super::signals::Signals;
use super::{PROBLEM, check, described};
use crate::app::over_sockets;
use crate::clock::Clock;
use crate::config::problem::{Problem, Severity};
use crate::config::{self, Config};
use crate::server::Ended;
use crate::supervisor::{Failure, ServiceManager, Supervisor, Task, caught_now};
use crate::telemetry::log::{Bounds, EventLimit, Log};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request_log::RequestLog;
use crate::telemetry::{Format, log};

/// How the log is bounded where there is no configuration to say so.
pub(super) const BUFFER: Bounds = Bounds { lines: 8192, bytes: 1 << 20 };

pub(super) fn run(files: Vec<PathBuf>) -> Result<ExitCode, ServeError> {
    let core_dumps = CoreDumps::forbid();
    let mut service = Service::new()?;
    let Some(loaded) = service.prepare(move || config::load(&files)) else { return Ok(ExitCode::SUCCESS) };
    let metrics = Arc::new(Metrics::new());
    let clock = Clock::machine();
    let supervisor = Supervisor::new(clock.clone(), metrics.tasks.clone());
    let log = log(loaded.config.as_ref(), &metrics, &supervisor)?;
    report(&log, &loaded.problems);
    core_dumps.settle(loaded.config.as_ref().is_some_and(|config| config.allow_core_dumps));
    let code = match loaded.config {
        Some(config) => serve(service, config, metrics, &supervisor, clock, &log),
        None => PROBLEM,
    };
    let _output_failed = log.finish();
    Ok(code)
}

fn log(config: Option<&Config>, metrics: &Metrics, supervisor: &Supervisor) -> std::io::Result<Log> {
    let settings = config.map(|config| &config.log);
    let format = settings.map_or(Format::Text, |settings| settings.format);
    let buffer = settings.map_or(BUFFER, |settings| settings.buffer);
    let dropped = |stream| metrics.log_lines_dropped(stream);
    let log = Log::start(format, buffer, dropped, metrics.log_events_left_out.clone(), supervisor)?;
    if let Some(settings) = settings {
        log.log_events(&settings.level);
    }
    Ok(log)
}

/// Says what is wrong or doubtful about the configuration.
fn report(log: &Log, problems: &[Problem]) {
    if log.format() == Format::Text {
        return log.events().put_lines(&check::report(problems));
    }
    for problem in problems {
        let level = if problem.severity == Severity::Problem { "ERROR" } else { "WARN" };
        log.say(level, &problem.to_string());
    }
}

fn serve(
    mut service: Service,
    config: Config,
    metrics: Arc<Metrics>,
    supervisor: &Supervisor,
    clock: Clock,
    log: &Log,
) -> ExitCode {
    let requests = if config.log.requests { RequestLog::of(log) } else { RequestLog::off() };
    let (format, drain_timeout) = (config.log.format, config.server.drain_timeout);
    let starts = supervisor.clone();
    let manager = match ServiceManager::of_environment(supervisor) {
        Ok(manager) => manager,
        Err(error) => {
            log.say("ERROR", &described(&error));
            return PROBLEM;
        }
    };
    let watched_by = manager.clone();
    let prepared = service.prepare(move || {
        let transports = over_sockets(&config, &starts, &clock)?;
        // It goes on to tell systemd until all has ended.
        let watchdog = starts.watch(drain_timeout + LAST_WORK, &watched_by)?;
        Sidecar::new(config, transports, metrics, requests, starts, clock).map(|sidecar| (sidecar, watchdog))
    });
    let (ended, _watchdog) = match prepared {
        None => return ExitCode::SUCCESS,
        Some(Err(error)) => (Err(error), None),
        Some(Ok((sidecar, watchdog))) => {
            announce(&sidecar, format, log.requests());
            let serving = || {
                service.run(async |signals| {
                    let _reports = start_reports(supervisor, log.limit());
                    serve_until_told(sidecar, signals, supervisor, &manager).await
                })
            };
            let ended = caught_now(serving).unwrap_or_else(|panicked| {
                let failure = Failure { task: "main".to_owned(), reason: panicked.to_string() };
                supervisor.fail(&failure.task, &failure.reason);
                Err(failure.into())
            });
            (ended, Some(watchdog))
        }
    };
    drop(service);
    manager.flush(LAST_MESSAGE);
    match ended {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::Cut(connections)) => {
            tracing::warn!(connections, "connections were cut before their requests had finished");
            PROBLEM
        }
        Err(error) => {
            log.say("ERROR", &described(&error));
            PROBLEM
        }
    }
}

/// How often the log says how many events it has left out.
const REPORTS: Duration = Duration::from_secs(10);

/// Has the log say every now and then how many events it has left out, until dropped.
fn start_reports(supervisor: &Supervisor, limit: &EventLimit) -> Task {
    let limit = limit.clone();
    supervisor.task("log-reports", move |_| {
        let limit = limit.clone();
        async move {
            loop {
                tokio::time::sleep(REPORTS).await;
                limit.report();
            }
        }
    })
}

/// How long the end may take beyond the time for draining before a process that has failed is ended by force.
const LAST_WORK: Duration = Duration::from_secs(15);

/// How long the end waits for the service manager to take its messages.
const LAST_MESSAGE: Duration = Duration::from_secs(1);

async fn serve_until_told(
    sidecar: Sidecar,
    signals: &mut Signals,
    supervisor: &Supervisor,
    manager: &ServiceManager,
) -> Result<Ended, ServeError> {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (hurry, hurried) = tokio::sync::oneshot::channel();
    let listening = pin!(async move {
        signals.stop().await;
        tracing::info!("stopping: requests under way finish, a second signal ends them");
        manager.tell(sd_notify::NotifyState::Stopping);
        let _ = stop.send(());
        signals.stop().await;
        let _ = hurry.send(());
        loop {
            signals.stop().await;
        }
    });
    let hurry = async {
        if hurried.await.is_err() {
            // The signal task has ended; that is no reason to cut connections.
            std::future::pending::<()>().await;
        }
    };
    let stop = async {
        // This future is first polled once every listener has its workers.
        manager.tell(sd_notify::NotifyState::Ready);
        drop(stopped.await);
    };
    let serving = sidecar.serve(stop, hurry);
    tokio::select! {
        ended = serving => ended,
        () = supervisor.essential("signals", listening) => unreachable!("listening for signals never ends"),
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::config::Source;

    /// Names the socket to serve on, in the process of its own that the test starts.
    const SOCKET: &str = "TEST_OF_A_FAILED_PART";
    const TEST: &str = "cli::run::tests::run_ends_with_1_and_a_message_after_a_part_has_failed_for_good";
    /// No accounts server listens there.
    const CONFIG: &str = r#"
        [state]
        directory = "none"
        [upstream]
        proxy = "none"
        [data_centers.nowhere]
        accounts = "http://127.0.0.1:9"
        api = "http://127.0.0.1:9"
        [tenants.acme]
        data_center = "nowhere"
        client_id = "1000.MADEUP"
        client_secret = "made-up"
        refresh_token = "1000.made-up"
    "#;

    /// Serves, as `run` does, until an essential part panics. True if the exit code reports a problem.
    fn serve_until_a_part_fails(socket: &Path) -> bool {
        let text = format!("{CONFIG}\n[server]\nlisten = [\"unix:{}\"]\n", socket.display());
        let loaded = config::load_texts(&[Source { name: "(test)".to_owned(), text }]);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        let service = Service::new().unwrap();
        let metrics = Arc::new(Metrics::new());
        let supervisor = Supervisor::new(Clock::system(), metrics.tasks.clone());
        let log = log(Some(&config), &metrics, &supervisor).unwrap();
        let (failing, socket) = (supervisor.clone(), socket.to_owned());
        std::thread::spawn(move || {
            while UnixStream::connect(&socket).is_err() {
                std::thread::sleep(Duration::from_millis(5));
            }
            let runtime = super::super::runtime().unwrap();
            runtime.block_on(failing.essential("example", pin!(async { panic!("a defect, on purpose") })))
        });
        let code = serve(service, config, metrics, &supervisor, Clock::system(), &log);
        log.finish().unwrap();
        format!("{code:?}") == format!("{PROBLEM:?}")
    }

    #[test]
    fn run_ends_with_1_and_a_message_after_a_part_has_failed_for_good() {
        if let Some(socket) = std::env::var_os(SOCKET) {
            std::process::exit(i32::from(serve_until_a_part_fails(Path::new(&socket))));
        }
        let directory = tempfile::tempdir().unwrap();
        let mut itself = Command::new(std::env::current_exe().unwrap());
        itself.args(["--exact", TEST, "--nocapture"]).env(SOCKET, directory.path().join("socket"));
        let ended = itself.output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{errors}");
        assert!(errors.contains("example cannot go on: it panicked: a defect, on purpose"), "{errors}");
        assert!(errors.contains("the process cannot go on without this task and ends"), "{errors}");
    }
}
