//! What cores take from each other: the parts of a hit that all workers do to the same memory, on one thread and on
//! more.
//!
//! `tests/bench/run.sh --contention` (or `cargo bench --bench contention`) prints nanoseconds of a processor for each
//! operation, and how often those of one thread that is. Where nothing is shared the ratio is 1; the rulers say what
//! it is at best and at worst. It means something on a machine that does nothing else, and whose processors are cores:
//! two threads of one core share its cache, and pay little. More threads than cores take turns: that is no contention,
//! and their column is there to show it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark speaks to people")]
#![allow(clippy::cast_precision_loss, reason = "figures of three digits")]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use zoho_sidecar::cache::entry::{Entry, Fetched};
use zoho_sidecar::cache::key::Key;
use zoho_sidecar::cache::rule::Rule;
use zoho_sidecar::cache::{Cache, Lookup, Settings};
use zoho_sidecar::clock::{Clock, Instant};
use zoho_sidecar::telemetry::metrics::{Metrics, RequestCounters};
use zoho_sidecar::telemetry::outcome::Outcome;

/// How long one measurement takes.
const SPAN: Duration = Duration::from_millis(200);
/// Rounds, in which all operations and numbers of threads take turns.
const ROUNDS: usize = 7;
/// Operations between two looks at whether it is over.
const AT_ONCE: u64 = 256;
const KEYS: usize = 1024;

/// What is done: by thread and number of the operation.
type Operation<'a> = (&'static str, Box<dyn Fn(usize, u64) + Sync + 'a>);

fn main() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let threads: Vec<usize> =
        std::iter::successors(Some(1), |threads| Some(threads * 2)).take_while(|n| *n < cores).collect();
    let threads: Vec<usize> = threads.into_iter().chain([cores, cores * 2]).collect();
    let shared = Shared::new();
    let operations = operations(&shared);

    let mut shares = Vec::new();
    let mut figures = vec![vec![Vec::new(); threads.len()]; operations.len()];
    for _ in 0..ROUNDS {
        for ((_, operation), rows) in operations.iter().zip(&mut figures) {
            for (many, figures) in threads.iter().zip(rows) {
                let (figure, share) = measure(*many, cores, operation);
                figures.push(figure);
                shares.push(share);
            }
        }
    }
    let title = |many: &usize| match many {
        many if *many > cores => format!(" {many} threads, taking turns |"),
        many => format!(" {many} |"),
    };
    println!(
        "Nanoseconds of a processor for each operation, and how many times those of one thread; {cores} cores.\n"
    );
    println!("| by threads |{}", threads.iter().map(title).collect::<String>());
    println!("|---|{}", "---:|".repeat(threads.len()));
    let medians = figures.into_iter().map(|rows| rows.into_iter().map(median).collect::<Vec<_>>());
    for ((name, _), medians) in operations.iter().zip(medians) {
        let cell = |figure: &f64| format!(" {figure:.1} ({:.2}) |", figure / medians[0]);
        println!("| {name} |{}", medians.iter().map(cell).collect::<String>());
    }
    let share = median(shares);
    println!("\nMedians of {ROUNDS} rounds of {SPAN:?}.");
    println!(
        "The threads had {:.0} % of the processors; with less than all, they met less often than they would.",
        share * 100.0
    );
}

/// What all threads use.
struct Shared {
    cache: Cache<()>,
    rule: Rule,
    now: Instant,
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
        };
        let (now, rule) = (Clock::system().now(), Rule::lasting(Duration::from_hours(1)));
        let (cache, head) = (Cache::new(settings, 1, 1), zohos_headers());
        let entry = || {
            let (status, body) = (StatusCode::OK, vec![b'x'; 440].into());
            let fetched = Fetched { status, head: &head, body, at: now, epoch: 0, terms: None };
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
            Box::new(|thread, _| {
                shared.own[thread].0.fetch_add(1, Relaxed);
            }),
        ),
        (
            "ruler: one counter for all",
            Box::new(|_, _| {
                shared.worst.fetch_add(1, Relaxed);
            }),
        ),
        ("look-up, one key", Box::new(|_, _| drop(black_box(shared.look_up(0))))),
        ("look-up, 1,024 keys", Box::new(move |thread, n| drop(black_box(shared.look_up(other(thread, n)))))),
        ("copy of an entry's head", Box::new(|_, _| drop(black_box(shared.entry.head().clone())))),
        ("count of a request", Box::new(|_, _| shared.count())),
        (
            "all of these as a hit does, one key",
            Box::new(move |_, _| {
                answer(&shared.look_up(0));
                shared.count();
            }),
        ),
        (
            "all of these as a hit does, 1,024 keys",
            Box::new(move |thread, n| {
                answer(&shared.look_up(other(thread, n)));
                shared.count();
            }),
        ),
    ]
}

/// What an operation takes of a processor's time while so many threads do it, and what share they had of the
/// processors that they could have had.
fn measure(threads: usize, cores: usize, operation: &(dyn Fn(usize, u64) + Sync)) -> (f64, f64) {
    let (start, over) = (Barrier::new(threads + 1), AtomicBool::new(false));
    let work = |thread: usize| {
        start.wait();
        let (before, mut done) = (on_a_processor(), 0);
        while !over.load(Relaxed) {
            for n in done..done + AT_ONCE {
                operation(thread, n);
            }
            done += AT_ONCE;
        }
        (on_a_processor() - before, done)
    };
    let work = &work;
    std::thread::scope(|scope| {
        let working: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        start.wait();
        std::thread::sleep(SPAN);
        over.store(true, Relaxed);
        let all = working.into_iter().map(|thread| thread.join().unwrap());
        let (time, done) = all.fold((0, 0), |(time, done), (took, did)| (time + took, done + did));
        let most = SPAN.as_nanos() as f64 * threads.min(cores) as f64;
        (time as f64 / done as f64, time as f64 / most)
    })
}

/// For how many nanoseconds this thread has run so far. What others use of the machine is not in it.
fn on_a_processor() -> u64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    statistics.split(' ').next().unwrap().parse().unwrap()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn zohos_headers() -> HeaderMap {
    let mut head = HeaderMap::new();
    for (name, value) in [
        ("server", "ZGS"),
        ("date", "Mon, 23 Nov 2026 08:00:00 GMT"),
        ("content-type", "application/json;charset=UTF-8"),
        ("referrer-policy", "strict-origin"),
        ("x-content-type-options", "nosniff"),
        ("x-xss-protection", "1; mode=block"),
        ("x-frame-options", "SAMEORIGIN"),
        ("clientversion", "6007735"),
        ("clientsubversion", "5f8a3c1e9b7d4f02a6c8e0b1d3f5a7c9"),
        ("content-disposition", "attachment; filename=response.json"),
        ("x-download-options", "noopen"),
        ("content-language", "en-US"),
        ("strict-transport-security", "max-age=63072000"),
    ] {
        head.insert(name, HeaderValue::from_static(value));
    }
    head
}
