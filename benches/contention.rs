//! What cores take from each other: the parts of a hit that all workers do to the same memory, on one thread and on
//! more.
//!
//! `tests/bench/run.sh --contention` (or `cargo bench --bench contention`) prints nanoseconds of an operation, and how
//! many times those of one thread that is. Where nothing is shared the ratio is 1; the rulers say what it is at best
//! and at worst. It says most on a machine with many cores that does nothing else: two threads of one core share its
//! cache, and pay little. More threads than cores are not measured: they take turns, which is no contention.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark speaks to people")]
#![allow(clippy::cast_precision_loss, reason = "figures of three digits")]

mod zoho;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;
use zoho_sidecar::cache::entry::{Entry, Fetched};
use zoho_sidecar::cache::key::Key;
use zoho_sidecar::cache::rule::Rule;
use zoho_sidecar::cache::{Cache, Lookup, Settings};
use zoho_sidecar::clock::{BootTime, Clock, Instant};
use zoho_sidecar::telemetry::metrics::{Metrics, RequestCounters};
use zoho_sidecar::telemetry::outcome::Outcome;

use zoho::zohos_headers;

/// Rounds, in which all operations and numbers of threads take turns.
const ROUNDS: usize = 5;
/// Runs in each, of as many operations as take some 50 µs: long beside a meeting of threads, short beside the time
/// that a processor stays with one.
const RUNS: usize = 1000;
const LIGHT: u64 = 20_000;
const HEAVY: u64 = 200;
const KEYS: usize = 1024;

/// What is done, and how often in a run: by thread and number of the operation.
type Operation<'a> = (&'static str, u64, Box<dyn Fn(usize, u64) + Sync + 'a>);

fn main() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let threads: Vec<usize> =
        std::iter::successors(Some(1), |threads| Some(threads * 2)).take_while(|n| *n < cores).collect();
    let threads: Vec<usize> = threads.into_iter().chain([cores]).collect();
    let shared = Shared::new();
    let operations = operations(&shared);

    let mut figures = vec![vec![Vec::new(); threads.len()]; operations.len()];
    for _ in 0..ROUNDS {
        for ((_, at_once, operation), rows) in operations.iter().zip(&mut figures) {
            for (many, figures) in threads.iter().zip(rows) {
                figures.extend(nanoseconds(*many, *at_once, operation));
            }
        }
    }
    let fewest = figures.iter().flatten().map(Vec::len).min().unwrap_or_default();
    println!("Nanoseconds of an operation, and how many times those of one thread; {cores} cores.\n");
    let titles: Vec<String> = threads.iter().map(usize::to_string).collect();
    println!("| by threads | {} |", titles.join(" | "));
    println!("|---|{}", "---:|".repeat(threads.len()));
    let medians = figures.into_iter().map(|rows| rows.into_iter().map(median).collect::<Vec<_>>());
    for ((name, ..), medians) in operations.iter().zip(medians) {
        let cell = |figure: &f64| format!(" {figure:.1} ({:.2}) |", figure / medians[0]);
        println!("| {name} |{}", medians.iter().map(cell).collect::<String>());
    }
    println!("\nMedians of {ROUNDS} rounds of {RUNS} runs, of which at least {fewest} were undisturbed.");
    println!("More threads than cores would take turns, which is no contention.");
}

/// What all threads use.
struct Shared {
    cache: Cache<()>,
    rule: Rule,
    now: BootTime,
    keys: Vec<String>,
    entry: Arc<Entry>,
    counters: RequestCounters,
    worst: AtomicU64,
    own: Vec<Own>,
}

/// A counter on a line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Own(AtomicU64);

