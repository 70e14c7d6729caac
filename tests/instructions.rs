//! What one request costs in instructions, held against `instructions.tsv`: the release executable under valgrind,
//! the emulated Zoho behind it.
//!
//! A count is the difference of two runs, of few requests and of many. It does not depend on what else the machine
//! does, as a time would, and so a change that makes a request dearer is seen by the change itself.
//! `CONTRIBUTING.md` says how to run this, and how to record a new baseline.
//!
//! - [`kinds`]: the requests, and how the sidecar is configured for each
//! - [`scene`]: the two processes, and what is asked
//! - [`caller`]: who asks
//! - [`profile`]: what callgrind wrote
//! - [`locked`]: which of the instructions lock
//! - [`table`]: the baseline, and the comparison with it

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise fails")]

#[path = "instructions/caller.rs"]
mod caller;
#[path = "instructions/kinds.rs"]
mod kinds;
#[path = "instructions/locked.rs"]
mod locked;
#[path = "instructions/profile.rs"]
mod profile;
#[path = "instructions/scene.rs"]
mod scene;
#[path = "instructions/table.rs"]
mod table;

use std::path::{Path, PathBuf};

use kinds::{HIT, KINDS, Kind};
use profile::Profile;
use scene::Scene;
use table::{Made, Table};

/// How many requests the two runs have.
const FEW: u64 = 500;
const MANY: u64 = 2500;

#[test]
fn no_request_costs_more_than_it_did() {
    let executable = release();
    let mut counted = Table::of(Made::by(&executable));
    for kind in KINDS {
        let more = profile_of(&executable, &kind);
        counted.note(kind.name, more.instructions_per(MANY - FEW));
        if kind.name == HIT {
            let locked = locked::among(&more, MANY - FEW);
            println!("Locked instructions of a hit, by function:\n{locked}");
            counted.note("hit, locked instructions", locked.total());
        }
    }
    println!("{counted}");

    let baseline = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/instructions.tsv");
    if std::env::var("INSTRUCTIONS").is_ok_and(|wish| wish == "record") {
        std::fs::write(&baseline, counted.to_string()).unwrap();
        return;
    }
    let text = std::fs::read_to_string(&baseline).unwrap();
    let comparison = table::compare(&Table::parse(&text), &counted);
    for hint in &comparison.hints {
        println!("{hint}");
    }
    let complaints = comparison.complaints;
    assert!(complaints.is_empty(), "{}\n{}", complaints.join("\n"), table::HOW_TO_RECORD);
}

/// The executable that is measured. That of the dev profile would say nothing.
fn release() -> PathBuf {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/zoho-sidecar");
    let path = std::env::var_os("SIDECAR_RELEASE").map_or_else(usual, PathBuf::from);
    assert!(
        path.is_file(),
        "{} is not there; build it with `cargo build --release --locked`, or say in SIDECAR_RELEASE where it is",
        path.display()
    );
    path
}

/// What many requests of a kind ran that few did not.
fn profile_of(executable: &Path, kind: &Kind) -> Profile {
    let run = |requests| Scene::set(executable, kind).profile(kind, requests);
    // Each has a sidecar and a Zoho of its own, so that they can run at once.
    std::thread::scope(|scope| {
        let few = scope.spawn(|| run(FEW));
        run(MANY).less(&few.join().unwrap())
    })
}
