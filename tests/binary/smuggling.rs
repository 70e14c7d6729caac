//! Bytes that two readers could take for different requests never get past the sidecar. Each case says what
//! is sent, what is answered, and what Zoho saw of it: nothing.

use http::{HeaderName, HeaderValue};

use crate::caller::{Wire, ask, request};
use crate::sidecar::Sidecar;
use crate::zoho::{USERS, Zoho};
use zoho_sidecar::net::body::Body;

/// A request that must never be seen by Zoho, hidden in the bytes of another.
const HIDDEN: &str = "GET /crm/v8/Smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";

struct World {
    zoho: Zoho,
    sidecar: Sidecar,
}

impl World {
    async fn start() -> Self {
        let zoho = Zoho::start().await;
        let sidecar = Sidecar::run(&zoho, "").await;
        sidecar.ready().await;
        Self { zoho, sidecar }
    }

    /// Everything that comes back for these bytes, until the sidecar closes the connection.
    async fn says(&self, bytes: &str) -> String {
        let mut wire = Wire::connect(self.sidecar.proxy()).await;
        wire.say(bytes).await;
        wire.hear_all().await
    }

    /// Sends bytes that must be refused, with a hidden request behind them.
    async fn refuses(&self, bytes: &str, status: u16, code: &str) {
        let heard = self.says(&format!("{bytes}{HIDDEN}")).await;
        // A refusal does not end in a line feed: what followed it would stand on its last line.
        let begins = |text: &&str| text.starts_with(|first: char| first.is_ascii_digit());
        let answers = heard.split("HTTP/1.1 ").filter(begins).count();
        assert_eq!(answers, 1, "{bytes:?}: one answer, and nothing for what follows: {heard}");
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?}: {heard}");
        assert!(heard.contains(&format!("\"code\":\"{code}\"")), "{bytes:?}: {heard}");
        assert!(heard.contains("\r\nconnection: close\r\n"), "{bytes:?}: {heard}");
        assert_eq!(self.zoho.calls(), 0, "{bytes:?}: {:?}", self.zoho.targets());
    }

    /// Whoever comes next is served as ever, and nothing of what went before reaches Zoho with it.
    async fn goes_on(&self) {
        assert_eq!(self.sidecar.get(USERS).await.status, 200);
        assert_eq!(self.zoho.targets(), [USERS]);
    }
}

/// A request for users with these lines in its head, and the body that follows it.
fn with(lines: &str, body: &str) -> String {
    format!("POST /crm/v8/__echo HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n\r\n{body}")
}

#[tokio::test]
async fn lengths_that_are_repeated_or_no_numbers_are_refused() {
    let world = World::start().await;
    for lines in [
        "content-length: 5\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 5",
        "content-length: +5",
        "content-length: -5",
        "content-length: 0x5",
        "content-length: 5 6",
        "content-length:",
        "content-length: 99999999999999999999",
    ] {
        world.refuses(&with(lines, "hello"), 400, "SIDECAR_MALFORMED_REQUEST").await;
    }
    world.goes_on().await;
}

#[tokio::test]
async fn a_transfer_encoding_beside_a_length_or_of_an_odd_form_is_refused() {
    let world = World::start().await;
    let body = "0\r\n\r\n";
    for lines in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    ] {
        world.refuses(&with(lines, body), 400, "SIDECAR_MALFORMED_REQUEST").await;
    }
    // Without `chunked` at its end, once, a body has no end (RFC 9112 section 6.3).
    for coding in [
        "identity",
        "gzip",
        "chunked, gzip",
        "chunked, chunked",
        "gzip, chunked, identity",
        "xchunked",
        "\"chunked\"",
        "chunked;q=1",
        "chunked,",
        "",
    ] {
        let lines = format!("transfer-encoding: {coding}");
        world.refuses(&with(&lines, body), 400, "SIDECAR_MALFORMED_REQUEST").await;
    }
    world.refuses(&with("transfer-encoding: gzip, chunked", body), 501, "SIDECAR_TRANSFER_CODING").await;
    for spelling in
        ["transfer-encoding : chunked", " transfer-encoding: chunked", "transfer-encoding\t: chunked"]
    {
        world.refuses(&with(spelling, body), 400, "SIDECAR_MALFORMED_REQUEST").await;
    }
    let old = with("transfer-encoding: chunked", body).replace("HTTP/1.1", "HTTP/1.0");
    world.refuses(&old, 400, "SIDECAR_MALFORMED_REQUEST").await;
    world.goes_on().await;
}

