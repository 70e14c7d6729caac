//! What a state file holds, and the form in which it does.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

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
}

/// The only version of the file's contents that there is.
const VERSION: u32 = 1;

/// What the file holds before it is sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct Plain {
    pub(super) version: u32,
    pub(super) generation: u64,
    pub(super) token: Option<PlainToken>,
    pub(super) mints: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PlainToken {
    value: String,
    minted_ms: u64,
    expires_ms: u64,
}

impl Plain {
    pub(super) fn of(kept: &Kept) -> Self {
        let token = kept.token.as_ref().map(|token| PlainToken {
            value: token.value.expose_secret().to_owned(),
            minted_ms: token.minted_ms,
            expires_ms: token.expires_ms,
        });
        Self { version: VERSION, generation: kept.generation, token, mints: kept.mints.clone() }
    }

    /// What is kept; nothing if another version of the sidecar wrote it in a form of its own.
    pub(super) fn into_kept(self) -> Option<Kept> {
        if self.version != VERSION {
            return None;
        }
        let token = self.token.map(|token| KeptToken {
            value: SecretString::from(token.value),
            minted_ms: token.minted_ms,
            expires_ms: token.expires_ms,
        });
        Some(Kept { generation: self.generation, token, mints: self.mints })
    }
}
