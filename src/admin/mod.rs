//! The admin listener: for operations and their tools, never on the callers' address.
//!
//! | path | answers |
//! | --- | --- |
//! | `GET /livez` | 200 while workers, admin listener and supervisor make progress, else 503 naming what is stuck |
//! | `GET /readyz` | 200, or 503 with the reasons as JSON |
//! | `GET /metrics` | all metrics, in the text format of Prometheus and `OpenMetrics` |
//! | `GET /status` | JSON: callers, tenants, tokens, routes, cache |
//! | `POST /purge` | forgets what the JSON names, and says how many entries |
//!
//! Pages of browsers are kept out: a request with an `Origin`, or with a `Host` that is not this machine,
//! is refused (a page elsewhere could otherwise reach a listener on loopback by its visitor's browser).

mod guard;
mod health;
mod listener;
mod purge;
mod slots;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::cache::purge::Purge;
use crate::clock::{BootTime, Clock};
use crate::net::body::Body;
use crate::net::transport::BoxFuture;
use crate::oauth::{LastingSecret, Tokens};
use crate::rulebook::Rulebook;
use crate::supervisor::Supervisor;
use crate::telemetry::metrics::Metrics;

pub use listener::{Serving, serve_connection, start};

/// What the admin listener tells of.
pub struct Admin {
    rules: Arc<Rulebook>,
    tokens: Vec<Arc<Tokens>>,
    metrics: Arc<Metrics>,
    cache_size: Box<dyn Fn() -> (u64, u64) + Send + Sync>,
    purge: Box<PurgeCache>,
    /// Held by the purge that goes on: several at once would take several shares of a core.
    purging: Mutex<()>,
    listeners: Vec<String>,
    supervisor: Supervisor,
    clock: Clock,
    started: BootTime,
    stopping: AtomicBool,
}

/// Forgets entries, and all of a group by number, also those on their way; says how many there were.
pub type PurgeCache = dyn Fn(Purge, Option<usize>) -> BoxFuture<u64> + Send + Sync;

/// Who may ask for what.
#[derive(Debug, Clone)]
pub struct Access {
    /// What callers must show, other than for `/livez` and `/readyz`.
    pub token: Option<Arc<LastingSecret>>,
    /// Whether only this machine can connect.
    pub is_local: bool,
}

/// A page that a request is allowed to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Liveness,
    /// Trusted clients get the reasons too.
    Readiness {
        with_reasons: bool,
    },
    Metrics,
    Status,
    /// The only page that reads the request's body.
    Purge,
}

impl Page {
    /// Returns true for the pages of probes, which need no token.
    fn is_public(self) -> bool {
        matches!(self, Self::Liveness | Self::Readiness { .. })
    }
}

impl Admin {
    /// Tells of these rules and tokens. `cache_size` gives entries and bytes, `listeners` the addresses that
    /// callers use.
    #[expect(clippy::too_many_arguments, reason = "one module each; only the composition root calls it")]
    pub fn new(
        rules: Arc<Rulebook>,
        tokens: Vec<Arc<Tokens>>,
        metrics: Arc<Metrics>,
        cache_size: impl Fn() -> (u64, u64) + Send + Sync + 'static,
        purge: Box<PurgeCache>,
        listeners: Vec<String>,
        supervisor: Supervisor,
        clock: Clock,
    ) -> Arc<Self> {
        let started = clock.boot_time();
        Arc::new(Self {
            rules,
            tokens,
            metrics,
            cache_size: Box::new(cache_size),
            purge,
            purging: Mutex::default(),
            listeners,
            supervisor,
            clock,
            started,
            stopping: AtomicBool::new(false),
        })
    }

    /// From now on the sidecar is not ready: it finishes what is under way.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Answers a request: at once, unless it is a purge of many entries or waits for one.
    pub async fn answer(&self, request: &Request<Bytes>, access: &Access) -> Response<Body> {
        let (head, body) = request.clone().into_parts();
        match self.page(&Request::from_parts(head, ()), access).await {
            Ok(page) => self.show(page, &body).await,
            Err(refused) => refused,
        }
    }

    /// Selects the page by the head of a request, so that a refusal does not wait for the request's body.
    async fn page(&self, request: &Request<()>, access: &Access) -> Result<Page, Response<Body>> {
        guard::check(request, access)
            .map_err(|refused| json_answer(refused.status(), &json!({ "error": refused.to_string() })))?;
        let is_trusted = guard::is_trusted(request, access).await;
        match request.uri().path() {
            "/purge" if *request.method() != Method::POST => Err(wrong_method("POST")),
            "/purge" if is_trusted => Ok(Page::Purge),
            "/purge" => Err(unauthorized()),
            _ if !matches!(*request.method(), Method::GET | Method::HEAD) => Err(wrong_method("GET, HEAD")),
            "/livez" => Ok(Page::Liveness),
            "/readyz" => Ok(Page::Readiness { with_reasons: is_trusted }),
            "/metrics" if is_trusted => Ok(Page::Metrics),
            "/status" if is_trusted => Ok(Page::Status),
            "/metrics" | "/status" => Err(unauthorized()),
            _ => Err(json_answer(
                StatusCode::NOT_FOUND,
                &json!({ "error": "there is no such page", "pages": ["/livez", "/readyz", "/metrics", "/status", "POST /purge"] }),
            )),
        }
    }

    async fn show(&self, page: Page, body: &[u8]) -> Response<Body> {
        match page {
            Page::Liveness => self.liveness(),
            Page::Readiness { with_reasons } => self.readiness(with_reasons),
            Page::Metrics => self.metrics_text(),
            Page::Status => json_answer(StatusCode::OK, &status::status(self)),
            Page::Purge => self.forget(body).await,
        }
    }

    async fn forget(&self, body: &[u8]) -> Response<Body> {
        match self.purge_as_asked(body).await {
            Ok(count) => json_answer(StatusCode::OK, &json!({ "forgotten": count })),
            Err(why) => json_answer(StatusCode::BAD_REQUEST, &json!({ "error": why.to_string() })),
        }
    }

    fn liveness(&self) -> Response<Body> {
        let stuck = health::stuck(self);
        if stuck.is_empty() {
            return json_answer(StatusCode::OK, &json!({ "live": true }));
        }
        json_answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "live": false, "stalled": stuck }))
    }

    fn readiness(&self, with_reasons: bool) -> Response<Body> {
        let readiness = health::readiness(self);
        let status = if readiness.is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut answer = json!({ "ready": readiness.is_ready });
        if with_reasons {
            answer["reasons"] = Value::Array(readiness.reasons);
        }
        json_answer(status, &answer)
    }

    fn metrics_text(&self) -> Response<Body> {
        for tokens in &self.tokens {
            tokens.observe();
        }
        self.supervisor.observe();
        let (entries, bytes) = (self.cache_size)();
        self.metrics.cache_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.metrics.cache_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let mut answer = Response::new(Body::full(self.metrics.text()));
        let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form));
        answer
    }
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut answer = Response::new(Body::full(format!("{value:#}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn wrong_method(allowed: &'static str) -> Response<Body> {
    let error = json!({ "error": format!("this page is only for {allowed}") });
    let mut answer = json_answer(StatusCode::METHOD_NOT_ALLOWED, &error);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn unauthorized() -> Response<Body> {
    let error = json!({ "error": "show the admin token as `Authorization: Bearer …`" });
    let mut answer = json_answer(StatusCode::UNAUTHORIZED, &error);
    answer.headers_mut().insert("www-authenticate", HeaderValue::from_static("Bearer"));
    answer
}
