//! Through the proxy to a recording transport, in memory.

use std::sync::{Arc, Mutex};

use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use zoho_sidecar::app::App;
use zoho_sidecar::clock::Clock;
use zoho_sidecar::config::{self, Source};
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::transport::{BoxFuture, Transport, TransportError};
use zoho_sidecar::oauth::RenewalTask;
use zoho_sidecar::proxy::Proxy;
use zoho_sidecar::supervisor::Supervisor;
use zoho_sidecar::telemetry::Format;
use zoho_sidecar::telemetry::log::{Bounds, Stream};
use zoho_sidecar::telemetry::metrics::Metrics;
use zoho_sidecar::telemetry::request_log::RequestLog;

use crate::exchange::{
    Arrived, Digest, Headers, Message, assert_answered_from_the_cache, assert_answered_on,
    assert_answered_on_and_stored, assert_sent_on, assert_sent_on_for_all,
};
use crate::table::{Operation, VERSIONS, operations, shape};

const ACCOUNTS: &str = "127.0.0.1:9401";
const API: &str = "127.0.0.1:9402";
const UPLOADS: &str = "127.0.0.1:9403";
const TOKEN: &str = "1000.made-up-of-zoho.00000000";

/// The call that is cached as shipped.
const COUNT: &str = "/settings/territories/actions/associated_users_count";

/// A Zoho that answers what it is told to, and remembers what it was asked.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    answer: Option<Message>,
    seen: Vec<(String, Arrived)>,
}

impl Recorder {
    fn will_answer(&self, answer: Message) {
        self.0.lock().unwrap().answer = Some(answer);
    }

    /// What came since the last time: host and request.
    fn seen(&self) -> Vec<(String, Arrived)> {
        std::mem::take(&mut self.0.lock().unwrap().seen)
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let (head, body) = request.into_parts();
        let host = head.uri.authority().unwrap().as_str().to_owned();
        if host == ACCOUNTS {
            let token = format!(
                r#"{{"access_token":"{TOKEN}","expires_in":3600,"api_domain":"http://{API}","token_type":"Bearer"}}"#
            );
            return Ok(Response::new(Body::full(token)));
        }
        let body = body.collect().await.map_err(TransportError::Broken)?.to_bytes();
        let start = format!("{} {}", head.method, head.uri.path_and_query().unwrap());
        let seen = Arrived { start, headers: listed(&head.headers), body: Digest::of(&body) };
        let mut record = self.0.lock().unwrap();
        record.seen.push((host, seen));
        let answer = record.answer.clone().unwrap();
        let mut response = Response::new(Body::full(answer.body));
        *response.status_mut() = answer.start.parse().unwrap();
        *response.headers_mut() = mapped(&answer.headers);
        Ok(response)
    }
}

impl Transport for Recorder {
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        Box::pin(self.clone().answer(request))
    }
}

/// The sidecar over a recording Zoho.
struct World {
    zoho: Recorder,
    proxy: Proxy,
    _renewals: Vec<RenewalTask>,
}

impl World {
    fn with(config: &str) -> Self {
        let text = format!(
            r#"{config}
            [state]
            directory = "none"
            [data_centers.recording]
            accounts = "http://{ACCOUNTS}"
            api = "http://{API}"
            uploads = "http://{UPLOADS}"
            [tenants.acme]
            data_center = "recording"
            client_id = "1000.MADEUP"
            client_secret = "made-up"
            refresh_token = "1000.made-up"
            "#
        );
        let loaded = config::load_texts(&[Source { name: "(test)".to_owned(), text }]);
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        let zoho = Recorder::default();
        let transport: Arc<dyn Transport> = Arc::new(zoho.clone());
        let metrics = Arc::new(Metrics::new());
        let dropped = metrics.log_lines_dropped(Stream::Requests);
        let buffer = Bounds { lines: 10, bytes: 64 * 1024 };
        let (log, _writer) = RequestLog::new(Format::Json, buffer, dropped, std::io::sink()).unwrap();
        let transports = Arc::new(move || transport.clone());
        let app = App::new(config, transports, metrics, log, Supervisor::unobserved(), Clock::system());
        Self { zoho, proxy: app.proxy(), _renewals: app.start_renewals() }
    }

