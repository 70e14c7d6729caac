//! A sidecar over sockets: all rooms, their listeners, and the order in which they start and stop.

use std::io;
use std::sync::Arc;

use crate::admin::{self, Access};
use crate::app::{App, Transports};
use crate::clock::Clock;
use crate::config::Config;
use crate::net::tls::TlsError;
use crate::oauth::SecretError;
use crate::server::address::{BindError, Listener};
use crate::server::{self, Bound, CannotListen, Ended};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request_log::RequestLog;

/// Bound, and not serving yet.
pub(super) struct Sidecar {
    app: App,
    bound: Bound,
    admin: Option<(Listener, Access)>,
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
    #[error("the admin token cannot be had")]
    AdminToken(#[from] SecretError),
    #[error("the system does not give what serving needs")]
    System(#[from] io::Error),
}

impl Sidecar {
    pub(super) fn new(
        config: Config,
        transports: Transports,
        metrics: Arc<Metrics>,
        log: RequestLog,
        clock: Clock,
    ) -> Result<Self, ServeError> {
        let bound = server::bind(config.server.clone())?;
        let admin = match &config.admin {
            Some(admin) => {
                // Looked at now, so that a missing one is told at the start and not to the first who asks.
                admin.token.as_ref().map(crate::oauth::SecretSource::read).transpose()?;
                let listener = Listener::bind(&admin.listen)?;
                Some((listener, Access { token: admin.token.clone(), is_local: admin.listen.is_local() }))
            }
            None => None,
        };
        Ok(Self { app: App::new(config, transports, metrics, log, clock), bound, admin })
    }

    /// Every listener: what it is for, and the address it got.
    pub(super) fn addresses(&self) -> Vec<(&'static str, String)> {
        let callers = self.bound.addresses().into_iter().map(|address| ("proxy", address.to_string()));
        let admin = self.admin.iter().map(|(listener, _)| ("admin", listener.address().to_string()));
        callers.chain(admin).collect()
    }

    /// Serves until `stop` ends, then lets requests finish until `hurry` ends or time is up.
    pub(super) async fn serve(
        self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<Ended, ServeError> {
        let Self { app, bound, admin } = self;
        let listeners = bound.addresses().iter().map(ToString::to_string).collect();
        let pages = app.admin(listeners);
        let admin_task = admin.map(|(listener, access)| {
            tokio::spawn(admin::serve(listener, pages.clone(), access)).abort_handle()
        });
        let renewals = app.start_renewals();
        let keeping = [tokio::spawn(app.keep_callers_fresh()), tokio::spawn(app.keep_cache_swept())];
        let stop = async {
            stop.await;
            pages.stop();
        };
        let (counts, proxies) = (app.counts(), app.proxies());
        let ended = bound.serve(counts, proxies, stop, hurry).await?;
        drop(renewals);
        keeping.iter().for_each(tokio::task::JoinHandle::abort);
        if let Some(task) = admin_task {
            task.abort();
        }
        Ok(ended)
    }
}
