//! Tricks with pseudo-headers, forbidden headers and lengths over HTTP/2: none of them reaches Zoho.

use crate::frames::{Fate, Field, Frames};
use crate::sidecar::Sidecar;
use crate::zoho::{USERS, Zoho};

const METHOD: Field<'static> = (":method", "GET");
const PATH: Field<'static> = (":path", USERS);
const SCHEME: Field<'static> = (":scheme", "http");
const AUTHORITY: Field<'static> = (":authority", "localhost");
const PLAIN: [Field<'static>; 4] = [METHOD, SCHEME, PATH, AUTHORITY];

/// Sends a request that must come to nothing, and checks that it did.
async fn comes_to_nothing(zoho: &Zoho, sidecar: &Sidecar, fields: &[Field<'_>], body: Option<&[u8]>) {
    let mut frames = Frames::connect(sidecar.proxy()).await;
    frames.ask(1, fields, body).await;
    let fate = frames.fate_of(1).await;
    let is_refused = match fate {
        Fate::Answered(status) => status.is_some_and(|status| status == 400),
        Fate::Reset(_) | Fate::GoneAway(_) => true,
        Fate::Closed => false,
    };
    assert!(is_refused, "{fields:?} {body:?}: {fate:?}");
    assert_eq!(zoho.answered(USERS), 0, "{fields:?}: {:?}", zoho.targets());
    assert!(zoho.targets().iter().all(|target| target == USERS), "{fields:?}: {:?}", zoho.targets());
}

/// The plain request with some fields in place of others of the same name, and some more.
fn but<'a>(changed: &[Field<'a>]) -> Vec<Field<'a>> {
    let replaced = |field: &Field<'_>| changed.iter().any(|(name, _)| *name == field.0);
    let kept = PLAIN.into_iter().filter(|field| !replaced(field));
    let (pseudo, others): (Vec<_>, Vec<_>) = changed.iter().partition(|(name, _)| name.starts_with(':'));
    kept.chain(pseudo).chain(others).collect()
}

#[tokio::test]
async fn a_request_spoken_frame_by_frame_is_served() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let mut frames = Frames::connect(sidecar.proxy()).await;
    frames.ask(1, &PLAIN, None).await;
    assert_eq!(frames.fate_of(1).await, Fate::Answered(Some(200)));
    assert_eq!(zoho.targets(), [USERS]);
}

#[tokio::test]
async fn headers_of_a_connection_have_no_place_in_http2() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    for field in [
        ("connection", "x-crm-org"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
    ] {
        comes_to_nothing(&zoho, &sidecar, &but(&[field]), None).await;
        comes_to_nothing(&zoho, &sidecar, &but(&[(":method", "POST"), field]), Some(b"0\r\n\r\n")).await;
    }
}

#[tokio::test]
async fn names_and_values_that_would_be_more_than_one_in_http1_are_refused() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    for field in [
        ("X-Upper", "1"),
        ("x:y", "1"),
        ("x y", "1"),
        ("x\r\ny", "1"),
        ("", "1"),
        ("x", "1\r\ny: 2"),
        ("x", "1\ny: 2"),
        ("x", "1\0"),
        ("host", "localhost\r\nx: y"),
        ("host", "another"),
    ] {
        comes_to_nothing(&zoho, &sidecar, &but(&[field]), None).await;
    }
}

#[tokio::test]
async fn pseudo_headers_that_are_missing_repeated_misplaced_or_crafted_are_refused() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let x: Field<'_> = ("x", "1");
    for fields in [
        vec![METHOD, SCHEME, AUTHORITY],
        vec![SCHEME, PATH, AUTHORITY],
        vec![METHOD, PATH, AUTHORITY],
        vec![METHOD, METHOD, SCHEME, PATH, AUTHORITY],
        vec![METHOD, SCHEME, PATH, PATH, AUTHORITY],
        vec![METHOD, SCHEME, PATH, (":path", "/crm/v8/Leads"), AUTHORITY],
        vec![METHOD, SCHEME, PATH, AUTHORITY, (":authority", "another")],
        vec![METHOD, SCHEME, x, PATH, AUTHORITY],
        vec![METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")],
        vec![METHOD, SCHEME, PATH, AUTHORITY, (":evil", "1")],
        vec![METHOD, SCHEME, PATH, AUTHORITY, (":protocol", "websocket")],
        but(&[(":method", "CONNECT"), (":protocol", "websocket")]),
        vec![(":method", "CONNECT"), AUTHORITY],
        but(&[(":method", "GET /crm/v8/Leads HTTP/1.1\r\nx:")]),
        but(&[(":method", "")]),
        but(&[(":path", "")]),
        but(&[(":path", "crm/v8/users")]),
        but(&[(":path", "*")]),
        but(&[(":path", "/crm/v8/users HTTP/1.1\r\nhost: a\r\n\r\nGET /crm/v8/Leads")]),
        but(&[(":path", "/crm/v8/us ers")]),
        but(&[(":path", "/crm/v8/users\0")]),
        but(&[(":path", "/crm/v8/../v8/users")]),
        but(&[(":path", "http://www.zohoapis.test/crm/v8/users")]),
        but(&[(":authority", "localhost\r\nx: y")]),
        but(&[(":authority", "user@localhost")]),
        but(&[(":authority", "localhost/crm")]),
        but(&[(":authority", "local host")]),
        but(&[(":scheme", "http://www.zohoapis.test/?")]),
    ] {
        comes_to_nothing(&zoho, &sidecar, &fields, None).await;
    }
}

#[tokio::test]
async fn lengths_that_do_not_fit_the_body_are_refused() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let body = Some(&b"hello"[..]);
    for fields in [
        but(&[(":method", "POST"), ("content-length", "4")]),
        but(&[(":method", "POST"), ("content-length", "6")]),
        but(&[(":method", "POST"), ("content-length", "0")]),
        but(&[(":method", "POST"), ("content-length", "five")]),
        but(&[(":method", "POST"), ("content-length", "+5")]),
        but(&[(":method", "POST"), ("content-length", "5"), ("content-length", "6")]),
        but(&[(":method", "POST"), ("content-length", "5, 5")]),
    ] {
        comes_to_nothing(&zoho, &sidecar, &fields, body).await;
    }
}

#[tokio::test]
async fn others_are_served_while_one_opens_and_resets_streams_without_end() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    let mut frames = Frames::connect(sidecar.proxy()).await;
    let streams: Vec<u32> = (1..40_000).step_by(2).collect();
    frames.ask_and_reset(&streams, &PLAIN).await;
    assert!(matches!(frames.fate_of(39_999).await, Fate::GoneAway(_) | Fate::Closed));
    assert_eq!(sidecar.get(USERS).await.status, 200);
    assert!(zoho.calls() < 1000, "{} of 20,000 streams reached Zoho", zoho.calls());
}
