//! The emulator on a port.

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use super::*;

struct Caller {
    client: Client<HttpConnector, Body>,
    origin: String,
}

impl Caller {
    fn of(listening: &Listening, http2: bool) -> Self {
        let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
        Self { client, origin: format!("http://{}", listening.address()) }
    }

    async fn call(&self, method: &str, path: &str, token: &str, body: &str) -> Option<(u16, String)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin))
            .header(AUTHORIZATION, format!("Zoho-oauthtoken {token}"))
            .body(Body::full(body.to_owned()))
            .unwrap();
        let (head, body) = self.client.request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some((head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap()))
    }

    async fn json(&self, method: &str, path: &str, body: &str) -> Value {
        serde_json::from_str(&self.call(method, path, "", body).await.unwrap().1).unwrap()
    }

    async fn mint(&self, name: &str) -> Value {
        let (id, secret) =
            (format!("1000.EMULATED{}", name.to_uppercase()), format!("emulated-secret-{name}"));
        let form = format!(
            "grant_type=refresh_token&client_id={id}&client_secret={secret}\
             &refresh_token=1000.emulated-refresh-{name}.00000000"
        );
        self.json("POST", "/oauth/v2/token", &form).await
    }
}

async fn listening(data_center: &str) -> (Emulator, Listening) {
    let zoho = Emulator::new(Scenario::default(), Clock::system());
    let listening = zoho.listen("127.0.0.1:0".parse().unwrap(), data_center).await.unwrap();
    (zoho, listening)
}

#[tokio::test]
async fn a_listener_serves_its_data_centre_over_http1_and_http2() {
    let (_zoho, listening) = listening("eu").await;
    for http2 in [false, true] {
        let caller = Caller::of(&listening, http2);
        assert_eq!(caller.mint("acme").await["error"], "invalid_client");
        let minted = caller.mint("globex").await;
        assert_eq!(minted["api_domain"], caller.origin);
        let token = minted["access_token"].as_str().unwrap();
        let (status, body) = caller.call("GET", COUNTS, token, "").await.unwrap();
        assert_eq!(status, 200);
        assert!(body.contains("\"name\":\"Berlin\""), "{body}");
    }
}

#[tokio::test]
async fn a_listener_for_all_serves_every_organisation() {
    let (_zoho, listening) = listening("*").await;
    let caller = Caller::of(&listening, false);
    for name in ["acme", "globex"] {
        let minted = caller.mint(name).await;
        let token = minted["access_token"].as_str().unwrap();
        assert_eq!(caller.call("GET", COUNTS, token, "").await.unwrap().0, 200);
    }
    let info = caller.json("GET", "/oauth/serverinfo", "").await;
    assert_eq!(info["locations"]["eu"], caller.origin);
}

#[tokio::test]
async fn what_goes_wrong_is_told_to_the_control_endpoint() {
    let (zoho, listening) = listening("*").await;
    let caller = Caller::of(&listening, false);
    let drop = r#"{"target":{"path":"/crm/"},"fault":"drop","times":1}"#;
    assert_eq!(caller.json("POST", "/__emulator/faults", drop).await, json!({ "done": true }));
    assert_eq!(zoho.script().waiting(), 1);
    assert!(caller.call("POST", COUNTS, "", "").await.is_none());
    assert!(caller.call("POST", COUNTS, "", "").await.is_some());
    let wrong = caller.json("POST", "/__emulator/faults", r#"{"target":"api","fault":"vanish"}"#).await;
    assert!(wrong["error"].as_str().unwrap().contains("unknown variant `vanish`"), "{wrong}");
    caller.call("POST", "/__emulator/outage", "", "").await.unwrap();
    assert_eq!(caller.call("GET", COUNTS, "", "").await.unwrap().0, 502);
    caller.call("DELETE", "/__emulator/faults", "", "").await.unwrap();
    assert_eq!(caller.call("GET", COUNTS, "", "").await.unwrap().0, 401);
}

#[tokio::test]
async fn state_is_changed_and_looked_at_through_the_control_endpoint() {
    let (zoho, listening) = listening("*").await;
    let caller = Caller::of(&listening, false);
    let acme = zoho.organisation("acme");
    caller.mint("acme").await;
    assert_eq!(acme.live_tokens(), 1);
    caller.call("POST", "/__emulator/organisations/acme/kill-tokens", "", "").await.unwrap();
    assert_eq!(acme.live_tokens(), 0);
    let path = "/__emulator/organisations/acme/territories/East/users/Finn%20Example";
    assert_eq!(caller.json("PUT", path, "").await, json!({ "changed": true }));
    let organisations = caller.json("GET", "/__emulator/organisations", "").await;
    assert_eq!(organisations["organisations"][0]["territories"][2]["count"], 2);
    let ledger = caller.json("GET", "/__emulator/ledger", "").await;
    assert_eq!((&ledger["mints"], &ledger["calls"]), (&json!(1), &json!(0)));
    caller.call("POST", "/__emulator/reset", "", "").await.unwrap();
    assert_eq!(acme.counts()[2], ("East".to_owned(), 1));
    let (status, body) = caller.call("GET", "/__emulator/nothing", "", "").await.unwrap();
    assert!(status == 404 && body.contains("GET /__emulator/ledger"), "{body}");
}

#[tokio::test]
async fn no_page_of_a_browser_asks_the_control_endpoint() {
    let (zoho, listening) = listening("*").await;
    let address = listening.address().to_string();
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let asked = async |method: &str, headers: &[(&str, &str)]| {
        let request = Request::builder().method(method).uri(format!("http://{address}/__emulator/outage"));
        let named = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        client.request(named.body(Body::empty()).unwrap()).await.unwrap().status()
    };
    for headers in [
        &[("origin", "null")][..],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-purpose", "prefetch")],
        &[("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")],
    ] {
        assert_eq!(asked("POST", headers).await, StatusCode::FORBIDDEN, "{headers:?}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example:9400"] {
        assert_eq!(asked("POST", &[("host", host)]).await, StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    assert!(!zoho.world.script.is_outage());
    for host in ["localhost", "emulator:9400", "127.0.0.1"] {
        assert_eq!(
            asked("POST", &[("host", host), ("sec-fetch-mode", "cors")]).await,
            StatusCode::OK,
            "{host}"
        );
    }
    assert!(zoho.world.script.is_outage());
}

#[tokio::test]
async fn dropping_a_listener_ends_its_connections() {
    let (_zoho, listening) = listening("us").await;
    let caller = Caller::of(&listening, false);
    assert!(caller.call("GET", COUNTS, "", "").await.is_some());
    drop(listening);
    tokio::task::yield_now().await;
    assert!(caller.call("GET", COUNTS, "", "").await.is_none());
}

#[tokio::test]
async fn long_bodies_arrive_whole_and_cut_ones_break_off() {
    let (zoho, listening) = listening("*").await;
    for http2 in [false, true] {
        let caller = Caller::of(&listening, http2);
        let minted = caller.mint("acme").await;
        let token = minted["access_token"].as_str().unwrap();
        let long = "x".repeat(3_000_000);
        let (_, echo) = caller.call("POST", "/crm/v8/__echo", token, &long).await.unwrap();
        assert!(echo.contains("\"body_length\":3000000"), "{echo}");
        zoho.script().next(Target::Api, Fault::CutBody(10));
        assert!(caller.call("GET", COUNTS, token, "").await.is_none());
        zoho.script().next(Target::Api, Fault::Chunked);
        assert_eq!(caller.call("GET", COUNTS, token, "").await.unwrap().0, 200);
    }
}
