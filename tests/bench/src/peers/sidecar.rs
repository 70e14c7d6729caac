//! The sidecar, or several builds of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Cores, Peer, Setup, Skill, version_of};

/// A build of the sidecar.
#[derive(Debug)]
pub(crate) struct Sidecar {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
}

impl Sidecar {
    /// The build at hand.
    pub(crate) fn this(binary: &Path) -> Self {
        Self { name: "zoho-sidecar".into(), binary: binary.into() }
    }

    /// Another build, named after its file.
    pub(crate) fn other(binary: &Path) -> Self {
        let file = binary.file_name().unwrap_or_default().to_string_lossy();
        Self { name: format!("zoho-sidecar ({file})"), binary: binary.into() }
    }
}

impl Peer for Sidecar {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn binary(&self) -> PathBuf {
        self.binary.clone()
    }

    fn version(&self) -> Result<String> {
        version_of(&self.binary, "--version")
    }

    fn commands(&self, setup: &Setup<'_>) -> Result<Vec<Command>> {
        let file = setup.directory.join("sidecar.toml");
        std::fs::write(&file, config(setup))?;
        let more = setup.directory.join("more.toml");
        std::fs::write(&more, &setup.wish.more)?;
        let mut command = Command::new(&self.binary);
        command.env_clear().arg("run").arg("--config").arg(file).arg("--config").arg(more);
        Ok(vec![command])
    }

    fn can(&self, _: Skill) -> bool {
        true
    }

    fn hit(&self) -> Option<&'static str> {
        Some("; hit")
    }
}

fn config(setup: &Setup<'_>) -> String {
    let Setup { port, connections, second_port, origin, wish, directory } = setup;
    let workers = if wish.on == Cores::Both { 2 } else { 1 };
    // A state that is kept saves the mint of the next start.
    let state = wish.keep.as_ref().map_or("none".into(), |_| directory.join("state").display().to_string());
    format!(
        r#"
[server]
listen = ["127.0.0.1:{port}"]
workers = {workers}
max_connections = {connections}
header_read_timeout = "10m"
[admin]
listen = "127.0.0.1:{second_port}"
[state]
directory = "{state}"
[log]
requests = {log}
format = "json"
level = "warn"
[upstream]
proxy = "none"
[data_centers.emulated]
accounts = "http://{origin}"
api = "http://{origin}"
[tenants.acme]
data_center = "emulated"
client_id = "1000.MADEUP"
client_secret = "made-up-secret"
refresh_token = "1000.made-up-refresh"
[routes.associated-users-count]
fresh_for = "1h"
"#,
        log = wish.log,
    )
}
