//! Very many requests of all kinds, and what becomes of the memory.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Scene, crowd};
use crate::load::closed::Closed;
use crate::load::{COUNT, Want};
use crate::options::Options;
use crate::origin::{COUNT_BYTES, Origin, RECORD};
use crate::peers::Wish;
use crate::table::thousands;

/// How often the memory is looked at.
const LOOKS: u64 = 20;
/// Entries of the crowd: about four times what the cache may hold, so that most have to go.
const CROWD: usize = 50_000;
const CACHE: &str = "16MiB";
/// Names of the count that are asked for over and over.
const HOT: usize = 100;

/// Tokens live this long, in seconds, and are withdrawn so often: with the first mint that makes about five in the
/// sidecar's window of ten minutes, in which it allows itself six.
const TOKEN_LIFE: u64 = 400;
const WITHDRAWAL: Duration = Duration::from_mins(5);
const FIRST_WITHDRAWAL: Duration = Duration::from_secs(3);

/// Growth that is no leak: an allocator's habits.
const ALLOWED_SHARE: f64 = 0.03;
const ALLOWED_MIB: f64 = 2.0;
/// With fewer requests the cache has barely filled when it is over.
const ENOUGH: u64 = 1_000_000;

/// Sends this many requests, and prints what it saw.
pub(crate) fn soak(options: &Options, requests: u64) -> Result<()> {
    let scene = Scene::set(options)?;
    scene.origin.expires_in.store(TOKEN_LIFE, Relaxed);
    let running = scene.run(CACHE, &Wish { log: true, ..Wish::default() })?;
    let mut closed = Closed::open(running.address, options.connections)?;
    let mix = Mix::new();
    let (mut dice, mut withdrawals) = (Dice(1), Withdrawals::begin());
    println!("| requests | a second | MiB | calls at the origin | tokens | withdrawn |");
    println!("|---:|---:|---:|---:|---:|---:|");
    let mut memory = Vec::new();
    for look in 1..=LOOKS {
        let mut left = requests * look / LOOKS - requests * (look - 1) / LOOKS;
        let next = || {
            left = left.checked_sub(1)?;
            if left.is_multiple_of(1024) {
                withdrawals.perhaps(&scene.origin);
            }
            Some(mix.choose(&mut dice))
        };
        let tally = closed.run(&mix.wants, next)?;
        let resident = running.resident() as f64 / f64::from(1 << 20);
        memory.push(resident);
        println!(
            "| {} | {} | {resident:.1} | {} | {} | {} |",
            thousands((requests * look / LOOKS) as f64),
            thousands(tally.answers as f64 / tally.took.as_secs_f64()),
            thousands(scene.origin.calls.load(Relaxed) as f64),
            scene.origin.mints.load(Relaxed),
            withdrawals.count,
        );
    }
    verdict(&memory, requests)
}

fn verdict(memory: &[f64], requests: u64) -> Result<()> {
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let quarter = memory.len() / 4;
    let (early, late) = (mean(&memory[quarter..2 * quarter]), mean(&memory[3 * quarter..]));
    let words = format!("{early:.1} MiB in the second quarter, {late:.1} MiB in the last");
    if requests < ENOUGH {
        println!(
            "\nEvery answer was right. {words}; fewer than {} requests say nothing about memory.",
            thousands(ENOUGH as f64)
        );
        return Ok(());
    }
    if late > early + (early * ALLOWED_SHARE).max(ALLOWED_MIB) {
        bail!("memory grows: {words}");
    }
    println!("\nEvery answer was right, and memory does not grow: {words}.");
    Ok(())
}

/// What is asked for, and how often.
struct Mix {
    wants: Vec<Want>,
    /// How many of 1,000 requests are of each kind, and which of the wants are.
    kinds: Vec<(usize, std::ops::Range<usize>)>,
}

impl Mix {
    fn new() -> Self {
        let mut mix = Self { wants: Vec::new(), kinds: Vec::new() };
        let broken = |path: &str, status| Want::get(path).status(status);
        mix.add(700, (0..HOT).map(|page| Want::get(format!("{COUNT}?page={page}")).long(COUNT_BYTES)));
        mix.add(100, crowd(0..CROWD));
        mix.add(139, [Want::record()]);
        mix.add(
            40,
            [Want::post("/crm/v8/Leads", r#"{"data":[{"Last_Name":"Example"}]}"#).long(RECORD.len())],
        );
        mix.add(1, [Want::post("/crm/v8/settings/crowd", "{}").long(RECORD.len())]);
        mix.add(10, [broken("/crm/v8/faults/500", 500), broken("/crm/v8/settings/crowd/500", 500)]);
        mix.add(10, [broken("/crm/v8/faults/429", 429), broken("/crm/v8/settings/crowd/429", 429)]);
        mix
    }

    fn add(&mut self, of_thousand: usize, wants: impl IntoIterator<Item = Want>) {
        let from = self.wants.len();
        self.wants.extend(wants);
        self.kinds.push((of_thousand, from..self.wants.len()));
    }

    fn choose(&self, dice: &mut Dice) -> usize {
        let mut at = dice.below(1000);
        for (many, wants) in &self.kinds {
            if at < *many {
                return wants.start + dice.below(wants.len());
            }
            at -= many;
        }
        0
    }
}

/// Numbers that look random and are the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = bound as u64;
        usize::try_from((self.0 >> 11) % bound).unwrap_or_default()
    }
}

/// Tokens that die before their time.
struct Withdrawals {
    next: Instant,
    count: u64,
}

impl Withdrawals {
    fn begin() -> Self {
        Self { next: Instant::now() + FIRST_WITHDRAWAL, count: 0 }
    }

    fn perhaps(&mut self, origin: &Origin) {
        if Instant::now() >= self.next {
            origin.withdrawn.store(origin.mints.load(Relaxed), Relaxed);
            self.next += WITHDRAWAL;
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_the_mix_make_a_whole() {
        let mix = Mix::new();
        assert_eq!(mix.kinds.iter().map(|(many, _)| many).sum::<usize>(), 1000);
    }

    #[test]
    fn memory_that_grows_fails_the_soak() {
        let steady = [10.0; 20];
        let growing: Vec<f64> = (0..20).map(|n| 10.0 + f64::from(n)).collect();
        assert!(verdict(&steady, ENOUGH).is_ok());
        assert!(verdict(&growing, ENOUGH).is_err());
        assert!(verdict(&growing, ENOUGH - 1).is_ok());
    }
}
