//! The task that mints: the only one per credential, ahead of expiry, within the budget.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use super::grant::Grant;
use super::health::{Health, SHORTEST_LIFE};
use super::identity::Identity;
use super::kept::KeptToken;
use super::pace::{Setback, UnderWay, chance, record, renew_at};
use super::probe::{self, Found};
use super::reply::Minted;
use super::secret::Secrets;
use super::stored::{Memory, Open};
use super::token::Token;
use super::vault::Vault;
use super::{State, Tokens};
use crate::causes::with_causes;
use crate::clock::BootTime;
use crate::supervisor::Heartbeat;

/// What the task knows. It outlives a panic of the task.
pub(super) struct Renewal {
    tokens: Arc<Tokens>,
    memory: Memory,
    /// Since when the accounts server has not been there: it did not answer, or something else answered in its place.
    away_since: Option<BootTime>,
    renew_at: Option<BootTime>,
    /// A digest of the secrets that the last attempt used.
    secrets_seen: Option<[u8; 32]>,
    /// Whether the first attempt has begun.
    has_begun: bool,
}

/// A server that was away this long is asked for a token though something else answers the probes: where a proxy stands
/// in the way of the probes alone, no probe ever finds the server.
const DOUBT: Duration = Duration::from_mins(40);

/// How long a new token may wait for the state file before it is used.
const STORE_LIMIT: Duration = Duration::from_millis(250);

impl Renewal {
    pub(super) fn new(tokens: Arc<Tokens>) -> Self {
        Self {
            memory: Memory::new(tokens.clone()),
            tokens,
            away_since: None,
            renew_at: None,
            secrets_seen: None,
            has_begun: false,
        }
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
        if let Some(since) = self.away_since {
            // Another sidecar may reach the accounts server where this one does not.
            if let Some(token) = self.stored_by_another().await {
                tokens.metrics.count_mint("adopted");
                tokens.state.send_modify(|state| self.publish(state, token));
                tokens.observe();
                return;
            }
            if !self.is_there_again(since).await {
                tokens.observe();
                return;
            }
        }
        let _under_way = UnderWay::begin(&tokens);
        let began = tokens.clock.boot_time();
        let mut open = Open::default();
        let outcome = self.obtain(&mut open).await;
        let is_stored = outcome.is_ok() && self.store_before_use(&open).await;
        let now = tokens.clock.boot_time();
        if let Err(setback) = &outcome {
            tokens.metrics.count_mint(setback.health.as_str());
            self.away_since = setback.health.is_for_probing().then_some(now);
        }
        tokens.state.send_modify(|state| {
            state.minting = false;
            match outcome {
                Ok(token) => self.publish(state, token),
                Err(setback) => record(&tokens, state, setback, began, now),
            }
        });
        tokens.observe();
        // Last, since requests may wait for what was published, and the file system may be slow.
        if open.has_changed && !is_stored {
            self.memory.store(&open).await;
        }
    }

    /// Stores a new token before requests use it, so that a crash after its first use costs no mint. Returns false if the
    /// token was not new, or if the file system takes longer than requests should wait for it.
    async fn store_before_use(&mut self, open: &Open) -> bool {
        open.has_changed && tokio::time::timeout(STORE_LIMIT, self.memory.store_ahead(open)).await == Ok(true)
    }

    /// Puts a token in force.
    fn publish(&mut self, state: &mut State, token: Arc<Token>) {
        let tokens = &self.tokens;
        self.renew_at = Some(renew_at(&token, tokens.settings.renewal_lead));
        state.newest_generation = token.generation();
        state.newest_identity = self.memory.of;
        tokens.learn_identity(token.identity());
        (state.token, state.suspended) = (Some(token), None);
        state.next_attempt = None;
        // A token not yet proven keeps the count: it may be refused like the one before it.
        if state.health != Health::TokenRejected {
            state.failures = 0;
        }
        tokens.change_health(state, Health::Healthy);
    }

    /// A newer token that another sidecar has left in the state directory since.
    async fn stored_by_another(&mut self) -> Option<Arc<Token>> {
        let secrets = self.read_secrets().await.ok()?;
        let identity = self.tokens.credential.identity(&secrets.refresh_token);
        let vault = self.vault(&identity, &secrets)?;
        self.memory.look_again(identity, &vault).await;
        self.memory.adoptable(identity)
    }

    fn vault(&self, identity: &Identity, secrets: &Secrets) -> Option<Vault> {
        let directory = self.tokens.settings.state_directory.as_ref()?;
        Some(Vault::new(directory, identity, &secrets.client_secret))
    }

