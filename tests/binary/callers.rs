//! Who may use what, where a process, a socket or a certificate has to show it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::caller::{ask, get_by_unix_socket, with_headers};
use crate::sidecar::Sidecar;
use crate::until;
use crate::zoho::{COUNT, USERS, Zoho};

/// Made-up tokens, and `printf %s TOKEN | sha256sum` of each.
const FIRST: (&str, &str) =
    ("made-up-first-token", "38324736c2cfd5d5b91f4353c75b8040155a3814de05a0f0d71e18e96db290f2");
const SECOND: (&str, &str) =
    ("made-up-second-token", "8567793e5264f24b327578decae4b93477afbad2dd20338f1c8b4962741dcbd7");

/// The user that this process, and what it starts, runs as.
fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

/// A sidecar on a unix socket that one user may use.
async fn only_for(uid: u32, zoho: &Zoho, socket: &Path) -> Sidecar {
    let listen = format!("server.listen = [\"unix:{}\"]\n[callers.web]\nuid = {uid}\n", socket.display());
    Sidecar::run(zoho, &listen).await
}

async fn status_with(sidecar: &Sidecar, token: &str) -> u16 {
    let authorization = format!("Bearer {token}");
    let headers = [("host", "localhost"), ("authorization", &*authorization)];
    ask(sidecar.proxy(), with_headers("GET", COUNT, &headers)).await.status
}

#[tokio::test]
async fn a_process_is_known_by_its_user_on_a_unix_socket() {
    let (zoho, directory) = (Zoho::start().await, tempfile::tempdir().unwrap());
    let socket = directory.path().join("proxy.sock");
    let _sidecar = only_for(own_uid(), &zoho, &socket).await;
    assert_eq!(get_by_unix_socket(&socket, USERS).await.status, 200);
}

#[tokio::test]
async fn the_process_of_another_user_is_refused_on_it() {
    let (zoho, directory) = (Zoho::start().await, tempfile::tempdir().unwrap());
    let socket = directory.path().join("proxy.sock");
    let sidecar = only_for(own_uid() + 1, &zoho, &socket).await;
    let answer = get_by_unix_socket(&socket, USERS).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("SIDECAR_CALLER_UNKNOWN")));
    assert_eq!(zoho.calls(), 0);
    sidecar.stop().await;
}

#[tokio::test]
async fn what_would_be_refused_is_told_once_with_the_id_of_its_request() {
    let zoho = Zoho::start().await;
    let caller = "[callers.others]\nanybody = true\nmethods = [\"POST\"]\nmode = \"shadow\"\n";
    let sidecar = Sidecar::run(&zoho, caller).await;
    let headers = [("host", "localhost"), ("x-request-id", "request-1")];
    assert_eq!(ask(sidecar.proxy(), with_headers("GET", COUNT, &headers)).await.status, 200);
    let again = [("host", "localhost"), ("x-request-id", "request-2")];
    assert_eq!(ask(sidecar.proxy(), with_headers("GET", COUNT, &again)).await.status, 200);
    let errors = sidecar.stop().await.errors;
    let mut all = errors.lines().filter(|line| line.contains("mode is shadow"));
    let told = all.next().unwrap_or_else(|| panic!("{errors}"));
    assert_eq!(all.next(), None, "once is enough; the rest is in the lines of requests");
    for part in [r#""caller":"others""#, r#""reason":"method""#, r#""request_id":"request-1""#] {
        assert!(told.contains(part), "{told}");
    }
}

#[tokio::test]
async fn a_token_is_exchanged_while_the_sidecar_runs_and_never_shown() {
    let (zoho, directory) = (Zoho::start().await, tempfile::tempdir().unwrap());
    let file = directory.path().join("billing.tokens");
    let write = |hashes: &[&str]| {
        let lines: Vec<String> = hashes.iter().map(|hash| format!("sha256:{hash}")).collect();
        // As those do who exchange secrets: nobody reads half a file.
        let new = directory.path().join("new");
        std::fs::write(&new, lines.join("\n")).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    write(&[FIRST.1]);
    let config = format!(
        "tokens.secret_poll = \"10ms\"\nlog.level = \"trace\"\n[callers.billing]\ntoken = {{ file = \"{}\" }}\n",
        file.display()
    );
    let sidecar = Sidecar::run(&zoho, &config).await;
    // Often enough that each worker knows what the bytes of such a request mean.
    for _ in 0..10 {
        assert_eq!(status_with(&sidecar, FIRST.0).await, 200);
    }
    assert_eq!(status_with(&sidecar, SECOND.0).await, 401);

    write(&[FIRST.1, SECOND.1]);
    until("the second token", async || status_with(&sidecar, SECOND.0).await == 200).await;
    assert_eq!(status_with(&sidecar, FIRST.0).await, 200, "both hold meanwhile");
    write(&[SECOND.1]);
    until("the end of the first token", async || status_with(&sidecar, FIRST.0).await == 401).await;
    assert_eq!(status_with(&sidecar, SECOND.0).await, 200);

    let metrics = crate::caller::get(sidecar.admin(), "/metrics").await;
    let status = crate::caller::get(sidecar.admin(), "/status").await;
    let end = sidecar.stop().await;
    let all = format!("{}{}{}{}", end.lines.concat(), end.errors, metrics.text(), status.text());
    assert!(all.contains("billing") && end.errors.contains("callers' tokens have changed"));
    for secret in [FIRST.0, FIRST.1, SECOND.0, SECOND.1] {
        assert!(!all.contains(secret), "{secret}");
    }
}
