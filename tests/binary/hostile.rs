//! Floods, vanished callers, and connections that are cut: what only real sockets show.

use std::net::SocketAddr;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::caller::{self, Http2, Wire};
use crate::frames::{self, WINDOW_UPDATE, frame};
use crate::sidecar::{Process, Sidecar, with_files};
use crate::streaming::growing_by_less_than;
use crate::zoho::{COUNT, HeldApi, USERS, Zoho};
use crate::{until, within};

/// As many open files as a thousand connections need, here and in the sidecar, which keeps half for calls to Zoho.
const FILES: u64 = 2200;

/// As many connections at once as the tests here make, on both of their sides.
fn many_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let admitted = limit.maximum.unwrap_or(u64::MAX);
    assert!(
        admitted >= FILES,
        "this needs {FILES} open files; the hard limit is {admitted}, see `ulimit -Hn`"
    );
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

/// Connections that say this and nothing more.
pub(crate) async fn connections(address: SocketAddr, number: usize, said: &str) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..number {
        let mut stream = caller::tcp(address).await;
        // One that was closed at once does not take it.
        let _ = stream.write_all(said.as_bytes()).await;
        open.push(stream);
    }
    open
}

/// What a connection may cost that does not come to the point: hyper's two buffers of 8 KiB, and what is known of
/// the request.
const COST_OF_ONE: usize = 32 * 1024;

/// Connections that are too many: where an evicted one takes long to go, the new one is refused in its place.
async fn turned_away(sidecar: &Sidecar) -> f64 {
    let evicted = sidecar.metric("zoho_sidecar_connections_evicted_total ").await;
    evicted + sidecar.metric("zoho_sidecar_connections_refused_total ").await
}

