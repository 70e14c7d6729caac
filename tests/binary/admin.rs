//! The admin listener over TCP: its pages, and who is kept out.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::caller::{self, ask, with_headers};
use crate::hostile::connections;
use crate::sidecar::Sidecar;
use crate::zoho::{COUNT, Zoho};

#[tokio::test]
async fn the_admin_listener_tells_that_the_sidecar_is_alive_and_ready_and_how_it_is() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    assert_eq!(sidecar.get(COUNT).await.status, 200);

    let alive = caller::get(sidecar.admin(), "/livez").await;
    let ready = caller::get(sidecar.admin(), "/readyz").await;
    let status = caller::get(sidecar.admin(), "/status").await.json();
    let metrics = caller::get(sidecar.admin(), "/metrics").await;

    assert_eq!((alive.status, alive.json()), (200, serde_json::json!({ "live": true })));
    assert_eq!((ready.status, ready.json()), (200, serde_json::json!({ "ready": true, "reasons": [] })));
    assert_eq!(status["listeners"][0], format!("http://{}", sidecar.proxy()));
    assert_eq!((&status["tenants"][0]["name"], &status["cache"]["entries"]), (&"acme".into(), &1.into()));
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    assert!(metrics.text().ends_with("# EOF\n"), "{}", metrics.text());
    assert_eq!(metrics.header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_callers_address_has_no_admin_pages() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    assert_eq!(sidecar.get("/metrics").await.status, 404);
    assert_eq!(zoho.calls(), 1, "it went to Zoho as any other path");
}

#[tokio::test]
async fn pages_of_browsers_and_writes_are_refused() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    for (method, headers, status) in [
        ("GET", &[("host", "localhost")][..], 200),
        ("GET", &[("host", "rebound.example")], 421),
        ("GET", &[("host", "localhost"), ("origin", "http://localhost")], 403),
        ("POST", &[("host", "localhost")], 405),
        ("DELETE", &[("host", "localhost")], 405),
    ] {
        for page in ["/livez", "/readyz", "/metrics", "/status"] {
            let answer = ask(sidecar.admin(), with_headers(method, page, headers)).await;
            let answered = if answer.status == 503 { 200 } else { answer.status };
            assert_eq!(answered, status, "{method} {page} {headers:?}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_page_that_does_not_exist_tells_which_do() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let answer = caller::get(sidecar.admin(), "/").await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.json()["pages"],
        serde_json::json!(["/livez", "/readyz", "/metrics", "/status", "POST /purge"])
    );
}

#[tokio::test]
async fn an_admin_listener_that_others_reach_wants_its_token_for_all_but_health() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("admin-token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let config = format!("[admin]\nlisten = \"0.0.0.0:0\"\ntoken = {{ file = \"{}\" }}", file.display());
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, &config).await;
    let port = sidecar.admin().port();
    let shown = |page: &'static str, credential: &str| {
        let mut headers = vec![("host", "sidecar.internal")];
        headers.extend((!credential.is_empty()).then_some(("authorization", credential)));
        ask(([127, 0, 0, 1], port).into(), with_headers("GET", page, &headers))
    };

    for page in ["/metrics", "/status"] {
        for credential in ["", "Bearer wrong", TOKEN, "Bearer made-up-admin-toke"] {
            let refused = shown(page, credential).await;
            assert_eq!(refused.status, 401, "{page} {credential:?}");
            assert_eq!(refused.header("www-authenticate"), "Bearer");
        }
        assert_eq!(shown(page, "Bearer made-up-admin-token").await.status, 200, "{page}");
    }
    crate::until("readiness", async || shown("/readyz", "").await.status == 200).await;
    assert_eq!(shown("/livez", "").await.status, 200);
    assert_eq!(shown("/readyz", "").await.json(), serde_json::json!({ "ready": true }), "and no reasons");
}

/// Longer than a probe takes on a busy machine, and shorter than Kubernetes would wait for three in a row.
const PROBE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn probes_are_answered_whoever_holds_connections_of_the_admin_listener() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    let metrics = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (what, said) in [
        ("nothing", String::new()),
        ("a byte", "G".to_owned()),
        ("half a head", "GET /livez HTTP/1.1\r\nhost: localhost\r\n".to_owned()),
        ("an idle connection", "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        ("answers that nobody reads", metrics.repeat(100)),
        ("half a body", "POST /purge HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{".to_owned()),
        (
            "a probe without its body",
            "GET /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n".to_owned(),
        ),
    ] {
        let held = connections(sidecar.admin(), 300, &said).await;
        for probe in ["/livez", "/readyz", "/metrics"] {
            let asked = tokio::time::timeout(PROBE, caller::get(sidecar.admin(), probe)).await;
            assert_eq!(asked.map(|answer| answer.status), Ok(200), "{probe} beside {what}");
        }
        drop(held);
    }
}

