//! Signals that must not end a process which serves, at any time.

use tempfile::tempdir;

use crate::caller;
use crate::sidecar::{Process, Sidecar, command};
use crate::zoho::{COUNT, Zoho};

const WITHOUT_EFFECT: [&str; 3] = ["HUP", "USR1", "USR2"];

#[tokio::test]
async fn hup_and_the_user_signals_are_logged_and_the_sidecar_serves_on() {
    let zoho = Zoho::start().await;
    let mut sidecar = Sidecar::run(&zoho, "").await;
    for signal in WITHOUT_EFFECT {
        sidecar.signal(signal);
        sidecar.process().complains(&format!(r#""signal":"SIG{signal}""#)).await;
    }
    assert_eq!(sidecar.get(COUNT).await.status, 200);
    assert_eq!(sidecar.stop().await.code, Some(0));
}

#[tokio::test]
async fn the_emulator_logs_these_signals_and_ends_at_quit() {
    let mut emulator = Process::start(&mut command(["emulator", "--listen", "127.0.0.1:0"]));
    let first = emulator.line().await.unwrap();
    for signal in WITHOUT_EFFECT {
        emulator.signal(signal);
        emulator.complains(&format!("signal=\"SIG{signal}\"")).await;
    }
    let address = first.split("http://").nth(1).unwrap().parse().unwrap();
    assert_eq!(caller::get(address, "/__emulator/ledger").await.status, 200);
    emulator.signal("QUIT");
    assert_eq!(emulator.end().await.code, Some(0));
}

#[tokio::test]
async fn the_demo_logs_these_signals_and_ends_at_quit() {
    let mut demo = Process::start(&mut command(["demo"]));
    while demo.line().await.expect("the demo goes on") != "Ctrl-C ends it." {}
    for signal in WITHOUT_EFFECT {
        demo.signal(signal);
        demo.complains(&format!("signal=\"SIG{signal}\"")).await;
    }
    demo.signal("QUIT");
    assert_eq!(demo.end().await.code, Some(0));
}

#[tokio::test]
async fn a_start_that_hangs_survives_hup_and_ends_at_a_signal_to_stop() {
    for stop in ["TERM", "INT", "QUIT"] {
        let directory = tempdir().unwrap();
        let fifo = directory.path().join("config.toml");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut process = Process::start(&mut command(["run", "--config", fifo.to_str().unwrap()]));
        handlers_are_installed(&process).await;
        for signal in WITHOUT_EFFECT {
            process.signal(signal);
        }
        process.signal(stop);
        assert_eq!(process.end_unread().await, Some(0), "{stop}");
    }
}

/// Waits until the process catches SIGHUP, which is the first bit of the mask that the system shows.
async fn handlers_are_installed(process: &Process) {
    let status = format!("/proc/{}/status", process.id());
    crate::until("handlers of signals", async || {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        let (hup, terminate) = (1, 1 << 14);
        u64::from_str_radix(caught, 16).unwrap() & (hup | terminate) == hup | terminate
    })
    .await;
}
