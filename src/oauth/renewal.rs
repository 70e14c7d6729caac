//! The task that mints: the only one per credential, ahead of expiry, within the budget.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use super::Tokens;
use super::budget::{Mints, Now};
use super::grant::Grant;
use super::health::Health;
use super::pace::{Setback, UnderWay, chance, record, renew_at};
use super::probe;
use super::reply::Minted;
use super::secret::Secrets;
use super::token::Token;
use super::vault::{Identity, Kept, KeptToken, Vault};
use crate::clock::BootTime;
use crate::supervisor::Heartbeat;

/// What the task knows. It outlives a panic of the task.
pub(super) struct Renewal {
    tokens: Arc<Tokens>,
    /// What the state file holds, or would hold.
    memory: Kept,
    /// Whose that is.
    memory_of: Option<Identity>,
    /// Whether the accounts server did not answer when it was last asked for anything.
    is_unanswered: bool,
    renew_at: Option<BootTime>,
    /// A digest of the secrets that the last attempt used.
    secrets_seen: Option<[u8; 32]>,
    /// Whether the first attempt has begun.
    has_begun: bool,
}

/// A token that lives shorter than this would be renewed without end.
const SHORTEST_LIFE: Duration = Duration::from_secs(30);

impl Renewal {
    pub(super) fn new(tokens: Arc<Tokens>) -> Self {
        let (memory, memory_of) = (Kept::default(), None);
        let (renew_at, secrets_seen) = (None, None);
        Self { tokens, memory, memory_of, is_unanswered: false, renew_at, secrets_seen, has_begun: false }
    }

    /// Renews for as long as the task is not stopped.
    pub(super) async fn keep(&mut self, heartbeat: &Heartbeat) {
        if !std::mem::replace(&mut self.has_begun, true) {
            let _busy = heartbeat.busy();
            // Adopts a token that outlived the last process, or mints the first.
            self.attempt().await;
        }
        loop {
            self.rest().await;
            if self.is_due() {
                let _busy = heartbeat.busy();
                self.attempt().await;
            }
        }
    }

    /// Sleeps until something may be due.
    async fn rest(&mut self) {
        let tokens = self.tokens.clone();
        let wake = self.next_wake();
        tokio::select! {
            () = tokens.clock.sleep_until(wake) => {}
            () = tokens.wanted.notified() => {}
        }
        if self.secrets_changed().await {
            tracing::info!(tenant = tokens.tenant(), "a secret file has changed; it is tried now");
            tokens.state.send_modify(|state| {
                state.failures = 0;
                // Zoho's throttle counts per refresh token; all other pauses were about the old secrets.
                state.next_attempt = None;
            });
            self.renew_at = Some(tokens.clock.boot_time());
        }
    }

    fn next_wake(&self) -> BootTime {
        let now = self.tokens.clock.boot_time();
        let due = self.due_at();
        let credential = &self.tokens.credential;
        let may_change = credential.client_secret.can_change() || credential.refresh_token.can_change();
        if may_change { due.min(now + self.tokens.settings.secret_poll) } else { due }
    }

    fn is_due(&self) -> bool {
        self.due_at() <= self.tokens.clock.boot_time()
    }

    fn due_at(&self) -> BootTime {
        let now = self.tokens.clock.boot_time();
        let state = self.tokens.state.borrow();
        let lives = state.token.as_ref().is_some_and(|token| token.lives(now));
        let wanted = self.renew_at.filter(|_| lives).unwrap_or(now);
        state.next_attempt.map_or(wanted, |allowed| wanted.max(allowed))
    }

    async fn secrets_changed(&self) -> bool {
        self.read_secrets().await.is_ok_and(|secrets| Some(secrets.digest()) != self.secrets_seen)
    }

