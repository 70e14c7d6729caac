//! An access token: its value, its life, and the header it makes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::rejections::{Accepted, RouteKey};
use super::vault::Identity;
use crate::clock::BootTime;

/// An access token of one credential. Prints without its value.
pub struct Token {
    value: SecretString,
    header: HeaderValue,
    generation: u64,
    minted: BootTime,
    expires: BootTime,
    identity: u64,
    accepted_by: AtomicU64,
}

/// A token is not sent in its last seconds: it could die on the way.
const LAST_SECONDS: Duration = Duration::from_secs(5);

/// Who has accepted a token, where it is not the number of the one route that has.
const NOBODY: u64 = 0;
/// Nobody yet, but it took the place of one that was as good.
const VOUCHED_FOR: u64 = 1;
const SEVERAL: u64 = 2;

/// A value that cannot be sent in a header, and so is no access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the access token holds characters that no header can carry")]
pub struct UnsendableToken;

impl Token {
    /// A token minted at `minted` that lives for `lifetime`.
    pub fn new(
        value: SecretString,
        identity: Identity,
        generation: u64,
        minted: BootTime,
        lifetime: Duration,
    ) -> Result<Self, UnsendableToken> {
        // `Zoho-oauthtoken` is the scheme that every page of Zoho's API documentation shows.
        let mut header = HeaderValue::from_str(&format!("Zoho-oauthtoken {}", value.expose_secret()))
            .map_err(|_| UnsendableToken)?;
        header.set_sensitive(true);
        let expires = minted + lifetime;
        let identity = identity.short();
        Ok(Self { value, header, generation, minted, expires, identity, accepted_by: AtomicU64::new(NOBODY) })
    }

    /// The value of the `Authorization` header.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// Tells the answers of this token's credential from another's in the cache.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// Which mint of the credential this token came from.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it may still be sent.
    pub fn lives(&self, now: BootTime) -> bool {
        now + LAST_SECONDS < self.expires
    }

    /// When it was minted.
    pub fn minted(&self) -> BootTime {
        self.minted
    }

    /// When it ends.
    pub fn expires(&self) -> BootTime {
        self.expires
    }

    /// Notes that Zoho has accepted it on a route, and says whether that was the first time. Which route is not asked
    /// once there were several.
    pub fn prove(&self, route: impl FnOnce() -> RouteKey) -> bool {
        let before = self.accepted_by.load(Ordering::Relaxed);
        if before == SEVERAL {
            return false;
        }
        let route = route().number();
        if before == route {
            return false;
        }
        let is_first = matches!(before, NOBODY | VOUCHED_FOR);
        let after = if is_first { route } else { SEVERAL };
        // Where another was faster, there are several, or there will be with the next answer.
        self.accepted_by.compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            && is_first
    }

    /// Takes it for as good as the token that it replaced, which routes had accepted.
    pub(super) fn vouch(&self) {
        let _ = self.accepted_by.compare_exchange(NOBODY, VOUCHED_FOR, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether Zoho has accepted it on any route.
    pub(super) fn is_accepted(&self) -> bool {
        !matches!(self.accepted_by.load(Ordering::Relaxed), NOBODY | VOUCHED_FOR)
    }

    /// Who has accepted it, as seen from a route.
    pub(super) fn accepted(&self, route: RouteKey) -> Accepted {
        match self.accepted_by.load(Ordering::Relaxed) {
            NOBODY => Accepted::Never,
            number if number == route.number() => Accepted::Here,
            _ => Accepted::Elsewhere,
        }
    }

    pub(super) fn value(&self) -> &SecretString {
        &self.value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(generation {}, [redacted])", self.generation)
    }
}
