//! A sidecar over sockets: all rooms, their listeners, and the order in which they start and stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{self, Access};
use crate::app::{App, Transports};
use crate::clock::Clock;
use crate::config::Config;
use crate::net::tls::{TlsError, Trust};
use crate::oauth::{LastingSecret, SecretSource};
use crate::server::listener::{BindError, Listener};
use crate::server::{self, Bound, CannotListen, Ended};
use crate::supervisor::{Failure, Importance, Supervisor};
use crate::telemetry::file_kind::FileKind;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request_log::RequestLog;

/// Bound, and not serving yet.
pub(super) struct Sidecar {
    app: App,
    bound: Bound,
    admin: Option<(Listener, Access)>,
    trust: Trust,
}

/// Why it cannot serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Listen(#[from] CannotListen),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the configuration cannot be used\n{0}")]
    Configuration(String),
    #[error("the system does not give what serving needs")]
    System(#[from] io::Error),
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Its control endpoint asks for no credential, and those of its organisations are no secret.
    #[error(
        "whoever reaches {0} could read and change what the emulator does; listen on 127.0.0.1 or [::1], or add --i-know-this-is-open"
    )]
    OpenEmulator(SocketAddr),
}

/// How long the admin listener may take to end.
const LAST_PAGES: Duration = Duration::from_secs(1);

impl Sidecar {
    pub(super) fn new(
        config: Config,
        (transports, trust): (Transports, Trust),
        metrics: Arc<Metrics>,
        log: RequestLog,
        supervisor: Supervisor,
        clock: Clock,
    ) -> Result<Self, ServeError> {
        let bound = server::bind(config.server.clone())?;
        let admin = match &config.admin {
            Some(admin) => {
                let lasting = |source: &SecretSource| {
                    let token =
                        LastingSecret::new(source.clone(), metrics.file_failures(FileKind::AdminToken));
                    // Read now, so that a missing token is logged at the start. It does not prevent the sidecar from
                    // serving, and the file may come later.
                    if let Err(error) = token.read_now() {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(
                            error,
                            "the admin token cannot be read; requests that need it are refused until it can"
                        );
                    }
                    Arc::new(token)
                };
                let token = admin.token.as_ref().map(lasting);
                let listener = Listener::bind(&admin.listen)?;
                Some((listener, Access { token, is_local: admin.listen.is_local() }))
            }
            None => None,
        };
        let app = App::new(config, transports, metrics, log, supervisor, clock);
        Ok(Self { app, bound, admin, trust })
    }

    /// Every listener: what it is for, and the address it got.
    pub(super) fn addresses(&self) -> Vec<(&'static str, String)> {
        let callers = self.bound.addresses().into_iter().map(|address| ("proxy", address.to_string()));
        let admin = self.admin.iter().map(|(listener, _)| ("admin", listener.address().to_string()));
        callers.chain(admin).collect()
    }

    /// Serves until `stop` ends, then lets requests finish until `hurry` ends or time is up. A task that the process
    /// cannot do without and that has failed stops it too.
    pub(super) async fn serve(
        self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<Ended, ServeError> {
        let Self { app, bound, admin, trust } = self;
        let supervisor = app.supervisor().clone();
        let heartbeat = supervisor.heartbeat("main", Importance::Vital);
        let listeners = bound.addresses().iter().map(ToString::to_string).collect();
        let pages = app.admin(listeners);
        let admin = admin
            .map(|(listener, access)| admin::start(listener, pages.clone(), access, &supervisor))
            .transpose()?;
        let renewals = app.start_renewals();
        let keeping = [
            app.start_suspension_watch(),
            app.start_caller_polling(),
            app.start_trust_polling(trust),
            app.start_cache_sweep(),
        ];
        let stop = async {
            tokio::select! {
                () = stop => {}
                _ = supervisor.failed() => {}
            }
            pages.stop();
        };
        let (counts, proxies) = (app.counts(), app.proxies());
        let ended = tokio::select! {
            ended = bound.serve(&supervisor, counts, proxies, stop, hurry) => ended?,
            () = heartbeat.keep_beating() => unreachable!("it beats without end"),
        };
        drop((renewals, keeping));
        if let Some(admin) = admin {
            let _ = tokio::time::timeout(LAST_PAGES, admin.end()).await;
        }
        match supervisor.failure() {
            Some(failure) => Err(failure.into()),
            None => Ok(ended),
        }
    }
}
