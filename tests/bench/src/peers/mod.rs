//! Whoever is measured: how each is set up to do the same, started on a core of its own, and stopped.

mod ceiling;
mod envoy;
mod haproxy;
mod nginx;
mod pingora;
pub(crate) mod sidecar;
mod varnish;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::load::{Want, http2, plain};
use crate::origin::Origin;
use crate::{machine, proc};

pub(crate) use ceiling::Ceiling;
pub(crate) use envoy::Envoy;
pub(crate) use haproxy::Haproxy;
pub(crate) use nginx::Nginx;
pub(crate) use pingora::Pingora;
pub(crate) use sidecar::Sidecar;
pub(crate) use varnish::Varnish;

/// Something that answers requests.
pub(crate) trait Peer {
    /// Its name in tables.
    fn name(&self) -> String;
    /// The executable.
    fn binary(&self) -> PathBuf;
    /// Its version, as it says itself.
    fn version(&self) -> Result<String>;
    /// The process that serves with this set-up, and any other that belongs to it.
    fn commands(&self, setup: &Setup<'_>) -> Result<Vec<Command>>;

    /// Whether it can do this at all.
    fn can(&self, what: Skill) -> bool;

    /// What the head of an answer from memory says, if it says so.
    fn hit(&self) -> Option<&'static str> {
        None
    }
}

/// What not every peer can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skill {
    /// Answer without asking anybody.
    Memory,
    /// Pass requests on. Who cannot has one answer to all.
    Proxy,
    /// Log requests.
    Log,
    /// HTTP/2 without TLS.
    Http2,
}

/// How a peer is to run.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    /// Where its files go.
    pub(crate) directory: &'a Path,
    /// The port of loopback it listens on.
    pub(crate) port: u16,
    /// Another that it may use.
    pub(crate) second_port: u16,
    /// Connections that it must be able to hold.
    pub(crate) connections: u64,
    /// Whom it asks.
    pub(crate) origin: SocketAddr,
    pub(crate) wish: &'a Wish,
}

/// What a measurement wants of a peer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// Requests are logged, into a file.
    pub(crate) log: bool,
    /// HTTP/2, for those that have to be told.
    pub(crate) http2: bool,
    /// Where it runs.
    pub(crate) on: Cores,
    /// For the sidecar: files stay here, its state among them.
    pub(crate) keep: Option<PathBuf>,
    /// For the sidecar: more configuration.
    pub(crate) more: String,
}

/// The cores that a peer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Cores {
    /// That of the peers.
    #[default]
    First,
    /// The one that a second worker would have.
    Second,
    /// For the sidecar: both, with a worker for each.
    Both,
}

/// A peer that serves.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// Where the sidecar's operations ask.
    pub(crate) second: SocketAddr,
    /// From before the process was made to its first answer.
    pub(crate) started_in: Duration,
    children: Vec<Child>,
    _directory: TempDir,
}

/// How long a peer may take to start.
const START: Duration = Duration::from_secs(20);
/// How often a starting one is asked whether it serves.
const KNOCK: Duration = Duration::from_micros(200);
/// How long a stopping one is waited for.
const STOP: Duration = Duration::from_secs(3);

impl Running {
    /// Starts a peer, and waits for its first answer.
    pub(crate) fn start(peer: &dyn Peer, origin: &Arc<Origin>, wish: &Wish) -> Result<Self> {
        Self::try_start(peer, origin, wish).with_context(|| peer.name())
    }

    fn try_start(peer: &dyn Peer, origin: &Arc<Origin>, wish: &Wish) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let place = wish.keep.clone().unwrap_or_else(|| directory.path().to_owned());
        let (address, second) = free_ports()?;
        let (port, second_port) = (address.port(), second.port());
        let (connections, origin) = (machine::connections(), origin.address);
        let setup = Setup { directory: &place, port, second_port, connections, origin, wish };
        let mut commands = peer.commands(&setup)?;
        let both = machine::two_cores();
        let cores = match wish.on {
            Cores::First => &both[..1],
            Cores::Second => &both[1..],
            Cores::Both => &both[..],
        };
        let said = place.join("said");
        let begin = Instant::now();
        let mut running =
            Self { address, second, started_in: Duration::ZERO, children: Vec::new(), _directory: directory };
        for command in &mut commands {
            let out = if wish.log { File::create(place.join("out.log"))?.into() } else { Stdio::null() };
            command.stdin(Stdio::null()).stdout(out).stderr(File::create(&said)?);
            running.children.push(machine::spawn_on(cores, command)?);
        }
        let want = if peer.can(Skill::Proxy) { Want::record() } else { Want::count() };
        running
            .wait(&want, wish.http2, begin)
            .with_context(|| std::fs::read_to_string(said).unwrap_or_default())?;
        running.started_in = begin.elapsed();
        Ok(running)
    }

    /// Knocks until it answers.
    fn wait(&mut self, want: &Want, http2: bool, begin: Instant) -> Result<()> {
        loop {
            let answer = if http2 {
                http2::run(self.address, http2::CONNECTIONS, want, Duration::from_millis(1)).map(drop)
            } else {
                plain::ask(self.address, want).map(drop)
            };
            let Err(why) = answer else { return Ok(()) };
            for child in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!("ended instead of serving, with {status}");
                }
            }
            if begin.elapsed() > START {
                return Err(why.context("did not begin to serve"));
            }
            sleep(KNOCK);
        }
    }

    /// The processes that were started; others may descend from them.
    pub(crate) fn roots(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    /// How long its processes have run.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        proc::cpu(&self.roots())
    }

    /// Seconds that its processes have run since they had run so long.
    pub(crate) fn ran_since(&self, before: Duration) -> Result<f64> {
        Ok(self.cpu()?.saturating_sub(before).as_secs_f64())
    }

    /// Bytes of memory its processes have in use.
    pub(crate) fn resident(&self) -> u64 {
        proc::resident(&self.roots())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            // A parent that is told to end takes its children along.
            signal(child.id(), Signal::TERM);
            let begin = Instant::now();
            while matches!(child.try_wait(), Ok(None)) {
                if begin.elapsed() > STOP {
                    for process in proc::tree(&[child.id()]) {
                        signal(process, Signal::KILL);
                    }
                }
                sleep(Duration::from_millis(5));
            }
        }
    }
}

fn signal(process: u32, signal: Signal) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = kill_process(process, signal); // it may be gone
    }
}

/// Two ports that nobody uses. Not all peers can be told to take any and say which.
fn free_ports() -> Result<(SocketAddr, SocketAddr)> {
    let any = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (first, second) = (any()?, any()?);
    Ok((first.local_addr()?, second.local_addr()?))
}

/// An executable of the system, where Debian has it.
fn installed(name: &str) -> PathBuf {
    Path::new("/usr/sbin").join(name)
}

/// What a program says about itself, from the first word that looks like a version.
fn version_of(binary: &Path, argument: &str) -> Result<String> {
    let output = Command::new(binary).arg(argument).output();
    let output =
        output.with_context(|| format!("{} is not installed; run.sh does that", binary.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let is_version =
        |word: &&str| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit());
    let mut words = text.split(|letter: char| letter.is_whitespace() || "/-()".contains(letter));
    Ok(words.find(is_version).unwrap_or("?").to_owned())
}
