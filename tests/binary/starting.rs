//! `run`: what it takes, what it says, and what it serves from its first line on.

use std::net::TcpListener;

use tempfile::tempdir;

use crate::caller::{self, Http2, get_by_unix_socket};
use crate::sidecar::{Process, Sidecar, command, ended, with_files};
use crate::zoho::{ANY_PORT, COUNT, USERS, Zoho};

#[tokio::test]
async fn run_says_one_line_per_listener_and_serves_tcp_and_a_unix_socket_at_once() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let socket = directory.path().join("proxy.sock");
    let listen = format!("server.listen = [\"127.0.0.1:0\", \"unix:{}\"]", socket.display());

    let sidecar = Sidecar::run(&zoho, &listen).await;

    let unix = ("proxy".to_owned(), format!("unix:{}", socket.display()));
    let kinds: Vec<&str> = sidecar.listeners().iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(kinds, ["proxy", "proxy", "admin"]);
    assert_eq!(sidecar.listeners()[1], unix);
    assert_eq!(sidecar.get(COUNT).await.status, 200);
    let again = get_by_unix_socket(&socket, COUNT).await;
    assert!(again.header("cache-status").starts_with("zoho-sidecar; hit"), "{again:?}");
}

#[tokio::test]
async fn where_people_read_the_log_listeners_are_told_in_words() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let files = [&*zoho.config(), "log.format = \"text\""];
    let mut process = Process::start(&mut command(with_files("run", directory.path(), &files)));

    let (first, second) = (process.line().await.unwrap(), process.line().await.unwrap());

    assert!(first.starts_with("proxy listening on http://127.0.0.1:"), "{first}");
    assert!(second.starts_with("admin listening on http://127.0.0.1:"), "{second}");
}

#[tokio::test]
async fn http1_and_http2_with_prior_knowledge_share_a_port() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let mut http2 = Http2::connect(sidecar.proxy()).await;

    let (by_http1, by_http2) = (sidecar.get(USERS).await, http2.get(USERS).await);

    assert_eq!((by_http1.status, by_http2.status), (200, 200));
    assert_eq!(by_http1.body, by_http2.body);
}

#[tokio::test]
async fn later_configuration_files_override_earlier_ones_key_by_key() {
    let zoho = Zoho::start().await;
    let second = "[routes.associated-users-count]\nfresh_for = \"7m\"\nstale_if_error = \"3h\"";
    let third = "[routes.associated-users-count]\nfresh_for = \"9m\"";

    let sidecar = Sidecar::with_files(&[&zoho.config(), second, third]).await;

    let route = caller::get(sidecar.admin(), "/status").await.json()["routes"][0].clone();
    assert_eq!(
        (&route["fresh_for_seconds"], &route["stale_if_error_seconds"]),
        (&540.into(), &10_800.into())
    );
    assert_eq!(route["stale_while_revalidate_seconds"], 60, "as shipped");
}

#[tokio::test]
async fn run_with_a_wrong_configuration_ends_with_1_and_names_file_and_line() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let second = "[cache]\nmax_bytes = \"64 MB\"\n";

    let run = ended(with_files("run", directory.path(), &[&zoho.config(), second])).await;

    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.errors.contains("2.toml:2  cache.max_bytes"), "{}", run.errors);
    assert!(run.lines.is_empty(), "{:?}", run.lines);
    assert_eq!(zoho.mint_attempts(), 0);
}

#[tokio::test]
async fn a_port_in_use_ends_run_with_1_and_the_address_is_named() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let holder = TcpListener::bind(ANY_PORT).unwrap();
    let taken = holder.local_addr().unwrap();
    for key in ["server.listen = [\"ADDRESS\"]", "admin.listen = \"ADDRESS\""] {
        let listen = key.replace("ADDRESS", &taken.to_string());

        let run = ended(with_files("run", directory.path(), &[&zoho.config(), &listen])).await;

        assert_eq!(run.code, Some(1), "{key}: {run:?}");
        let expected = format!("zoho-sidecar: cannot listen on http://{taken}: ");
        assert!(run.errors.contains(&expected), "{key}: {}", run.errors);
    }
    assert_eq!(zoho.mint_attempts(), 0);
}

