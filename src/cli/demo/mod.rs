//! `demo`: emulator and sidecar in one process, and a tour of real requests through real sockets.
//!
//! The story is true: every sentence is checked against answers, metrics and the emulator's ledger before it
//! is told, and a step that did not go as told fails the tour.

mod stage;
mod tour;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use super::check::report;
use super::emulator::config_for;
use super::run::BUFFER;
use super::service::Service;
use super::sidecar::{ServeError, Sidecar};
use super::signals::Signals;
use super::{PROBLEM, described};
use crate::app::over_sockets;
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, Source};
use crate::emulator::{Emulator, Listening, Scenario};
use crate::supervisor::Supervisor;
use crate::telemetry::Format;
use crate::telemetry::log::{Log, Queue, is_reader_gone};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request_log::RequestLog;
use stage::Stage;
use tour::Guide;

/// The demo's own rules: as shipped, with one route more that grows stale while one looks on.
const RULES: &str = r#"
[server]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
[state]
directory = "none"
[upstream]
proxy = "none"
[routes.roles]
match = "GET /crm/{version}/settings/roles"
fresh_for = "1s"
stale_if_error = "1h"
"#;

/// The demo tells what happens itself; of the sidecar's events only those about signals are shown.
const EVENTS: &str = "off,zoho_sidecar::cli::signals=info";

pub(super) fn demo(once: bool) -> Result<ExitCode, ServeError> {
    let mut service = Service::new()?;
    let log = Log::uncounted(Format::Text, BUFFER)?;
    log.log_events(EVENTS);
    let shown = service.run(async |signals| show(once, signals, log.requests()).await);
    drop(service);
    let code = match shown {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => PROBLEM,
        Err(error) => {
            log.events().put_lines(&described(&error));
            PROBLEM
        }
    };
    Ok(match log.finish() {
        Err(error) if once && !is_reader_gone(&error) => PROBLEM,
        _ => code,
    })
}

async fn show(once: bool, signals: &mut Signals, output: &Queue) -> Result<bool, ServeError> {
    let clock = Clock::machine();
    let emulator = Emulator::new(Scenario::default(), clock.clone());
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let zoho: Listening = emulator.listen(any_port, "*").await?;
    let config = config(&emulator, zoho.address())?;
    let metrics = Arc::new(Metrics::new());
    let supervisor = Supervisor::new(clock.clone(), metrics.tasks.clone());
    let transports = over_sockets(&config, &supervisor, &clock)?;
    let sidecar = Sidecar::new(config, transports, metrics, RequestLog::off(), supervisor, clock)?;

    let stage = Stage::of(&sidecar.addresses(), zoho.address(), output.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(sidecar.serve(async { drop(stopped.await) }, std::future::pending()));

    let guide = Guide::new(stage, emulator);
    let went_as_told = tokio::select! {
        went_as_told = guide.tour() => went_as_told,
        () = signals.stop() => false,
    };
    if !once {
        guide.farewell();
        signals.stop().await;
    }
    let _ = stop.send(());
    serving.await.map_err(std::io::Error::other)??;
    Ok(went_as_told)
}

fn config(emulator: &Emulator, zoho: SocketAddr) -> Result<Config, ServeError> {
    let sources = [
        Source { name: "(demo)".to_owned(), text: RULES.to_owned() },
        Source { name: "(emulator)".to_owned(), text: config_for(emulator, zoho) },
    ];
    let Loaded { config, problems } = config::load_texts(&sources);
    config.ok_or_else(|| ServeError::Configuration(report(&problems)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_demos_configuration_is_sound() {
        let emulator = Emulator::new(Scenario::default(), Clock::system());
        let zoho = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let config = config(&emulator, zoho).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.rulebook.tenants.all().len(), 2);
        let roles = config.rulebook.routes.route_of(&http::Method::GET, "/crm/v8/settings/roles").unwrap();
        assert_eq!(config.rulebook.routes.route(roles).rule.fresh_for, tour::ROLES_FRESH_FOR);
    }
}