#[tokio::test]
async fn a_connection_that_reads_no_page_has_few_pages_made_for_it() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    let page = caller::get(sidecar.admin(), "/metrics").await.text().len();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(sidecar.admin()).await.unwrap();
    let requests = "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(300);
    stream.write_all(requests.as_bytes()).await.unwrap();
    // Pages are made until there is no place for more, which a page takes milliseconds to show.
    tokio::time::sleep(Duration::from_secs(1)).await;
    sidecar.signal("STOP");
    let (mut all, mut read) = (0, vec![0; 65536]);
    while let Ok(length) = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut read)).await {
        all += length.unwrap();
    }
    sidecar.signal("CONT");
    assert!(all > page, "{all} bytes, and a page has {page}");
    assert!(all < 512 * 1024, "{all} bytes were written for it");
}

#[tokio::test]
async fn probes_are_answered_while_connections_come_without_end() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    let address = sidecar.admin();
    for said in ["G", "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let flood = tokio::spawn(async move {
            let mut held = std::collections::VecDeque::new();
            loop {
                held.extend(connections(address, 10, said).await);
                held.drain(..held.len().saturating_sub(500));
            }
        });
        for _ in 0..20 {
            let asked = tokio::time::timeout(PROBE, caller::get(address, "/livez")).await;
            assert_eq!(asked.map(|answer| answer.status), Ok(200), "beside {said}");
        }
        flood.abort();
    }
}

const TOKEN: &str = "made-up-admin-token";

/// A sidecar whose admin listener needs a token, and the address of that.
async fn sidecar_with_admin_token(zoho: &Zoho, directory: &std::path::Path) -> (Sidecar, SocketAddr) {
    let file = directory.join("admin-token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let config = format!("[admin]\nlisten = \"0.0.0.0:0\"\ntoken = {{ file = \"{}\" }}", file.display());
    let sidecar = Sidecar::run(zoho, &config).await;
    let address = ([127, 0, 0, 1], sidecar.admin().port()).into();
    (sidecar, address)
}

/// The head of an answer on this connection, without waiting for what may follow it.
async fn head_on(stream: &mut TcpStream) -> String {
    let mut read = vec![0; 4096];
    let reading = tokio::time::timeout(PROBE, stream.read(&mut read));
    let length = reading.await.expect("an answer comes in time").unwrap_or_default();
    String::from_utf8_lossy(&read[..length]).into_owned()
}

#[tokio::test]
async fn a_request_without_the_admin_token_is_refused_before_its_body_has_come() {
    let (zoho, directory) = (Zoho::start().await, tempfile::tempdir().unwrap());
    let (_sidecar, address) = sidecar_with_admin_token(&zoho, directory.path()).await;
    for (start, credential, status) in [
        ("POST /purge", "", 401),
        ("POST /purge", "authorization: Bearer wrong\r\n", 401),
        ("POST /purge", "origin: http://a.example\r\n", 403),
        ("GET /metrics", "", 401),
        ("POST /livez", "", 405),
        ("POST /none", "", 405),
    ] {
        let mut stream = caller::tcp(address).await;
        let head = format!("{start} HTTP/1.1\r\nhost: a\r\n{credential}content-length: 12\r\n\r\n{{");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = head_on(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{start} {credential}: {answer}");
        // The connection lives on once the rest has come.
        stream.write_all(b"\"all\":true}GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let answer = head_on(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{start} {credential}: {answer}");
    }
}

#[tokio::test]
async fn a_request_that_has_shown_the_admin_token_is_not_evicted_by_any_that_has_not() {
    let (zoho, directory) = (Zoho::start().await, tempfile::tempdir().unwrap());
    let (_sidecar, address) = sidecar_with_admin_token(&zoho, directory.path()).await;
    let mut purge = caller::tcp(address).await;
    let head = format!(
        "POST /purge HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 12\r\n\r\n"
    );
    purge.write_all(head.as_bytes()).await.unwrap();
    // More than may be under way without the token.
    let slow =
        "POST /purge HTTP/1.1\r\nhost: a\r\nauthorization: Bearer wrong\r\ncontent-length: 100\r\n\r\n{";
    let attack = connections(address, 300, slow).await;
    purge.write_all(b"{\"all\":true}").await.unwrap();
    let answer = head_on(&mut purge).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    // Nor between its requests.
    let more = connections(address, 300, "G").await;
    purge.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answer = head_on(&mut purge).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    drop((attack, more));
}

/// Connects from an address of this machine.
async fn connect_from(source: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(to).await
}

#[tokio::test]
async fn a_probe_whose_head_comes_late_is_answered_while_connections_come_without_end() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    let address = sidecar.admin();
    let flood = tokio::spawn(async move {
        let mut held = std::collections::VecDeque::new();
        loop {
            let Ok(mut stream) = connect_from([127, 0, 0, 2], address).await else { continue };
            let _ = stream.write_all(b"G").await;
            held.push_back(stream);
            held.drain(..held.len().saturating_sub(200));
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..5 {
        let mut probe = connect_from([127, 0, 0, 1], address).await.unwrap();
        // Thousands of others connect meanwhile.
        tokio::time::sleep(Duration::from_millis(500)).await;
        probe.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let answer = head_on(&mut probe).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }
    flood.abort();
}
