//! HTTP/1.1 on the wire, as RFC 9110 and RFC 9112 want it of one that passes messages on.

use crate::caller::Wire;
use crate::sidecar::Sidecar;
use crate::zoho::{HeldApi, USERS, Zoho};

/// A sidecar before an API host that says what a test tells it to.
struct World {
    api: HeldApi,
    sidecar: Sidecar,
    _zoho: Zoho,
}

impl World {
    async fn start() -> Self {
        let api = HeldApi::start().await;
        let zoho = Zoho::with_api(&api).await;
        let sidecar = Sidecar::run(&zoho, "").await;
        sidecar.ready().await;
        Self { api, sidecar, _zoho: zoho }
    }

    async fn wire(&self) -> Wire {
        Wire::connect(self.sidecar.proxy()).await
    }

    /// What a caller hears who sends `request`, while Zoho sends `answer`.
    async fn hears(&mut self, request: &str, answer: &str) -> String {
        let mut wire = self.wire().await;
        wire.say(request).await;
        let mut call = self.api.call().await;
        call.say(answer).await;
        // The call is over; what stays open may be used again.
        let heard = wire.hear_all().await;
        drop(call);
        heard
    }
}

fn get(lines: &str) -> String {
    format!("GET {USERS} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{lines}\r\n")
}

/// What was heard, taken apart: status, header lines and body.
fn parts(answer: &str) -> (&str, Vec<&str>, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
    (status, lines.collect(), body)
}

fn names<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    lines.into_iter().filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect()
}

