//! The slowest answers from memory while something else goes on.
//!
//! Whoever disturbs shares its core with the load, and takes a little time from it: the row about misses that evict
//! nothing shows how much of the one about evictions is that.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Scene, crowd};
use crate::load::closed::Closed;
use crate::load::open::{self, Latencies, Pace};
use crate::load::{Want, plain};
use crate::options::Options;
use crate::peers::{Running, Wish};
use crate::table::{Column, Figure, Sheet, Shown, thousands};

const CONNECTIONS: usize = 64;
/// Long stalls are what is looked for.
const HOPELESS: Duration = Duration::from_secs(20);
const RATE: f64 = 10_000.0;
const PURGED: usize = 100_000;
/// What the small cache is filled with beforehand.
const FILLING: usize = 40_000;
const SCRAPE: Duration = Duration::from_millis(100);
const MISS: Duration = Duration::from_millis(2);

/// What goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disturbance {
    Nothing,
    Purge,
    Scrapes,
    Log,
    Renewal,
    Misses,
    Evictions,
}

use Disturbance::{Evictions, Log, Misses, Nothing, Purge, Renewal, Scrapes};

const ALL: [(Disturbance, &str); 7] = [
    (Nothing, "nothing else"),
    (Purge, "a purge of 100,000 entries"),
    (Scrapes, "a scrape of the metrics every 100 ms"),
    (Log, "a line of log for each request, into a file"),
    (Renewal, "a withdrawn token, and its renewal"),
    (Misses, "500 misses a second, which evict nothing"),
    (Evictions, "500 misses a second, each of which evicts"),
];

const COLUMNS: [Column; 4] = [
    Column { title: "p50", figure: Figure::Latency(5000), shown: Shown::Value(0) },
    Column { title: "p99", figure: Figure::Latency(9900), shown: Shown::Value(0) },
    Column { title: "p99.9", figure: Figure::Latency(9990), shown: Shown::Value(0) },
    Column { title: "slowest", figure: Figure::Latency(10_000), shown: Shown::Value(0) },
];

/// Measures and prints a table.
pub(crate) fn stalls(options: &Options) -> Result<()> {
    let scene = Scene::set(options)?;
    let mut sheet = Sheet::default();
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for (at, (disturbance, name)) in ALL.into_iter().enumerate() {
            let latencies = disturbed(&scene, options, disturbance).context(name)?;
            for share in [5000, 9900, 9990, 10_000] {
                sheet.note(at, Figure::Latency(share), latencies.within(f64::from(share) / 10_000.0));
            }
        }
    }
    let names = ALL.map(|(_, name)| name.to_owned());
    let rate = thousands(options.rate.unwrap_or(RATE));
    let title = format!("Latency in µs at {rate} answers from memory a second, while there is");
    println!("{}", sheet.table(&title, &names, None, &COLUMNS));
    println!("Medians of {} rounds of {} s.", options.rounds, options.span.as_secs());
    Ok(())
}

fn disturbed(scene: &Scene, options: &Options, disturbance: Disturbance) -> Result<Latencies> {
    let span = options.span.max(Duration::from_secs(2));
    let cache = if disturbance == Evictions { "4MiB" } else { "512MiB" };
    let running = scene.run(cache, &Wish { log: disturbance == Log, ..Wish::default() })?;
    let filled = match disturbance {
        Purge => PURGED,
        Misses | Evictions => FILLING,
        _ => 0,
    };
    fill(running.address, filled)?;
    plain::ask(running.address, &Want::count())?;
    let want = Want::count().says(Some("; hit"));
    let rate = options.rate.unwrap_or(RATE);
    let pace = Pace { to: running.address, connections: CONNECTIONS, rate, hopeless: HOPELESS };
    let load = |span| {
        let latencies = open::run(pace, &want, span)?;
        latencies.with_context(|| format!("it cannot keep up with {rate:.0} requests a second"))
    };
    load(span)?;
    let (mints, over) = (scene.origin.mints.load(Relaxed), AtomicBool::new(false));
    let latencies = thread::scope(|scope| {
        let disturbing = scope.spawn(|| disturb(scene, &running, disturbance, span, filled, &over));
        let latencies = load(span);
        over.store(true, Relaxed);
        disturbing.join().expect("whoever fails says so")?;
        latencies
    })?;
    let renewed = scene.origin.mints.load(Relaxed) > mints;
    ensure!(renewed == (disturbance == Renewal), "a token was renewed at the wrong time, or not");
    Ok(latencies)
}

/// Puts this many entries of the crowd into the cache.
fn fill(to: SocketAddr, entries: usize) -> Result<()> {
    let wants: Vec<Want> = crowd(0..entries).collect();
    let mut numbers = 0..entries;
    Closed::open(to, CONNECTIONS)?.run(&wants, || numbers.next())?;
    Ok(())
}

fn disturb(
    scene: &Scene,
    running: &Running,
    what: Disturbance,
    span: Duration,
    filled: usize,
    over: &AtomicBool,
) -> Result<()> {
    match what {
        Nothing | Log => Ok(()),
        Renewal => {
            sleep(span / 2);
            scene.origin.withdrawn.store(scene.origin.mints.load(Relaxed), Relaxed);
            plain::ask(running.address, &Want::record()).map(drop)
        }
        Purge => {
            sleep(span / 2);
            purge(running.second, filled)
        }
        Scrapes => {
            let scrape = Want::get("/metrics");
            let mut stream = plain::ask(running.second, &scrape)?;
            while !over.load(Relaxed) {
                sleep(SCRAPE);
                plain::ask_again(&mut stream, &scrape)?;
            }
            Ok(())
        }
        Misses | Evictions => {
            let mut stream = plain::ask(running.address, &Want::count())?;
            for want in crowd(filled..usize::MAX).take_while(|_| !over.load(Relaxed)) {
                sleep(MISS);
                plain::ask_again(&mut stream, &want)?;
            }
            Ok(())
        }
    }
}

fn purge(admin: SocketAddr, entries: usize) -> Result<()> {
    let purge = Want::post("/purge", r#"{"route":"crowd"}"#);
    let mut stream = plain::ask(admin, &Want::get("/livez"))?;
    let answer = plain::ask_again(&mut stream, &purge)?;
    let answer = String::from_utf8_lossy(&answer);
    ensure!(
        answer.contains(&entries.to_string()),
        "the purge should have forgotten {entries}, and said {answer}"
    );
    Ok(())
}
