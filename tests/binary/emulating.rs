//! `emulator`: an emulated Zoho for developers without an account.

use tempfile::tempdir;

use crate::caller;
use crate::sidecar::{Process, Sidecar, command, ended};
use crate::zoho::COUNT;

/// Starts an emulator and reads what it says: its address, and a configuration for it.
async fn emulator(scenario: Option<&str>) -> (Process, String, String) {
    let scenario = scenario.map(|path| format!("--scenario={path}"));
    let arguments = ["emulator", "--listen", "127.0.0.1:0"].map(str::to_owned).into_iter().chain(scenario);
    let mut process = Process::start(&mut command(arguments));
    let first = process.line().await.unwrap();
    let address = first.strip_prefix("emulated Zoho listening on http://").unwrap().to_owned();
    while process.line().await.unwrap() != "A sidecar for it:" {}
    let mut config = String::new();
    let mut tokens = 0;
    while tokens < 2 {
        let line = process.line().await.unwrap();
        tokens += usize::from(line.starts_with("refresh_token"));
        config.push_str(&line);
        config.push('\n');
    }
    (process, address, config)
}

const LISTEN: &str = r#"
    server.listen = ["127.0.0.1:0"]
    admin.listen = "127.0.0.1:0"
    state.directory = "none"
"#;

#[tokio::test]
async fn the_configuration_that_the_emulator_prints_serves_its_organisations() {
    let (zoho, address, config) = emulator(None).await;

    let sidecar = Sidecar::with_files(&[&config, LISTEN]).await;

    for tenant in ["acme", "globex"] {
        assert_eq!(sidecar.get(&format!("/tenants/{tenant}{COUNT}")).await.status, 200, "{tenant}");
    }
    let ledger = caller::get(address.parse().unwrap(), "/__emulator/ledger").await.json();
    assert_eq!((&ledger["mints"], &ledger["calls"]), (&2.into(), &2.into()));
    zoho.signal("TERM");
    assert_eq!(zoho.end().await.code, Some(0));
}

#[tokio::test]
async fn a_broken_scenario_ends_with_1_and_its_line_is_named() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("scenario.toml");
    std::fs::write(&path, "count_as = \"string\"\n\n[limits]\nmints_per_window = \"ten\"\n").unwrap();

    let run = ended(["emulator", "--listen", "127.0.0.1:0", "--scenario", path.to_str().unwrap()]).await;

    assert_eq!((run.code, run.lines.len()), (Some(1), 0), "{run:?}");
    assert!(run.errors.contains("scenario.toml: line 4: invalid type"), "{}", run.errors);
}

#[tokio::test]
async fn a_scenario_that_is_not_there_ends_with_1_and_is_named() {
    let run = ended(["emulator", "--listen", "127.0.0.1:0", "--scenario", "/nowhere/scenario.toml"]).await;
    assert_eq!(run.code, Some(1));
    assert!(run.errors.contains("/nowhere/scenario.toml: No such file"), "{}", run.errors);
}

#[tokio::test]
async fn an_emulators_port_in_use_ends_with_1_and_is_named() {
    let taken = std::net::TcpListener::bind(crate::zoho::ANY_PORT).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = ended(["emulator", "--listen", &address]).await;
    assert_eq!(run.code, Some(1));
    assert!(run.errors.contains(&address), "{}", run.errors);
}

#[tokio::test]
async fn an_emulator_that_others_reach_has_to_be_meant() {
    let run = ended(["emulator", "--listen", "0.0.0.0:0"]).await;
    assert_eq!((run.code, run.lines.len()), (Some(1), 0), "{run:?}");
    assert!(
        run.errors.contains("whoever reaches 0.0.0.0:0") && run.errors.contains("--i-know-this-is-open"),
        "{run:?}"
    );

    let arguments = ["emulator", "--listen", "0.0.0.0:0", "--i-know-this-is-open"];
    let mut process = Process::start(&mut command(arguments.map(str::to_owned)));
    let first = process.line().await.unwrap();
    assert!(first.starts_with("emulated Zoho listening on http://0.0.0.0:"), "{first}");
}
