//! Whether the core of the peers runs as fast as it can.
//!
//! What a machine in a cloud calls a core is often one of two threads of a real core. While a stranger's machine works on
//! the other, whatever keeps a core's units busy takes up to twice as long, and whatever mostly waits for memory or the
//! kernel hardly longer; no count of stolen time tells. Peers measured at such times would differ by what happened beside
//! them.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::machine;

/// How long the core is watched: long enough to be sure, and short beside a measurement.
const GLANCE: Duration = Duration::from_millis(4);
/// Glances among which one at least is undisturbed, most likely.
const FIRST: usize = 50;
/// A core that is slower than this share of its best is disturbed.
const ENOUGH: f64 = 0.9;

/// How long to wait for better times.
const LATER: Duration = Duration::from_millis(300);
/// How often a measurement is tried, at most.
const TRIES: u32 = 30;

/// How fast the core of the peers was at its best, and how often it was not.
#[derive(Debug)]
pub(crate) struct Pace {
    best: f64,
    kept: u32,
    thrown_away: u32,
    disturbed: u32,
}

impl Pace {
    /// Watches the core for a while.
    pub(crate) fn learn() -> Self {
        let mut pace = Self { best: 0.0, kept: 0, thrown_away: 0, disturbed: 0 };
        for _ in 0..FIRST {
            pace.share_now();
        }
        pace
    }

    /// Measures while the core runs as fast as it can, just before and just after. Where it did not, that is thrown away
    /// and measured once more; but not for ever.
    pub(crate) fn undisturbed<T>(&mut self, mut measure: impl FnMut() -> Result<T>) -> Result<T> {
        self.kept += 1;
        for _ in 1..TRIES {
            if self.share_now() >= ENOUGH {
                let measured = measure()?;
                if self.share_now() >= ENOUGH {
                    return Ok(measured);
                }
            } else {
                thread::sleep(LATER);
            }
            self.thrown_away += 1;
        }
        self.disturbed += 1;
        measure()
    }

    /// What became of all measurements, in a sentence.
    pub(crate) fn told(&self) -> String {
        let Self { kept, thrown_away, disturbed, .. } = self;
        format!(
            "Of {kept} measurements {disturbed} had to be taken while their core was slowed down by others; {thrown_away} were put \
             off or thrown away for that."
        )
    }

    /// Which share of its best the core has now.
    fn share_now(&mut self) -> f64 {
        let now = thread::scope(|scope| scope.spawn(glance).join().unwrap_or_default());
        self.best = self.best.max(now);
        now / self.best
    }
}

/// Rounds of simple arithmetic in a microsecond, on the core of the peers: as many at a time as its units can do.
fn glance() -> f64 {
    const STEPS: u64 = 2_000;
    if machine::stay_on(&[machine::PEERS]).is_err() {
        return 0.0;
    }
    let (begin, mut rounds, mut sums) = (Instant::now(), 0, [1_u64, 2, 3, 4, 5, 6, 7, 8]);
    while begin.elapsed() < GLANCE {
        for step in 0..STEPS {
            for sum in &mut sums {
                *sum = sum.rotate_left(7) ^ sum.wrapping_add(step);
            }
        }
        sums = black_box(sums);
        rounds += STEPS;
    }
    rounds as f64 / begin.elapsed().as_secs_f64() / 1e6
}
