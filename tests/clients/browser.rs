//! A real browser on a page that wants to use the sidecar of its visitor.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::sidecar::Sidecar;
use crate::zoho::Zoho;
use crate::{until, within};

/// What the page must have had sent, to each of the addresses. A browser may send more; media it loads for some frames only.
const MEANS: [&str; 34] = [
    "link-stylesheet",
    "link-prefetch",
    "link-preload",
    "link-modulepreload",
    "css-import",
    "css-font",
    "css-background",
    "img",
    "img-without-referrer",
    "svg-image",
    "script",
    "script-module",
    "iframe",
    "iframe-sandbox",
    "object",
    "embed",
    "ping",
    "form-post-plain",
    "form-get",
    "fetch",
    "fetch-preflight",
    "fetch-no-cors",
    "fetch-no-cors-bare",
    "fetch-no-cors-post",
    "beacon",
    "event-source",
    "web-socket",
    "image-of-a-script",
    "import",
    "xml-http-request",
    "worker-fetch",
    "worker-script",
    "window-open",
    "redirected",
];

/// Hosts by which a page may call a sidecar, all of which lead to this machine here: a name without a dot and an address
/// of a LAN, to which browsers send less than to the loopback addresses after them; and a name of the page's own.
const HOSTS: [&str; 5] = ["sidecar", "192.168.7.7", "127.0.0.1", "localhost", "rebound.example"];

/// The server of the page.
struct Page {
    port: u16,
    /// What the page has told it, and by which paths.
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Page {
    /// Serves the page at `/page/N`, for each of the targets, and at `/to/N` what sends on to it.
    async fn serve(targets: Vec<String>, admin: String, emulator: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (targets, admin, emulator) = (targets.clone(), admin.clone(), emulator.clone());
                let seen = Arc::clone(&seen);
                tokio::spawn(async move { answer(stream, &targets, &admin, &emulator, &seen).await });
            }
        });
        Self { port, asked }
    }

    fn was_asked(&self, path: &str) -> bool {
        self.asked.lock().unwrap().contains(path)
    }
}

/// Answers one request.
async fn answer(
    stream: TcpStream,
    targets: &[String],
    admin: &str,
    emulator: &str,
    seen: &Mutex<BTreeSet<String>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await.ok()?;
    let mut line = String::new();
    while stream.read_line(&mut line).await.ok()? > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1)?.to_owned();
    seen.lock().unwrap().insert(path.clone());
    let target = |n: &str| targets.get(n.parse::<usize>().ok()?);
    let (head, body) = if path == "/" {
        let frames =
            (0..targets.len()).map(|n| format!("<iframe src=\"/page/{n}\"></iframe><img src=\"/to/{n}\">"));
        ("200 OK".to_owned(), frames.collect())
    } else if let Some(target) = path.strip_prefix("/page/").and_then(target) {
        let page = include_str!("page.html").replace("TARGET", target);
        ("200 OK".to_owned(), page.replace("ADMIN", admin).replace("EMULATOR", emulator))
    } else if let Some(target) = path.strip_prefix("/to/").and_then(target) {
        (format!("307 Temporary Redirect\r\nlocation: {target}/redirected"), String::new())
    } else {
        ("200 OK".to_owned(), String::new())
    };
    let length = body.len();
    let whole = format!(
        "HTTP/1.1 {head}\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(whole.as_bytes()).await.ok()
}

/// Opens a page in Chromium, which ends when this is dropped. It reaches nothing but this machine.
fn chromium(url: &str, profile: &std::path::Path) -> Child {
    let here = HOSTS[..2].iter().chain(&["rebound.example", "evil.example"]);
    let here: Vec<String> = here.map(|host| format!("MAP {host} 127.0.0.1")).collect();
    let rules = format!("{}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", here.join(", "));
    let mut command = Command::new("chromium");
    command
        .arg("--headless=new")
        // As root, and in a container, it has none. The page is ours.
        .arg("--no-sandbox")
        .arg("--disable-gpu")
        .arg("--disable-dev-shm-usage")
        .arg("--disable-background-networking")
        .arg("--disable-popup-blocking")
        .arg("--no-first-run")
        // Stays open until it is ended.
        .arg("--remote-debugging-port=0")
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--host-resolver-rules={rules}"))
        .arg(url);
    command.env("HOME", profile).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true).spawn().expect("chromium is there; ./ci.sh installs it")
}

#[tokio::test]
async fn no_page_in_chromium_has_a_request_sent_with_the_tenants_token() {
    let zoho = Zoho::start(&["acme"]).await;
    let mut sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    let port = sidecar.proxy().port();
    let targets = HOSTS.iter().enumerate();
    let targets = targets.map(|(n, host)| format!("http://{host}:{port}/crm/v8/Leads/{n}")).collect();
    let (admin, emulator) = (format!("http://{}", sidecar.admin()), format!("http://{}", zoho.address()));
    let page = Page::serve(targets, admin, emulator).await;
    let profile = tempfile::tempdir().unwrap();

    let browser = chromium(&format!("http://evil.example:{}/", page.port), profile.path());

    let mut missing: BTreeSet<String> = (0..HOSTS.len())
        .flat_map(|n| MEANS.iter().map(move |means| format!("/crm/v8/Leads/{n}/{means}")))
        .collect();
    while !missing.is_empty() {
        let line = within(&format!("{missing:?}"), sidecar.process().line()).await.unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let path = line["path"].as_str().unwrap();
        let code = line["refusal"].as_str().unwrap_or_else(|| panic!("it is served: {line}"));
        let expected = if path.ends_with("/web-socket") {
            "SIDECAR_AMBIGUOUS_REQUEST"
        } else {
            "SIDECAR_BROWSER_REFUSED"
        };
        assert_eq!(code, expected, "{line}");
        missing.remove(path);
    }
    for told in ["/told/purge", "/told/outage"] {
        until(told, async || page.was_asked(told)).await;
    }
    drop(browser);
    assert!(zoho.calls().is_empty());
    assert!(zoho.refused_control(), "the emulator's control endpoint was asked in vain");
    let refused = r#"zoho_sidecar_refusals_total{code="SIDECAR_BROWSER_REFUSED"}"#;
    assert!(sidecar.metric(refused).await >= 100.0);
    // No outage, and nothing purged.
    assert_eq!(sidecar.get("/crm/v8/users?type=ActiveUsers").await.status, 200);
}
