//! Files that do not return when they are read, and what the environment says of the way out.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::tempdir;

use crate::caller::{ask, with_headers};
use crate::sidecar::{Process, Sidecar, command, ended, with_files};
use crate::until;
use crate::zoho::{USERS, Zoho};

fn make_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// Puts a FIFO where a file was, in one step.
fn replace_by_fifo(path: &Path) {
    let beside = path.with_extension("fifo");
    make_fifo(&beside);
    std::fs::rename(&beside, path).unwrap();
}

/// All kinds of files that are read again while serving, below `directory`.
fn config_with_files(directory: &Path) -> String {
    let at = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
    format!(
        r#"
        tokens.secret_poll = "100ms"
        admin.token = {{ file = "{}" }}
        upstream.ca_file = "{}"
        [tenants.acme]
        client_secret = {{ file = "{}" }}
        [callers.web]
        token = {{ file = "{}" }}
        [callers.others]
        anybody = true
        "#,
        at("admin-token", "made-up-admin-token"),
        at("ca.pem", &authority.cert.pem()),
        at("client-secret", "emulated-secret-acme\n"),
        // printf %s made-up-token | sha256sum
        at("tokens", "sha256:b28d90dd2009728f9f1a3f92402671e4f457b50544013dd7d9f36cdda575fdfe\n"),
    )
}

#[tokio::test]
async fn files_that_hang_stop_neither_answers_nor_the_admin_listener_nor_sigterm() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let sidecar = Sidecar::run(&zoho, &config_with_files(directory.path())).await;
    sidecar.ready().await;
    let shown = [("authorization", "Bearer made-up-admin-token")];
    let page = async || ask(sidecar.admin(), with_headers("GET", "/metrics", &shown)).await;
    assert_eq!(page().await.status, 200);
    for name in ["client-secret", "tokens", "ca.pem", "admin-token"] {
        replace_by_fifo(&directory.path().join(name));
    }

    // Degraded, not dead.
    until("the files are named as hanging", async || {
        let ready = ask(sidecar.admin(), with_headers("GET", "/readyz", &shown)).await;
        assert_eq!(ready.status, 200, "the token that was read before stays in force");
        let is_named = |name: &str| {
            let path = directory.path().join(name).display().to_string();
            let names = |reason: &Value| reason["reason"] == "file_hangs" && reason["path"] == path;
            ready.json()["reasons"].as_array().is_some_and(|reasons| reasons.iter().any(names))
        };
        ["client-secret", "tokens", "ca.pem", "admin-token"].into_iter().all(is_named)
    })
    .await;
    let counts = page().await;
    assert_eq!(counts.status, 200);
    for kind in ["secret", "caller_tokens", "ca_file", "admin_token"] {
        let counted = format!("zoho_sidecar_file_reads_failed_total{{kind=\"{kind}\"}} ");
        let value = counts.text().lines().find_map(|line| line.strip_prefix(&counted)).unwrap().to_owned();
        assert_ne!(value, "0", "{kind}");
    }
    assert_eq!(sidecar.get(USERS).await.status, 200);
    let stopped = tokio::time::timeout(Duration::from_secs(20), sidecar.stop()).await;
    assert_eq!(stopped.expect("it stops in time").code, Some(0));
}

#[tokio::test]
async fn check_and_run_say_within_seconds_that_a_file_hangs() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let path = directory.path().join("fifo");
    make_fifo(&path);
    for (text, code) in [
        (format!("tenants.acme.client_secret = {{ file = \"{}\" }}", path.display()), 0),
        (format!("upstream.ca_file = \"{}\"", path.display()), 1),
        (format!("server.tls = {{ certificate = \"{0}\", private_key = \"{0}\" }}", path.display()), 1),
    ] {
        let check = ended(with_files("check", directory.path(), &[&zoho.config(), &text])).await;
        assert_eq!(check.code, Some(code), "{check:?}");
        assert!(check.errors.contains("has not come back"), "{check:?}");
    }
    for what in ["check", "run"] {
        let mut command = command(with_files(what, directory.path(), &[&zoho.config()]));
        let end = Process::start(command.env("SSL_CERT_FILE", &path)).end().await;
        assert_eq!(end.code, Some(1), "{what}: {end:?}");
        assert!(end.errors.contains("cannot read the system's certificates"), "{end:?}");
    }
    let arguments = ["check", "--config", path.to_str().unwrap()];
    let check = ended(arguments).await;
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(check.errors.contains("has not come back"), "{check:?}");
}

#[tokio::test]
async fn without_its_admin_token_the_sidecar_serves_and_trusts_nobody_until_the_token_is_there() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let path = directory.path().join("admin-token");
    let config = format!("admin.token = {{ file = \"{}\" }}", path.display());
    let sidecar = Sidecar::run(&zoho, &config).await;
    let shown = [("authorization", "Bearer made-up-admin-token")];
    let page = async || ask(sidecar.admin(), with_headers("GET", "/metrics", &shown)).await.status;

    assert_eq!(sidecar.get(USERS).await.status, 200);
    assert_eq!(page().await, 401);
    std::fs::write(&path, "made-up-admin-token").unwrap();
    assert_eq!(page().await, 200);
}

#[tokio::test]
async fn a_proxy_of_the_environment_that_cannot_be_used_is_a_problem_and_no_direct_connection() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    for what in ["check", "run"] {
        for (variable, value) in [
            ("HTTPS_PROXY", "https://user:made-up-password@proxy.example:3128"),
            ("https_proxy", "socks5://proxy.example:1080"),
            ("ALL_PROXY", "http://user:made-up-password@[zz]:3128"),
        ] {
            let environment = "upstream.proxy = \"environment\"";
            let mut command = command(with_files(what, directory.path(), &[&zoho.config(), environment]));
            command.env(variable, value);
            let end = Process::start(&mut command).end().await;
            assert_eq!(end.code, Some(1), "{what} {variable}: {end:?}");
            assert!(end.errors.contains(variable), "{end:?}");
            assert!(!end.errors.contains("made-up-password"), "{end:?}");
        }
    }
    assert_eq!(zoho.mint_attempts(), 0);
}
