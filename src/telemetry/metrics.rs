//! Every metric, named once, with its unit. All labels are bounded: by configuration (tenant, route) or by
//! a closed list.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::file_kind::FileKind;
use super::log::Stream;
use super::outcome::Outcome;
use super::shards::Shards;
pub use super::token_metrics::TokenMetrics;
use crate::supervisor::TaskMetrics;

type Labels = Vec<(&'static str, String)>;
type CounterFamily = Family<Labels, Counter>;
/// What each request counts. Workers do not wait for each other over it.
type RequestCounter = Counter<u64, Shards>;
type RequestFamily = Family<Labels, RequestCounter>;
type GaugeFamily<N, A> = Family<Labels, Gauge<N, A>>;

/// From a fast answer on the same continent to the longest report.
const UPSTREAM_BUCKETS: [f64; 11] = [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 15.0, 60.0];

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    requests: RequestFamily,
    refusals: CounterFamily,
    upstream_seconds: Family<Labels, Histogram>,
    upstream_failures: CounterFamily,
    mints: CounterFamily,
    probes: CounterFamily,
    early_deaths: CounterFamily,
    token_state: GaugeFamily<i64, AtomicI64>,
    token_age: GaugeFamily<f64, AtomicU64>,
    token_left: GaugeFamily<f64, AtomicU64>,
    unauthorized: CounterFamily,
    scope_mismatches: CounterFamily,
    invalidations: CounterFamily,
    /// What the supervisor counts.
    pub tasks: TaskMetrics,
    /// Entries in the cache.
    pub cache_entries: Gauge,
    /// Bytes in the cache, as it weighs them.
    pub cache_bytes: Gauge,
    /// Bytes of bodies on their way, as far as they are counted.
    pub buffer_bytes: Gauge,
    /// Connections of callers that are open.
    pub connections: Gauge,
    /// Connections of callers turned away because there were too many.
    pub connections_refused: Counter,
    /// Connections that ended by an error of HTTP itself, before a request could be answered.
    pub connection_errors: Counter,
    caller_refusals: CounterFamily,
    tls_reloads: CounterFamily,
    file_failures: CounterFamily,
    /// Handshakes of callers that failed, or took too long.
    pub tls_handshake_errors: Counter,
    log_lines_dropped: CounterFamily,
    /// Events that came too often to be logged.
    pub log_events_left_out: Counter,
    /// Connections closed to make room for others, since no known caller had asked for anything on them.
    pub connections_evicted: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at nothing.
    #[expect(clippy::too_many_lines, reason = "each metric is named once, in one list")]
    pub fn new() -> Self {
        let mut registry = registry_with_version();
        let tasks = TaskMetrics::default();
        tasks.register(&mut registry);
        Self {
            tasks,
            requests: add(
                &mut registry,
                "requests",
                "Requests answered, by tenant, route, status class and cache outcome",
            ),
            refusals: add(&mut registry, "refusals", "Answers the sidecar made itself, by code"),
            upstream_seconds: add_seconds(
                &mut registry,
                "upstream",
                "Time from sending a request to Zoho to the head of its answer, by tenant",
            ),
            upstream_failures: add(
                &mut registry,
                "upstream_failures",
                "Calls to Zoho that got no answer, by tenant and reason",
            ),
            mints: add(
                &mut registry,
                "token_mints",
                "Attempts to get an access token, by tenant and outcome",
            ),
            probes: add(
                &mut registry,
                "token_probes",
                "Questions to an accounts server whether it answers, by tenant and outcome",
            ),
            early_deaths: add(
                &mut registry,
                "token_early_deaths",
                "Access tokens that Zoho refused before their time, by tenant",
            ),
            token_state: add(
                &mut registry,
                "token_state",
                "1 for the state the tenant's credential is in, 0 for all others",
            ),
            token_age: add(&mut registry, "token_age_seconds", "Age of the access token, by tenant"),
            token_left: add(&mut registry, "token_left_seconds", "Rest of the token's life, by tenant"),
            unauthorized: add(
                &mut registry,
                "unauthorized",
                "Calls that Zoho refused because of the token or its scopes, by tenant, route and reason",
            ),
            scope_mismatches: add(
                &mut registry,
                "scope_mismatches",
                "Calls for which the refresh token lacks scopes, by tenant, route and the scopes needed",
            ),
            invalidations: add(
                &mut registry,
                "cache_invalidations",
                "Groups of entries made untrue by a write, by tenant and group",
            ),
            cache_entries: add(&mut registry, "cache_entries", "Entries in the cache"),
            cache_bytes: add(&mut registry, "cache_bytes", "Bytes the cache holds, overhead included"),
            buffer_bytes: add(&mut registry, "buffer_bytes", "Bytes of server.buffer_bytes in use"),
            connections: add(&mut registry, "connections", "Open connections of callers"),
            connections_refused: add(
                &mut registry,
                "connections_refused",
                "Connections of callers turned away because there were too many",
            ),
            connection_errors: add(
                &mut registry,
                "connection_errors",
                "Connections of callers that ended in an error of HTTP itself",
            ),
            caller_refusals: add(
                &mut registry,
                "caller_refusals",
                "Requests beyond what their caller may ask, by caller, reason and mode; in shadow mode they were served",
            ),
            tls_handshake_errors: add(
                &mut registry,
                "tls_handshake_errors",
                "TLS handshakes of callers that failed or took too long",
            ),
            tls_reloads: add(
                &mut registry,
                "tls_reloads",
                "Changes of the certificate files, by whether they could be used",
            ),
            file_failures: add(
                &mut registry,
                "file_reads_failed",
                "Files that could not be read, or written in the case of the token state, by kind of file; what was read before stays in force",
            ),
            log_lines_dropped: add(
                &mut registry,
                "log_lines_dropped",
                "Lines of the log dropped because the output did not take them, by stream",
            ),
            log_events_left_out: add(
                &mut registry,
                "log_events_left_out",
                "Events that were not logged since others of their kind came too often",
            ),
            connections_evicted: add(
                &mut registry,
                "connections_evicted",
                "Connections without a request of a known caller that were closed to make room for new ones",
            ),
            registry,
        }
    }

    /// All of them in the text format of `OpenMetrics`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to memory does not fail");
        text
    }

    /// Counters for one route of one tenant. Kept by the caller: looking them up costs more than counting.
    pub fn requests(&self, tenant: &str, route: &str) -> RequestCounters {
        RequestCounters {
            family: self.requests.clone(),
            tenant: tenant.to_owned(),
            route: route.to_owned(),
            counters: Default::default(),
        }
    }

    /// Counts an answer that the sidecar made itself.
    pub fn count_refusal(&self, code: &'static str) {
        self.refusals.get_or_create(&vec![("code", code.to_owned())]).inc();
    }

    /// Counts a request beyond what its caller may ask.
    pub fn count_caller_refusal(&self, caller: &str, reason: &'static str, mode: &'static str) {
        let labels =
            vec![("caller", caller.to_owned()), ("reason", reason.to_owned()), ("mode", mode.to_owned())];
        self.caller_refusals.get_or_create(&labels).inc();
    }

    /// Counts changes of the certificate files that had this outcome.
    pub fn tls_reloads(&self, outcome: &'static str) -> Counter {
        self.tls_reloads.get_or_create_owned(&vec![("outcome", outcome.to_owned())])
    }

    /// Counts a call that Zoho refused because of the token or of its scopes.
    pub fn count_unauthorized(&self, tenant: &str, route: &str, reason: &'static str) {
        let labels =
            vec![("tenant", tenant.to_owned()), ("route", route.to_owned()), ("reason", reason.to_owned())];
        self.unauthorized.get_or_create(&labels).inc();
    }

    /// Counts a call for which the refresh token lacks scopes.
    pub fn count_scope_mismatch(&self, tenant: &str, route: &str, scopes: &'static str) {
        let labels =
            vec![("tenant", tenant.to_owned()), ("route", route.to_owned()), ("scopes", scopes.to_owned())];
        self.scope_mismatches.get_or_create(&labels).inc();
    }

    /// Counts lines of a stream of the log that were dropped.
    pub fn log_lines_dropped(&self, stream: Stream) -> Counter {
        self.log_lines_dropped.get_or_create_owned(&vec![("stream", stream.as_str().to_owned())])
    }

    /// Counts files of a kind that could not be read.
    pub fn file_failures(&self, kind: FileKind) -> Counter {
        self.file_failures.get_or_create_owned(&vec![("kind", kind.as_str().to_owned())])
    }

    /// Counts a group that a write made untrue.
    pub fn count_invalidation(&self, tenant: &str, group: &str) {
        let labels = vec![("tenant", tenant.to_owned()), ("group", group.to_owned())];
        self.invalidations.get_or_create(&labels).inc();
    }

    /// What calls of one tenant cost.
    pub fn upstream(&self, tenant: &str) -> UpstreamMetrics {
        let seconds = self.upstream_seconds.get_or_create_owned(&label(tenant));
        UpstreamMetrics { seconds, failures: self.upstream_failures.clone(), tenant: tenant.to_owned() }
    }

    /// The tokens of one tenant.
    pub fn tokens(&self, tenant: &str, states: &'static [&'static str]) -> TokenMetrics {
        TokenMetrics {
            mints: self.mints.clone(),
            probes: self.probes.clone(),
            early_deaths: self.early_deaths.get_or_create_owned(&label(tenant)),
            state: self.token_state.clone(),
            secret_failures: self.file_failures(FileKind::Secret),
            state_failures: self.file_failures(FileKind::State),
            age: self.token_age.get_or_create_owned(&label(tenant)),
            left: self.token_left.get_or_create_owned(&label(tenant)),
            tenant: tenant.to_owned(),
            states,
        }
    }
}