#[tokio::test]
async fn headers_of_one_hop_cross_in_neither_direction() {
    let mut world = World::start().await;
    let mut wire = world.wire().await;
    let hop = "Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers, deflate\r\n\
               Trailer: X-Sum\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic bWFkZTp1cA==\r\n\
               Upgrade: h2c\r\n";
    wire.say(&format!("GET {USERS} HTTP/1.1\r\nHost: localhost\r\n{hop}X-Kept: 1\r\n\r\n")).await;
    let mut call = world.api.call().await;
    call.say(
        "HTTP/1.1 200 OK\r\nConnection: X-Theirs\r\nX-Theirs: 1\r\nKeep-Alive: timeout=5\r\nTrailer: X-Sum\r\n\
         Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Kept: 2\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let heard = wire.hear_answer().await;

    let sent = names(call.head().split("\r\n"));
    let (_, told, body) = parts(&heard);
    let told = names(told);
    for name in
        ["x-mine", "x-theirs", "keep-alive", "te", "trailer", "proxy-connection", "proxy-authorization"]
    {
        assert!(!sent.contains(&name.to_owned()) && !told.contains(&name.to_owned()), "{name}");
    }
    for name in ["upgrade", "proxy-authenticate", "connection"] {
        assert!(!sent.contains(&name.to_owned()) && !told.contains(&name.to_owned()), "{name}");
    }
    assert!(sent.contains(&"x-kept".to_owned()) && told.contains(&"x-kept".to_owned()));
    assert!(call.head().contains("\r\nvia: 1.1 zoho-sidecar\r\n"), "{}", call.head());
    assert_eq!(body, "ok");
}

#[tokio::test]
async fn trailers_of_an_answer_stay_behind_and_its_body_ends_well() {
    let mut world = World::start().await;
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                  2\r\nok\r\n0\r\nx-sum: 1\r\nset-cookie: made-up=1\r\n\r\n";
    let heard = world.hears(&get("TE: trailers\r\n"), answer).await;
    let (status, _, body) = parts(&heard);
    assert_eq!((status, body), ("200 OK", "2\r\nok\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn interim_answers_are_not_taken_for_the_final_one() {
    let mut world = World::start().await;
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                   HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n";
    let heard =
        world.hears(&get(""), &format!("{interim}HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok")).await;
    let (status, lines, body) = parts(&heard);
    assert_eq!((status, body), ("201 Created", "ok"));
    assert!(!names(lines).contains(&"link".to_owned()));
}

#[tokio::test]
async fn a_caller_that_waits_to_be_told_to_continue_is_told() {
    let mut world = World::start().await;
    let mut wire = world.wire().await;
    let head =
        "POST /crm/v8/Leads HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    wire.say(head).await;
    assert_eq!(wire.hear("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    wire.say("hello").await;
    let mut call = world.api.call().await;
    assert!(!names(call.head().split("\r\n")).contains(&"expect".to_owned()));
    call.say("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok").await;
    assert!(wire.hear_answer().await.starts_with("HTTP/1.1 201 Created\r\n"));
}

#[tokio::test]
async fn nobody_is_told_to_continue_whose_request_is_refused_or_who_cannot_know() {
    let mut world = World::start().await;
    for (target, expectation, status) in [
        ("/crm/../x", "100-continue", "400 Bad Request"),
        ("/crm/v8/Leads", "200-ok", "417 Expectation Failed"),
    ] {
        let mut wire = world.wire().await;
        wire.say(&format!(
            "POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\nexpect: {expectation}\r\n\r\n"
        ))
        .await;
        let heard = wire.hear_all().await;
        assert_eq!(parts(&heard).0, status, "{heard}");
    }
    let mut old = world.wire().await;
    old.say("POST /crm/v8/Leads HTTP/1.0\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\nhello").await;
    let mut call = world.api.call().await;
    call.say("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok").await;
    assert!(old.hear_all().await.contains(" 201 Created\r\n"));
}

#[tokio::test]
async fn a_final_answer_that_comes_before_the_body_has_gone_out_reaches_the_caller() {
    let mut world = World::start().await;
    let mut wire = world.wire().await;
    let length = 64 * 1024 * 1024;
    let head = format!("POST /crm/v8/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    wire.say(&head).await;
    wire.say(&"x".repeat(100_000)).await;
    let mut call = world.api.call().await;
    call.say("HTTP/1.1 413 Content Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlarge").await;
    let answer = wire.hear_answer_while_saying(&"x".repeat(1_000_000)).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.ends_with("large"), "{answer}");
    // What is left of the request is nobody's next request.
    drop(call);
    let _ = wire.try_say(&get("")).await;
    assert_eq!(wire.hear_all().await, "");
}

#[tokio::test]
async fn answers_without_a_body_are_framed_as_such() {
    let mut world = World::start().await;
    let as_head = |request: String| request.replacen("GET", "HEAD", 1);
    for (request, answer, status, length) in [
        (as_head(get("")), "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n", "200 OK", Some("1234")),
        (as_head(get("")), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "200 OK", None),
        (get(""), "HTTP/1.1 204 No Content\r\ncontent-type: text/plain\r\n\r\n", "204 No Content", None),
        (get(""), "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", "204 No Content", None),
        (get(""), "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n", "304 Not Modified", None),
        (get(""), "HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n", "304 Not Modified", None),
        (get(""), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "200 OK", Some("0")),
        (get(""), "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "404 Not Found", Some("0")),
    ] {
        let heard = world.hears(&request, answer).await;
        let (told, lines, body) = parts(&heard);
        assert_eq!((told, body), (status, ""), "{answer}");
        let told = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(told, length, "{answer}: {heard}");
        assert!(!names(lines).contains(&"transfer-encoding".to_owned()), "{heard}");
    }
}

#[tokio::test]
async fn callers_of_http_1_0_get_answers_that_they_understand() {
    let mut world = World::start().await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    for request in [
        format!("GET {USERS} HTTP/1.0\r\n\r\n"),
        format!("GET {USERS} HTTP/1.0\r\nhost: localhost\r\n\r\n"),
        format!("GET {USERS} HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"),
    ] {
        let heard = world.hears(&request, chunked).await;
        assert!(heard.ends_with("\r\n\r\nok"), "ends with the connection: {heard}");
        assert!(!heard.contains("transfer-encoding"), "{heard}");
    }
    let mut wire = world.wire().await;
    for _ in 0..2 {
        wire.say(&format!("GET {USERS} HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")).await;
        let mut call = world.api.call().await;
        assert!(call.head().starts_with(&format!("GET {USERS} HTTP/1.1\r\n")), "{}", call.head());
        assert!(call.head().contains("\r\nvia: 1.0 zoho-sidecar\r\n"), "{}", call.head());
        call.say("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
        assert!(wire.hear_answer().await.ends_with("ok"));
    }
}

#[tokio::test]
async fn an_absolute_target_at_our_own_address_is_a_path_to_zoho() {
    let mut world = World::start().await;
    let address = world.sidecar.proxy();
    let mut wire = world.wire().await;
    wire.say(&format!("GET http://{address}{USERS} HTTP/1.1\r\nhost: {address}\r\n\r\n")).await;
    let mut call = world.api.call().await;
    assert!(call.head().starts_with(&format!("GET {USERS} HTTP/1.1\r\n")), "{}", call.head());
    assert_eq!(call.head().matches("host: ").count(), 1, "{}", call.head());
    call.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert!(wire.hear_answer().await.ends_with("ok"));
}

#[tokio::test]
async fn hosts_that_leave_a_doubt_are_refused() {
    let world = World::start().await;
    for head in [
        format!("GET {USERS} HTTP/1.1\r\n"),
        format!("GET {USERS} HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n"),
        format!("GET {USERS} HTTP/1.1\r\nhost: localhost, www.zohoapis.test\r\n"),
        format!("GET {USERS} HTTP/1.1\r\nhost: user@localhost\r\n"),
        format!("GET {USERS} HTTP/1.1\r\nhost: localhost/crm\r\n"),
        format!("GET http://www.zohoapis.test{USERS} HTTP/1.1\r\nhost: localhost\r\n"),
        format!("GET http://www.zohoapis.test{USERS} HTTP/1.1\r\nhost: www.zohoapis.test\r\n"),
        format!("GET http://user@127.0.0.1{USERS} HTTP/1.1\r\nhost: 127.0.0.1\r\n"),
    ] {
        let mut wire = world.wire().await;
        wire.say(&format!("{head}connection: close\r\n\r\n")).await;
        let heard = wire.hear_all().await;
        assert_eq!(parts(&heard).0, "400 Bad Request", "{head}: {heard}");
        assert!(heard.contains("SIDECAR_AMBIGUOUS_REQUEST"), "{head}: {heard}");
    }
}

#[tokio::test]
async fn options_are_counted_down_and_answered_where_the_count_ends() {
    let mut world = World::start().await;
    for head in ["OPTIONS * HTTP/1.1", "OPTIONS /crm/v8/users HTTP/1.1\r\nmax-forwards: 0"] {
        let mut wire = world.wire().await;
        wire.say(&format!("{head}\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await;
        let answer = wire.hear_all().await;
        assert_eq!(parts(&answer).0, "204 No Content", "{head}: {answer}");
        assert!(answer.contains("\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"), "{answer}");
    }
    let mut wire = world.wire().await;
    wire.say("OPTIONS /crm/v8/users HTTP/1.1\r\nhost: localhost\r\nmax-forwards: 3\r\n\r\n").await;
    let mut call = world.api.call().await;
    assert!(call.head().starts_with("OPTIONS /crm/v8/users HTTP/1.1\r\n"), "{}", call.head());
    assert!(call.head().contains("\r\nmax-forwards: 2\r\n"), "{}", call.head());
    call.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert!(wire.hear_answer().await.ends_with("ok"));
}

#[tokio::test]
async fn tunnels_and_other_protocols_are_refused() {
    let world = World::start().await;
    for (head, code) in [
        ("CONNECT www.zohoapis.test:443 HTTP/1.1\r\nhost: www.zohoapis.test:443", "SIDECAR_METHOD_REFUSED"),
        ("CONNECT localhost HTTP/1.1\r\nhost: localhost", "SIDECAR_METHOD_REFUSED"),
        ("TRACE / HTTP/1.1\r\nhost: localhost", "SIDECAR_METHOD_REFUSED"),
        (
            "GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade",
            "SIDECAR_AMBIGUOUS_REQUEST",
        ),
    ] {
        let mut wire = world.wire().await;
        wire.say(&format!("{head}\r\nconnection: close\r\n\r\n")).await;
        let heard = wire.hear_all().await;
        assert_eq!(parts(&heard).0, "400 Bad Request", "{head}: {heard}");
        assert!(heard.contains(code), "{head}: {heard}");
    }
}

#[tokio::test]
async fn a_connection_to_zoho_is_used_again_after_an_error_that_came_whole() {
    let mut world = World::start().await;
    let mut wire = world.wire().await;
    wire.say(&get("").replace("connection: close\r\n", "")).await;
    let mut call = world.api.call().await;
    for status in ["500 Internal Server Error", "404 Not Found", "400 Bad Request"] {
        call.say(&format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}")).await;
        assert_eq!(parts(&wire.hear_answer().await).0, status);
        wire.say(&get("").replace("connection: close\r\n", "")).await;
        call = call.next().await;
    }
    call.answer("on the first connection").await;
    assert!(wire.hear_answer().await.ends_with("on the first connection"));
}
