//! Keeps the house in order: imports point down the floors, names say what a thing is, files stay small.
//!
//! A rule is a function from sources to complaints. The first half applies each to `src/`; the second half
//! shows, on small made-up sources, that each can complain.

#[path = "architecture/reading.rs"]
mod reading;

use std::collections::{BTreeMap, BTreeSet};

use reading::{Import, Source, house};

/// The floors, from top to bottom. A room may import rooms of lower floors only; rooms on one floor do not
/// know each other. `lib.rs` is the map and belongs to no floor.
const FLOORS: [&[&str]; 16] = [
    &["main"],
    &["cli"],
    &["app"],
    &["config"], // its sections are the rooms' own `Settings`, the proxy's too
    &["proxy"],
    &["admin"], // tells of the rules in force
    &["rulebook"],
    &["callers"], // their policies speak in the templates of routes
    &["routes"],
    &["cache", "oauth", "admission", "upstream"],
    &["tenants", "server", "emulator"],
    &["zoho"],
    &["net", "shared"],
    &["telemetry"],
    &["supervisor"],
    &["causes", "clock", "files"],
];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "manager", "helper", "helpers", "misc"];

/// More lines than this are more than one idea.
const MOST_LINES: usize = 400;

/// What may stand in tests only.
const UNFINISHED: [&str; 4] = ["todo!", "unimplemented!", "dbg!", ".unwrap()"];

/// What starts a task or a thread.
const STARTS: [&str; 3] = ["spawn(", "spawn_blocking(", "spawn_local("];

/// Who may start tasks and threads beside the supervisor, and why. After a panic such a task just stops.
const STARTERS: [(&str, &str); 10] = [
    ("cli/service.rs", "the start waits for it, and takes over its panic"),
    ("supervisor/", "it starts what all others ask it to start"),
    ("emulator/", "it is no part of a sidecar that serves"),
    ("cli/demo/", "the demo waits for what it starts, and reports how it ended"),
    ("server/worker.rs", "a connection's task catches its panic itself, without another allocation"),
    ("admin/listener.rs", "a connection's task catches its panic itself, and ends with the listener"),
    ("cache/flight.rs", "a fetch catches its panic itself, and whoever waits learns that it is gone"),
    ("oauth/vault/mod.rs", "closing a file, which does not panic"),
    ("files.rs", "whoever waits for the file gets its panic as an error"),
    ("net/resolver.rs", "whoever waits for the name gets its panic as an error"),
];

#[test]
fn tasks_and_threads_are_started_through_the_supervisor() {
    expect_none(&plain_starts(&house()));
}

#[test]
fn imports_point_down_the_floors() {
    expect_none(&upward_imports(&house()));
}

#[test]
fn no_imports_go_in_a_circle() {
    expect_none(&circles(&house()));
}

#[test]
fn every_room_has_a_floor() {
    expect_none(&rooms_without_a_floor(&house()));
}

#[test]
fn every_room_has_a_door_that_says_what_it_is_for() {
    expect_none(&silent_doors(&house()));
}

#[test]
fn no_file_is_named_after_nothing() {
    expect_none(&empty_names(&house()));
}

#[test]
fn no_file_holds_more_than_it_should() {
    expect_none(&long_files(&house()));
}

#[test]
fn nothing_is_unfinished_outside_tests() {
    expect_none(&unfinished(&house()));
}

#[test]
fn only_the_log_writes_to_the_standard_streams() {
    expect_none(&direct_output(&house()));
}

fn upward_imports(house: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in without_tests(house).filter(|source| source.room() != "lib") {
        let room = source.room();
        for Import { room: other, line } in source.imports() {
            let below = floor(&other) > floor(room) && floor(room).is_some();
            if other != room && !below {
                complaints.push(format!(
                    "src/{}:{line} imports `{other}`, which is not below `{room}`",
                    source.path
                ));
            }
        }
    }
    complaints
}