fn registry_with_version() -> Registry {
    let mut registry = Registry::with_prefix("zoho_sidecar");
    let version = vec![("version", env!("CARGO_PKG_VERSION"))];
    registry.register("build", "The running version", Info::new(version));
    registry
}

fn histogram() -> Histogram {
    Histogram::new(UPSTREAM_BUCKETS)
}

fn add<M>(registry: &mut Registry, name: &'static str, help: &'static str) -> M
where
    M: prometheus_client::registry::Metric + Default + Clone,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn add_seconds(registry: &mut Registry, name: &'static str, help: &'static str) -> Family<Labels, Histogram> {
    let family = Family::new_with_constructor(histogram as fn() -> Histogram);
    registry.register_with_unit(name, help, Unit::Seconds, family.clone());
    family
}

fn label(tenant: &str) -> Labels {
    vec![("tenant", tenant.to_owned())]
}

/// Status classes 1xx to 5xx.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counts the requests of one route. A series appears when it is first counted.
pub struct RequestCounters {
    family: RequestFamily,
    tenant: String,
    route: String,
    counters: [[OnceLock<RequestCounter>; Outcome::ALL.len()]; CLASSES.len()],
}

impl RequestCounters {
    /// Counts one answer.
    pub fn count(&self, status: http::StatusCode, outcome: Outcome) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let counter = &self.counters[class][outcome as usize];
        counter.get_or_init(|| self.open(CLASSES[class], outcome)).inc();
    }

    fn open(&self, class: &'static str, outcome: Outcome) -> RequestCounter {
        let labels = vec![
            ("tenant", self.tenant.clone()),
            ("route", self.route.clone()),
            ("status", class.to_owned()),
            ("cache", outcome.as_str().to_owned()),
        ];
        self.family.get_or_create_owned(&labels)
    }
}