    /// Asks the accounts server whether it is there, unless the budget is spent and its answer would be of no use.
    /// If it is not, says when to ask again. Callers are turned away meanwhile, without a wait.
    async fn is_there_again(&mut self, since: BootTime) -> bool {
        let tokens = self.tokens.clone();
        let (settings, asked) = (&tokens.settings, tokens.clock.boot_time());
        let wait = self.memory.of.and_then(|identity| {
            self.memory.with_mints(identity, |mints| mints.wait(settings.mints_per_window, asked))
        });
        if let Some(wait) = wait {
            let spent = Setback { health: Health::BudgetSpent { after: None }, pause: Some(wait) };
            tokens.state.send_modify(|state| record(&tokens, state, spent, asked, asked));
            return false;
        }
        tokens.state.send_modify(|state| state.next_attempt = Some(asked + settings.probe_timeout));
        let accounts = &tokens.credential.accounts;
        let found = probe::ask(accounts, &tokens.transport, settings.probe_timeout).await;
        tokens.metrics.count_probe(found.as_str());
        let health = match found {
            Found::Server => {
                tracing::info!(tenant = tokens.tenant(), "the accounts server answers again");
                self.away_since = None;
                return true;
            }
            Found::SomethingElse if asked.saturating_duration_since(since) >= DOUBT => return true,
            Found::SomethingElse => Health::Nonsense,
            Found::Nothing => Health::EndpointDown,
        };
        let pause = settings.probe_interval.mul_f64(0.5 + 0.5 * chance());
        tokens.state.send_modify(|state| {
            state.next_attempt = Some(tokens.clock.boot_time() + pause);
            tokens.change_health(state, health);
        });
        false
    }

    async fn obtain(&mut self, open: &mut Open) -> Result<Arc<Token>, Setback> {
        self.secrets_seen = None;
        let secrets = self.read_secrets().await?;
        self.secrets_seen = Some(secrets.digest());
        let tokens = self.tokens.clone();
        let identity = tokens.credential.identity(&secrets.refresh_token);
        self.memory.turn_to(identity);
        *open = self.memory.open(self.vault(&identity, &secrets)).await;
        if let Some(token) = self.memory.adoptable(identity) {
            tokens.metrics.count_mint("adopted");
            return Ok(token);
        }
        self.mint(secrets, identity, open).await
    }

    async fn mint(
        &mut self,
        secrets: Secrets,
        identity: Identity,
        open: &mut Open,
    ) -> Result<Arc<Token>, Setback> {
        let tokens = self.tokens.clone();
        if tokens.state.borrow().token.is_none() {
            // It was withdrawn; the next process need not try it.
            self.memory.kept.token = None;
        }
        let now = self.memory.now();
        // Noted before it is tried: a crash in between must not make the mint forgotten.
        let noted = self.memory.with_mints(identity, |mints| {
            mints.wait(tokens.settings.mints_per_window, now.at).map_or_else(|| Ok(mints.note(now)), Err)
        });
        let noted = noted
            .map_err(|wait| Setback { health: Health::BudgetSpent { after: None }, pause: Some(wait) })?;
        self.memory.store_ahead(open).await;
        open.has_changed = true;

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
        let now = self.memory.now();
        self.memory.with_mints(identity, |mints| match &outcome {
            Err(error) if !error.may_have_minted() => mints.take_back(noted),
            _ => mints.settle(noted, now),
        });
        match outcome {
            Ok(minted) => self.accept(minted, suspended, identity),
            Err(error) => {
                let cause = &error as &dyn std::error::Error;
                tracing::warn!(
                    tenant = tokens.tenant(),
                    error = cause,
                    "an access token could not be minted"
                );
                Err(Setback::from(error))
            }
        }
    }

    /// Checks whom a new token is for, and keeps it. Its life may have begun before the machine was suspended for so long
    /// during the exchange.
    fn accept(
        &mut self,
        minted: Minted,
        suspended: Duration,
        identity: Identity,
    ) -> Result<Arc<Token>, Setback> {
        let tokens = self.tokens.clone();
        tokens.metrics.count_mint("minted");
        let expected = tokens.credential.api.of(tokens.credential.environment);
        let mismatch = minted.api_domain.as_deref().and_then(|named| Health::of_api_domain(named, expected));
        if let Some(health) = mismatch {
            return Err(Setback { health, pause: None });
        }
        if minted.lifetime < SHORTEST_LIFE {
            tracing::warn!(tenant = tokens.tenant(), "an access token was minted that ends within seconds");
            let health = Health::ShortLived { seconds: minted.lifetime.as_secs() };
            return Err(Setback { health, pause: None });
        }
        let minted_at = tokens.clock.boot_time() - suspended;
        let generation = self.memory.kept.generation.max(tokens.state.borrow().newest_generation) + 1;
        let token = Token::new(minted.value, identity, generation, minted_at, minted.lifetime)
            .map_err(|_| Setback { health: Health::Nonsense, pause: None })?;
        let suspended_ms = u64::try_from(suspended.as_millis()).unwrap_or(u64::MAX);
        let minted_ms = self.memory.wall_ms().saturating_sub(suspended_ms);
        let lifetime_ms = u64::try_from(minted.lifetime.as_millis()).expect("a lifetime is at most a day");
        self.memory.kept.generation = generation;
        self.memory.kept.token = Some(KeptToken {
            value: token.value().clone(),
            minted_ms,
            expires_ms: minted_ms.saturating_add(lifetime_ms),
            api_domain: minted.api_domain,
        });
        Ok(Arc::new(token))
    }

    async fn read_secrets(&self) -> Result<Secrets, Setback> {
        let tokens = &self.tokens;
        let missing = |error: super::SecretError| Setback {
            health: Health::SecretMissing { problem: with_causes(&error) },
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
}
