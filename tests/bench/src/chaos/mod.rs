//! A soak with random faults: the emulated Zoho fails, logs are not read, files hang, callers misbehave and operators
//! purge, all at once and for minutes, while every response is checked.
//!
//! - [`stage`]: the emulator and the sidecar as processes
//! - [`log`]: the readers of the sidecar's output, which can pause
//! - [`callers`]: well-behaved callers, who check what they get
//! - [`nuisance`]: callers who read or send slowly, or not at all
//! - [`trouble`]: what goes wrong around the sidecar
//! - [`tally`]: what was seen, and the verdict

mod callers;
mod dice;
mod log;
mod nuisance;
mod stage;
mod tally;
mod trouble;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::machine;
use crate::options::Options;
use stage::Stage;
use tally::{Tally, mebibytes};

/// How long the sidecar is left alone at the end, with well-behaved callers only: long enough for every timeout, pause and
/// window of the sidecar to pass.
const CALM: Duration = Duration::from_secs(90);

/// How long a sleeping activity may overlook the end of the run.
const NAP: Duration = Duration::from_millis(100);

/// When there is a token at the latest: faults of the accounts server may have spent all mints of ten minutes.
const MINT_WINDOW: Duration = Duration::from_mins(10);

/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Runs for so many minutes, prints what was seen, and fails if any of it must not be.
pub(crate) fn chaos(options: &Options, minutes: u64) -> Result<()> {
    machine::raise_open_files();
    let stage = Arc::new(Stage::set(&options.sidecar)?);
    println!("{minutes} minutes of chaos on {}\n", machine::description());
    let tally = Arc::new(Tally::default());
    let calm = Running::start(&tally, callers::all(&stage));
    let trouble = Running::start(&tally, trouble::all(&stage).into_iter().chain(nuisance::all(&stage)));
    let (began, end) = (Instant::now(), Instant::now() + Duration::from_secs(60 * minutes));
    let mut memory = Vec::new();
    while Instant::now() < end && stage.is_alive() {
        std::thread::sleep(LOOK.min(end - Instant::now()));
        memory.push(stage.resident());
    }
    trouble.stop();
    stage.mend()?;
    println!("trouble is over after {} s, {:.1} MiB", began.elapsed().as_secs(), mebibytes(stage.resident()));
    std::thread::sleep(CALM);
    let calm_since = Instant::now();
    let mut is_healthy = callers::probe(&stage);
    while !is_healthy && stage.is_alive() && calm_since.elapsed() < MINT_WINDOW {
        std::thread::sleep(LOOK);
        is_healthy = callers::probe(&stage);
    }
    println!("reads are answered: {is_healthy}, after {} s more", calm_since.elapsed().as_secs());
    calm.stop();
    let verdict = tally::Verdict::of(&tally, &stage, &memory, is_healthy)?;
    print!("{verdict}");
    if verdict.is_bad() {
        bail!("the sidecar did not withstand it");
    }
    Ok(())
}

/// One activity; it is called again and again until the run is over.
type Activity = Box<dyn FnMut(&Tally) -> Duration + Send>;

/// Activities, each in a thread of its own.
struct Running {
    is_over: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Running {
    fn start(tally: &Arc<Tally>, activities: impl IntoIterator<Item = Activity>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let run = |mut activity: Activity| {
            let (tally, is_over) = (tally.clone(), is_over.clone());
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let next = Instant::now() + activity(&tally);
                    while Instant::now() < next && !is_over.load(Ordering::Relaxed) {
                        std::thread::sleep(NAP.min(next - Instant::now()));
                    }
                }
            })
        };
        let threads = activities.into_iter().map(run).collect();
        Self { is_over, threads: Mutex::new(threads) }
    }

    /// Waits for each activity to finish what it has begun.
    fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            thread.join().expect("an activity reports errors instead of panicking");
        }
    }
}