/// What calls of one tenant cost.
pub struct UpstreamMetrics {
    seconds: Histogram,
    failures: CounterFamily,
    tenant: String,
}

impl UpstreamMetrics {
    /// Notes how long a call took to the head of its answer.
    pub fn took(&self, time: Duration) {
        self.seconds.observe(time.as_secs_f64());
    }

    /// Counts a call that got no answer.
    pub fn failed(&self, reason: &'static str) {
        let labels = vec![("tenant", self.tenant.clone()), ("reason", reason.to_owned())];
        self.failures.get_or_create(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn a_series_appears_when_it_is_first_counted() {
        let metrics = Metrics::new();
        let counters = metrics.requests("acme", "associated-users-count");
        assert!(!metrics.text().contains("associated-users-count"));
        counters.count(StatusCode::OK, Outcome::Hit);
        counters.count(StatusCode::NO_CONTENT, Outcome::Hit);
        let text = metrics.text();
        let line = r#"zoho_sidecar_requests_total{tenant="acme",route="associated-users-count",status="2xx",cache="hit"} 2"#;
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn exactly_one_token_state_is_set() {
        let metrics = Metrics::new();
        let tokens = metrics.tokens("acme", &["starting", "healthy"]);
        tokens.observe("starting", None, None);
        tokens.observe("healthy", Some(Duration::from_secs(60)), Some(Duration::from_secs(3540)));
        let text = metrics.text();
        assert!(text.contains(r#"token_state{tenant="acme",state="starting"} 0"#), "{text}");
        assert!(text.contains(r#"token_state{tenant="acme",state="healthy"} 1"#), "{text}");
        assert!(text.contains(r#"token_age_seconds{tenant="acme"} 60"#), "{text}");
    }
}
