//! The one place that builds the rooms from a configuration and wires them together.

use std::sync::Arc;
use std::time::Duration;

use crate::admin::Admin;
use crate::admission::Admission;
use crate::clock::Clock;
use crate::config::Config;
use crate::net::client::HttpClient;
use crate::net::tls::{TlsError, Trust};
use crate::net::transport::Transport;
use crate::oauth::{RenewalTask, STATES, Tokens};
use crate::proxy::{Proxy, Shared};
use crate::rulebook::Rulebook;
use crate::server;
use crate::supervisor::{Supervisor, Task};
use crate::telemetry::file_kind::FileKind;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request_log::RequestLog;
use crate::upstream::{self, Upstream};

/// Makes the way to the network; called once per worker, on its thread, and once for tokens.
pub type Transports = Arc<dyn Fn() -> Arc<dyn Transport> + Send + Sync>;

/// The rooms, wired together.
pub struct App {
    shared: Arc<Shared>,
    rules: Arc<Rulebook>,
    tokens: Vec<Arc<Tokens>>,
    metrics: Arc<Metrics>,
    transports: Transports,
    upstream: upstream::Settings,
    secret_poll: Duration,
    supervisor: Supervisor,
    clock: Clock,
}

/// Connections over sockets, as configured, and what they trust, which is to be kept fresh.
pub fn over_sockets(
    config: &Config,
    supervisor: &Supervisor,
    clock: &Clock,
) -> Result<(Transports, Trust), TlsError> {
    let (settings, supervisor, clock) = (config.connections.clone(), supervisor.clone(), clock.clone());
    // Read once, here, so that a mistake shows at the start and not on a worker.
    let trust = Trust::read(settings.ca_file.as_deref())?;
    let own = trust.clone();
    let transports = move || {
        let client = HttpClient::trusting(&own, &settings, &supervisor, clock.clone());
        Arc::new(client) as Arc<dyn Transport>
    };
    Ok((Arc::new(transports), trust))
}

impl App {
    /// Builds the rooms. Nothing runs before [`Self::start_renewals`].
    pub fn new(
        config: Config,
        transports: Transports,
        metrics: Arc<Metrics>,
        log: RequestLog,
        supervisor: Supervisor,
        clock: Clock,
    ) -> Self {
        let rules = Arc::new(config.rulebook);
        let accounts = transports();
        let tokens: Vec<Arc<Tokens>> = config
            .credentials
            .into_iter()
            .map(|credential| {
                let counted = metrics.tokens(&credential.tenant, &STATES);
                Tokens::new(credential, config.tokens.clone(), accounts.clone(), clock.clone(), counted)
            })
            .collect();
        let limits: Vec<_> = rules
            .tenants
            .all()
            .iter()
            .map(|tenant| tenant.edition.map(crate::zoho::edition::Edition::concurrent_calls))
            .collect();
        config.upstream.buffers.beside_cache(config.cache.max_bytes);
        let shared = Shared::new(
            rules.clone(),
            config.cache,
            tokens.clone(),
            Admission::new(&limits, config.admission),
            config.proxy,
            metrics.clone(),
            log,
            supervisor.clone(),
            clock.clone(),
        );
        let secret_poll = config.tokens.secret_poll;
        Self {
            shared,
            rules,
            tokens,
            metrics,
            transports,
            upstream: config.upstream,
            secret_poll,
            supervisor,
            clock,
        }
    }

    /// Starts to look at the files of callers' tokens every now and then, until dropped.
    pub fn start_caller_polling(&self) -> Task {
        let (rules, pause) = (self.rules.clone(), self.secret_poll);
        let failures = self.metrics.file_failures(FileKind::CallerTokens);
        self.supervisor.task("caller-tokens", move |heartbeat| {
            let (rules, failures) = (rules.clone(), failures.clone());
            async move { rules.callers.tokens().keep_fresh(pause, failures, &heartbeat).await }
        })
    }

    /// Starts to look at the file of certificate authorities every now and then, until dropped.
    pub fn start_trust_polling(&self, trust: Trust) -> Task {
        let (pause, failures) = (self.secret_poll, self.metrics.file_failures(FileKind::CaFile));
        self.supervisor
            .task("ca-file", move |heartbeat| trust.clone().keep_fresh(pause, failures.clone(), heartbeat))
    }

    /// Starts to free what the cache has no use for, until dropped.
    pub fn start_cache_sweep(&self) -> Task {
        let shared = self.shared.clone();
        self.supervisor.task("cache-sweep", move |heartbeat| {
            let shared = shared.clone();
            async move { shared.keep_cache_swept(&heartbeat).await }
        })
    }

    /// Starts to notice suspensions of the machine from now on, until dropped.
    pub fn start_suspension_watch(&self) -> Task {
        let clock = self.clock.clone();
        let mut since = Some(clock.moment());
        self.supervisor.task("suspension-watch", move |_| {
            let clock = clock.clone();
            let since = since.take().unwrap_or_else(|| clock.moment());
            async move { clock.watch_suspensions(since).await }
        })
    }

    /// Starts to mint and renew, on the current runtime, until the tasks are dropped.
    pub fn start_renewals(&self) -> Vec<RenewalTask> {
        self.tokens.iter().map(|tokens| tokens.start(&self.supervisor)).collect()
    }

    /// A proxy with connections of its own to Zoho.
    pub fn proxy(&self) -> Proxy {
        let upstream = Upstream::new((self.transports)(), self.upstream.clone(), self.clock.clone());
        Proxy::new(self.shared.clone(), upstream)
    }

    /// The same for each worker to call on its own thread.
    pub fn proxies(&self) -> impl Fn() -> Proxy + Clone + Send + 'static {
        let (shared, transports) = (self.shared.clone(), self.transports.clone());
        let (settings, clock) = (self.upstream.clone(), self.clock.clone());
        move || {
            let upstream = Upstream::new(transports(), settings.clone(), clock.clone());
            Proxy::new(shared.clone(), upstream)
        }
    }

    /// What the admin listener tells of.
    pub fn admin(&self, listeners: Vec<String>) -> Arc<Admin> {
        let (shared, purged) = (self.shared.clone(), self.shared.clone());
        let (metrics, buffers) = (self.metrics.clone(), self.upstream.buffers.clone());
        Admin::new(
            self.rules.clone(),
            self.tokens.clone(),
            self.metrics.clone(),
            move || {
                // Bodies are counted by the budget itself; whoever looks at the metrics sees what it says now.
                metrics.buffer_bytes.set(i64::try_from(buffers.used()).unwrap_or(i64::MAX));
                shared.cache_size()
            },
            Box::new(move |purge, group| {
                let purged = purged.clone();
                Box::pin(async move { purged.purge(&purge, group).await })
            }),
            listeners,
            self.supervisor.clone(),
            self.clock.clone(),
        )
    }

    /// What the server counts.
    pub fn counts(&self) -> server::Counts {
        server::Counts {
            open: self.metrics.connections.clone(),
            refused: self.metrics.connections_refused.clone(),
            evicted: self.metrics.connections_evicted.clone(),
            errors: self.metrics.connection_errors.clone(),
            tls: server::tls::Counts {
                failed: self.metrics.tls_handshake_errors.clone(),
                renewed: self.metrics.tls_reloads("renewed"),
                unusable: self.metrics.tls_reloads("unusable"),
                unread: self.metrics.file_failures(FileKind::Certificate),
            },
        }
    }

    /// The tokens of all tenants, by tenant number.
    pub fn tokens(&self) -> &[Arc<Tokens>] {
        &self.tokens
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rulebook {
        &self.rules
    }

    /// The supervisor of all tasks.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// All metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
