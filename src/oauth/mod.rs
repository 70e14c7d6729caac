//! Access tokens: always one that lives, never more mints than Zoho allows.
//!
//! Each credential has a [`renewal`] task of its own, the only one that mints with it; requests read what
//! it publishes. A request waits only when there is no living token at all. An expired token is never
//! handed out.
//!
//! Not here: which request gets which credential (`tenants`), and sending it (`upstream`).

mod acceptance;
mod accounts_http;
mod budget;
mod grant;
mod health;
mod identity;
mod kept;
mod pace;
mod probe;
mod rejections;
mod renewal;
mod reply;
mod ruling;
mod sealing;
mod secret;
mod stored;
mod token;
mod vault;
mod withdrawal;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use grant::Grant;
pub use health::{Health, STATES};
pub use identity::Identity;
pub use rejections::RouteKey;
pub use reply::{MintError, Minted};
pub use secret::{LastingSecret, SecretError, SecretSource};
pub use token::Token;

use secrecy::SecretString;
use tokio::sync::{Notify, watch};

use crate::clock::{BootTime, Clock};
use crate::net::origin::Origin;
use crate::net::transport::Transport;
use crate::supervisor::{Supervisor, Task};
use crate::telemetry::metrics::TokenMetrics;
use crate::zoho::data_center::{ApiOrigins, Environment};
use budget::Mints;
use rejections::Rejections;
use renewal::Renewal;

/// How tokens are minted and kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limit for one exchange.
    pub exchange_timeout: Duration,
    /// How long before its end a token is renewed; at most a quarter of its life.
    pub renewal_lead: Duration,
    /// How long to wait for an answer of an accounts server that is asked whether it answers.
    pub probe_timeout: Duration,
    /// How long at most between two such questions, while it does not.
    pub probe_interval: Duration,
    /// How long a request waits for a token when there is none.
    pub wait_limit: Duration,
    /// How many of Zoho's ten mints in ten minutes the sidecar takes for itself.
    pub mints_per_window: usize,
    /// How often secret files are looked at for a change.
    pub secret_poll: Duration,
    /// Where living tokens outlive the process; `None` for nowhere.
    pub state_directory: Option<PathBuf>,
}

/// What a tenant authenticates with, and where.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The tenant's name, for messages and metrics.
    pub tenant: String,
    /// Where tokens are minted.
    pub accounts: Origin,
    /// The API hosts that tokens may be for.
    pub api: ApiOrigins,
    /// The one of them that this credential is for.
    pub environment: Environment,
    /// The OAuth client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: SecretSource,
    /// The refresh token.
    pub refresh_token: SecretSource,
}

/// The tokens of one credential.
pub struct Tokens {
    credential: Credential,
    settings: Settings,
    transport: Arc<dyn Transport>,
    clock: Clock,
    metrics: TokenMetrics,
    state: watch::Sender<State>,
    wanted: Notify,
    rejections: Mutex<Rejections>,
    /// The mints that count, of each refresh token there was lately: one that comes back has its own still. Kept
    /// here and not by the renewal task, so that they outlive it too. Each is there for ten minutes after an
    /// exchange, so that there are few.
    mints: Mutex<HashMap<Identity, Mints>>,
    identity: AtomicU64,
    client_secret: LastingSecret,
    refresh_token: LastingSecret,
}

/// What the renewal task publishes.
#[derive(Debug, Clone)]
pub struct State {
    /// The newest token, living or expired; none if it was withdrawn or never was.
    pub token: Option<Arc<Token>>,
    /// How the credential is doing.
    pub health: Health,
    /// When the next mint may be tried, after a failure.
    pub next_attempt: Option<BootTime>,
    /// Whether an exchange is under way.
    pub minting: bool,
    /// The one route that does without the token for a while: it refused it, and nobody has accepted it yet.
    suspended: Option<(RouteKey, BootTime)>,
    failures: u32,
    newest_generation: u64,
    newest_identity: Option<Identity>,
}

/// There is no living token, and none will come in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no access token for {tenant}: {}", health.as_str())]
pub struct Unavailable {
    /// Whose.
    pub tenant: String,
    /// Why.
    pub health: Health,
    /// When it is worth asking again.
    pub retry_after: Duration,
    /// Whether there is one for other routes: Zoho refuses it on this one alone.
    pub is_only_here: bool,
}