#[tokio::test]
async fn a_thousand_slow_connections_cost_little_memory_and_nobody_else_waits() {
    many_descriptors();
    let zoho = Zoho::start().await;
    for said in [
        "GET / HTTP/1.1\r\nx-slow: ",
        "POST /crm/v8/__echo HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\nx",
    ] {
        let mut sidecar = Sidecar::run(&zoho, "").await;
        growing_by_less_than(1000 * COST_OF_ONE, &mut sidecar, async |sidecar| {
            let open = connections(sidecar.proxy(), 1000, said).await;
            until("all of them", async || sidecar.metric("zoho_sidecar_connections ").await >= 1000.0).await;
            assert_eq!(sidecar.get(USERS).await.status, 200);
            assert_eq!(sidecar.get(COUNT).await.status, 200);
            drop(open);
            until("the end of all", async || sidecar.metric("zoho_sidecar_connections ").await < 5.0).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_flood_of_connections_makes_room_for_itself_and_known_callers_are_served() {
    many_descriptors();
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "server.max_connections = 100").await;
    let mut served = Http2::connect(sidecar.proxy()).await;
    assert_eq!(served.get(USERS).await.status, 200);

    let flood = connections(sidecar.proxy(), 500, "GET ").await;
    until("those too many", async || turned_away(&sidecar).await >= 401.0).await;
    assert!(sidecar.metric("zoho_sidecar_connections ").await < 100.5);
    assert_eq!(served.get(USERS).await.status, 200);
    assert_eq!(sidecar.get(USERS).await.status, 200, "a new caller gets in");

    drop(flood);
    until("room", async || sidecar.metric("zoho_sidecar_connections ").await < 100.0).await;
    assert_eq!(sidecar.get(USERS).await.status, 200);
}

#[tokio::test]
async fn where_the_system_admits_few_open_files_some_are_left_for_calls_to_zoho() {
    let zoho = Zoho::start().await;
    let files = tempfile::tempdir().unwrap();
    let arguments = with_files("run", files.path(), &[&zoho.config()]);
    let limited = format!("ulimit -n 128; exec \"$0\" {}", arguments.join(" "));
    let executable = env!("CARGO_BIN_EXE_zoho-sidecar");
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", &limited, executable]).env_clear().kill_on_drop(true);
    shell.stdin(std::process::Stdio::null());
    shell.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let sidecar = Sidecar::listening(Process::start(&mut shell), files).await;
    let mut served = Http2::connect(sidecar.proxy()).await;
    assert_eq!(served.get(USERS).await.status, 200);

    // Half of what is not kept back is 32.
    let flood = connections(sidecar.proxy(), 200, "GET ").await;
    until("those too many", async || turned_away(&sidecar).await >= 169.0).await;

    assert_eq!(served.get(USERS).await.status, 200);
    drop((flood, served));
    until("room", async || sidecar.metric("zoho_sidecar_connections ").await < 1.0).await;
    assert_eq!(sidecar.get(USERS).await.status, 200);
    let ended = sidecar.stop().await;
    assert!(ended.errors.contains("leaves room for fewer connections"), "{}", ended.errors);
}

#[tokio::test]
async fn accepting_rests_while_there_are_no_descriptors_and_then_goes_on() {
    let zoho = Zoho::start().await;
    let mut sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    let mut open = Http2::connect(sidecar.proxy()).await;
    assert_eq!(open.get(USERS).await.status, 200);
    let process = rustix::process::Pid::from_raw(sidecar.process().id().try_into().unwrap());
    let before = rustix::process::prlimit(process, Resource::Nofile, few()).unwrap();

    let mut waiting = Wire::asking(sidecar.proxy(), USERS).await;
    sidecar.process().complains("connections cannot be accepted").await;
    // Whoever is connected is served all the same.
    assert_eq!(open.get(COUNT).await.status, 200);
    rustix::process::prlimit(process, Resource::Nofile, before).unwrap();

    assert!(waiting.hear("\r\n").await.starts_with("HTTP/1.1 200"));
}

/// No further file can be opened.
fn few() -> Rlimit {
    Rlimit { current: Some(0), maximum: getrlimit(Resource::Nofile).maximum }
}

#[tokio::test]
async fn half_an_answer_without_a_length_does_not_end_like_a_whole_one_for_http10() {
    let mut api = HeldApi::start().await;
    let zoho = Zoho::with_api(&api).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    for whole in [true, false] {
        let mut stream = caller::tcp(sidecar.proxy()).await;
        stream.write_all(format!("GET {USERS} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let last = if whole { "0\r\n\r\n" } else { "" };
        api.call()
            .await
            .say_last(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n{last}"))
            .await;

        let mut heard = Vec::new();
        let ended = within("the end", stream.read_to_end(&mut heard)).await;

        match ended {
            Ok(_) => assert!(whole && heard.ends_with(b"\r\n\r\nhalf"), "half an answer ended properly"),
            Err(error) => assert!(!whole && error.kind() == std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

#[tokio::test]
async fn callers_whose_connections_are_reset_take_nobody_down() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let mut served = Http2::connect(sidecar.proxy()).await;
    let said = [
        "GET /crm/v8/us".to_owned(),
        format!("GET {USERS} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        "POST /crm/v8/__echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\nx".to_owned(),
        "GET /crm/v8/__bytes?size=67108864 HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
    ];
    for said in said {
        for stream in connections(sidecar.proxy(), 50, &said).await {
            stream.set_zero_linger().unwrap();
        }
        assert_eq!(served.get(USERS).await.status, 200);
    }
    until("their end", async || sidecar.metric("zoho_sidecar_connections ").await < 2.0).await;
}

#[tokio::test]
async fn the_system_asks_callers_that_say_nothing_whether_they_are_still_there() {
    let zoho = Zoho::start().await;
    let mut sidecar = Sidecar::run(&zoho, "").await;
    let caller = caller::tcp(sidecar.proxy()).await;
    until("the connection", async || sidecar.metric("zoho_sidecar_connections ").await >= 1.0).await;
    let port = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let (ours, callers) = (port(sidecar.proxy()), port(caller.local_addr().unwrap()));
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", sidecar.process().id())).unwrap();
    let line = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.get(1) == Some(&ours.as_str()) && fields.get(2) == Some(&callers.as_str()));
    // The kernel's proc_net_tcp.txt: timer 2 is "another timer (e.g. delayed ack or keepalive) is pending".
    assert!(line.unwrap()[5].starts_with("02:"), "{table}");
    drop(caller);
}

#[tokio::test]
async fn two_hundred_long_answers_that_are_never_read_on_one_connection_fill_no_memory() {
    const WIDEST: u32 = (1 << 31) - 1;
    let zoho = Zoho::start().await;
    let mut sidecar = Sidecar::run(&zoho, "").await;
    // Of every call what was read ahead from Zoho, and of every stream what was written and not read.
    growing_by_less_than(200 * 384 * 1024, &mut sidecar, async |sidecar| {
        let mut caller = caller::tcp(sidecar.proxy()).await;
        let mut said = frames::preface(&[(4, WIDEST)]);
        said.extend(frame(WINDOW_UPDATE, 0, 0, &(WIDEST - 65_535).to_be_bytes()));
        for stream in (1..400).step_by(2) {
            said.extend(frames::get(stream, "/crm/v8/__bytes?size=67108864"));
        }
        caller.write_all(&said).await.unwrap();
        until("all calls", async || zoho.calls() >= 200).await;
        for _ in 0..50 {
            assert_eq!(sidecar.get(USERS).await.status, 200);
        }
        drop(caller);
    })
    .await;
}

#[tokio::test]
async fn heads_that_strangers_never_finish_are_bounded_in_bytes() {
    many_descriptors();
    let zoho = Zoho::start().await;
    let http1 = format!("GET / HTTP/1.1\r\nx-long: {}", "x".repeat(60_000));
    // A HEADERS frame without END_HEADERS, and CONTINUATION frames.
    let more = |kind: u8, payload: &[u8]| frame(kind, 0, 1, payload);
    let http2 = [
        frames::preface(&[]),
        more(frames::HEADERS, &frames::request_headers("GET", "/")),
        more(frames::CONTINUATION, &frames::header("x-long", &"x".repeat(16_000))).repeat(3),
    ]
    .concat();
    for said in [http1.into_bytes(), http2] {
        let sidecar = Sidecar::run(&zoho, "").await;
        let mut open = Vec::new();
        for _ in 0..1000 {
            let mut stream = caller::tcp(sidecar.proxy()).await;
            // Those that are closed meanwhile do not take it.
            let _ = stream.write_all(&said).await;
            open.push(stream);
        }
        // 8 MiB are some 130 such heads.
        let evicted = "zoho_sidecar_connections_evicted_total ";
        until("evictions", async || sidecar.metric(evicted).await >= 800.0).await;
        until("their end", async || sidecar.metric("zoho_sidecar_connections ").await < 200.0).await;
        assert_eq!(sidecar.get(USERS).await.status, 200);
    }
}

#[tokio::test]
async fn refusals_that_strangers_do_not_read_are_bounded_in_bytes() {
    many_descriptors();
    let zoho = Zoho::start().await;
    // printf %s made-up-billing-token | sha256sum
    let callers = "[callers.billing]\n\
        token = \"sha256:181bf52ad7827239d0f536cd2fadfbbf273134a6018a52ab0cfc84ab8ad1ae36\"\n";
    let sidecar = Sidecar::run(&zoho, callers).await;
    let refused = (1..400).step_by(2).flat_map(|stream| frames::get(stream, USERS));
    let said: Vec<u8> = frames::preface(&[(4, 0)]).into_iter().chain(refused).collect();
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut stream = caller::tcp(sidecar.proxy()).await;
        let _ = stream.write_all(&said).await;
        open.push(stream);
    }
    // 8 MiB are those of some 16 connections.
    let evicted = "zoho_sidecar_connections_evicted_total ";
    until("evictions", async || sidecar.metric(evicted).await >= 80.0).await;
    until("their end", async || sidecar.metric("zoho_sidecar_connections ").await < 25.0).await;
    let known = [("host", "localhost"), ("authorization", "Bearer made-up-billing-token")];
    assert_eq!(caller::ask(sidecar.proxy(), caller::with_headers("GET", COUNT, &known)).await.status, 200);
    drop(open);
}

#[tokio::test]
async fn strangers_cannot_take_the_places_of_callers() {
    many_descriptors();
    let zoho = Zoho::start().await;
    // printf %s made-up-billing-token | sha256sum
    let callers = "server.max_connections = 100\n[callers.billing]\n\
        token = \"sha256:181bf52ad7827239d0f536cd2fadfbbf273134a6018a52ab0cfc84ab8ad1ae36\"\n";
    let sidecar = Sidecar::run(&zoho, callers).await;
    let asked = || {
        let known = [("host", "localhost"), ("authorization", "Bearer made-up-billing-token")];
        caller::with_headers("GET", COUNT, &known)
    };
    // Those that say nothing, those that are refused and stay, and those that never finish a form.
    for said in [
        "",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "POST /oauth/v2/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\ngrant",
    ] {
        let strangers = connections(sidecar.proxy(), 500, said).await;
        for _ in 0..10 {
            assert_eq!(caller::ask(sidecar.proxy(), asked()).await.status, 200, "{said}");
        }
        drop(strangers);
    }
}