    /// Adopts a newer token from the state directory, or mints one if the budget allows. A server that did not
    /// answer is first asked for what costs nothing, so that an outage does not spend the budget.
    async fn attempt(&mut self) {
        let tokens = self.tokens.clone();
        if self.is_unanswered && !self.is_answered_again().await {
            tokens.observe();
            return;
        }
        let _under_way = UnderWay::begin(&tokens);
        let began = tokens.clock.boot_time();
        let outcome = self.obtain().await;
        let now = tokens.clock.boot_time();
        if let Err(setback) = &outcome {
            tokens.metrics.count_mint(setback.health.as_str());
            self.is_unanswered = setback.health == Health::EndpointDown;
        }
        tokens.state.send_modify(|state| {
            state.minting = false;
            match outcome {
                Ok(token) => {
                    self.renew_at = Some(renew_at(&token, tokens.settings.renewal_lead));
                    state.newest_generation = token.generation();
                    state.newest_identity = self.memory_of;
                    tokens.learn_identity(token.identity());
                    (state.token, state.suspended) = (Some(token), None);
                    state.next_attempt = None;
                    // A token not yet proven keeps the count: it may be refused like the one before it.
                    if state.health != Health::TokenRejected {
                        state.failures = 0;
                    }
                    tokens.change_health(state, Health::Healthy);
                }
                Err(setback) => record(&tokens, state, setback, began, now),
            }
        });
        tokens.observe();
    }

    /// Asks the accounts server whether it answers, unless the budget is spent and an answer would be of no use.
    /// If it does not, says when to ask again. Callers are turned away meanwhile, without a wait.
    async fn is_answered_again(&mut self) -> bool {
        let tokens = self.tokens.clone();
        let (settings, asked) = (&tokens.settings, tokens.clock.boot_time());
        let wait = self.memory_of.and_then(|identity| {
            self.with_mints(identity, |mints| mints.wait(settings.mints_per_window, asked))
        });
        if let Some(wait) = wait {
            let spent = Setback { health: Health::BudgetSpent { after: None }, pause: Some(wait) };
            tokens.state.send_modify(|state| record(&tokens, state, spent, asked, asked));
            return false;
        }
        tokens.state.send_modify(|state| state.next_attempt = Some(asked + settings.probe_timeout));
        let accounts = &tokens.credential.accounts;
        let answers = probe::answers(accounts, &tokens.transport, settings.probe_timeout).await;
        tokens.metrics.count_probe(if answers { "answered" } else { "unanswered" });
        if answers {
            tracing::info!(tenant = tokens.tenant(), "the accounts server answers again");
            self.is_unanswered = false;
            return true;
        }
        let pause = settings.probe_interval.mul_f64(0.5 + 0.5 * chance());
        tokens.state.send_modify(|state| {
            state.next_attempt = Some(tokens.clock.boot_time() + pause);
            tokens.change_health(state, Health::EndpointDown);
        });
        false
    }

    async fn obtain(&mut self) -> Result<Arc<Token>, Setback> {
        self.secrets_seen = None;
        let secrets = self.read_secrets().await?;
        self.secrets_seen = Some(secrets.digest());
        let tokens = self.tokens.clone();
        let identity = tokens.credential.identity(&secrets.refresh_token);
        if self.memory_of != Some(identity) {
            // Another refresh token: what was kept for the old one is not its token.
            (self.memory, self.memory_of) = (Kept::default(), Some(identity));
            let now = tokens.clock.boot_time();
            let mut all = tokens.mints.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|of, mints| *of == identity || !mints.is_over(now));
        }

