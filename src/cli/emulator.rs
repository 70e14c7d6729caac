//! `emulator`: only the emulated Zoho.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use super::sidecar::ServeError;
use super::{PROBLEM, Signals, fail, runtime};
use crate::clock::Clock;
use crate::emulator::{Emulator, Scenario};
use crate::server::address::{Address, BindError};

pub(super) fn emulator(listen: SocketAddr, data_center: &str, scenario: Option<&Path>) -> ExitCode {
    let scenario = match scenario.map(read).transpose() {
        Ok(scenario) => scenario.unwrap_or_default(),
        Err(message) => {
            eprintln!("zoho-sidecar: {message}");
            return PROBLEM;
        }
    };
    let serving = runtime()
        .map_err(ServeError::from)
        .and_then(|runtime| runtime.block_on(serve(listen, data_center, scenario)));
    match serving {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn read(path: &Path) -> Result<Scenario, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Scenario::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

async fn serve(listen: SocketAddr, data_center: &str, scenario: Scenario) -> Result<(), ServeError> {
    let mut signals = Signals::new()?;
    let emulator = Emulator::new(scenario, Clock::system());
    let failed = |source| BindError { address: Address::Tcp(listen), source };
    let listening = emulator.listen(listen, data_center).await.map_err(failed)?;
    let address = listening.address();
    println!("emulated Zoho listening on http://{address}");
    println!("what it can do: curl http://{address}/__emulator/");
    println!("\nA sidecar for it:\n\n{}", config_for(&emulator, address));
    signals.next().await;
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