    async fn send(&self, message: &Message) -> Arrived {
        let (method, target) = message.start.split_once(' ').unwrap();
        let body = Body::full(message.body.clone());
        let mut request = Request::builder().method(method).uri(target).body(body).unwrap();
        *request.headers_mut() = mapped(&message.headers);
        let answer = self.proxy.handle(request).await;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Arrived {
            start: head.status.as_str().to_owned(),
            headers: listed(&head.headers),
            body: Digest::of(&body),
        }
    }

    /// What the only call was since the last time.
    #[track_caller]
    fn only_call(&self, host: &str) -> Arrived {
        let mut seen = self.zoho.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        let (at, call) = seen.remove(0);
        assert_eq!(at, host, "{}", call.start);
        call
    }
}

fn host_of(operation: &Operation) -> &'static str {
    if operation.is_for_uploads() { UPLOADS } else { API }
}

fn mapped(headers: &Headers) -> http::HeaderMap {
    let pair = |(name, value): &(String, String)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    headers.iter().map(pair).fold(http::HeaderMap::new(), |mut map, (name, value)| {
        map.append(name, value);
        map
    })
}

fn listed(headers: &http::HeaderMap) -> Headers {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
    };
    headers.iter().map(pair).collect()
}

#[tokio::test]
async fn every_operation_reaches_zoho_and_its_answer_the_caller_as_they_were_sent() {
    let world = World::with("");
    let mut cached = Vec::new();
    for version in VERSIONS {
        for operation in operations() {
            let sent = operation.request(version);
            let is_cached = sent.start.contains(COUNT) && sent.header("if-modified-since").is_none();
            let answer = if is_cached { operation.ok_answer(version) } else { operation.answer(version) };
            world.zoho.will_answer(answer.clone());
            let got = world.send(&sent).await;
            let seen = world.only_call(host_of(&operation));
            if is_cached {
                assert_sent_on_for_all(&sent, &seen, TOKEN);
                assert_answered_on_and_stored(&answer, &got, &sent.start);
                cached.push(sent.start);
            } else {
                assert_sent_on(&sent, &seen, TOKEN);
                assert_answered_on(&answer, &got, &sent.start);
                assert!(got.cache_status().contains("fwd="), "{}: {}", sent.start, got.cache_status());
            }
        }
    }
    assert!(!cached.is_empty() && cached.len() <= VERSIONS.len(), "{cached:?}");
}

#[tokio::test]
async fn what_a_rule_covers_comes_a_second_time_as_it_came_the_first_and_nothing_else_does() {
    let world = World::with("presets = [\"crm-metadata\"]");
    let rules = rules();
    for version in VERSIONS {
        for operation in operations() {
            let (sent, answer) = (operation.plain_request(version), operation.ok_answer(version));
            let about = &sent.start;
            world.zoho.will_answer(answer.clone());
            world.zoho.seen();
            let first = world.send(&sent).await;
            let status = first.cache_status().to_owned();
            // Some lines of the table are the same call.
            let is_known = status.contains("; hit");
            let is_covered = rules.contains(&operation.shape());
            assert_eq!(is_known || status.contains("; stored"), is_covered, "{about}: {status}");
            if !is_covered {
                assert_sent_on(&sent, &world.only_call(host_of(&operation)), TOKEN);
                assert_answered_on(&answer, &first, about);
                continue;
            }
            if !is_known {
                assert_sent_on_for_all(&sent, &world.only_call(API), TOKEN);
                assert_answered_on_and_stored(&answer, &first, about);
                let second = world.send(&sent).await;
                assert_answered_from_the_cache(&answer, &second, about);
                assert!(second.cache_status().contains("; hit"), "{about}: {}", second.cache_status());
            }
            assert_eq!(world.zoho.seen().len(), 0, "{about}");
        }
    }
}

/// The calls that the rules of the preset, and the one that is always there, are about.
fn rules() -> Vec<String> {
    let shipped = include_str!("../../config/routes-crm.toml").lines();
    let matches = shipped.filter_map(|line| line.strip_prefix("match = \"")?.strip_suffix('"'));
    let rules: Vec<String> =
        matches.map(shape).chain([shape(&format!("GET /crm/{{version}}{COUNT}"))]).collect();
    assert!(rules.len() > 40, "{rules:?}");
    rules
}
