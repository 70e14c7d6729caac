//! haproxy with its small cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Peer, Setup, Skill, installed, version_of};

/// haproxy from the system's packages.
#[derive(Debug)]
pub(crate) struct Haproxy;

impl Peer for Haproxy {
    fn name(&self) -> String {
        "haproxy".into()
    }

    fn binary(&self) -> PathBuf {
        installed("haproxy")
    }

    fn version(&self) -> Result<String> {
        version_of(&self.binary(), "-v")
    }

    fn commands(&self, setup: &Setup<'_>) -> Result<Vec<Command>> {
        let file = setup.directory.join("haproxy.cfg");
        std::fs::write(&file, config(setup))?;
        let mut command = Command::new(self.binary());
        command.arg("-db").arg("-f").arg(file);
        Ok(vec![command])
    }

    fn can(&self, _: Skill) -> bool {
        true
    }
}

fn config(setup: &Setup<'_>) -> String {
    let Setup { port, connections, origin, wish, .. } = setup;
    let log = if wish.log { "log stdout format raw local0 info" } else { "" };
    let httplog = if wish.log { "log global\n    option httplog" } else { "" };
    format!(
        "global
    maxconn {connections}
    nbthread 1
    {log}
defaults
    mode http
    {httplog}
    timeout connect 5s
    timeout client 600s
    timeout server 60s
    timeout http-keep-alive 600s
cache kept
    total-max-size 64
    max-object-size 1048576
    max-age 3600
frontend callers
    bind 127.0.0.1:{port} backlog 4096
    use_backend counted if {{ path_end /settings/territories/actions/associated_users_count }}
    default_backend zoho
backend counted
    http-request cache-use kept
    http-response cache-store kept
    http-reuse always
    server zoho {origin}
backend zoho
    http-reuse always
    server zoho {origin}
"
    )
}
