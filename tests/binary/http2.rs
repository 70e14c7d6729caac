//! Tricks with pseudo-headers, forbidden headers and lengths over HTTP/2: none of them reaches Zoho.

use tokio::net::TcpStream;

use crate::caller::tcp;
use crate::frames::*;
use crate::sidecar::Sidecar;
use crate::within;
use crate::zoho::{USERS, Zoho};

const METHOD: Field<'static> = (":method", "GET");
const PATH: Field<'static> = (":path", USERS);
const SCHEME: Field<'static> = (":scheme", "http");
const AUTHORITY: Field<'static> = (":authority", "localhost");
const PLAIN: [Field<'static>; 4] = [METHOD, SCHEME, PATH, AUTHORITY];

/// What came of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// An answer began, with this status where its code is a short one.
    Answered(Option<u16>),
    /// The stream was reset.
    Reset,
    /// The connection ends with an error.
    GoneAway,
    /// The connection ended without a word.
    Closed,
}

async fn connect(sidecar: &Sidecar) -> Caller<TcpStream> {
    Caller::begin(tcp(sidecar.proxy()).await, &[]).await
}

/// The frames of a request.
fn asking(fields: &[Field<'_>], body: Option<&[u8]>) -> Vec<u8> {
    let end = if body.is_none() { END_STREAM } else { 0 };
    let head = frame(HEADERS, END_HEADERS | end, 1, &block(fields));
    let body = body.map(|body| frame(DATA, END_STREAM, 1, body));
    [head, body.unwrap_or_default()].concat()
}

/// Waits for what comes of a stream.
async fn fate_of(stream: u32, caller: &mut Caller<TcpStream>) -> Fate {
    loop {
        let Some((kind, _, of, payload)) = within("a frame", caller.hear()).await else {
            return Fate::Closed;
        };
        match kind {
            HEADERS if of == stream => return Fate::Answered(short_status(payload[0])),
            RST_STREAM if of == stream => return Fate::Reset,
            // Without an error no new streams are taken; those that are open go on.
            GOAWAY if payload[4..8] != NO_ERROR => return Fate::GoneAway,
            _ => {}
        }
    }
}

/// The statuses that have an entry of their own in HPACK's static table (RFC 7541 appendix A).
fn short_status(first: u8) -> Option<u16> {
    let status = [200, 204, 206, 304, 400, 404, 500];
    status.get(usize::from(first).checked_sub(0x88)?).copied()
}

/// Sends a request that must come to nothing, and checks that it did.
async fn comes_to_nothing(zoho: &Zoho, sidecar: &Sidecar, fields: &[Field<'_>], body: Option<&[u8]>) {
    let mut caller = connect(sidecar).await;
    caller.say(asking(fields, body)).await;
    let fate = fate_of(1, &mut caller).await;
    let is_refused = match fate {
        Fate::Answered(status) => status.is_some_and(|status| status == 400),
        Fate::Reset | Fate::GoneAway => true,
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
    let mut caller = connect(&sidecar).await;
    caller.say(asking(&PLAIN, None)).await;
    assert_eq!(fate_of(1, &mut caller).await, Fate::Answered(Some(200)));
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
    let mut caller = connect(&sidecar).await;
    let open_and_reset = |stream| [get(stream, USERS), frame(RST_STREAM, 0, stream, &CANCEL)].concat();
    let all: Vec<u8> = (1..40_000).step_by(2).flat_map(open_and_reset).collect();
    within("sending frames", caller.say(all)).await;
    assert!(matches!(fate_of(39_999, &mut caller).await, Fate::GoneAway | Fate::Closed));
    assert_eq!(sidecar.get(USERS).await.status, 200);
    assert!(zoho.calls() < 1000, "{} of 20,000 streams reached Zoho", zoho.calls());
}
