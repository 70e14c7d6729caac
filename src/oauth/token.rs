//! An access token: its value, its life, and the header it makes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::acceptance::Acceptance;
use super::identity::Identity;
use super::rejections::RouteKey;
use super::ruling::Accepted;
use crate::clock::BootTime;

/// An access token of one credential. Prints without its value.
pub struct Token {
    value: SecretString,
    header: HeaderValue,
    generation: u64,
    number: u64,
    minted: BootTime,
    expires: BootTime,
    identity: u64,
    acceptance: Acceptance,
}

/// A token is not sent in its last seconds: it could die on the way.
const LAST_SECONDS: Duration = Duration::from_secs(5);

/// The number of the next token. Generations come from state files and count for each refresh token anew, so that they
/// cannot tell the tokens of this process apart.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

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
        let header = header(value.expose_secret())?;
        let expires = minted + lifetime;
        let identity = identity.short();
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let acceptance = Acceptance::new();
        Ok(Self { value, header, generation, number, minted, expires, identity, acceptance })
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

    /// Tells it from all other tokens of this process, older ones having lower numbers.
    pub(super) fn number(&self) -> u64 {
        self.number
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

    /// Notes that Zoho has accepted it on a route, and says whether that was the first time there. `route` is not
    /// called once as many routes are known as are remembered.
    pub fn prove(&self, route: impl FnOnce() -> RouteKey) -> bool {
        self.acceptance.note(route)
    }

    /// The routes on which it was accepted.
    pub(super) fn acceptance(&self) -> &Acceptance {
        &self.acceptance
    }

    /// Who has accepted it, as seen from a route.
    pub(super) fn accepted(&self, route: RouteKey) -> Accepted {
        self.acceptance.seen_from(route)
    }

    pub(super) fn value(&self) -> &SecretString {
        &self.value
    }
}

/// `Zoho-oauthtoken` is the scheme that every page of Zoho's API documentation shows. Clones share one buffer, which is
/// wiped with the last of them.
fn header(token: &str) -> Result<HeaderValue, UnsendableToken> {
    const SCHEME: &str = "Zoho-oauthtoken ";
    if !token.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(UnsendableToken);
    }
    let mut text = Zeroizing::new(Vec::with_capacity(SCHEME.len() + token.len()));
    text.extend_from_slice(SCHEME.as_bytes());
    text.extend_from_slice(token.as_bytes());
    let header = HeaderValue::from_maybe_shared(Bytes::from_owner(text));
    let mut header = header.map_err(|_| UnsendableToken)?;
    header.set_sensitive(true);
    Ok(header)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(generation {}, [redacted])", self.generation)
    }
}