        let vault = tokens
            .settings
            .state_directory
            .as_ref()
            .map(|directory| Vault::new(directory, &identity, &secrets.client_secret));
        // Held to the end: the next sidecar then finds what this one stored.
        let _lock = self.open_vault(vault.as_ref()).await;
        if let Some(token) = self.adoptable(identity) {
            tokens.metrics.count_mint("adopted");
            return Ok(token);
        }
        self.mint(secrets, identity, vault.as_ref()).await
    }

    /// Takes the lock and reads what is kept. Without a usable vault the sidecar goes on from memory.
    async fn open_vault(&mut self, vault: Option<&Vault>) -> Option<super::vault::MintLock> {
        let vault = vault?;
        let tenant = self.tokens.tenant();
        let complain = |error: super::vault::VaultError| {
            self.tokens.metrics.state_failures.inc();
            let error = &error as &dyn std::error::Error;
            tracing::warn!(tenant, error, "the token state cannot be used; a restart will cost a mint");
        };
        let lock = vault.lock().await.unwrap_or_else(|error| {
            complain(error);
            None
        });
        match vault.load().await {
            Ok(kept) => self.learn(kept),
            Err(error) => {
                complain(error);
                self.learn(Kept::default());
            }
        }
        lock
    }

    /// Takes over what another process kept. What this one has noted since wins over an older file.
    fn learn(&mut self, kept: Kept) {
        let now = self.now();
        if let Some(identity) = self.memory_of {
            self.with_mints(identity, |mints| mints.merge(&kept.mints, now));
        }
        if kept.generation > self.memory.generation {
            (self.memory.generation, self.memory.token) = (kept.generation, kept.token);
        }
    }

    /// The kept token, if it is newer than any this process has used and still has a good part of its life.
    fn adoptable(&self, identity: Identity) -> Option<Arc<Token>> {
        let tokens = &self.tokens;
        let state = tokens.state.borrow();
        let is_the_same = state.newest_identity == Some(identity);
        if is_the_same && self.memory.generation <= state.newest_generation {
            return None;
        }
        let kept = self.memory.token.as_ref()?;
        let (now, wall) = (tokens.clock.boot_time(), self.wall_ms());
        let left = Duration::from_millis(kept.expires_ms.checked_sub(wall)?);
        let lifetime = Duration::from_millis(kept.expires_ms.checked_sub(kept.minted_ms)?);
        // A wall clock that was set back must not prolong a token's life.
        let left = left.min(lifetime);
        let minted = now - lifetime.saturating_sub(left);
        let (value, generation) = (kept.value.clone(), self.memory.generation);
        let token = Token::new(value, identity, generation, minted, (now - minted) + left).ok()?;
        let fresh_enough = renew_at(&token, tokens.settings.renewal_lead) > now;
        (token.lives(now) && fresh_enough).then(|| Arc::new(token))
    }

    async fn mint(
        &mut self,
        secrets: Secrets,
        identity: Identity,
        vault: Option<&Vault>,
    ) -> Result<Arc<Token>, Setback> {
        let tokens = self.tokens.clone();
        if tokens.state.borrow().token.is_none() {
            // It was withdrawn; the next process need not try it.
            self.memory.token = None;
        }
        let now = self.now();
        // Noted before it is tried: a crash in between must not make the mint forgotten.
        let noted = self.with_mints(identity, |mints| {
            mints.wait(tokens.settings.mints_per_window, now.at).map_or_else(|| Ok(mints.note(now)), Err)
        });
        let noted = noted
            .map_err(|wait| Setback { health: Health::BudgetSpent { after: None }, pause: Some(wait) })?;
        self.store(vault).await;

        let credential = &tokens.credential;
        let grant = Grant {
            accounts: credential.accounts.clone(),
            client_id: credential.client_id.clone(),
            client_secret: secrets.client_secret,
            refresh_token: secrets.refresh_token,
        };
        let asked = tokens.clock.moment();
        let outcome = grant.exchange(&tokens.transport, tokens.settings.exchange_timeout).await;
        let suspended = asked.suspended_until(tokens.clock.moment());
        let now = self.now();
        self.with_mints(identity, |mints| match &outcome {
            Err(error) if !error.may_have_minted() => mints.take_back(noted),
            _ => mints.settle(noted, now),
        });
        let outcome = match outcome {
            Ok(minted) => self.accept(minted, suspended, identity, vault).await,
            Err(error) => {
                let cause = &error as &dyn std::error::Error;
                tracing::warn!(
                    tenant = tokens.tenant(),
                    error = cause,
                    "an access token could not be minted"
                );
                Err(Setback::from(error))
            }
        };
        if outcome.is_err() {
            self.store(vault).await;
        }
        outcome
    }

    /// Checks whom a new token is for, and keeps it. Its life may have begun before the machine was suspended for so long
    /// during the exchange.
    async fn accept(
        &mut self,
        minted: Minted,
        suspended: Duration,
        identity: Identity,
        vault: Option<&Vault>,
    ) -> Result<Arc<Token>, Setback> {
        let tokens = self.tokens.clone();
        tokens.metrics.count_mint("minted");
        let expected = tokens.credential.api.of(tokens.credential.environment);
        if let Some(health) = minted.api_domain.and_then(|named| Health::of_api_domain(&named, expected)) {
            return Err(Setback { health, pause: None });
        }
        if minted.lifetime < SHORTEST_LIFE {
            tracing::warn!(tenant = tokens.tenant(), "an access token was minted that ends within seconds");
            return Err(Setback { health: Health::Nonsense, pause: None });
        }
        let minted_at = tokens.clock.boot_time() - suspended;
        let generation = self.memory.generation.max(tokens.state.borrow().newest_generation) + 1;
        let token = Token::new(minted.value, identity, generation, minted_at, minted.lifetime)
            .map_err(|_| Setback { health: Health::Nonsense, pause: None })?;
        let suspended_ms = u64::try_from(suspended.as_millis()).unwrap_or(u64::MAX);
        let minted_ms = self.wall_ms().saturating_sub(suspended_ms);
        let lifetime_ms = u64::try_from(minted.lifetime.as_millis()).expect("a lifetime is at most a day");
        self.memory.generation = generation;
        self.memory.token = Some(KeptToken {
            value: token.value().clone(),
            minted_ms,
            expires_ms: minted_ms.saturating_add(lifetime_ms),
        });
        self.store(vault).await;
        Ok(Arc::new(token))
    }

    async fn store(&mut self, vault: Option<&Vault>) {
        let now = self.now();
        let Some(identity) = self.memory_of else { return };
        self.memory.mints = self.with_mints(identity, |mints| mints.times(now));
        let Some(vault) = vault else {
            self.with_mints(identity, |mints| mints.stored(now));
            return;
        };
        match vault.store(self.memory.clone()).await {
            Ok(()) => self.with_mints(identity, |mints| mints.stored(now)),
            Err(error) => {
                self.tokens.metrics.state_failures.inc();
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    tenant = self.tokens.tenant(),
                    error,
                    "the token state cannot be kept; a restart will cost a mint"
                );
            }
        }
    }

    async fn read_secrets(&self) -> Result<Secrets, Setback> {
        let tokens = &self.tokens;
        let missing = |error: super::SecretError| Setback {
            health: Health::SecretMissing { problem: error.to_string() },
            pause: None,
        };
        // At once: a file that does not return is waited for, and both may lie on the same hung file system.
        let (client_secret, refresh_token) =
            tokio::join!(tokens.client_secret.read(), tokens.refresh_token.read());
        Ok(Secrets {
            client_secret: client_secret.map_err(missing)?,
            refresh_token: refresh_token.map_err(missing)?,
        })
    }

    fn with_mints<T>(&self, identity: Identity, work: impl FnOnce(&mut Mints) -> T) -> T {
        let mut all = self.tokens.mints.lock().unwrap_or_else(PoisonError::into_inner);
        work(all.entry(identity).or_default())
    }

    fn now(&self) -> Now {
        Now { wall: self.wall_ms(), at: self.tokens.clock.boot_time() }
    }

    fn wall_ms(&self) -> u64 {
        let since = self.tokens.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
