//! pingora, by the small program in `pingora/`, which run.sh builds where it is asked for.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Peer, Setup, Skill};

/// The program on the pingora crates.
#[derive(Debug)]
pub(crate) struct Pingora(pub(crate) PathBuf);

impl Peer for Pingora {
    fn name(&self) -> String {
        "pingora".into()
    }

    fn binary(&self) -> PathBuf {
        self.0.clone()
    }

    fn version(&self) -> Result<String> {
        super::version_of(&self.0, "--version")
    }

    fn commands(&self, setup: &Setup<'_>) -> Result<Vec<Command>> {
        let mut command = Command::new(&self.0);
        command.args([setup.port.to_string(), setup.origin.to_string()]);
        Ok(vec![command])
    }

    fn can(&self, what: Skill) -> bool {
        matches!(what, Skill::Memory | Skill::Proxy)
    }
}