/// Modules of one folder that import each other, by whatever way round. What a door shows of its folder's modules is
/// not looked at.
fn circles(house: &[Source]) -> Vec<String> {
    let is_module = |path: &str| {
        house.iter().any(|source| {
            source.path.strip_prefix(path).is_some_and(|rest| rest == ".rs" || rest == "/mod.rs")
        })
    };
    let mut folders: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for (folder, from, to) in without_tests(house).flat_map(Source::neighbours) {
        if from != to && is_module(&format!("{folder}/{to}")) {
            folders.entry(folder).or_default().insert((from, to));
        }
    }
    let mut complaints = Vec::new();
    for (folder, mut imports) in folders {
        // Whoever imports nobody, or is imported by nobody, is in no circle; nor is who is left so by them.
        loop {
            let before = imports.clone();
            imports.retain(|(from, to)| {
                before.iter().any(|(other, _)| other == to) && before.iter().any(|(_, other)| other == from)
            });
            if imports.len() == before.len() {
                break;
            }
        }
        let names: BTreeSet<String> = imports.into_iter().map(|(from, _)| from).collect();
        if !names.is_empty() {
            let names = Vec::from_iter(names).join(", ");
            complaints.push(format!("in src/{folder} imports go in a circle among {names}"));
        }
    }
    complaints
}

fn rooms_without_a_floor(house: &[Source]) -> Vec<String> {
    let mut rooms: Vec<&str> = house.iter().map(Source::room).filter(|room| *room != "lib").collect();
    rooms.dedup();
    rooms.retain(|room| floor(room).is_none());
    let complaint =
        |room| format!("`{room}` is on no floor; give it a place in FLOORS of tests/architecture.rs");
    rooms.into_iter().map(complaint).collect()
}

fn silent_doors(house: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in house {
        if is_door(source) && !source.text.starts_with("//! ") {
            complaints.push(format!("src/{} does not begin with //! and what it is for", source.path));
        }
        let Some((folder, _)) = source.path.rsplit_once('/') else { continue };
        let door = format!("{folder}/mod.rs");
        if !house.iter().any(|other| other.path == door) {
            complaints.push(format!("src/{} lies in a folder without a mod.rs", source.path));
        }
    }
    complaints
}

fn empty_names(house: &[Source]) -> Vec<String> {
    let nothing = |source: &&Source| source.names().any(|name| EMPTY_NAMES.contains(&name));
    let complaint = |source: &Source| format!("src/{}: name it after what is inside", source.path);
    house.iter().filter(nothing).map(complaint).collect()
}

fn long_files(house: &[Source]) -> Vec<String> {
    let long = house.iter().filter(|source| source.lines() > MOST_LINES);
    let complaint = |source: &Source| {
        format!("src/{} has {} lines; {MOST_LINES} are the most", source.path, source.lines())
    };
    long.map(complaint).collect()
}

fn unfinished(house: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in without_tests(house) {
        for (n, line) in source.code().lines().enumerate() {
            for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
                complaints.push(format!("src/{}:{} has `{word}` outside tests", source.path, n + 1));
            }
        }
    }
    complaints
}

/// Handles to the standard streams, beside the one that neither panics nor keeps a lock, and the question whether they
/// are a terminal.
fn direct_output(house: &[Source]) -> Vec<String> {
    const HANDLES: [&str; 6] = ["io::stdout", "io::stderr", "println!", "eprintln!", " print!", "eprint!"];
    let mut complaints = Vec::new();
    for source in without_tests(house).filter(|source| source.path != "telemetry/log/target.rs") {
        for (n, line) in source.code().lines().enumerate() {
            let handle = HANDLES.iter().find(|handle| line.contains(**handle));
            if let Some(handle) = handle.filter(|_| !line.contains("is_terminal")) {
                complaints.push(format!("src/{}:{} has `{handle}`", source.path, n + 1));
            }
        }
    }
    complaints
}

fn plain_starts(house: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    let may_start = |source: &&Source| STARTERS.iter().any(|(path, _)| source.path.starts_with(path));
    for source in without_tests(house).filter(|source| !may_start(source)) {
        for (n, line) in source.code().lines().enumerate() {
            if STARTS.iter().any(|start| line.contains(start)) {
                complaints.push(format!(
                    "src/{}:{} starts a task or thread by itself; the supervisor would notice its panic",
                    source.path,
                    n + 1
                ));
            }
        }
    }
    complaints
}

