//! What is measured of each peer, in rounds in which they take turns.

mod answers;
mod bodies;
mod latency;
mod memory;
mod start;
mod storm;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::machine;
use crate::options::Options;
use crate::origin::Origin;
use crate::pace::Pace;
use crate::peers::{Ceiling, Envoy, Haproxy, Nginx, Peer, Pingora, Sidecar, Varnish};
use crate::table::{Answers, Column, Figure, Manner, Sheet, Shown};

/// Less than this share of a core is what an idle system needs.
const BY_OTHERS: f64 = 0.03;

/// Takes figures of the peer with this number.
type Measure = dyn Fn(&mut Bench, usize) -> Result<()>;

/// Everything a measure needs.
pub(crate) struct Bench {
    options: Options,
    origin: Arc<Origin>,
    peers: Vec<Box<dyn Peer>>,
    sheet: Sheet,
    /// Which share of the peers' core others had, while answers were counted.
    disturbed: Vec<f64>,
    /// Requests a second at which latency is measured, once it is known.
    rate: Option<f64>,
    pace: Pace,
    /// Where the sidecar keeps its state from one start to the next.
    state: tempfile::TempDir,
}

/// Runs all rounds and prints the tables.
pub(crate) fn compare(options: Options) -> Result<()> {
    machine::raise_open_files();
    let origin = Origin::start()?;
    let (peers, rate, state) = (chosen(&options), options.rate, tempfile::tempdir()?);
    let (sheet, disturbed, pace) = (Sheet::default(), Vec::new(), Pace::learn());
    let mut bench = Bench { options, origin, peers, sheet, disturbed, rate, pace, state };
    let versions: Vec<String> = bench
        .peers
        .iter()
        .map(|peer| Ok(format!("{} {}", peer.name(), peer.version()?)))
        .collect::<Result<_>>()?;
    for round in 0..bench.options.rounds {
        bench.round(round)?;
    }
    bench.print(&versions);
    Ok(())
}

fn chosen(options: &Options) -> Vec<Box<dyn Peer>> {
    let others = options.also.iter().map(|file| Box::new(Sidecar::other(file)) as Box<dyn Peer>);
    let pingora = |binary: &PathBuf| Box::new(Pingora(binary.clone())) as Box<dyn Peer>;
    let envoy = |binary: &PathBuf| Box::new(Envoy(binary.clone())) as Box<dyn Peer>;
    let all: [(&str, Vec<Box<dyn Peer>>); 8] = [
        (
            "sidecar",
            [Box::new(Sidecar::this(&options.sidecar)) as Box<dyn Peer>].into_iter().chain(others).collect(),
        ),
        ("nginx", vec![Box::new(Nginx::Tuned), Box::new(Nginx::Shipped)]),
        ("haproxy", vec![Box::new(Haproxy)]),
        ("varnish", vec![Box::new(Varnish)]),
        ("pingora", options.pingora.iter().map(pingora).collect()),
        ("envoy", options.envoy.iter().map(envoy).collect()),
        ("hyper", vec![Box::new(Ceiling::Hyper), Box::new(Ceiling::Relay)]),
        ("raw", vec![Box::new(Ceiling::Raw)]),
    ];
    all.into_iter().filter(|(name, _)| options.compares(name)).flat_map(|(_, peers)| peers).collect()
}

impl Bench {
    fn round(&mut self, round: usize) -> Result<()> {
        let measures: [(&str, &Measure); 7] = [
            ("hits", &|bench, peer| bench.answers(peer, Answers::Kept)),
            ("pass", &|bench, peer| bench.answers(peer, Answers::Passed)),
            ("latency", &Self::latency),
            ("memory", &Self::memory),
            ("large", &Self::bodies),
            ("start", &Self::start),
            ("storm", &Self::storm),
        ];
        for (name, measure) in measures {
            if !self.options.measures(name) {
                continue;
            }
            eprintln!("round {} of {}: {name}", round + 1, self.options.rounds);
            for peer in 0..self.peers.len() {
                let whose = self.peers[peer].name();
                measure(self, peer).with_context(|| format!("{name} of {whose}"))?;
            }
        }
        Ok(())
    }

