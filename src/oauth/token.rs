//! An access token: its value, its life, and the header it makes.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use super::vault::Identity;
use crate::clock::Instant;

/// An access token of one credential. Prints without its value.
pub struct Token {
    value: SecretString,
    header: HeaderValue,
    generation: u64,
    minted: Instant,
    expires: Instant,
    identity: u64,
    proven: AtomicBool,
}

/// A token is not sent in its last seconds: it could die on the way.
const LAST_SECONDS: Duration = Duration::from_secs(5);

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
        minted: Instant,
        lifetime: Duration,
    ) -> Result<Self, UnsendableToken> {
        // `Zoho-oauthtoken` is the scheme that every page of Zoho's API documentation shows.
        let mut header = HeaderValue::from_str(&format!("Zoho-oauthtoken {}", value.expose_secret()))
            .map_err(|_| UnsendableToken)?;
        header.set_sensitive(true);
        let expires = minted + lifetime;
        let identity = identity.short();
        Ok(Self { value, header, generation, minted, expires, identity, proven: AtomicBool::new(false) })
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
    pub fn lives(&self, now: Instant) -> bool {
        now + LAST_SECONDS < self.expires
    }

    /// When it was minted.
    pub fn minted(&self) -> Instant {
        self.minted
    }

    /// When it ends.
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// Notes that Zoho has accepted it.
    pub fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Whether Zoho has ever accepted it. A token that was refused without having been accepted points to
    /// the configuration; minting another would only spend the limit.
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
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
