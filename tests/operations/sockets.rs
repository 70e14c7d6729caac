//! Through the executable to a recording listener, over real sockets.

use std::net::SocketAddr;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::exchange::{Message, assert_answered_on, assert_length_told, assert_sent_on};
use crate::patience::within;
use crate::table::{VERSIONS, operations};
use crate::wire::{Connection, Host, Payload, TOKEN};

/// The executable between a caller and the hosts of a recording Zoho.
pub(crate) struct Sidecar {
    pub(crate) api: Host,
    pub(crate) uploads: Host,
    pub(crate) caller: Connection,
    _process: Child,
    _files: TempDir,
}

impl Sidecar {
    pub(crate) async fn start() -> Self {
        let (api, uploads) = (Host::start().await, Host::start().await);
        let config = format!(
            r#"
            [server]
            listen = ["127.0.0.1:0"]
            workers = 1
            [admin]
            listen = "none"
            [state]
            directory = "none"
            [log]
            requests = false
            [upstream]
            proxy = "none"
            [data_centers.recording]
            accounts = "http://{0}"
            api = "http://{0}"
            uploads = "http://{1}"
            [tenants.acme]
            data_center = "recording"
            client_id = "1000.MADEUP"
            client_secret = "made-up"
            refresh_token = "1000.made-up"
            "#,
            api.address, uploads.address
        );
        let files = tempfile::tempdir().unwrap();
        let path = files.path().join("sidecar.toml");
        std::fs::write(&path, config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_zoho-sidecar"))
            .args(["run", "--config"])
            .arg(&path)
            .env_clear()
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = within("the sidecar's first line", lines.next_line()).await.unwrap().unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = line["address"].as_str().unwrap().strip_prefix("http://").unwrap();
        let caller = Connection::open(address.parse::<SocketAddr>().unwrap()).await;
        Self { api, uploads, caller, _process: process, _files: files }
    }
}

/// How a message's body goes out: every third in chunks, then without a length among the headers.
fn framed(message: &mut Message, turn: usize) -> Payload {
    if !turn.is_multiple_of(3) || message.body.is_empty() {
        return Payload::Bytes(message.body.clone());
    }
    message.headers.retain(|(name, _)| name != "content-length");
    Payload::Chunked(message.body.clone())
}

#[tokio::test]
async fn every_operation_crosses_the_wire_as_it_was_sent() {
    let mut sidecar = Sidecar::start().await;
    for version in VERSIONS {
        for operation in operations() {
            let (mut sent, mut answer) = (operation.request(version), operation.answer(version));
            // What goes past the cache whatever the route; the rest is seen to elsewhere.
            sent.headers.push(("cache-control".to_owned(), "no-store".to_owned()));
            let to_send = framed(&mut sent, operation.number);
            let to_answer = framed(&mut answer, operation.number / 3);
            let host = if operation.is_for_uploads() { &sidecar.uploads } else { &sidecar.api };
            host.will_answer(answer.clone(), to_answer);
            let got = sidecar.caller.ask(&sent, &to_send).await;
            let seen = host.seen();
            let [seen] = seen.as_slice() else { panic!("{}: {seen:?} {got:?}", sent.start) };
            assert_sent_on(&sent, seen, TOKEN);
            assert_length_told(&sent, seen);
            assert_answered_on(&answer, &got, &sent.start);
        }
    }
}
