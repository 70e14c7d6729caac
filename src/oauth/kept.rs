//! What a state file holds, and the form in which it does.

use std::borrow::Cow;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::sealing::OVERHEAD;

/// What is kept.
#[derive(Clone, Default)]
pub(super) struct Kept {
    /// The generation of the newest token, living or not.
    pub(super) generation: u64,
    /// The newest token, if it was not withdrawn.
    pub(super) token: Option<KeptToken>,
    /// When tokens were minted lately, in Unix milliseconds.
    pub(super) mints: Vec<u64>,
}

impl Kept {
    /// This, with what another process has put into the file since these mints were all that it held.
    pub(super) fn joined_with(mut self, in_file: Self, known: &[u64]) -> Self {
        let is_new = |time: &u64| !known.contains(time) && !self.mints.contains(time);
        let new: Vec<u64> =
            in_file.mints.iter().filter(|time| is_new(time)).take(MOST_FOREIGN).copied().collect();
        self.mints.extend(new);
        if in_file.generation > self.generation {
            (self.generation, self.token) = (in_file.generation, in_file.token);
        }
        self
    }
}

/// Other processes cannot have minted more within the window; Zoho allows ten.
const MOST_FOREIGN: usize = 64;

/// A token as it is kept: times are wall times.
#[derive(Clone)]
pub(super) struct KeptToken {
    pub(super) value: SecretString,
    pub(super) minted_ms: u64,
    pub(super) expires_ms: u64,
    /// The API host that it is for, as the accounts server named it.
    pub(super) api_domain: Option<String>,
}

/// The version that is written. Version 1 had no `api_domain`, and its seal did not tell credentials apart.
const VERSION: u32 = 2;

/// What the file holds before it is sealed.
#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    version: u32,
    generation: u64,
    #[serde(borrow)]
    token: Option<PlainToken<'a>>,
    mints: Vec<u64>,
}

/// Texts are borrowed, so that the secret is not copied on its way.
#[derive(Serialize, Deserialize)]
struct PlainToken<'a> {
    #[serde(borrow)]
    value: Cow<'a, str>,
    minted_ms: u64,
    expires_ms: u64,
    #[serde(borrow)]
    api_domain: Option<Cow<'a, str>>,
}

/// What counts of a file of version 1.
#[derive(Deserialize)]
struct PlainOfVersion1 {
    version: u32,
    mints: Vec<u64>,
}

impl Kept {
    /// The contents of a file, with room for being sealed.
    pub(super) fn written(&self) -> Zeroizing<Vec<u8>> {
        let token = self.token.as_ref().map(|token| PlainToken {
            value: Cow::Borrowed(token.value.expose_secret()),
            minted_ms: token.minted_ms,
            expires_ms: token.expires_ms,
            api_domain: token.api_domain.as_deref().map(Cow::Borrowed),
        });
        let texts = self.token.as_ref().map_or(0, |token| {
            token.value.expose_secret().len() + token.api_domain.as_ref().map_or(0, String::len)
        });
        // More than enough: a buffer that grows leaves a copy of the token behind.
        let most = 256 + 6 * texts + 21 * self.mints.len() + OVERHEAD;
        let mut text = Zeroizing::new(Vec::with_capacity(most));
        let plain = Plain { version: VERSION, generation: self.generation, token, mints: self.mints.clone() };
        serde_json::to_writer(&mut *text, &plain).expect("numbers and text are JSON");
        text
    }

    /// What a file holds; nothing if another version of the sidecar wrote it in a form of its own.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let plain: Plain<'_> =
            serde_json::from_slice(text).ok().filter(|plain: &Plain<'_>| plain.version == VERSION)?;
        let token = plain.token.map(|token| KeptToken {
            value: SecretString::from(&*token.value),
            minted_ms: token.minted_ms,
            expires_ms: token.expires_ms,
            api_domain: token.api_domain.map(Cow::into_owned),
        });
        Some(Self { generation: plain.generation, token, mints: plain.mints })
    }

    /// What may be believed of a file of version 1: when tokens were minted. Whoever exchanged it for that of another
    /// credential with the same client secret can make the sidecar wait for some minutes, no more. Its token
    /// would serve one organisation with the rights of another.
    pub(super) fn read_of_version_1(text: &[u8]) -> Option<Self> {
        let plain: PlainOfVersion1 = serde_json::from_slice(text).ok()?;
        (plain.version == 1).then(|| Self { mints: plain.mints, ..Self::default() })
    }
}
