//! The refresh tokens of an organisation, and the access tokens minted from them.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use super::mints::{Denied, Mints};
use crate::clock::{BootTime, Clock};
use crate::emulator::random;
use crate::emulator::scenario::{Limits, Seed};

/// How many access tokens are remembered, dead ones too, so that the ledger can call them by number.
const REMEMBERED: usize = 500;

/// How many grant codes wait at most.
const CODES: usize = 50;

/// What the accounts server holds for one organisation.
pub(in crate::emulator) struct Tokens {
    pub(in crate::emulator) client_secret: String,
    limits: Limits,
    grants: Vec<Grant>,
    /// Mints without a refresh token, by client id and secret alone.
    client: Mints,
    codes: VecDeque<Code>,
    issued: VecDeque<Issued>,
    generation: u64,
}

/// A refresh token.
struct Grant {
    refresh_token: String,
    revoked: bool,
    mints: Mints,
}

/// A grant code that waits to be exchanged.
#[derive(Clone)]
pub(in crate::emulator) struct Code {
    pub(in crate::emulator) value: String,
    pub(in crate::emulator) expires: BootTime,
    /// Whether the exchange gives a refresh token.
    pub(in crate::emulator) offline: bool,
    pub(in crate::emulator) redirect_uri: Option<String>,
}

/// An access token.
#[derive(Clone)]
pub(in crate::emulator) struct Issued {
    pub(in crate::emulator) value: String,
    /// Its number: 1 for the organisation's first.
    pub(in crate::emulator) generation: u64,
    /// When it expires, on the wall clock.
    pub(in crate::emulator) expires_at: SystemTime,
    expires: BootTime,
    /// The refresh token it was minted from; `None` for the client itself.
    from: Option<String>,
    /// Revoked, withdrawn, or pushed out by a newer one.
    dead: bool,
}

impl Issued {
    /// Whether it is good at this moment.
    pub(in crate::emulator) fn is_live(&self, now: BootTime) -> bool {
        !self.dead && now < self.expires
    }
}

impl Tokens {
    pub(in crate::emulator) fn new(seed: &Seed, limits: &Limits, clock: &Clock) -> Self {
        let mut tokens = Self {
            client_secret: seed.client_secret.clone(),
            limits: limits.clone(),
            grants: Vec::new(),
            client: Mints::default(),
            codes: VecDeque::new(),
            issued: VecDeque::new(),
            generation: 0,
        };
        for refresh_token in &seed.refresh_tokens {
            tokens.add_grant(refresh_token.clone());
        }
        for code in &seed.codes {
            tokens.add_code(Code {
                value: code.code.clone(),
                expires: clock.boot_time() + code.lifetime,
                offline: code.offline,
                redirect_uri: code.redirect_uri.clone(),
            });
        }
        tokens
    }

    /// Exchanges a refresh token.
    pub(in crate::emulator) fn mint(&mut self, refresh_token: &str, clock: &Clock) -> Result<Issued, Denied> {
        let mut grants = self.grants.iter_mut();
        let grant = grants.find(|grant| grant.refresh_token == refresh_token && !grant.revoked);
        grant.ok_or(Denied::InvalidCode)?.mints.add(clock.boot_time(), &self.limits)?;
        Ok(self.issue(Some(refresh_token), clock))
    }

    /// Mints by client id and secret alone.
    pub(in crate::emulator) fn mint_for_client(&mut self, clock: &Clock) -> Result<Issued, Denied> {
        self.client.add(clock.boot_time(), &self.limits)?;
        Ok(self.issue(None, clock))
    }

    /// Adds a refresh token. One more than the limit kills the oldest, with its access tokens.
    pub(in crate::emulator) fn add_grant(&mut self, refresh_token: String) {
        if self.grants.len() >= self.limits.refresh_tokens.max(1) {
            let oldest = self.grants.remove(0);
            self.kill_from(&oldest.refresh_token);
        }
        self.grants.push(Grant { refresh_token, revoked: false, mints: Mints::default() });
    }

    /// Lets a grant code wait to be exchanged.
    pub(in crate::emulator) fn add_code(&mut self, code: Code) {
        if self.codes.len() >= CODES {
            self.codes.pop_front();
        }
        self.codes.push_back(code);
    }

    /// Takes a grant code, which is good once and until it expires.
    pub(in crate::emulator) fn take_code(&mut self, code: &str, now: BootTime) -> Option<Code> {
        let at = self.codes.iter().position(|waiting| waiting.value == code)?;
        self.codes.remove(at).filter(|code| now < code.expires)
    }

    /// A grant code, without using it up.
    pub(in crate::emulator) fn peek_code(&self, code: &str) -> Option<&Code> {
        self.codes.iter().find(|waiting| waiting.value == code)
    }

    /// Whether it holds this refresh token, dead or alive.
    pub(in crate::emulator) fn knows(&self, refresh_token: &str) -> bool {
        self.grants.iter().any(|grant| grant.refresh_token == refresh_token)
    }

    /// Revokes a refresh token and its access tokens, or brings it back.
    pub(in crate::emulator) fn revoke_grant(&mut self, refresh_token: &str, revoked: bool) {
        if let Some(grant) = self.grant(refresh_token) {
            grant.revoked = revoked;
        }
        if revoked {
            self.kill_from(refresh_token);
        }
    }

    /// Revokes an access token; tells whether there was one.
    pub(in crate::emulator) fn revoke_access(&mut self, value: &str) -> bool {
        let found = self.issued.iter_mut().find(|issued| issued.value == value);
        found.is_some_and(|issued| !std::mem::replace(&mut issued.dead, true))
    }

    /// Withdraws all access tokens.
    pub(in crate::emulator) fn kill_all(&mut self) {
        self.issued.iter_mut().for_each(|issued| issued.dead = true);
    }