/// How far below the top a room is; `None` if it is not in the table.
fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

/// Doors are the files a reader opens first: `mod.rs`, and files that are rooms of their own.
fn is_door(source: &Source) -> bool {
    source.path.ends_with("/mod.rs") || !source.path.contains('/') && source.room() != "main"
}

/// Sources that are part of the program.
fn without_tests(house: &[Source]) -> impl Iterator<Item = &Source> {
    let tests: Vec<String> = house.iter().flat_map(Source::test_modules).collect();
    let is_test = move |source: &&Source| {
        tests.iter().any(|module| {
            source
                .path
                .strip_prefix(module.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    };
    house.iter().filter(move |source| !is_test(source))
}

#[track_caller]
fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Made-up sources.
fn sources<const N: usize>(files: [(&str, &str); N]) -> Vec<Source> {
    files.map(|(path, text)| Source { path: path.to_owned(), text: text.to_owned() }).into()
}

#[test]
fn an_import_of_a_higher_room_is_found_with_its_line() {
    let house = sources([("cache/key.rs", "//! Keys.\n\nuse crate::proxy::Call;\n")]);
    assert_eq!(upward_imports(&house), ["src/cache/key.rs:3 imports `proxy`, which is not below `cache`"]);
}

#[test]
fn an_import_of_a_neighbour_is_found() {
    let house = sources([
        ("oauth/mod.rs", "use crate::cache::Cache;"),
        ("server.rs", "use crate::emulator::Emulator;"),
    ]);
    assert_eq!(upward_imports(&house).len(), 2);
}

#[test]
fn an_import_of_a_lower_room_or_of_the_room_itself_is_fine() {
    let house = sources([
        ("proxy/mod.rs", "use crate::cache::Cache; use crate::proxy::call::Call; use crate::clock::Clock;"),
        ("zoho/mod.rs", "use crate::net::origin::Origin;"),
        ("main.rs", "use zoho_sidecar::cli;"),
        ("lib.rs", "pub use crate::proxy::Proxy;"),
    ]);
    assert_eq!(upward_imports(&house), [""; 0]);
}

#[test]
fn every_way_to_name_a_room_is_seen() {
    for text in [
        "use crate::{clock::Clock, proxy::Call};",
        "use crate::{\n    net::{body::Body, origin},\n    proxy::{self, call},\n};",
        "fn f(call: &crate::proxy::Call) {}",
        "macro_rules! m { () => { $crate::proxy::f() } }",
        "use super::super::proxy::Call;",
        "use super::super::{clock, proxy};",
        "use crate::*;",
        "use crate::nowhere::Thing;",
    ] {
        let house = sources([("cache/key.rs", text)]);
        assert_eq!(upward_imports(&house).len(), 1, "{text}");
    }
}

#[test]
fn what_only_looks_like_an_import_is_none() {
    for text in [
        "//! See crate::proxy for more. use crate::proxy::Call;",
        "/* use crate::proxy; /* and */ crate::proxy */",
        r#"const A: &str = "use crate::proxy; \" crate::proxy";"#,
        "const A: &str = r##\"crate::proxy \"# crate::proxy\"##;",
        "const QUOTE: char = '\"'; // crate::proxy \"",
        "const QUOTE: char = '\\''; // crate::proxy '",
        "fn f<'a>(text: &'a str) {} // crate::proxy",
        "use super::proxy::Inner;",
        "use othercrate::proxy;",
    ] {
        assert_eq!(upward_imports(&sources([("cache/key.rs", text)])), [""; 0], "{text}");
    }
}

#[test]
fn tests_may_import_what_they_like() {
    let house = sources([
        (
            "net/body.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::proxy::Proxy;\n    fn g() { if true {} }\n}\n",
        ),
        ("net/mod.rs", "//! Mechanics.\n#[cfg(test)]\nmod trials;\n"),
        ("net/trials.rs", "use crate::proxy::Proxy;"),
        ("clock.rs", "#[cfg(test)]\nmod late;\n"),
        ("clock/late/mod.rs", "use crate::proxy::Proxy;"),
    ]);
    assert_eq!(upward_imports(&house), [""; 0]);
}

#[test]
fn what_follows_a_test_module_is_still_read() {
    let house =
        sources([("net/body.rs", "#[cfg(test)]\nmod tests { fn f() { '{'; } }\nuse crate::proxy::Proxy;\n")]);
    assert_eq!(upward_imports(&house), ["src/net/body.rs:3 imports `proxy`, which is not below `net`"]);
}

#[test]
fn a_circle_is_found_and_who_only_leads_to_it_is_not_named() {
    let house = sources([
        ("cache/mod.rs", "mod a; mod b; mod c; use a::A;"),
        ("cache/a.rs", "use super::b::B;"),
        ("cache/b.rs", "use super::{Cache, c::C};"),
        ("cache/c/mod.rs", "mod deep;"),
        ("cache/c/deep.rs", "use crate::cache::d::D;"),
        ("cache/d.rs", "use super::b::B; use super::e::E;"),
        ("cache/e.rs", "#[cfg(test)]\nmod tests { use super::super::b::B; use super::d::D; }"),
    ]);
    assert_eq!(circles(&house), ["in src/cache imports go in a circle among b, c, d"]);
}

#[test]
fn a_room_that_nobody_placed_is_found() {
    let house = sources([("lib.rs", ""), ("attic/mod.rs", ""), ("attic/box.rs", ""), ("cache/mod.rs", "")]);
    assert_eq!(
        rooms_without_a_floor(&house),
        ["`attic` is on no floor; give it a place in FLOORS of tests/architecture.rs"]
    );
}

#[test]
fn a_door_that_says_nothing_and_a_folder_without_one_are_found() {
    let house = sources([("cache/mod.rs", "use x;\n"), ("oauth/token.rs", ""), ("main.rs", "fn main() {}")]);
    assert_eq!(
        silent_doors(&house),
        [
            "src/cache/mod.rs does not begin with //! and what it is for",
            "src/oauth/token.rs lies in a folder without a mod.rs",
        ]
    );
}

#[test]
fn an_empty_name_is_found_wherever_it_is() {
    let house = sources([("cache/utils.rs", ""), ("common/mod.rs", ""), ("cache/commonly.rs", "")]);
    assert_eq!(empty_names(&house).len(), 2);
}

#[test]
fn a_long_file_is_found() {
    let house = sources([("a.rs", "//\n".repeat(400).as_str()), ("b.rs", "//\n".repeat(401).as_str())]);
    assert_eq!(long_files(&house), ["src/b.rs has 401 lines; 400 are the most"]);
}

#[test]
fn a_task_or_thread_that_is_started_past_the_supervisor_is_found() {
    let starts =
        "fn f() {\n    tokio::spawn(g());\n    std::thread::Builder::new().spawn(h)\n    set.spawn(i);\n}\n";
    let tests = "#[cfg(test)]\nmod tests { fn t() { tokio::spawn(g()); } }\n// tokio::spawn(g())\n";
    let house = sources([("cache/a.rs", starts), ("cache/b.rs", tests), ("supervisor/mod.rs", starts)]);
    let found: Vec<String> = plain_starts(&house).iter().map(|text| text[..14].to_owned()).collect();
    assert_eq!(found, ["src/cache/a.rs", "src/cache/a.rs", "src/cache/a.rs"]);
}

#[test]
fn an_unfinished_line_is_found_outside_tests_only() {
    let text = "fn f() {\n    g().unwrap();\n    todo!()\n}\n// dbg!\n#[cfg(test)]\nmod tests { fn t() { g().unwrap() } }\n";
    assert_eq!(
        unfinished(&sources([("a.rs", text)])),
        ["src/a.rs:2 has `.unwrap()` outside tests", "src/a.rs:3 has `todo!` outside tests"]
    );
}

#[test]
fn output_beside_the_log_is_found() {
    let text = "fn f() {\n    println!();\n    io::stderr().lock();\n    io::stderr().is_terminal();\n}\n";
    assert_eq!(
        direct_output(&sources([("a.rs", text), ("telemetry/log/target.rs", text)])),
        ["src/a.rs:2 has `println!`", "src/a.rs:3 has `io::stderr`"]
    );
}
