//! The machine: what it is, and which of its cores somebody may use.

use std::process::{Child, Command};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The core of the peers.
pub(crate) const PEERS: usize = 0;
/// The core of the origin and of whoever loads.
pub(crate) const LOAD: usize = 1;

/// The cores that this process might use when it began.
static LENT: OnceLock<CpuSet> = OnceLock::new();

/// Open files that ten thousand connections of a peer with a call upstream beside each may take.
const FILES: u64 = 65_536;
/// Files that are no connection.
const KEPT_BACK: u64 = 128;

/// Takes the core of the load for this thread and all that it starts.
pub(crate) fn settle() -> Result<()> {
    let allowed = sched_getaffinity(None).context("which cores this process may use")?;
    ensure!(
        allowed.is_set(PEERS) && allowed.is_set(LOAD),
        "this machine lends fewer than two cores (0 and 1 are needed): a peer has one to itself, its origin and its \
         load the other; on a single core they would be measured together"
    );
    let _ = LENT.set(allowed);
    stay_on(&[LOAD])
}

/// The cores of a peer with two workers: where there are just two cores, one is also that of the load.
pub(crate) fn two_cores() -> [usize; 2] {
    let third = LENT.get().is_some_and(|lent| lent.is_set(LOAD + 1));
    [PEERS, if third { LOAD + 1 } else { LOAD }]
}

/// Starts a process on these cores; it and all its children stay there.
pub(crate) fn spawn_on(cores: &[usize], command: &mut Command) -> Result<Child> {
    stay_on(cores)?;
    let child = command.spawn();
    stay_on(&[LOAD])?;
    child.with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// Has this thread stay on these cores.
pub(crate) fn stay_on(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    sched_setaffinity(None, &set).with_context(|| format!("cannot stay on cores {cores:?}"))
}

/// Raises the limit of open files as far as it goes, for this process and those it starts.
pub(crate) fn raise_open_files() {
    let now = getrlimit(Resource::Nofile);
    let higher = now.maximum.map_or(FILES, |maximum| maximum.max(FILES));
    // Only root may raise the maximum; others take what they have.
    let tries =
        [Rlimit { current: Some(FILES), maximum: Some(higher) }, Rlimit { current: now.maximum, ..now }];
    for limit in tries {
        if setrlimit(Resource::Nofile, limit).is_ok() {
            break;
        }
    }
}

/// Callers that a peer may have connected, when it needs another file for each beside the connection.
pub(crate) fn connections() -> u64 {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(FILES);
    files.min(FILES).saturating_sub(KEPT_BACK) / 2
}

/// Seconds that a core has been busy since the machine was started, in hundredths.
pub(crate) fn busy(core: usize) -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = format!("cpu{core} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default();
    // user nice system idle iowait irq softirq steal: what another machine took counts as busy.
    let ticks = line.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0.0)).enumerate();
    ticks.filter(|(at, _)| !matches!(at, 3 | 4 | 8..)).map(|(_, ticks): (_, f64)| ticks).sum::<f64>() / 100.0
}

/// Cores, processor and kernel, in a line.
pub(crate) fn description() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor");
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    format!("{cores} cores of {model}, Linux {}", read("/proc/sys/kernel/osrelease").trim())
}