#[tokio::test]
async fn line_ends_and_lines_of_another_form_are_refused() {
    let world = World::start().await;
    for head in [
        "GET /crm/v8/users HTTP/1.1\nhost: localhost\n\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\n\r\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\r\nx: y\n\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\r\nx: a\rcontent-length: 5\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\r\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1\r\n host: localhost\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\r\nx: folded\r\n over lines\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost : localhost\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\r\n: no name\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\r\nno colon\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\r\nx: nul\0\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\r\nx\0: nul\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\r\nx: bell\u{7}\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1\r\nhost: localhost\r\nx: delete\u{7f}\r\n\r\n",
        "GET  /crm/v8/users HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/users  HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1 \r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/users\tHTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/us\0ers HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/users#/../Leads HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/users?word=\"a\" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/<users> HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/users?a={b|c} HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/us\u{fc}rs HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/users HTTP/1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/users HTTP/01.01\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/users HTTP/1.1.1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/users HTTP/3\r\nhost: localhost\r\n\r\n",
        "METHODS-LONGER-THAN-ANYBODY-HAS-ONE /crm/v8/users HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET crm/v8/users HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /crm/v8/users\r\nhost: localhost\r\n\r\n",
        "G\0T /crm/v8/users HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ] {
        world.refuses(head, 400, "SIDECAR_MALFORMED_REQUEST").await;
    }
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0"] {
        let head = format!("GET /crm/v8/users {version}\r\nhost: localhost\r\n\r\n");
        world.refuses(&head, 505, "SIDECAR_HTTP_VERSION").await;
    }
    world.goes_on().await;
}

/// Chunked bodies that are malformed: what stands after the head.
const MALFORMED_CHUNKS: [&str; 18] = [
    "g\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5 5\r\nhello\r\n0\r\n\r\n",
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5;a\nhello\r\n0\r\n\r\n",
    "5;a\rb\r\nhello\r\n0\r\n\r\n",
    "5;a\0\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello, longer\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nGET /crm/v8/Smuggled HTTP/1.1\r\n\r\n",
    "5\r\nhello\r\n0\r\nx: y\n\n",
];

#[tokio::test]
async fn chunks_that_are_malformed_are_refused_before_zoho_is_asked() {
    let world = World::start().await;
    for chunks in MALFORMED_CHUNKS {
        world.refuses(&with("transfer-encoding: chunked", chunks), 400, "SIDECAR_MALFORMED_REQUEST").await;
    }
    world.goes_on().await;
}

#[tokio::test]
async fn a_long_body_whose_chunks_turn_malformed_never_ends_well_for_zoho() {
    let world = World::start().await;
    let long = format!("20000\r\n{}\r\n", "x".repeat(0x20000));
    for chunks in MALFORMED_CHUNKS {
        let heard = world.says(&with("transfer-encoding: chunked", &format!("{long}{chunks}{HIDDEN}"))).await;
        assert!(heard.starts_with("HTTP/1.1 400 "), "{chunks:?}: {heard}");
        assert!(heard.contains("SIDECAR_MALFORMED_REQUEST"), "{chunks:?}: {heard}");
    }
    let World { zoho, sidecar } = world;
    sidecar.stop().await;
    // A call whose body broke off is none that Zoho has answered.
    assert_eq!(zoho.answered("/crm/v8/__echo"), 0);
    assert!(zoho.targets().iter().all(|target| target == "/crm/v8/__echo"), "{:?}", zoho.targets());
}

