//! Clients that are not Zoho's.

use crate::client::{curl, node, python};
use crate::sidecar::Sidecar;
use crate::zoho::Zoho;

const COUNT: &str = "/settings/territories/actions/associated_users_count";

async fn stage() -> (Zoho, Sidecar) {
    let zoho = Zoho::start(&["acme"]).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    (zoho, sidecar)
}

async fn python_converses(library: &str) {
    let (zoho, sidecar) = stage().await;
    python("plain.py").at(&sidecar, "").does(&[library]).await;
    assert_eq!(zoho.calls_of(COUNT), 1);
}

#[tokio::test]
async fn requests_converses() {
    python_converses("requests").await;
}

#[tokio::test]
async fn httpx_converses() {
    python_converses("httpx").await;
}

#[tokio::test]
async fn httpx_converses_over_http2() {
    python_converses("httpx-h2").await;
}

#[tokio::test]
async fn a_client_that_is_not_zohos_renews_by_query() {
    let (zoho, sidecar) = stage().await;
    python("independent.py").at(&sidecar, "").does(&[]).await;
    assert_eq!((zoho.calls_of(COUNT), zoho.mint_attempts()), (1, 1));
}

#[tokio::test]
async fn the_fetch_of_node_converses() {
    let (zoho, sidecar) = stage().await;
    node("plain.mjs").at(&sidecar, "").does(&[]).await;
    assert_eq!(zoho.calls_of(COUNT), 1);
    let has_mode = |call: &zoho_sidecar::emulator::Entry| call.header("sec-fetch-mode").is_some();
    assert!(zoho.calls().iter().any(has_mode), "it says what a browser says, and is none");
}

#[tokio::test]
async fn node_uploads_over_http_2() {
    let (zoho, sidecar) = stage().await;
    node("http2.mjs").at(&sidecar, "").does(&[]).await;
    assert_eq!((zoho.calls_of(COUNT), zoho.calls_of("/files")), (1, 16));
}

#[tokio::test]
async fn the_fetch_of_node_reads_why_an_upload_is_refused() {
    let zoho = Zoho::start(&["acme"]).await;
    zoho.gives_no_token();
    let sidecar = Sidecar::run(&zoho, "").await;
    node("plain.mjs").at(&sidecar, "").does(&["refused-upload"]).await;
}

/// `upload` is how many bytes go up, and down again.
async fn curl_converses(version: &str, upload: usize) {
    let (zoho, sidecar) = stage().await;
    let to = |path: &str| format!("http://{}{path}", sidecar.proxy());
    let count = to(&format!("/crm/v8{COUNT}"));
    let first = curl().does(&[version, &count]).await;
    let second = curl().does(&[version, "--include", &count]).await;
    assert!(second.to_lowercase().contains("cache-status: zoho-sidecar; hit"), "{second}");
    assert!(second.ends_with(&first), "{second}");
    assert_eq!(zoho.calls_of(COUNT), 1);

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let content: Vec<u8> = (0..=255).cycle().take(upload).collect();
    std::fs::write(path("made up.bin"), &content).unwrap();
    let form = format!("file=@{}", path("made up.bin"));
    let stored = curl().does(&[version, "--form", &form, &to("/crm/v8/files")]).await;
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    let id = stored["data"][0]["details"]["id"].as_str().unwrap();
    let file = to(&format!("/crm/v8/files?id={id}"));
    curl().does(&[version, "--output", &path("back.bin"), &file]).await;
    assert!(std::fs::read(path("back.bin")).unwrap() == content, "other bytes came back");
    assert_eq!(zoho.calls_of("/files"), 2);

    let token = curl().does(&[version, "--data", "grant_type=refresh_token", &to("/oauth/v2/token")]).await;
    assert!(token.contains(&format!("\"api_domain\":\"{}\"", to(""))), "{token}");
}

#[tokio::test]
async fn curl_converses_over_http_1() {
    curl_converses("--http1.1", 3 << 20).await;
}

#[tokio::test]
async fn curl_converses_over_http_2_with_prior_knowledge() {
    // Where the kernel is short of memory for TCP, curl 7.88 sends more than the length that it has declared.
    curl_converses("--http2-prior-knowledge", 8 << 10).await;
}

#[tokio::test]
async fn curl_converses_over_http_2_by_upgrade_or_without() {
    curl_converses("--http2", 3 << 20).await;
}

#[tokio::test]
async fn curl_converses_by_a_unix_socket() {
    let zoho = Zoho::start(&["acme"]).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("proxy.sock").display().to_string();
    let sidecar = Sidecar::run(&zoho, &format!("server.listen = [\"unix:{socket}\"]")).await;
    sidecar.ready().await;
    let by_socket = || curl().argument("--unix-socket").argument(&socket);

    let token =
        by_socket().does(&["--data", "grant_type=refresh_token", "http://localhost/oauth/v2/token"]).await;
    assert!(token.contains(r#""api_domain":"http://localhost""#), "{token}");
    by_socket().does(&[&format!("http://localhost/crm/v8{COUNT}")]).await;
    assert_eq!(zoho.calls_of(COUNT), 1);
}
