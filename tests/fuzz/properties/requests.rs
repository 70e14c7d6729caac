//! What the sidecar makes of a request, from its head to what Zoho gets and the caller sees. The bytes are a
//! request as in HTTP/1: a line with method and target, headers, an empty line, a body.

use std::sync::{Arc, Mutex, PoisonError};

use http::header::{AUTHORIZATION, CONNECTION, HeaderName, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use zoho_sidecar::app::App;
use zoho_sidecar::clock::Clock;
use zoho_sidecar::config::{Source, load_texts};
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::transport::{BoxFuture, Transport, TransportError};
use zoho_sidecar::supervisor::Supervisor;
use zoho_sidecar::telemetry::metrics::Metrics;
use zoho_sidecar::telemetry::request_log::RequestLog;
use zoho_sidecar::zoho::path::{has_dot_segment, has_encoded_control};

const CONFIG: &str = concat!(
    "presets = [\"crm-metadata\"]\n[state]\ndirectory = \"none\"\n[log]\nformat = \"json\"\n",
    "[tenants.acme]\ndata_center = \"eu\"\nclient_id = \"1000.MADEUP\"\n",
    "client_secret = \"made-up-secret\"\nrefresh_token = \"1000.made-up\"\n",
);

/// What nobody but Zoho may see.
const TOKEN: &str = "1000.made-up-never-to-be-told";

/// What never reaches Zoho, in any spelling (hyphens stand for underscores too).
const NEVER: [&str; 13] = [
    "cookie",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "host",
];

pub fn hold(bytes: &[u8]) {
    let Some((request, asked)) = request(bytes) else { return };
    let zoho = Zoho::default();
    let answer = ask(&zoho, request);
    nothing_inward_is_for_zoho_only(&answer);
    for call in zoho.calls.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        a_call_is_what_was_asked_for(&asked, call);
        a_call_carries_our_credential_and_no_other(call);
        a_call_carries_nothing_of_the_callers_hop(&asked, call);
    }
}

/// The request, and its head once more.
fn request(bytes: &[u8]) -> Option<(Request<Body>, Request<()>)> {
    let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = bytes.split_at(end);
    let mut lines = std::str::from_utf8(head).ok()?.lines();
    let (method, target) = lines.next()?.split_once(' ')?;
    let mut asked = Request::new(());
    *asked.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *asked.uri_mut() = target.parse::<Uri>().ok()?;
    for (name, value) in lines.filter_map(|line| line.split_once(':')).take(32) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        asked.headers_mut().append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    let body = Body::full(body.get(2..).unwrap_or_default().to_vec());
    let (parts, ()) = asked.clone().into_parts();
    Some((Request::from_parts(parts, body), asked))
}

/// An accounts server that always mints, and an API that remembers what it was asked.
#[derive(Clone, Default)]
struct Zoho {
    calls: Arc<Mutex<Vec<Request<()>>>>,
}

impl Transport for Zoho {
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        let mut answer = Response::new(Body::empty());
        if request.uri().path() == "/oauth/v2/token" && request.uri().host() == Some("accounts.zoho.eu") {
            *answer.body_mut() = Body::full(format!(r#"{{"access_token":"{TOKEN}","expires_in":3600}}"#));
        } else {
            let cookie = HeaderValue::from_static("_zcsr_tmp=made-up; Path=/");
            answer.headers_mut().insert(SET_COOKIE, cookie);
            answer.headers_mut().insert("x-accesstoken-reset", HeaderValue::from_static("made up"));
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("x-hop"));
            answer.headers_mut().insert("x-hop", HeaderValue::from_static("made up"));
            *answer.body_mut() = Body::full("{\"users\":[]}");
            let (parts, _) = request.into_parts();
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.push(Request::from_parts(parts, ()));
        }
        Box::pin(async { Ok(answer) })
    }
}