impl Shared {
    fn new() -> Self {
        let settings = Settings {
            max_bytes: 64 << 20,
            max_entry_bytes: 1 << 20,
            uncacheable_for: Duration::from_mins(1),
            fetch_timeout: Duration::from_mins(1),
            max_key_header_bytes: 1 << 10,
        };
        let (now, rule) = (Clock::system().boot_time(), Rule::lasting(Duration::from_hours(1)));
        let (cache, head) = (Cache::new(settings, 1, 1), zohos_headers());
        let entry = || {
            let (status, body) = (StatusCode::OK, vec![b'x'; 440].into());
            let fetched = Fetched {
                status,
                head: &head,
                body,
                memory: None,
                at: now,
                epoch: 0,
                terms: None,
                is_unfit: false,
                variant: None,
            };
            Arc::new(Entry::new(&rule, 0, fetched))
        };
        let keys: Vec<String> = (0..KEYS).map(|n| format!("acme\n/crm/v8/settings/modules/{n}")).collect();
        for key in &keys {
            cache.store(Key::from_bytes(key.as_bytes()), entry(), 0, || 0);
        }
        let entry = entry();
        let counters = Metrics::new().requests("acme", "associated-users-count");
        let own = (0..1024).map(|_| Own::default()).collect();
        Self { cache, rule, now, keys, entry, counters, worst: AtomicU64::new(0), own }
    }

    fn look_up(&self, key: usize) -> Arc<Entry> {
        match self.cache.lookup(self.keys[key].as_bytes(), &self.rule, 0, self.now) {
            Lookup::Fresh(entry, _) => entry,
            _ => panic!("what was stored is there"),
        }
    }

    fn count(&self) {
        self.counters.count(StatusCode::OK, Outcome::Hit);
    }
}

fn operations(shared: &Shared) -> Vec<Operation<'_>> {
    // Each thread begins elsewhere among the keys.
    let other = |thread: usize, n: u64| (usize::try_from(n).unwrap() + thread * 397) % KEYS;
    let answer = |entry: &Entry| drop(black_box((entry.head().clone(), entry.body().clone())));
    vec![
        (
            "ruler: a counter of the thread's own",
            LIGHT,
            Box::new(|thread, _| {
                shared.own[thread].0.fetch_add(1, Relaxed);
            }),
        ),
        (
            "ruler: one counter for all",
            LIGHT,
            Box::new(|_, _| {
                shared.worst.fetch_add(1, Relaxed);
            }),
        ),
        ("look-up, one key", HEAVY, Box::new(|_, _| drop(black_box(shared.look_up(0))))),
        (
            "look-up, 1,024 keys",
            HEAVY,
            Box::new(move |thread, n| drop(black_box(shared.look_up(other(thread, n))))),
        ),
        ("copy of an entry's head", HEAVY, Box::new(|_, _| drop(black_box(shared.entry.head().clone())))),
        ("count of a request", LIGHT, Box::new(|_, _| shared.count())),
        (
            "all of these as a hit does, one key",
            HEAVY,
            Box::new(move |_, _| {
                answer(&shared.look_up(0));
                shared.count();
            }),
        ),
        (
            "all of these as a hit does, 1,024 keys",
            HEAVY,
            Box::new(move |thread, n| {
                answer(&shared.look_up(other(thread, n)));
                shared.count();
            }),
        ),
    ]
}

/// Nanoseconds of an operation while so many threads do it, for each run that they did at once.
///
/// They wait for each other before each short run. Where one was kept from its processor in between, which happens
/// when the machine does something else, the run is left out.
fn nanoseconds(threads: usize, at_once: u64, operation: &(dyn Fn(usize, u64) + Sync)) -> Vec<f64> {
    let (clock, arrived) = (Clock::system(), AtomicUsize::new(0));
    let work = |thread: usize| {
        let one = |run: usize| {
            arrived.fetch_add(1, Relaxed);
            while arrived.load(Relaxed) < threads * (run + 1) {
                std::hint::spin_loop();
            }
            let start = clock.now();
            (0..at_once).for_each(|n| operation(thread, n));
            (start, clock.now().saturating_duration_since(start))
        };
        (0..RUNS).map(one).collect::<Vec<_>>()
    };
    let work = &work;
    let all: Vec<Vec<_>> = std::thread::scope(|scope| {
        let working: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        working.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let run = |run: usize| {
        let of_each = all.iter().map(|runs| runs[run]);
        let (starts, took): (Vec<Instant>, Vec<Duration>) = of_each.unzip();
        let apart = starts.iter().max()?.saturating_duration_since(*starts.iter().min()?);
        let (shortest, longest) = (took.iter().min()?, took.iter().max()?);
        let at_the_same_time = apart * 10 < *shortest && *longest < *shortest * 2;
        at_the_same_time.then(|| longest.as_nanos() as f64 / at_once as f64)
    };
    (0..RUNS).filter_map(run).collect()
}

/// Not a number where there is none.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