    fn print(&self, versions: &[String]) {
        let names: Vec<String> = self.peers.iter().map(|peer| peer.name()).collect();
        let nginx = names.iter().position(|name| name == "nginx");
        let Options { rounds, span, connections, .. } = &self.options;
        println!("On {}.", machine::description());
        println!("{}.", versions.join(", "));
        println!(
            "A peer has one worker on one core, the origin and whoever loads it the other; {connections} kept-alive \
             connections over loopback, without TLS (HTTP/2: as many requests on 4); medians of {rounds} interleaved rounds of {} s. CPU is user and \
             system time of all of a peer's processes.\n",
            span.as_secs()
        );
        let (kept, passed) = (answer_columns(Answers::Kept), answer_columns(Answers::Passed));
        let rate = self.rate.map(crate::table::thousands).unwrap_or_default();
        let latency =
            format!("Latency in µs at {rate} answers from memory a second, counted from when each was due");
        let tables: [(&str, &[Column]); 7] = [
            ("Answers from memory, 1 KiB (≥: the other core was the limit)", &kept),
            ("Passed on, small JSON (≥: the other core was the limit)", &passed),
            (&latency, &LATENCY),
            (
                "Memory in use (RSS of all processes), and for each idle connection that has asked once",
                &MEMORY,
            ),
            ("Long bodies, 64 MiB, four at once", &BODIES),
            ("Start, with a warm disk and a token that still lives, and size", &START),
            ("500 at once ask for the same that nobody has asked for; the origin takes 80 ms", &STORM),
        ];
        for (title, columns) in tables {
            let table = self.sheet.table(title, &names, nginx, columns);
            if !table.is_empty() {
                println!("{table}");
            }
        }
        println!("{}", self.pace.told());
        let disturbed = self.disturbed.iter().sum::<f64>() / self.disturbed.len().max(1) as f64;
        if disturbed > BY_OTHERS {
            println!(
                "Others had {:.0} % of the peers' core meanwhile: these figures are worse than they need be, latency above \
                 all.",
                disturbed * 100.0
            );
        }
    }
}

const fn column(title: &'static str, figure: Figure, shown: Shown) -> Column {
    Column { title, figure, shown }
}

fn answer_columns(answers: Answers) -> Vec<Column> {
    let titles = [
        (Manner::Plain, ["CPU µs", "x nginx", "a second"]),
        (Manner::Anew, ["own ids: CPU µs", "x nginx", "a second"]),
        (Manner::Logged, ["logged: CPU µs", "x nginx", "a second"]),
        (Manner::Http2, ["HTTP/2: CPU µs", "x nginx", "a second"]),
    ];
    let columns = titles.map(|(manner, [cpu, ratio, rate])| {
        [
            column(cpu, Figure::Cpu(answers, manner), Shown::Value(1)),
            column(ratio, Figure::Cpu(answers, manner), Shown::OfNginx),
            column(rate, Figure::Rate(answers, manner), Shown::Rate),
        ]
    });
    columns.concat()
}

const LATENCY: [Column; 3] = [
    column("p50", Figure::Latency(5000), Shown::Value(0)),
    column("p99", Figure::Latency(9900), Shown::Value(0)),
    column("p99.9", Figure::Latency(9990), Shown::Value(0)),
];

const MEMORY: [Column; 3] = [
    column("idle MiB", Figure::Idle, Shown::Value(1)),
    column("KiB each of 1,000", Figure::Connection(1_000), Shown::Value(1)),
    column("KiB each of 10,000", Figure::Connection(10_000), Shown::Value(1)),
];

const BODIES: [Column; 4] = [
    column("down: CPU s per GiB", Figure::Down, Shown::Value(2)),
    column("x nginx", Figure::Down, Shown::OfNginx),
    column("up: CPU s per GiB", Figure::Up, Shown::Value(2)),
    column("x nginx", Figure::Up, Shown::OfNginx),
];

const START: [Column; 2] = [
    column("first answer after ms", Figure::Start, Shown::Value(1)),
    column("executable MiB", Figure::Binary, Shown::Value(1)),
];

const STORM: [Column; 2] = [
    column("calls at the origin", Figure::StormCalls, Shown::Value(0)),
    column("all answered after ms", Figure::StormWait, Shown::Value(0)),
];
