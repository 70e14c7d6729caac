//! Access tokens: always one that lives, never more mints than Zoho allows.
//!
//! Each credential has a [`renewal`] task of its own, the only one that mints with it; requests read what
//! it publishes. A request waits only when there is no living token at all. An expired token is never
//! handed out.
//!
//! Not here: which request gets which credential (`tenants`), and sending it (`upstream`).

mod budget;
mod grant;
mod health;
mod renewal;
mod reply;
mod secret;
mod token;
mod vault;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use grant::Grant;
pub use health::{Health, STATES};
pub use reply::{MintError, Minted};
pub use secret::{SecretError, SecretSource};
pub use token::Token;
pub use vault::Identity;

use secrecy::SecretString;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::clock::{Clock, Instant};
use crate::net::origin::Origin;
use crate::net::transport::Transport;
use crate::telemetry::metrics::TokenMetrics;
use crate::zoho::data_center::{ApiOrigins, Environment};

/// How tokens are minted and kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limit for one exchange.
    pub exchange_timeout: Duration,
    /// How long before its end a token is renewed; at most a quarter of its life.
    pub renewal_lead: Duration,
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
    identity: AtomicU64,
}

/// What the renewal task publishes.
#[derive(Debug, Clone)]
pub struct State {
    /// The newest token, living or expired; none if it was withdrawn or never was.
    pub token: Option<Arc<Token>>,
    /// How the credential is doing.
    pub health: Health,
    /// When the next mint may be tried, after a failure.
    pub next_attempt: Option<Instant>,
    /// Whether an exchange is under way.
    pub minting: bool,
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
}

/// Stops the renewal task when dropped.
#[derive(Debug)]
pub struct RenewalTask(AbortHandle);

impl Drop for RenewalTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A token that was refused this soon after its mint, without ever having been accepted, was not pushed out by
/// newer ones: it was never good for what it is used for.
const YOUNG: Duration = Duration::from_mins(1);

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
            failures: 0,
            newest_generation: 0,
            newest_identity: None,
        };
        let tokens = Self {
            credential,
            settings,
            transport,
            clock,
            metrics,
            state: watch::Sender::new(state),
            wanted: Notify::new(),
            identity: AtomicU64::new(0),
        };
        if let Ok(refresh_token) = tokens.credential.refresh_token.read() {
            // Until there is a token, look-ups go by the credential that will have one.
            tokens.learn_identity(tokens.credential.identity(&refresh_token).short());
        }
        Arc::new(tokens)
    }

    /// Starts the renewal task on the current runtime.
    pub fn start(self: &Arc<Self>) -> RenewalTask {
        RenewalTask(tokio::spawn(renewal::keep(self.clone())).abort_handle())
    }

    /// A token that lives. Waits for one, within limits, only if there is none.
    pub async fn current(&self) -> Result<Arc<Token>, Unavailable> {
        match self.living() {
            Some(token) => Ok(token),
            // In a box, so that who need not wait carries no room for it.
            None => Box::pin(self.wait_for_token()).await,
        }
    }

    /// A token other than `rejected`, which the API refused. The first of many callers that name the same
    /// token causes at most one mint; the others get its result.
    pub async fn replace(&self, rejected: &Token) -> Result<Arc<Token>, Unavailable> {
        self.reject(rejected);
        self.current().await
    }

    /// Notes that the API refused a token, without asking for another.
    pub fn reject(&self, rejected: &Token) {
        if self.state.send_if_modified(|state| self.withdraw(state, rejected)) {
            // The renewal task sleeps until the withdrawn token's end; it has to look again.
            self.wanted.notify_one();
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
        let now = self.clock.now();
        let age = state.token.as_ref().map(|token| now.saturating_duration_since(token.minted()));
        let left = state.token.as_ref().map(|token| token.expires().saturating_duration_since(now));
        self.metrics.observe(state.health.as_str(), age, left);
    }

    fn living(&self) -> Option<Arc<Token>> {
        self.state.borrow().token.as_ref().filter(|token| token.lives(self.clock.now())).cloned()
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
        let now = self.clock.now();
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
        Unavailable { tenant: self.credential.tenant.clone(), health: state.health.clone(), retry_after }
    }

    /// Takes a rejected token out of use, unless a newer one has taken its place already.
    fn withdraw(&self, state: &mut State, rejected: &Token) -> bool {
        if state.token.as_ref().is_none_or(|token| token.generation() != rejected.generation()) {
            return false;
        }
        state.token = None;
        self.metrics.early_deaths.inc();
        let is_young = self.clock.now().saturating_duration_since(rejected.minted()) < YOUNG;
        if rejected.is_proven() || !is_young {
            tracing::warn!(
                tenant = self.credential.tenant,
                generation = rejected.generation(),
                "Zoho withdrew an access token before its time; if this repeats, something else mints with the same refresh token"
            );
        } else {
            // Just minted and never accepted: the next one would not be either. Minting again at once is how
            // limits die.
            state.failures += 1;
            state.next_attempt = Some(self.clock.now() + Health::TokenRejected.pause(state.failures));
            self.change_health(state, Health::TokenRejected);
        }
        true
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
