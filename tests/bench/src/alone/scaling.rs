//! One worker beside two, and beside two processes of one worker each, which share nothing.
//!
//! Where there are but two cores, the second worker shares its core with whoever loads it, so that requests a second
//! say nothing. What a request costs does: two workers scale as far as they need no more of a core for it than one, on
//! such cores. How much of that is theirs, and how much the cores', the two processes tell.

use std::time::Duration;

use anyhow::Result;

use super::Scene;
use crate::load::Want;
use crate::load::closed::Closed;
use crate::machine;
use crate::options::Options;
use crate::pace::Pace;
use crate::peers::{Cores, Running, Wish};
use crate::table::thousands;

const WARM_UP: Duration = Duration::from_millis(300);

/// What one way of running got.
#[derive(Debug, Clone, Copy)]
struct Figures {
    cpu_micros: f64,
    rate: f64,
    cores: f64,
}

/// Measures and prints a table.
pub(crate) fn scaling(options: &Options) -> Result<()> {
    let (scene, mut pace) = (Scene::set(options)?, Pace::learn());
    println!("| | | CPU µs | x one worker | for a second of a core | a second | cores it had |");
    println!("|---|---|---:|---:|---:|---:|---:|");
    let ways: [(&str, &[Cores]); 3] = [
        ("one worker", &[Cores::First]),
        ("two workers", &[Cores::Both]),
        ("two processes", &[Cores::First, Cores::Second]),
    ];
    for (name, want) in [("from memory", Want::count()), ("passed on", Want::record())] {
        let mut all = ways.map(|_| Vec::new());
        for _ in 0..options.rounds {
            for ((_, processes), figures) in ways.iter().zip(&mut all) {
                figures.push(measure(&scene, options, &mut pace, &want, processes)?);
            }
        }
        let all = all.map(median);
        for ((way, _), figures) in ways.iter().zip(all) {
            println!(
                "| {name} | {way} | {:.1} | {:.2} | {} | {} | {:.2} |",
                figures.cpu_micros,
                figures.cpu_micros / all[0].cpu_micros,
                thousands(1e6 / figures.cpu_micros),
                thousands(figures.rate),
                figures.cores,
            );
        }
    }
    println!("\n{}", pace.told());
    let shared = machine::two_cores().contains(&machine::LOAD);
    println!(
        "\n{} connections; the load and the origin have core {}, the workers {:?}{}.",
        options.connections,
        machine::LOAD,
        machine::two_cores(),
        if shared {
            ", so that the fourth column says how much more two can do, and the fifth does not"
        } else {
            ""
        },
    );
    Ok(())
}

fn measure(
    scene: &Scene,
    options: &Options,
    pace: &mut Pace,
    want: &Want,
    processes: &[Cores],
) -> Result<Figures> {
    let start = |on: &Cores| scene.run("64MiB", &Wish { on: *on, ..Wish::default() });
    let running: Vec<Running> = processes.iter().map(start).collect::<Result<_>>()?;
    let addresses: Vec<_> = running.iter().map(|process| process.address).collect();
    let mut closed = Closed::open_to_each(&addresses, options.connections)?;
    closed.for_as_long_as(WARM_UP, std::slice::from_ref(want))?;
    let (tally, ran) = pace.undisturbed(|| {
        let before: Vec<Duration> = running.iter().map(Running::cpu).collect::<Result<_>>()?;
        let tally = closed.for_as_long_as(options.span, std::slice::from_ref(want))?;
        let ran = running.iter().zip(before).map(|(process, before)| process.ran_since(before));
        Ok((tally, ran.sum::<Result<f64>>()?))
    })?;
    let took = tally.took.as_secs_f64();
    let answers = tally.answers as f64;
    Ok(Figures { cpu_micros: ran * 1e6 / answers, rate: answers / took, cores: ran / took })
}

/// The one of which as many cost more as less.
fn median(mut figures: Vec<Figures>) -> Figures {
    figures.sort_by(|one, other| one.cpu_micros.total_cmp(&other.cpu_micros));
    figures[figures.len() / 2]
}
