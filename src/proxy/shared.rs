//! What all workers share: the rules, the cache, the tokens, the books.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::account::{Books, Counters};
use super::fill::Landed;
use super::late::Late;
use super::permission::Told;
use super::settings::Settings;
use crate::admission::Admission;
use crate::cache::Cache;
use crate::cache::epochs::UrlSlot;
use crate::cache::purge::{Depth, Purge};
use crate::cache::rule::Rule;
use crate::clock::Clock;
use crate::oauth::Tokens;
use crate::rulebook::Rulebook;
use crate::supervisor::{Heartbeat, Supervisor};
use crate::telemetry::metrics::{Metrics, UpstreamMetrics};
use crate::telemetry::request_log::RequestLog;

/// What all workers share.
pub struct Shared {
    /// Tells what a thread remembers of this one from what it remembers of another.
    pub(super) number: u64,
    pub(super) rules: Arc<Rulebook>,
    pub(super) cache: Cache<Landed>,
    pub(super) tokens: Vec<Arc<Tokens>>,
    pub(super) admission: Admission,
    pub(super) settings: Settings,
    pub(super) metrics: Arc<Metrics>,
    pub(super) upstream_metrics: Vec<UpstreamMetrics>,
    pub(super) counters: Counters,
    pub(super) books: Arc<Books>,
    pub(super) told: Told,
    pub(super) late: Late,
    pub(super) supervisor: Supervisor,
    pub(super) clock: Clock,
}

impl Shared {
    /// Wires the rooms together. `tokens` are by tenant number.
    #[expect(clippy::too_many_arguments, reason = "one room each; only the composition root calls it")]
    pub fn new(
        rules: Arc<Rulebook>,
        cache: crate::cache::Settings,
        tokens: Vec<Arc<Tokens>>,
        admission: Admission,
        settings: Settings,
        metrics: Arc<Metrics>,
        log: RequestLog,
        supervisor: Supervisor,
        clock: Clock,
    ) -> Arc<Self> {
        static SHARED: AtomicU64 = AtomicU64::new(0);
        let names = |all: &[crate::tenants::Tenant]| all.iter().map(|tenant| tenant.name.clone()).collect();
        let books = Books {
            log,
            clock: clock.clone(),
            caller_names: rules.callers.all().iter().map(|caller| caller.name.clone()).collect(),
            tenant_names: names(rules.tenants.all()),
            route_names: rules.routes.all().iter().map(|route| route.name.clone()).collect(),
        };
        Arc::new(Self {
            number: SHARED.fetch_add(1, Ordering::Relaxed),
            cache: Cache::new(cache, rules.tenants.all().len(), rules.routes.groups().len()),
            upstream_metrics: rules.tenants.all().iter().map(|t| metrics.upstream(&t.name)).collect(),
            counters: Counters::new(&metrics, &rules.tenants, rules.routes.all()),
            books: Arc::new(books),
            late: Late::default(),
            told: Told::nothing(rules.callers.all().len()),
            rules,
            tokens,
            admission,
            settings,
            metrics,
            supervisor,
            clock,
        })
    }

    /// The epoch of all that can make an answer of this URL untrue.
    pub(super) fn epoch(&self, tenant: usize, rule: &Rule, url: UrlSlot) -> u64 {
        self.cache.epochs.current(tenant, &rule.groups, url)
    }

    /// Entries in the cache, and the bytes they weigh.
    pub fn cache_size(&self) -> (u64, u64) {
        self.cache.size()
    }

    /// Frees what the cache has no use for, until dropped.
    pub async fn keep_cache_swept(&self, heartbeat: &Heartbeat) {
        self.cache.keep_swept(&self.clock, heartbeat).await;
    }

    /// Forgets entries by hand, and everything of a group: its epochs move, so that fetches under way are not
    /// kept either.
    pub async fn purge(&self, purge: &Purge, group: Option<usize>) -> u64 {
        if let (Some(group), Depth::Hard) = (group, purge.depth) {
            let tenants = purge.tenant.map_or(0..self.rules.tenants.all().len(), |tenant| tenant..tenant + 1);
            tenants.for_each(|tenant| self.cache.epochs.advance(tenant, &[group]));
        }
        self.cache.purge(purge).await
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rulebook {
        &self.rules
    }

    /// The tokens of all tenants, by tenant number.
    pub fn tokens(&self) -> &[Arc<Tokens>] {
        &self.tokens
    }
}