/// Stops the renewal task when dropped.
#[derive(Debug)]
#[must_use = "dropping it stops the renewals"]
pub struct RenewalTask(#[expect(dead_code, reason = "held for its drop")] Task);

impl Credential {
    fn identity(&self, refresh_token: &SecretString) -> Identity {
        let (accounts, environment) = (self.accounts.to_string(), self.environment.as_str());
        Identity::of(&self.client_id, refresh_token, &accounts, environment)
    }
}

impl Tokens {
    /// Tokens of a credential. Nothing happens before [`Self::start`].
    pub fn new(
        credential: Credential,
        settings: Settings,
        transport: Arc<dyn Transport>,
        clock: Clock,
        metrics: TokenMetrics,
    ) -> Arc<Self> {
        let state = State {
            token: None,
            health: Health::Starting,
            next_attempt: None,
            minting: true,
            suspended: None,
            failures: 0,
            newest_generation: 0,
            newest_identity: None,
        };
        let lasting =
            |source: &SecretSource| LastingSecret::new(source.clone(), metrics.secret_failures.clone());
        let tokens = Self {
            client_secret: lasting(&credential.client_secret),
            refresh_token: lasting(&credential.refresh_token),
            credential,
            settings,
            transport,
            clock,
            metrics,
            state: watch::Sender::new(state),
            wanted: Notify::new(),
            rejections: Mutex::default(),
            mints: Mutex::default(),
            identity: AtomicU64::new(0),
        };
        if let Ok(refresh_token) = tokens.refresh_token.read_now() {
            // Until there is a token, look-ups go by the credential that will have one.
            tokens.learn_identity(tokens.credential.identity(&refresh_token).short());
        }
        Arc::new(tokens)
    }

    /// Starts the renewal task on the current runtime. After a panic it goes on with what it knew: the mints of the
    /// last minutes count still, and a pause that Zoho asked for is kept.
    pub fn start(self: &Arc<Self>, supervisor: &Supervisor) -> RenewalTask {
        let renewal = Arc::new(tokio::sync::Mutex::new(Renewal::new(self.clone())));
        RenewalTask(supervisor.task(format!("token-renewal/{}", self.tenant()), move |heartbeat| {
            let renewal = renewal.clone();
            async move { renewal.lock().await.keep(&heartbeat).await }
        }))
    }

    /// A token that lives. Waits for one, within limits, only if there is none.
    pub async fn current(&self) -> Result<Arc<Token>, Unavailable> {
        match self.living() {
            Some(token) => Ok(token),
            // In a box, so that who need not wait carries no room for it.
            None => Box::pin(self.wait_for_token()).await,
        }
    }

    /// The same for a call of a route, which may have to do without for a while.
    pub async fn current_for(&self, route: impl Fn() -> RouteKey) -> Result<Arc<Token>, Unavailable> {
        match self.ready(route) {
            Some(ready) => ready,
            None => Box::pin(self.wait_for_token()).await,
        }
    }

    /// What is known now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Tells the answers of the token in use from those of another credential in the cache. It changes with
    /// the token, not with the secret: what the old token still brings belongs to the old credential.
    pub fn identity(&self) -> u64 {
        self.identity.load(Ordering::Relaxed)
    }

    /// The tenant it belongs to.
    pub fn tenant(&self) -> &str {
        &self.credential.tenant
    }

    /// Brings gauges that depend on the time up to date.
    pub fn observe(&self) {
        let state = self.state.borrow();
        let now = self.clock.boot_time();
        let age = state.token.as_ref().map(|token| now.saturating_duration_since(token.minted()));
        let left = state.token.as_ref().map(|token| token.expires().saturating_duration_since(now));
        self.metrics.observe(state.health.as_str(), age, left);
    }

    fn living(&self) -> Option<Arc<Token>> {
        self.state.borrow().token.as_ref().filter(|token| token.lives(self.clock.boot_time())).cloned()
    }

    /// What a call of a route gets without a wait.
    fn ready(&self, route: impl Fn() -> RouteKey) -> Option<Result<Arc<Token>, Unavailable>> {
        let (state, now) = (self.state.borrow(), self.clock.boot_time());
        if let Some((suspended, until)) = state.suspended
            && now < until
            && suspended == route()
        {
            return Some(Err(self.unavailable(&state, until - now)));
        }
        state.token.as_ref().filter(|token| token.lives(now)).cloned().map(Ok)
    }

    async fn wait_for_token(&self) -> Result<Arc<Token>, Unavailable> {
        let mut published = self.state.subscribe();
        let waiting = async {
            loop {
                if let Some(decided) = self.decide(&published.borrow_and_update()) {
                    return decided;
                }
                self.wanted.notify_one();
                if published.changed().await.is_err() {
                    return Err(self.unavailable(&self.state.borrow(), Duration::from_secs(1)));
                }
            }
        };
        match tokio::time::timeout(self.settings.wait_limit, waiting).await {
            Ok(decided) => decided,
            Err(_) => Err(self.unavailable(&self.state.borrow(), Duration::from_secs(1))),
        }
    }

    /// Whether waiting is over: with a token, or because none will come soon.
    fn decide(&self, state: &State) -> Option<Result<Arc<Token>, Unavailable>> {
        let now = self.clock.boot_time();
        if let Some(token) = state.token.as_ref().filter(|token| token.lives(now)) {
            return Some(Ok(token.clone()));
        }
        if state.minting {
            return None;
        }
        let pause = state.next_attempt?.checked_duration_since(now).filter(|pause| !pause.is_zero())?;
        Some(Err(self.unavailable(state, pause)))
    }

    fn unavailable(&self, state: &State, retry_after: Duration) -> Unavailable {
        let (tenant, health) = (self.credential.tenant.clone(), state.health.clone());
        Unavailable { tenant, health, retry_after, is_only_here: false }
    }

    fn learn_identity(&self, identity: u64) {
        self.identity.store(identity, Ordering::Relaxed);
    }

    /// Sets the health and says so once.
    fn change_health(&self, state: &mut State, health: Health) {
        if state.health.as_str() != health.as_str() {
            let (tenant, now, before) = (&self.credential.tenant, health.as_str(), state.health.as_str());
            if health == Health::Healthy {
                tracing::info!(tenant, health = now, before, "the credential is healthy");
            } else {
                let remedy = health.remedy();
                tracing::warn!(tenant, health = now, before, remedy, "the credential needs attention");
            }
        }
        state.health = health;
    }
}
