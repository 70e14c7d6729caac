//! `check`: every problem, or what would be served; no mint, no port.

use std::fs::Permissions;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::tempdir;

use crate::sidecar::{Process, command, ended, with_files};
use crate::zoho::{ANY_PORT, Zoho};

#[tokio::test]
async fn check_of_a_sound_configuration_tells_what_would_be_served_and_ends_with_0() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());

    let check = ended(with_files("check", directory.path(), &[&zoho.config()])).await;

    assert_eq!(check.code, Some(0), "{check:?}");
    let told = check.lines.join("\n");
    for part in [
        "listen     http://127.0.0.1:0",
        "state      none: every restart costs a mint",
        "tenant     acme: http://127.0.0.1:",
        "cached     associated-users-count: GET /crm/{version}/settings/territories/actions/",
        "forgets    territory-users",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
}

#[tokio::test]
async fn check_tells_who_may_use_what() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let callers = "[callers.billing]\nanybody = true\ntenants = [\"acme\"]\nmethods = [\"GET\", \"POST\"]\n\
                   paths = [\"/crm/{version}/**\"]\nread_only = true\nmode = \"shadow\"\n";
    let told = |end: crate::sidecar::Ended| end.lines.join("\n");

    let open = told(ended(with_files("check", directory.path(), &[&zoho.config()])).await);
    let held = told(ended(with_files("check", directory.path(), &[&zoho.config(), callers])).await);

    assert!(open.contains("callers    everybody who can connect"), "{open}");
    let line = "caller     billing: known by anybody; only acme; only GET, POST; 1 kind of path; read-only; shadow: only told, not refused";
    assert!(held.contains(line), "{held}");
}

#[tokio::test]
async fn check_opens_no_port_and_spends_no_mint() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let taken = TcpListener::bind(ANY_PORT).unwrap();
    let listen = format!("server.listen = [\"{}\"]", taken.local_addr().unwrap());

    let check = ended(with_files("check", directory.path(), &[&zoho.config(), &listen])).await;

    assert_eq!(check.code, Some(0), "{check:?}");
    assert_eq!(zoho.mint_attempts(), 0);
}

#[tokio::test]
async fn check_prints_all_problems_of_all_files_and_ends_with_1() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let files = [&*zoho.config(), "[server]\nworkers = 0\ndrain_timeout = \"5 mins\"\n", "[cahce]\n"];

    let check = ended(with_files("check", directory.path(), &files)).await;

    assert_eq!((check.code, check.lines.len()), (Some(1), 0), "{check:?}");
    for part in [
        "2.toml:2  server.workers",
        "2.toml:3  server.drain_timeout",
        "3.toml:1  cahce",
        "did you mean \"cache\"?",
        "3 problems, 2 warnings",
    ] {
        assert!(check.errors.contains(part), "{part:?} is not in {}", check.errors);
    }
}

#[tokio::test]
async fn a_literal_secret_is_only_a_warning_and_is_never_repeated() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());

    let check = ended(with_files("check", directory.path(), &[&zoho.config()])).await;

    assert_eq!(check.code, Some(0));
    assert_eq!(check.errors.matches("(warning)").count(), 2, "{}", check.errors);
    assert!(!format!("{check:?}").contains("emulated-"), "{check:?}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_a_problem_and_no_wrong_usage() {
    let check = ended(["check", "--config", "/nowhere/sidecar.toml"]).await;
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.errors.contains("/nowhere/sidecar.toml"), "{}", check.errors);
}

