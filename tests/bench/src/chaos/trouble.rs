//! What goes wrong around the sidecar: at Zoho, with tokens, with files and logs, and by operators.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Activity;
use super::dice::Dice;
use super::log::LogReader;
use super::stage::{Stage, agent, lock};

/// The six mints that the sidecar allows itself in ten minutes leave room for a revoked token this often.
const REVOCATIONS: Duration = Duration::from_secs(150);

pub(super) fn all(stage: &Arc<Stage>) -> Vec<Activity> {
    let next_revocation = Mutex::new(Instant::now() + Duration::from_secs(20));
    let revoke = move |stage: &Stage, _: &mut Dice| {
        let mut next = lock(&next_revocation);
        if Instant::now() < *next {
            return Ok(());
        }
        *next = Instant::now() + REVOCATIONS;
        stage.control("organisations/acme/kill-tokens", &json!({}))
    };
    vec![
        activity(stage, 1, "fault at the API", 1000, api_fault),
        activity(stage, 2, "fault at the accounts server", 40_000, accounts_fault),
        activity(stage, 3, "outage", 40_000, outage),
        activity(stage, 4, "revoked tokens", 5000, revoke),
        activity(stage, 5, "unread log", 15_000, |stage, dice| {
            unread_log(stage, dice);
            Ok(())
        }),
        activity(stage, 6, "signal", 10_000, signal),
        activity(stage, 7, "secret file that hangs", 30_000, hanging_secret),
        activity(stage, 8, "lost state", 30_000, lost_state),
        activity(stage, 9, "purge", 3000, purge),
    ]
}

/// Does something every now and then: on average after `every` milliseconds.
fn activity(
    stage: &Arc<Stage>,
    seed: u64,
    name: &'static str,
    every: u64,
    act: impl Fn(&Stage, &mut Dice) -> Result<()> + Send + 'static,
) -> Activity {
    let (stage, mut dice) = (stage.clone(), Dice::new(seed));
    let mut is_first = true;
    Box::new(move |tally| {
        // Not everything at the very start.
        if !std::mem::take(&mut is_first) {
            match act(&stage, &mut dice) {
                Ok(()) => tally.trouble(name),
                Err(error) => tally.unexpected(format!("{name}: {error:#}")),
            }
        }
        Duration::from_millis(1 + dice.below(2 * every))
    })
}

fn add_fault(stage: &Stage, target: &str, fault: &Value, times: u64) -> Result<()> {
    stage.control("faults", &json!({ "target": target, "fault": fault, "times": times }))
}

fn api_fault(stage: &Stage, dice: &mut Dice) -> Result<()> {
    let faults = [
        json!("html500"),
        json!("html502"),
        json!("empty503"),
        json!("internal_error"),
        json!("throttle"),
        json!("drop"),
        json!("drop_after"),
        json!("refuse"),
        json!("html200"),
        json!("empty200"),
        json!("gzip"),
        json!("chunked"),
        json!({ "cut_body": 20 }),
        json!({ "delay": "700ms" }),
        json!({ "delay_answer": "900ms" }),
        json!({ "delay_body": "700ms" }),
        json!({ "drip": { "bytes": 10, "every": "10ms" } }),
        json!({ "delay": "8s" }),
        json!("garbage"),
    ];
    let times = 1 + dice.below(5);
    add_fault(stage, "api", dice.choose(&faults), times)
}

/// One at a time: if they queued up every mint would meet one, and there would hardly ever be a token.
fn accounts_fault(stage: &Stage, dice: &mut Dice) -> Result<()> {
    if stage.faults()?.contains("\"accounts\"") {
        return Ok(());
    }
    let faults = [
        json!("html500"),
        json!("drop"),
        json!("drop_after"),
        json!("refuse"),
        json!("html200"),
        json!("garbage"),
        json!("access_denied"),
        json!({ "delay": "2s" }),
        json!("missing_access_token"),
        json!("gzip"),
        json!({ "cut_body": 30 }),
        json!({ "oauth_error": "invalid_code" }),
    ];
    add_fault(stage, "accounts", dice.choose(&faults), 1)
}

fn outage(stage: &Stage, dice: &mut Dice) -> Result<()> {
    stage.control("outage", &json!({}))?;
    std::thread::sleep(Duration::from_millis(500 + dice.below(8000)));
    stage.end("outage")
}

/// Nobody reads the log for a while.
fn unread_log(stage: &Stage, dice: &mut Dice) {
    let streams: &[&Mutex<Option<LogReader>>] = match dice.below(3) {
        0 => &[&stage.stdout],
        1 => &[&stage.stderr],
        _ => &[&stage.stdout, &stage.stderr],
    };
    let pause = |is_paused| {
        for reader in streams {
            if let Some(reader) = &*lock(reader) {
                reader.pause(is_paused);
            }
        }
    };
    pause(true);
    std::thread::sleep(Duration::from_millis(500 + dice.below(15_000)));
    pause(false);
}

fn signal(stage: &Stage, dice: &mut Dice) -> Result<()> {
    let signal: &&str = dice.choose(&["HUP", "USR1", "USR2"]);
    stage.signal(signal)
}

/// The secret's file becomes a FIFO that nobody writes to, as a file on a hung network file system.
fn hanging_secret(stage: &Stage, dice: &mut Dice) -> Result<()> {
    let file = stage.secret_file();
    let beside = file.with_extension("fifo");
    ensure!(Command::new("mkfifo").arg(&beside).status()?.success(), "mkfifo fails");
    fs::rename(&beside, &file)?;
    std::thread::sleep(Duration::from_millis(500 + dice.below(20_000)));
    stage.restore_secret()
}

/// The state directory is gone for a while, and a file is in its place.
fn lost_state(stage: &Stage, dice: &mut Dice) -> Result<()> {
    let directory = stage.state_directory();
    let aside = directory.with_extension("aside");
    fs::rename(&directory, &aside)?;
    fs::write(&directory, "not a directory")?;
    std::thread::sleep(Duration::from_millis(500 + dice.below(10_000)));
    fs::remove_file(&directory)?;
    fs::rename(&aside, &directory)?;
    Ok(())
}

fn purge(stage: &Stage, dice: &mut Dice) -> Result<()> {
    let bodies = [
        r#"{"all":true}"#,
        r#"{"tenant":"acme"}"#,
        r#"{"route":"associated-users-count"}"#,
        r#"{"group":"territory-users","soft":true}"#,
        r#"{"path":"/crm/v8/settings/territories/actions/associated_users_count"}"#,
    ];
    let response = agent().post(stage.admin_url("/purge")).send(*dice.choose(&bodies))?;
    ensure!(response.status() == 200, "a purge is answered with {}", response.status());
    Ok(())
}
