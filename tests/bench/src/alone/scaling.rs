//! One worker beside two.
//!
//! Where there are but two cores, the second worker shares its core with whoever loads it, so that requests a second
//! say nothing. What a request costs does: two workers scale as far as they need no more of a core for it than one.

use std::time::Duration;

use anyhow::Result;

use super::Scene;
use crate::load::Want;
use crate::load::closed::Closed;
use crate::machine;
use crate::options::Options;
use crate::pace::Pace;
use crate::peers::Wish;
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
    println!("| | workers | CPU µs | x one worker | for a second of a core | a second | cores it had |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (name, want) in [("from memory", Want::count()), ("passed on", Want::record())] {
        let mut all = [Vec::new(), Vec::new()];
        for _ in 0..options.rounds {
            for (two_workers, figures) in [false, true].into_iter().zip(&mut all) {
                figures.push(measure(&scene, options, &mut pace, &want, two_workers)?);
            }
        }
        let [one, two] = all.map(median);
        for (workers, figures) in [(1, one), (2, two)] {
            println!(
                "| {name} | {workers} | {:.1} | {:.2} | {} | {} | {:.2} |",
                figures.cpu_micros,
                figures.cpu_micros / one.cpu_micros,
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
            ", so that the fifth column says how much more two can do, and the sixth does not"
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
    two_workers: bool,
) -> Result<Figures> {
    let running = scene.run("64MiB", &Wish { two_workers, ..Wish::default() })?;
    let mut closed = Closed::open(running.address, options.connections)?;
    closed.for_as_long_as(WARM_UP, std::slice::from_ref(want))?;
    let (tally, ran) = pace.undisturbed(|| {
        let before = running.cpu()?;
        let tally = closed.for_as_long_as(options.span, std::slice::from_ref(want))?;
        Ok((tally, running.ran_since(before)?))
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
