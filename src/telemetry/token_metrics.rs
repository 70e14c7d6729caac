//! What is counted and measured of the tokens of one tenant.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

type Labels = Vec<(&'static str, String)>;
type CounterFamily = Family<Labels, Counter>;
type GaugeFamily<N, A> = Family<Labels, Gauge<N, A>>;

/// The tokens of one tenant.
pub struct TokenMetrics {
    pub(super) mints: CounterFamily,
    pub(super) probes: CounterFamily,
    /// Tokens refused before their time.
    pub early_deaths: Counter,
    /// Secrets that could not be read.
    pub secret_failures: Counter,
    /// State files that could not be read or written.
    pub state_failures: Counter,
    pub(super) state: GaugeFamily<i64, AtomicI64>,
    pub(super) age: Gauge<f64, AtomicU64>,
    pub(super) left: Gauge<f64, AtomicU64>,
    pub(super) tenant: String,
    pub(super) states: &'static [&'static str],
}

impl TokenMetrics {
    /// Counts an attempt.
    pub fn count_mint(&self, outcome: &'static str) {
        let labels = vec![("tenant", self.tenant.clone()), ("outcome", outcome.to_owned())];
        self.mints.get_or_create(&labels).inc();
    }

    /// Counts a question whether the accounts server answers.
    pub fn count_probe(&self, outcome: &'static str) {
        let labels = vec![("tenant", self.tenant.clone()), ("outcome", outcome.to_owned())];
        self.probes.get_or_create(&labels).inc();
    }

    /// Sets what depends on the time.
    pub fn observe(&self, state: &'static str, age: Option<Duration>, left: Option<Duration>) {
        for name in self.states {
            let labels = vec![("tenant", self.tenant.clone()), ("state", (*name).to_owned())];
            self.state.get_or_create(&labels).set(i64::from(*name == state));
        }
        self.age.set(age.unwrap_or_default().as_secs_f64());
        self.left.set(left.unwrap_or_default().as_secs_f64());
    }
}