#[tokio::test]
async fn wrong_usage_ends_with_2() {
    for arguments in [
        &[][..],
        &["serve"],
        &["run"],
        &["check"],
        &["check", "--config"],
        &["run", "--config", "a.toml", "--verbose"],
        &["demo", "twice"],
        &["emulator", "--listen", "everywhere"],
    ] {
        let run = ended(arguments).await;
        assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
        assert!(run.errors.contains("--help"), "{arguments:?}: {}", run.errors);
    }
}

#[tokio::test]
async fn help_and_version_end_with_0() {
    for arguments in
        [&["--help"][..], &["--version"], &["run", "--help"], &["check", "--help"], &["emulator", "--help"]]
    {
        let run = ended(arguments).await;
        assert_eq!((run.code, run.errors.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(run.lines.concat().contains("zoho-sidecar"), "{arguments:?}: {:?}", run.lines);
    }
}

#[tokio::test]
async fn no_command_begins_with_too_few_descriptors() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let config = |command| with_files(command, directory.path(), &[&zoho.config()]);
    for arguments in [
        config("run"),
        config("check"),
        vec!["demo".to_owned(), "--once".to_owned()],
        vec!["emulator".to_owned(), "--listen".to_owned(), "127.0.0.1:0".to_owned()],
        vec!["purge".to_owned(), "--tenant".to_owned(), "acme".to_owned()],
    ] {
        for descriptors in [8, 9, 24, 63] {
            let mut limited = tokio::process::Command::new("sh");
            limited.env_clear().kill_on_drop(true).stdin(std::process::Stdio::null());
            limited.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
            limited.args(["-c", &script, env!("CARGO_BIN_EXE_zoho-sidecar")]).args(&arguments);
            let end = Process::start(&mut limited).end().await;
            assert_eq!(end.code, Some(1), "{descriptors} {arguments:?}: {end:?}");
            let says = format!("may open only {descriptors} files and needs 64 or more");
            assert!(end.errors.contains(&says) && !end.errors.contains("panicked"), "{end:?}");
        }
    }
}

#[tokio::test]
async fn why_a_secret_cannot_be_read_is_told_wherever_it_is_missing() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let none = directory.path().join("none");
    for (path, why) in [(none.as_path(), "No such file or directory"), (directory.path(), "Is a directory")] {
        let missing = format!("tenants.acme.client_secret = {{ file = \"{}\" }}\n", path.display());
        let sidecar = Sidecar::run(&zoho, &missing).await;
        let told = caller::get(sidecar.admin(), "/readyz").await.text().to_owned();
        assert!(told.contains("secret_missing") && told.contains(why), "{told}");
        let refused = sidecar.get(USERS).await.text().to_owned();
        assert!(refused.contains(why), "{refused}");
    }
}

#[tokio::test]
async fn purge_takes_the_url_of_an_admin_listener_and_repeats_no_password() {
    for url in [
        "http://u:made-up-password@127.0.0.1:1",
        "[zz]",
        "https://127.0.0.1:1",
        "",
        "127.0.0.1:1",
        "http://x/?y",
    ] {
        let end = ended(["purge", "--admin", url, "--tenant", "acme"]).await;
        assert_eq!(end.code, Some(1), "{url}: {end:?}");
        assert!(end.errors.contains("--admin must be the URL of the admin listener"), "{url}: {end:?}");
        assert!(!end.errors.contains("made-up-password"), "{end:?}");
    }
    let end = ended(["purge", "--admin", "http://127.0.0.1:1", "--tenant", "acme"]).await;
    assert!(end.errors.contains("Connection refused"), "{end:?}");
}

#[tokio::test]
async fn purge_gives_up_soon_where_something_accepts_and_says_nothing() {
    let silent = std::net::TcpListener::bind(ANY_PORT).unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let end = ended(["purge", "--admin", &url, "--all"]).await;
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.errors.contains("no answer within 5s; is it a sidecar's admin address?"), "{}", end.errors);
}