#[tokio::test]
async fn extensions_of_chunks_and_trailers_stay_behind() {
    let world = World::start().await;
    let body = "5;name=\"value; 0\"\r\nhello\r\n0;last\r\nx-trailer: 1\r\nauthorization: made-up\r\n\r\n";
    let lines = "transfer-encoding: chunked\r\ntrailer: x-trailer\r\nconnection: close";
    let heard = world.says(&with(lines, body)).await;
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    let seen = world.zoho.last_call();
    assert_eq!(seen.body_length, 5);
    for name in ["trailer", "x-trailer", "te", "transfer-encoding"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn what_is_pipelined_before_a_malformed_request_is_answered_first() {
    let world = World::start().await;
    let good = format!("GET {USERS} HTTP/1.1\r\nhost: localhost\r\nx-request-id: good\r\n\r\n");
    let heard = world.says(&format!("{good}{good}GET / HTTP/1.1\nhost: localhost\n\n{HIDDEN}")).await;
    let statuses: Vec<&str> = heard.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")).collect();
    assert_eq!(statuses, ["200 OK", "200 OK", "400 Bad Request"], "{heard}");
    assert_eq!(world.zoho.targets(), [USERS, USERS]);
}

#[tokio::test]
async fn the_verdict_is_the_same_however_the_bytes_arrive() {
    let world = World::start().await;
    for bytes in
        [with("content-length: 5\r\ntransfer-encoding: chunked", "0\r\n\r\n"), "GET / HTTP/1.1\n\n".into()]
    {
        let mut wire = Wire::connect(world.sidecar.proxy()).await;
        for byte in bytes.chars() {
            wire.say(&byte.to_string()).await;
        }
        let heard = wire.hear_all().await;
        assert!(heard.starts_with("HTTP/1.1 400 "), "{bytes:?}: {heard}");
        assert_eq!(world.zoho.calls(), 0);
    }
    world.goes_on().await;
}

#[tokio::test]
async fn heads_beyond_the_limits_are_refused_in_our_words() {
    let world = World::start().await;
    let head = |lines: &str| format!("GET {USERS} HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n");
    world.refuses(&head(&"x: y\r\n".repeat(100)), 431, "SIDECAR_HEAD_TOO_LARGE").await;
    let long = format!("x: {}\r\n", "y".repeat(70_000));
    world.refuses(&head(&long), 431, "SIDECAR_HEAD_TOO_LARGE").await;
    let endless = "x: y\r\n".repeat(20_000);
    world.refuses(&head(&endless), 431, "SIDECAR_HEAD_TOO_LARGE").await;
    world.goes_on().await;
}

#[tokio::test]
async fn a_malformed_request_has_its_line_in_the_log_and_its_place_in_the_metrics() {
    let world = World::start().await;
    world.refuses("GET / HTTP/1.1\nhost: localhost\n\n", 400, "SIDECAR_MALFORMED_REQUEST").await;
    let refusals = "zoho_sidecar_refusals_total{code=\"SIDECAR_MALFORMED_REQUEST\"}";
    assert!(world.sidecar.metric(refusals).await >= 1.0);
    let ended = world.sidecar.stop().await;
    let line = ended.lines.iter().find(|line| line.contains("SIDECAR_MALFORMED_REQUEST")).unwrap();
    assert!(line.contains("\"method\":\"-\"") && line.contains("\"path\":\"*\""), "{line}");
}

/// Targets that servers behind each other read differently.
#[tokio::test]
async fn paths_that_could_mean_another_path_are_refused() {
    let world = World::start().await;
    for target in [
        "/crm/v8/../v8/users",
        "/crm/v8/./users",
        "/crm/v8/users/..",
        "/crm/v8/%2e%2e/users",
        "/crm/v8/%2E./users",
        "/crm/v8/.%2e%2fusers",
        "/crm/v8/..%2fusers",
        "/crm/v8/..%5cusers",
        "/crm/v8/..\\users",
        "/crm/v8/..;/users",
        "/crm/v8/settings%2Fterritories%2Factions%2Fassociated_users_count",
        "/crm/v8//settings/territories/actions/associated_users_count",
        "//crm/v8/settings/territories/actions/associated_users_count",
        "/crm/v8/settings\\territories/actions/associated_users_count",
        "/crm/v8/users%00",
        "/crm/v8/users%0d%0ahost:evil",
    ] {
        let heard = world
            .says(&format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
            .await;
        assert!(heard.starts_with("HTTP/1.1 400 "), "{target}: {heard}");
        assert!(heard.contains("SIDECAR_AMBIGUOUS_REQUEST"), "{target}: {heard}");
        assert_eq!(world.zoho.calls(), 0, "{target}");
    }
    world.goes_on().await;
}

#[tokio::test]
async fn twins_of_headers_that_differ_by_underscores_do_not_reach_zoho() {
    let world = World::start().await;
    let twins =
        ["authorization", "content-length", "transfer-encoding", "x-forwarded-for", "proxy-authorization"];
    let mut asked = request("POST", "/crm/v8/__echo");
    *asked.body_mut() = Body::full("hello");
    for twin in twins {
        let name = HeaderName::from_bytes(twin.replace('-', "_").as_bytes()).unwrap();
        asked.headers_mut().insert(name, HeaderValue::from_static("3"));
    }
    assert_eq!(ask(world.sidecar.proxy(), asked).await.status, 200);
    let seen = world.zoho.last_call();
    assert_eq!((seen.body_length, seen.header("content-length")), (5, Some("5")));
    let strange: Vec<_> = seen.headers.iter().filter(|(name, _)| name.contains('_')).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[tokio::test]
async fn a_connection_goes_on_after_a_refusal_that_leaves_no_doubt() {
    let world = World::start().await;
    let mut wire = Wire::connect(world.sidecar.proxy()).await;
    for _ in 0..3 {
        wire.say("POST /tenants/none/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello").await;
        assert!(wire.hear_answer().await.starts_with("HTTP/1.1 404 "));
        wire.say(&format!("GET {USERS} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        assert!(wire.hear_answer().await.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(world.zoho.targets(), [USERS; 3]);
}