#[tokio::test]
async fn check_warns_of_listeners_that_cannot_be_had_here() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let place = directory.path().display();
    std::fs::write(directory.path().join("file"), "").unwrap();
    for (listen, why) in [
        (format!("unix:{place}"), "there is a file that is not a socket"),
        (format!("unix:{place}/file"), "there is a file that is not a socket"),
        (format!("unix:{place}/none/socket"), "No such file or directory"),
        (format!("unix:{place}/file/socket"), "not a directory"),
        ("192.0.2.1:8080".to_owned(), "Cannot assign requested address"),
    ] {
        let listeners = format!("server.listen = [\"{listen}\"]\nserver.i_know_this_is_open = true\n");
        let check = ended(with_files("check", directory.path(), &[&zoho.config(), &listeners])).await;
        let warning = "cannot listen on ";
        assert!(check.errors.contains(warning) && check.errors.contains(why), "{listen}: {check:?}");
        assert!(check.errors.contains("(warning)"), "{check:?}");
    }
    let fine = format!("server.listen = [\"unix:{place}/socket\"]\n");
    let check = ended(with_files("check", directory.path(), &[&zoho.config(), &fine])).await;
    assert!(!check.errors.contains("cannot listen"), "{check:?}");
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn check_and_run_warn_of_a_state_directory_and_of_secrets_that_others_may_reach() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir(at("state")).unwrap();
    std::fs::write(at("secret"), "emulated-secret-acme").unwrap();
    let more = format!(
        "state.directory = \"{}\"\n[tenants.acme]\nclient_secret = {{ file = \"{}\" }}\n",
        at("state").display(),
        at("secret").display()
    );
    let arguments = with_files("check", directory.path(), &[&zoho.config(), &more]);
    let warnings = [
        "every user of this machine may replace files in it (mode 0777)",
        "secret holds a secret, and every user of this machine may read it (mode 0644)",
        "the secret itself stands in the configuration, and of this file its group may read it (mode 0640)",
    ];
    for (modes, are_expected) in [([0o700, 0o600, 0o600], false), ([0o777, 0o644, 0o640], true)] {
        for (name, mode) in ["state", "secret", "1.toml"].into_iter().zip(modes) {
            set_mode(&at(name), mode);
        }
        let check = ended(&arguments).await;
        assert_eq!(check.code, Some(0), "warnings are no problems: {check:?}");
        for warning in warnings {
            assert_eq!(check.errors.contains(warning), are_expected, "{warning}: {}", check.errors);
        }
    }

    let mut run = arguments;
    run[0] = "run".to_owned();
    let mut process = Process::start(&mut command(&run));
    for warning in warnings {
        process.complains(warning).await;
    }
    process.signal("TERM");
    assert_eq!(process.end().await.code, Some(0));
}

#[tokio::test]
async fn the_systems_certificates_are_read_once_also_where_there_is_a_ca_file() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem();
    let (ca_file, system) = (directory.path().join("ca.pem"), directory.path().join("system.pem"));
    std::fs::write(&ca_file, &authority).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&system).status().unwrap().success());
    // Whoever opens the FIFO gets the certificates once.
    let (path, opened) = (system.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = opened.clone();
    std::thread::spawn(move || {
        while let Ok(mut reader) = std::fs::OpenOptions::new().write(true).open(&path) {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = reader.write_all(authority.as_bytes());
            drop(reader);
            // The reader sees the end before the next writer is there.
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
    });

    let more = format!("upstream.ca_file = \"{}\"\n", ca_file.display());
    let mut check = command(with_files("check", directory.path(), &[&zoho.config(), &more]));
    let check = Process::start(check.env("SSL_CERT_FILE", &system)).end().await;

    assert_eq!(check.code, Some(0), "{check:?}");
    assert_eq!(opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn check_shows_odd_characters_of_a_configuration_escaped() {
    let directory = tempdir().unwrap();
    let odd = "[server]\n\"list\u{9b}31m\u{202e}en\" = 1\n[tenants.\"a\u{2028}\u{5d0}\"]\ndata_center = \"\u{200b}eu\"\n";

    let check = ended(with_files("check", directory.path(), &[odd])).await;

    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.errors.contains(r"server.list\u009b31m\u202een"), "{}", check.errors);
    let is_odd = |c: &char| matches!(*c, '\u{9b}' | '\u{202e}' | '\u{2028}' | '\u{5d0}' | '\u{200b}');
    assert_eq!(check.errors.chars().find(is_odd), None, "{:?}", check.errors);
}
