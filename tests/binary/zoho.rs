//! What the sidecar talks to: the emulated Zoho, and an API host that answers only when it is told to.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use zoho_sidecar::clock::Clock;
use zoho_sidecar::emulator::{Emulator, Entry, Fault, Listening, Role, Scenario, Target};

use crate::within;

/// A read that is cached as shipped.
pub(crate) const COUNT: &str = "/crm/v8/settings/territories/actions/associated_users_count";
/// A read that is not.
pub(crate) const USERS: &str = "/crm/v8/users?type=AllUsers";

/// A free port of this machine.
pub(crate) const ANY_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// An emulated Zoho on a port.
pub(crate) struct Zoho {
    emulator: Emulator,
    listening: Listening,
    api: SocketAddr,
}

impl Zoho {
    pub(crate) async fn start() -> Self {
        Self::of(Scenario::default()).await
    }

    pub(crate) async fn of(scenario: Scenario) -> Self {
        let emulator = Emulator::new(scenario, Clock::system());
        let listening = emulator.listen(ANY_PORT.into(), "*").await.unwrap();
        let api = listening.address();
        Self { emulator, listening, api }
    }

    /// Tokens come from the emulator, calls go to `api`.
    pub(crate) async fn with_api(api: &HeldApi) -> Self {
        let zoho = Self::start().await;
        zoho.emulator
            .script()
            .always(Target::Mints, Fault::WrongApiDomain(format!("http://{}", api.address)));
        Self { api: api.address, ..zoho }
    }

    /// What serves its organisation acme, on free ports, with nothing kept, and with no limit that could end
    /// a test's wait in the place of what the test is about.
    pub(crate) fn config(&self) -> String {
        format!(
            r#"
            [server]
            listen = ["127.0.0.1:0"]
            workers = 1
            drain_timeout = "1h"
            [admin]
            listen = "127.0.0.1:0"
            [state]
            directory = "none"
            [upstream]
            proxy = "none"
            [data_centers.emulated]
            accounts = "http://{}"
            api = "http://{}"
            [tenants.acme]
            data_center = "emulated"
            client_id = "1000.EMULATEDACME"
            client_secret = "emulated-secret-acme"
            refresh_token = "1000.emulated-refresh-acme.00000000"
            "#,
            self.listening.address(),
            self.api
        )
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listening.address()
    }

    /// How many calls reached its API.
    pub(crate) fn calls(&self) -> usize {
        self.emulator.ledger().calls()
    }

    /// The targets of all calls, in the order in which they came.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.seen().into_iter().map(|entry| entry.path_and_query).collect()
    }

    /// The last call.
    pub(crate) fn last_call(&self) -> Entry {
        self.seen().pop().expect("there was a call")
    }

    fn seen(&self) -> Vec<Entry> {
        let is_call = |entry: &Entry| matches!(entry.role, Role::Api | Role::Uploads);
        self.emulator.ledger().entries().into_iter().filter(is_call).collect()
    }

    /// How many calls it has answered with 200.
    pub(crate) fn answered(&self, path: &str) -> usize {
        self.emulator.ledger().count(|entry| entry.path_and_query == path && entry.status == Some(200))
    }

    /// How many tokens it gave out.
    pub(crate) fn mints(&self) -> usize {
        self.emulator.ledger().mints()
    }

    /// How often it was asked for a token.
    pub(crate) fn mint_attempts(&self) -> usize {
        self.emulator.ledger().mint_attempts()
    }

    /// Lets this happen to the next call.
    pub(crate) fn next_call(&self, fault: Fault) {
        self.emulator.script().next(Target::Api, fault);
    }

    /// Lets this happen to all calls from here on.
    pub(crate) fn calls_always(&self, fault: Fault) {
        self.emulator.script().always(Target::Api, fault);
    }

    /// Lets this happen to the next request for a token.
    pub(crate) fn next_mint(&self, fault: Fault) {
        self.emulator.script().next(Target::Mints, fault);
    }

    /// Lets this happen to all requests for a token.
    pub(crate) fn mints_always(&self, fault: Fault) {
        self.emulator.script().always(Target::Mints, fault);
    }
}

/// An API host that keeps every call until the test lets go of it.
pub(crate) struct HeldApi {
    address: SocketAddr,
    calls: UnboundedReceiver<HeldCall>,
}

/// A call whose caller waits.
pub(crate) struct HeldCall {
    stream: TcpStream,
    head: String,
}

impl HeldApi {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, calls) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let call = HeldCall::read(stream).await;
                if arrived.send(call).is_err() {
                    return;
                }
            }
        });
        Self { address, calls }
    }

    /// The next call.
    pub(crate) async fn call(&mut self) -> HeldCall {
        within("a call to the API host", self.calls.recv()).await.unwrap()
    }
}

impl HeldCall {
    async fn read(mut stream: TcpStream) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("the head of a call", stream.read_u8()).await.unwrap());
        }
        Self { stream, head: String::from_utf8(head).unwrap() }
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// The head, as it came.
    pub(crate) fn head(&self) -> &str {
        &self.head
    }

    /// Sends these bytes; the connection stays open.
    pub(crate) async fn say(&mut self, bytes: &str) {
        within("sending", self.stream.write_all(bytes.as_bytes())).await.unwrap();
    }

    /// The next call on the same connection.
    pub(crate) async fn next(self) -> Self {
        Self::read(self.stream).await
    }

    /// Sends these bytes, and closes the connection.
    pub(crate) async fn say_last(mut self, bytes: &str) {
        self.say(bytes).await;
    }

    /// Answers 200.
    pub(crate) async fn answer(mut self, body: &str) {
        let length = body.len();
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        self.stream.write_all(answer.as_bytes()).await.unwrap();
    }

    /// Waits until the sidecar has given the call up.
    pub(crate) async fn given_up(mut self) {
        let mut rest = Vec::new();
        let _ = within("the end of the call", self.stream.read_to_end(&mut rest)).await;
    }
}
