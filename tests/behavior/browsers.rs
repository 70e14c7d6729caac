//! Browsers: no page that somebody visits can have requests sent with the tenant's token.

use http::{Method, Request};
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::peer::{Peer, SubjectName};

use crate::wire;
use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World, request, with_headers};

const CHROMIUM: (&str, &str) = (
    "user-agent",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
);
const FIREFOX: (&str, &str) =
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");

/// All that is enough to know a browser by.
const SIGNS: [(&str, &str); 9] = [
    CHROMIUM,
    FIREFOX,
    ("origin", "null"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-dest", "image"),
    ("sec-fetch-user", "?1"),
    ("sec-purpose", "prefetch"),
    ("sec-purpose", "prefetch;prerender"),
];

/// What a page can have sent, each with this sign of its browser.
fn asked_of_a_page(sign: (&str, &str)) -> Vec<Request<Body>> {
    let plain = ("content-type", "text/plain");
    let asked = [
        request(Method::GET, ASSOCIATED_USERS_COUNT, ""),
        request(Method::GET, USERS, ""),
        request(Method::HEAD, USERS, ""),
        with_headers(request(Method::POST, "/crm/v8/Leads", "{}"), &[plain]),
        request(Method::GET, "/crm/v8/functions/made_up/actions/execute?auth_type=oauth", ""),
        request(Method::OPTIONS, USERS, ""),
        request(Method::POST, "/oauth/v2/token", "grant_type=refresh_token"),
        request(Method::GET, "/oauth/user/info", ""),
    ];
    asked.into_iter().map(|asked| with_headers(asked, &[sign])).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_browser_sends_reaches_neither_zoho_nor_the_cache() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    for sign in SIGNS {
        for asked in asked_of_a_page(sign) {
            let what = format!("{} {} with {sign:?}", asked.method(), asked.uri());
            let is_head = *asked.method() == Method::HEAD;
            let answer = world.send(asked).await;
            assert_eq!(answer.status, 403, "{what}");
            assert!(is_head || answer.code() == "SIDECAR_BROWSER_REFUSED", "{what}");
            assert!(answer.headers.get("access-control-allow-origin").is_none(), "{what}");
        }
    }
    assert_eq!((world.calls(), world.mints()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_fetch_of_node_and_services_that_name_their_page_are_no_browsers() {
    let world = World::shipped().await;
    for headers in [
        &[("user-agent", "node"), ("sec-fetch-mode", "cors"), ("accept-language", "*")][..],
        &[("referer", "http://app.example/page")],
        &[("user-agent", "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.22621.1")],
        &[("user-agent", "Mozilla/5.0 (compatible; made-up-crawler/1.0)")],
    ] {
        world.get_with(USERS, headers).await.assert_status(200);
        world.get_with(ASSOCIATED_USERS_COUNT, headers).await.assert_status(200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_browser_is_served_where_the_configuration_allows_it() {
    let world = World::with("[server]\nallow_browsers = true\n").await;
    for sign in SIGNS {
        for asked in asked_of_a_page(sign) {
            let what = format!("{} {} with {sign:?}", asked.method(), asked.uri());
            assert_ne!(world.send(asked).await.status, 403, "{what}");
        }
    }
    // A page that was loaded from a name of its own could read the answers.
    let rebound = Request::get(USERS).header("host", "evil.example").body(Body::empty()).unwrap();
    assert_eq!(world.send(with_headers(rebound, &[CHROMIUM])).await.code(), "SIDECAR_HOST_UNKNOWN");
}

/// Two callers with credentials, and one that all others are.
const CALLERS: &str = r#"
    [callers.billing]
    token = "sha256:181bf52ad7827239d0f536cd2fadfbbf273134a6018a52ab0cfc84ab8ad1ae36"
    [callers.others]
    anybody = true
"#;

#[tokio::test(start_paused = true)]
async fn a_browser_with_a_credential_is_served_unless_a_page_asks() {
    let world = World::with(CALLERS).await;
    let shown = ("authorization", "Bearer made-up-billing-token");
    let wrong = ("authorization", "Bearer wrong");
    for sign in [CHROMIUM, FIREFOX, ("sec-fetch-site", "none"), ("sec-fetch-dest", "document")] {
        world.get_with(USERS, &[shown, sign]).await.assert_status(200);
        world.get_with(USERS, &[wrong, sign]).await.assert_status(403);
        world.get_with(USERS, &[sign]).await.assert_status(403);
    }
    // A browser adds a certificate by itself, whoever asks; none of this is ever a person.
    for sign in [("origin", "null"), ("sec-fetch-site", "same-site"), ("sec-purpose", "prefetch")] {
        world.get_with(USERS, &[shown, sign]).await.assert_status(403);
    }
}

#[tokio::test(start_paused = true)]
async fn tls_without_a_credential_is_no_excuse_and_a_unix_socket_is_one() {
    let world = World::shipped().await;
    let asked = || with_headers(request(Method::GET, USERS, ""), &[CHROMIUM]);
    let tls = Peer { is_tls: true, names: vec![SubjectName::dns("unknown.example")], uid: None };
    world.send_from(tls, asked()).await.assert_status(403);
    let local = Peer { uid: Some(1000), ..Peer::default() };
    world.send_from(local, asked()).await.assert_status(200);
}

/// A refusal is never what the fast path answers, and what it has learned of a service is nothing for a browser.
#[tokio::test(start_paused = true)]
async fn a_browser_is_refused_each_time_also_where_the_head_of_a_service_is_known() {
    let world = World::shipped().await;
    let mut service = world.connect();
    let head = |agent: &str| {
        format!("GET {ASSOCIATED_USERS_COUNT} HTTP/1.1\r\nhost: sidecar:8080\r\nuser-agent: {agent}\r\n\r\n")
    };
    for agent in ["made-up-service/1.0", CHROMIUM.1, FIREFOX.1] {
        let expected = if agent.starts_with("Mozilla") { "HTTP/1.1 403" } else { "HTTP/1.1 200" };
        for _ in 0..20 {
            let answer = ask(&mut service, &head(agent)).await;
            assert!(answer.starts_with(expected), "{answer}");
        }
    }
    assert_eq!(world.calls(), 1);
}

async fn ask(peer: &mut wire::Peer, head: &str) -> String {
    assert!(peer.say(head).await);
    peer.whole_answer().await.expect("the connection is open")
}

/// A component of old Windows, and monitors that pretend to be a browser.
const NO_PERSON: [&str; 3] = [
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)",
    "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/90.0.4430.93 Safari/537.36",
    "Mozilla/5.0 (compatible; made-up-monitor/2.0) Gecko/20100101",
];

#[tokio::test(start_paused = true)]
async fn a_service_that_looks_like_a_browser_is_told_what_to_do() {
    let world = World::shipped().await;
    let allowing = World::with("[server]\nallow_browsers = true\n").await;
    for user_agent in NO_PERSON {
        let answer = world.get_with(USERS, &[("user-agent", user_agent)]).await;
        assert_eq!(answer.code(), "SIDECAR_BROWSER_REFUSED", "{user_agent}");
        let text = answer.json().to_string();
        for remedy in ["server.allow_browsers = true", "another User-Agent", "show a credential"] {
            assert!(text.contains(remedy), "{text}");
        }
        allowing.get_with(USERS, &[("user-agent", user_agent)]).await.assert_status(200);

        let mut asker = world.connect_to_admin();
        asker
            .say(format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nuser-agent: {user_agent}\r\n\r\n"))
            .await;
        let answer = asker.whole_answer().await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("admin.token") && answer.contains("another User-Agent"), "{answer}");
    }
}