    /// Lets all access tokens have expired by now.
    pub(in crate::emulator) fn expire_all(&mut self, clock: &Clock) {
        for issued in &mut self.issued {
            issued.expires = issued.expires.min(clock.boot_time());
            issued.expires_at = issued.expires_at.min(clock.wall());
        }
    }

    /// The access token of this value, dead or alive, if it is remembered.
    pub(in crate::emulator) fn find(&self, value: &str) -> Option<&Issued> {
        self.issued.iter().rev().find(|issued| issued.value == value)
    }

    /// How many access tokens are good at this moment.
    pub(in crate::emulator) fn live(&self, now: BootTime) -> usize {
        self.issued.iter().filter(|issued| issued.is_live(now)).count()
    }

    /// How long an access token lives.
    pub(in crate::emulator) fn lifetime(&self) -> Duration {
        self.limits.token_lifetime
    }

    fn grant(&mut self, refresh_token: &str) -> Option<&mut Grant> {
        self.grants.iter_mut().find(|grant| grant.refresh_token == refresh_token)
    }

    fn kill_from(&mut self, refresh_token: &str) {
        let from = Some(refresh_token);
        let its = self.issued.iter_mut().filter(|issued| issued.from.as_deref() == from);
        its.for_each(|issued| issued.dead = true);
    }

    /// Issues a token. One more than may live silently kills the oldest of the same refresh token.
    fn issue(&mut self, from: Option<&str>, clock: &Clock) -> Issued {
        let now = clock.boot_time();
        let is_sibling = |issued: &&mut Issued| issued.from.as_deref() == from && issued.is_live(now);
        let live = self.issued.iter_mut().filter(is_sibling).count();
        let too_many = (live + 1).saturating_sub(self.limits.live_tokens.max(1));
        for oldest in self.issued.iter_mut().filter(is_sibling).take(too_many) {
            oldest.dead = true;
        }
        if self.issued.len() >= REMEMBERED {
            self.issued.pop_front();
        }
        self.generation += 1;
        let issued = Issued {
            value: random::token(),
            generation: self.generation,
            expires_at: clock.wall() + self.limits.token_lifetime,
            expires: now + self.limits.token_lifetime,
            from: from.map(str::to_owned),
            dead: false,
        };
        self.issued.push_back(issued.clone());
        issued
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::Scenario;

    const REFRESH: &str = "1000.emulated-refresh-acme.00000000";

    fn tokens(limits: impl Fn(&mut Limits)) -> (Tokens, Clock) {
        let mut scenario = Scenario::default();
        limits(&mut scenario.limits);
        let clock = Clock::system();
        (Tokens::new(&scenario.organisations[0], &scenario.limits, &clock), clock)
    }

    #[tokio::test(start_paused = true)]
    async fn ten_mints_in_any_ten_minutes_and_denied_ones_do_not_count() {
        let (mut tokens, clock) = tokens(|_| {});
        for _ in 0..5 {
            tokens.mint(REFRESH, &clock).ok().unwrap();
        }
        tokio::time::advance(Duration::from_mins(5)).await;
        for _ in 0..5 {
            tokens.mint(REFRESH, &clock).ok().unwrap();
        }
        for _ in 0..20 {
            assert_eq!(tokens.mint(REFRESH, &clock).err(), Some(Denied::Throttled));
        }
        tokio::time::advance(Duration::from_mins(5)).await;
        for _ in 0..5 {
            tokens.mint(REFRESH, &clock).ok().unwrap();
        }
        assert_eq!(tokens.mint(REFRESH, &clock).err(), Some(Denied::Throttled));
    }

    #[tokio::test(start_paused = true)]
    async fn one_token_too_many_silently_kills_the_oldest() {
        let (mut tokens, clock) = tokens(|limits| limits.live_tokens = 3);
        let minted: Vec<_> = (0..4).map(|_| tokens.mint(REFRESH, &clock).ok().unwrap().value).collect();
        let live = |value: &String| tokens.find(value).unwrap().is_live(clock.boot_time());
        assert_eq!(minted.iter().map(live).collect::<Vec<_>>(), [false, true, true, true]);
        assert_eq!(tokens.live(clock.boot_time()), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_for_an_hour() {
        let (mut tokens, clock) = tokens(|_| {});
        let token = tokens.mint(REFRESH, &clock).ok().unwrap();
        tokio::time::advance(Duration::from_secs(3_599)).await;
        assert!(token.is_live(clock.boot_time()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!token.is_live(clock.boot_time()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_refresh_token_too_many_kills_the_oldest_and_its_access_tokens() {
        let (mut tokens, clock) = tokens(|limits| limits.refresh_tokens = 2);
        let token = tokens.mint(REFRESH, &clock).ok().unwrap();
        tokens.add_grant("second".to_owned());
        assert!(tokens.find(&token.value).unwrap().is_live(clock.boot_time()));
        tokens.add_grant("third".to_owned());
        assert!(!tokens.find(&token.value).unwrap().is_live(clock.boot_time()));
        assert_eq!(tokens.mint(REFRESH, &clock).err(), Some(Denied::InvalidCode));
    }

    #[tokio::test(start_paused = true)]
    async fn a_code_is_good_once_and_until_it_expires() {
        let (mut tokens, clock) = tokens(|_| {});
        let code = "1000.emulated-code-acme.00000000";
        assert!(tokens.take_code(code, clock.boot_time()).is_some());
        assert!(tokens.take_code(code, clock.boot_time()).is_none());
        let expires = clock.boot_time() + Duration::from_mins(3);
        tokens.add_code(Code { value: "late".to_owned(), expires, offline: true, redirect_uri: None });
        assert!(tokens.take_code("late", expires).is_none());
    }
}
