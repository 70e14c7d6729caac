//! The ceilings: this program again, with one answer to all.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Peer, Setup, Skill};

/// Which server with one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ceiling {
    /// hyper and nothing else.
    Hyper,
    /// Sockets and nothing else.
    Raw,
}

impl Peer for Ceiling {
    fn name(&self) -> String {
        match self {
            Self::Hyper => "bare hyper, one answer".into(),
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
        let kind = if *self == Self::Raw { "raw" } else { "hyper" };
        let version = if setup.wish.http2 { "2" } else { "1" };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["ceiling", kind, version, &setup.port.to_string()]);
        Ok(vec![command])
    }

    fn can(&self, what: Skill) -> bool {
        what == Skill::Http2 && *self == Self::Hyper
    }
}