/// Asks a sidecar of its own, as it ships.
fn ask(zoho: &Zoho, request: Request<Body>) -> Response<bytes::Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime can be built").block_on(async {
        let source = Source { name: "made up".to_owned(), text: CONFIG.to_owned() };
        let config = load_texts(&[source]).config.expect("nothing is wrong with this");
        let zoho: Arc<dyn Transport> = Arc::new(zoho.clone());
        let metrics = Arc::new(Metrics::new());
        let supervisor = Supervisor::unobserved();
        let transports = Arc::new(move || zoho.clone());
        let app = App::new(config, transports, metrics, RequestLog::off(), supervisor, Clock::system());
        let _renewals = app.start_renewals();
        let answer = app.proxy().handle(request).await;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("no answer breaks off").to_bytes();
        Response::from_parts(head, body)
    })
}

fn nothing_inward_is_for_zoho_only(answer: &Response<bytes::Bytes>) {
    let told = format!("{:?} {}", answer.headers(), String::from_utf8_lossy(answer.body()));
    assert!(!told.contains(TOKEN), "{told}");
    for name in ["set-cookie", "x-accesstoken-reset", "x-hop"] {
        assert!(!answer.headers().contains_key(name), "{name}: {told}");
    }
    // The sidecar's own word, where nobody can be sure what follows a request that it refused.
    let connection = answer.headers().get(CONNECTION);
    assert!(connection.is_none_or(|value| value == "close" && told.contains("SIDECAR_")), "{told}");
    let id = answer.headers().get("x-request-id").expect("every answer names its request");
    assert!(!id.is_empty() && id.len() <= 128 && id.as_bytes().iter().all(u8::is_ascii_graphic), "{id:?}");
}

fn a_call_is_what_was_asked_for(asked: &Request<()>, call: &Request<()>) {
    let target = asked.uri().path_and_query().map_or("/", |target| target.as_str());
    let wanted = target.strip_prefix("/tenants/acme").unwrap_or(target);
    let wanted = if wanted.is_empty() { "/" } else { wanted };
    let sent = call.uri().path_and_query().map_or("", |target| target.as_str());
    assert!(sent == wanted || sent.strip_prefix('/') == Some(wanted), "{wanted} was sent as {sent}");
    assert!(!has_dot_segment(call.uri().path()) && !has_encoded_control(call.uri().path()), "{sent}");
    let is_same =
        call.method() == asked.method() || (asked.method() == Method::HEAD && call.method() == Method::GET);
    assert!(is_same, "{} was sent as {}", asked.method(), call.method());
    assert!(![Method::CONNECT, Method::TRACE].contains(call.method()));
}

fn a_call_carries_our_credential_and_no_other(call: &Request<()>) {
    let host = call.uri().host();
    assert!(matches!(host, Some("www.zohoapis.eu" | "content.zohoapis.eu")), "{host:?}");
    assert_eq!(call.uri().scheme_str(), Some("https"));
    let shown: Vec<_> = call.headers().get_all(AUTHORIZATION).iter().collect();
    assert_eq!(shown, [&format!("Zoho-oauthtoken {TOKEN}")]);
    let looks_alike = |name: &&HeaderName| spelling(name) == "authorization" && **name != AUTHORIZATION;
    assert_eq!(call.headers().keys().find(looks_alike), None);
}

fn a_call_carries_nothing_of_the_callers_hop(asked: &Request<()>, call: &Request<()>) {
    for name in call.headers().keys() {
        assert!(!NEVER.contains(&spelling(name).as_str()), "{name} was passed on");
        let ours = matches!(
            name.as_str(),
            "x-request-id" | "authorization" | "accept-encoding" | "content-length" | "via"
        );
        assert!(ours || !is_named(asked.headers(), name), "{name} was for one hop, and was passed on");
    }
}

fn is_named(asked: &HeaderMap, name: &HeaderName) -> bool {
    let values = asked.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(',')).map(|token| token.trim().to_ascii_lowercase());
    tokens.any(|token| token.replace('_', "-") == spelling(name))
}

/// A name as servers see it that take underscores for hyphens.
fn spelling(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}
