//! `emulator`: only the emulated Zoho.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use super::described;
use super::run::BUFFER;
use super::service::Service;
use super::sidecar::ServeError;
use super::signals::Signals;
use super::{EmulatorOptions, PROBLEM};
use crate::clock::Clock;
use crate::emulator::{Emulator, Scenario};
use crate::files;
use crate::server::address::Address;
use crate::server::listener::BindError;
use crate::telemetry::Format;
use crate::telemetry::log::{Log, Queue};

pub(super) fn emulator(options: EmulatorOptions) -> Result<ExitCode, ServeError> {
    let EmulatorOptions { listen, i_know_this_is_open, data_center, scenario } = options;
    if !listen.ip().is_loopback() && !i_know_this_is_open {
        return Err(ServeError::OpenEmulator(listen));
    }
    let mut service = Service::new()?;
    let log = Log::uncounted(Format::Text, BUFFER)?;
    log.log_events("info");
    let code = match service.prepare(move || scenario.as_deref().map(read).transpose()) {
        None => ExitCode::SUCCESS,
        Some(Err(message)) => {
            log.events().put_lines(&format!("zoho-sidecar: {message}"));
            PROBLEM
        }
        Some(Ok(scenario)) => {
            let (scenario, output) = (scenario.unwrap_or_default(), log.requests());
            match service.run(async |signals| serve(listen, &data_center, scenario, signals, output).await) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    log.events().put_lines(&described(&error));
                    PROBLEM
                }
            }
        }
    };
    drop(service);
    let _output_failed = log.finish();
    Ok(code)
}

/// A longer file is something else than a scenario.
const MOST_SCENARIO: usize = 16 << 20;

fn read(path: &Path) -> Result<Scenario, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let contents = files::read_now(path, MOST_SCENARIO).map_err(|error| failed(&error))?;
    let text = contents.text().map_err(|error| failed(&error))?;
    Scenario::parse(text).map_err(|error| failed(&error))
}

async fn serve(
    listen: SocketAddr,
    data_center: &str,
    scenario: Scenario,
    signals: &mut Signals,
    output: &Queue,
) -> Result<(), ServeError> {
    let emulator = Emulator::new(scenario, Clock::machine());
    let failed = |source| BindError { address: Address::Tcp(listen), source };
    let listening = emulator.listen(listen, data_center).await.map_err(failed)?;
    let address = listening.address();
    output.put_lines(&format!("emulated Zoho listening on http://{address}"));
    output.put_lines(&format!("what it can do: curl http://{address}/__emulator/"));
    output.put_lines(&format!("\nA sidecar for it:\n\n{}", config_for(&emulator, address)));
    signals.stop().await;
    Ok(())
}

/// A configuration that serves all organisations of an emulator on one address.
pub(super) fn config_for(emulator: &Emulator, address: SocketAddr) -> String {
    let mut config = format!(
        "[data_centers.emulated]\naccounts = \"http://{address}\"\napi      = \"http://{address}\"\n"
    );
    for organisation in emulator.organisations() {
        use std::fmt::Write as _;
        let _ = write!(
            config,
            "\n[tenants.{}]\ndata_center   = \"emulated\"\nclient_id     = \"{}\"\nclient_secret = \"{}\"\nrefresh_token = \"{}\"\n",
            organisation.name(),
            organisation.client_id(),
            organisation.client_secret(),
            organisation.refresh_token(),
        );
    }
    config
}
