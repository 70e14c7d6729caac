//! What the renewal task remembers of its credential, and keeps in the state file.
//!
//! The task goes on without the file where it cannot be used: then a restart costs a mint, and nobody waits.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use super::Tokens;
use super::budget::{Mints, Now};
use super::health::Health;
use super::identity::Identity;
use super::kept::{Kept, KeptToken};
use super::pace::renew_at;
use super::token::Token;
use super::vault::{Found, MintLock, Vault, VaultError};

/// What is known of the refresh token in use. It outlives a panic of the task.
pub(super) struct Memory {
    tokens: Arc<Tokens>,
    /// What the state file holds, or would hold.
    pub(super) kept: Kept,
    /// Whose that is.
    pub(super) of: Option<Identity>,
    /// The mints in the state file when it was last read or written.
    in_file: Vec<u64>,
    /// Whether a file of an earlier version was reported.
    has_reported_outdated: bool,
}

/// The state file during one attempt at a token.
#[derive(Default)]
pub(super) struct Open {
    vault: Option<Vault>,
    /// Held to the end of the attempt: the next sidecar then finds what this one stored.
    _lock: Option<MintLock>,
    /// Whether the file system has not come back yet. Then nothing else is asked of it before there is a token.
    hangs: bool,
    /// Whether there is something new to be stored.
    pub(super) has_changed: bool,
}

impl Memory {
    pub(super) fn new(tokens: Arc<Tokens>) -> Self {
        Self { tokens, kept: Kept::default(), of: None, in_file: Vec::new(), has_reported_outdated: false }
    }

    /// Turns to another refresh token: what was kept for the old one is not its token. The mints of both still count.
    pub(super) fn turn_to(&mut self, identity: Identity) {
        if self.of == Some(identity) {
            return;
        }
        (self.kept, self.of) = (Kept::default(), Some(identity));
        self.in_file.clear();
        let now = self.tokens.clock.boot_time();
        let mut all = self.tokens.mints.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|of, mints| *of == identity || !mints.is_over(now));
    }

    /// Takes the lock and reads what is kept.
    pub(super) async fn open(&mut self, vault: Option<Vault>) -> Open {
        let Some(vault) = vault else { return Open::default() };
        let locked = vault.lock().await;
        let mut hangs = locked.as_ref().is_err_and(VaultError::has_not_returned);
        let lock = locked.unwrap_or_else(|error| {
            self.report(&error);
            None
        });
        if !hangs {
            match vault.load().await {
                Ok(found) => {
                    self.report_outdated(&found, &vault);
                    self.learn(found.kept);
                }
                Err(error) => {
                    hangs = error.has_not_returned();
                    self.report(&error);
                    if !hangs {
                        self.learn(Kept::default());
                    }
                }
            }
        }
        Open { vault: Some(vault), _lock: lock, hangs, has_changed: false }
    }

    /// Reads again what is kept. Nothing is to be minted, so the lock is not needed: the file is replaced whole.
    pub(super) async fn look_again(&mut self, identity: Identity, vault: &Vault) {
        if self.of == Some(identity)
            && let Ok(found) = vault.load().await
        {
            self.learn(found.kept);
        }
    }

    fn report(&self, error: &VaultError) {
        self.tokens.metrics.state_failures.inc();
        let error = error as &dyn std::error::Error;
        tracing::warn!(
            tenant = self.tokens.tenant(),
            error,
            "the token state cannot be used; a restart will cost a mint"
        );
    }

    fn report_outdated(&mut self, found: &Found, vault: &Vault) {
        if !found.is_outdated || std::mem::replace(&mut self.has_reported_outdated, true) {
            return;
        }
        tracing::warn!(
            tenant = self.tokens.tenant(),
            file = %vault.file().display(),
            mints = found.kept.mints.len(),
            "the state file was written by an earlier version: its token is not used, which may cost a mint, and the mints in it count"
        );
    }

    /// Takes over what another process kept. What this one has noted since wins over an older file.
    fn learn(&mut self, mut kept: Kept) {
        let now = self.now();
        if let Some(identity) = self.of {
            self.with_mints(identity, |mints| mints.merge(&kept.mints, now));
        }
        if kept.generation > self.kept.generation {
            kept.token = kept.token.take().filter(|token| self.is_for_our_api(token));
            (self.kept.generation, self.kept.token) = (kept.generation, kept.token);
        }
        self.in_file = kept.mints;
    }

    /// A stored token must be for the tenant's API host as a new one must: the configuration may have changed since.
    fn is_for_our_api(&self, token: &KeptToken) -> bool {
        let credential = &self.tokens.credential;
        let expected = credential.api.of(credential.environment);
        let Some(named) = &token.api_domain else { return true };
        let mismatch = Health::of_api_domain(named, expected);
        if let Some(Health::WrongDataCenter { expected, got }) = &mismatch {
            let tenant = self.tokens.tenant();
            tracing::warn!(
                tenant,
                expected,
                got,
                "the stored access token is for another API host and is not used"
            );
        }
        mismatch.is_none()
    }

    /// The kept token, if it is newer than any this process has used and still has a good part of its life.
    pub(super) fn adoptable(&self, identity: Identity) -> Option<Arc<Token>> {
        let tokens = &self.tokens;
        let state = tokens.state.borrow();
        let is_the_same = state.newest_identity == Some(identity);
        if is_the_same && self.kept.generation <= state.newest_generation {
            return None;
        }
        let kept = self.kept.token.as_ref()?;
        let (now, wall) = (tokens.clock.boot_time(), self.wall_ms());
        let left = Duration::from_millis(kept.expires_ms.checked_sub(wall)?);
        let lifetime = Duration::from_millis(kept.expires_ms.checked_sub(kept.minted_ms)?);
        // A wall clock that was set back must not prolong a token's life.
        let left = left.min(lifetime);
        let minted = now - lifetime.saturating_sub(left);
        let (value, generation) = (kept.value.clone(), self.kept.generation);
        let token = Token::new(value, identity, generation, minted, (now - minted) + left).ok()?;
        let fresh_enough = renew_at(&token, tokens.settings.renewal_lead) > now;
        (token.lives(now) && fresh_enough).then(|| Arc::new(token))
    }

    /// Stores the state before an exchange, or before a new token is used, so that a crash loses neither a mint nor a token.
    /// Returns false if the file system hangs, and nothing was asked of it.
    pub(super) async fn store_ahead(&mut self, open: &Open) -> bool {
        if !open.hangs {
            self.store(open).await;
        }
        !open.hangs
    }

    /// Stores what is known, with what another process has added to the file since it was read.
    pub(super) async fn store(&mut self, open: &Open) {
        let now = self.now();
        let Some(identity) = self.of else { return };
        self.kept.mints = self.with_mints(identity, |mints| mints.times(now));
        let Some(vault) = &open.vault else {
            self.with_mints(identity, |mints| mints.stored(now));
            return;
        };
        match vault.store(self.kept.clone(), self.in_file.clone()).await {
            Ok(written) => {
                self.with_mints(identity, |mints| mints.stored(now));
                self.learn(written);
            }
            Err(error) => self.report(&error),
        }
    }

    pub(super) fn with_mints<T>(&self, identity: Identity, work: impl FnOnce(&mut Mints) -> T) -> T {
        let mut all = self.tokens.mints.lock().unwrap_or_else(PoisonError::into_inner);
        work(all.entry(identity).or_default())
    }

    pub(super) fn now(&self) -> Now {
        Now { wall: self.wall_ms(), at: self.tokens.clock.boot_time() }
    }

    pub(super) fn wall_ms(&self) -> u64 {
        let since = self.tokens.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
