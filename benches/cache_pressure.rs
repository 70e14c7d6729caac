//! The cache under pressure: a million distinct keys through 64 MiB.
//!
//! `cargo bench --bench cache_pressure` prints what memory the process takes beside the bound, how many hot keys
//! survive the scan, and what a hit costs while it goes on beside what it costs in peace.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark speaks to people")]

mod zoho;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use zoho_sidecar::cache::entry::{Entry, Fetched};
use zoho_sidecar::cache::key::Key;
use zoho_sidecar::cache::rule::Rule;
use zoho_sidecar::cache::{Cache, Lookup, Settings};
use zoho_sidecar::clock::Clock;

use zoho::zohos_headers;

const BOUND: u64 = 64 << 20;
const KEYS: usize = 1_000_000;
const HOT: usize = 1_000;
/// Every so many new keys all hot ones are asked for once.
const ROUND: usize = 10_000;

fn main() {
    let (clock, rule) = (Clock::system(), Rule::lasting(Duration::from_mins(5)));
    let settings = Settings {
        max_bytes: BOUND,
        max_entry_bytes: 1 << 20,
        uncacheable_for: Duration::from_mins(1),
        fetch_timeout: Duration::from_mins(1),
        max_key_header_bytes: 1 << 10,
    };
    let cache = Arc::new(Cache::<()>::new(settings, 1, 1));
    let (head, body) = (zohos_headers(), vec![b'x'; 440]);
    let store = |name: &str| {
        let fetched = Fetched {
            status: StatusCode::OK,
            head: &head,
            body: body.clone().into(),
            memory: None,
            at: clock.boot_time(),
            epoch: 0,
            terms: None,
            is_unfit: false,
            variant: None,
        };
        cache.store(Key::from_bytes(name.as_bytes()), Arc::new(Entry::new(&rule, 0, fetched)), 0, || 0);
    };
    let hot: Vec<String> = (0..HOT).map(|n| format!("/crm/v8/settings/hot/{n}")).collect();
    let ask =
        |name: &str| matches!(cache.lookup(name.as_bytes(), &rule, 0, clock.boot_time()), Lookup::Fresh(..));

    let before = resident();
    for name in &hot {
        store(name);
    }
    for _ in 0..20 {
        assert!(hot.iter().all(|name| ask(name)), "what was just stored is there");
    }
    let in_peace = hits_per_second(&cache, &rule, &clock, &hot);
    let mut peak = 0;
    for round in 0..KEYS / ROUND {
        for n in 0..ROUND {
            store(&format!("/crm/v8/settings/cold/{round}/{n}"));
        }
        let _found = hot.iter().filter(|name| ask(name)).count();
        peak = peak.max(resident());
    }
    let (entries, bytes) = cache.size();
    let survivors = hot.iter().filter(|name| ask(name)).count();

    let stop = Arc::new(AtomicBool::new(false));
    let under_pressure = std::thread::scope(|scope| {
        let (stopping, store) = (stop.clone(), &store);
        scope.spawn(move || {
            let mut n = 0;
            while !stopping.load(Ordering::Relaxed) {
                store(&format!("/crm/v8/settings/more/{n}"));
                n += 1;
                // Some ten thousand a second: far more than Zoho could answer.
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        let hits = hits_per_second(&cache, &rule, &clock, &hot);
        stop.store(true, Ordering::Relaxed);
        hits
    });

    let mib = |bytes: u64| bytes >> 20;
    println!("distinct keys           {KEYS}");
    println!("bound                   {} MiB", mib(BOUND));
    println!("entries, as weighed     {entries}, {} MiB", mib(bytes));
    println!("memory above the start  {} MiB at its peak", mib(peak - before));
    println!("hot keys that survived  {survivors} of {HOT}");
    println!("hits in peace           {in_peace} per second");
    println!(
        "hits under pressure     {under_pressure} per second, {} %",
        under_pressure * 100 / in_peace.max(1)
    );
}

/// Look-ups of hot keys that found something, in one second.
fn hits_per_second(cache: &Cache<()>, rule: &Rule, clock: &Clock, hot: &[String]) -> u64 {
    let (until, mut hits) = (clock.now() + Duration::from_secs(1), 0);
    while clock.now() < until {
        for name in hot {
            hits += u64::from(matches!(
                cache.lookup(name.as_bytes(), rule, 0, clock.boot_time()),
                Lookup::Fresh(..)
            ));
        }
    }
    hits
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}
