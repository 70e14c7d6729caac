//! The ceilings: this program again, with one answer to all or none of its own.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Peer, Setup, Skill};

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ceiling {
    /// hyper and nothing else.
    Hyper,
    /// hyper's server and hyper's client, and nothing between them.
    Relay,
    /// Sockets and nothing else.
    Raw,
}

impl Peer for Ceiling {
    fn name(&self) -> String {
        match self {
            Self::Hyper => "bare hyper, one answer".into(),
            Self::Relay => "bare hyper, relay".into(),
            Self::Raw => "raw epoll loop, one answer".into(),
        }
    }

    fn binary(&self) -> PathBuf {
        std::env::current_exe().unwrap_or_default()
    }

    fn version(&self) -> Result<String> {
        Ok("(of this crate)".into())
    }

    fn commands(&self, setup: &Setup<'_>) -> Result<Vec<Command>> {
        let kind = match self {
            Self::Hyper => "hyper",
            Self::Relay => "relay",
            Self::Raw => "raw",
        };
        let version = if setup.wish.http2 { "2" } else { "1" };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["ceiling", kind, version, &setup.port.to_string(), &setup.origin.to_string()]);
        Ok(vec![command])
    }

    fn can(&self, what: Skill) -> bool {
        match what {
            Skill::Memory => *self != Self::Relay,
            Skill::Proxy => *self == Self::Relay,
            Skill::Log => false,
            Skill::Http2 => *self != Self::Raw,
        }
    }
}
