//! Encrypting what a state file holds, so that only the credential that wrote it can read it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::identity::Identity;

/// AES-256-GCM under a key from HKDF-SHA256 (RFC 5869) of the client secret.
pub(super) struct Seal {
    key: Zeroizing<[u8; 32]>,
    /// What a sealed text is bound to: it opens only with the same.
    bound_to: Vec<u8>,
}

/// Distinguishes this use of the client secret from any other, and this format from others.
const PURPOSE: &[u8] = b"zoho-sidecar token state 2";
const PURPOSE_OF_VERSION_1: &[u8] = b"zoho-sidecar token state 1";

/// How many bytes a sealed text is longer than the plain one: the cipher's tag, and the nonce before it.
pub(super) const OVERHEAD: usize = 16 + NONCE_LEN;

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

impl Seal {
    /// The seal of one credential. Another with the same client secret cannot open it.
    pub(super) fn of(identity: &Identity, client_secret: &SecretString) -> Self {
        Self { key: derive(client_secret, PURPOSE), bound_to: identity.bytes().to_vec() }
    }

    /// The seal of the first version of state files, which is the same for all credentials with one client secret.
    pub(super) fn of_version_1(client_secret: &SecretString) -> Self {
        let key = derive(client_secret, PURPOSE_OF_VERSION_1);
        Self { key, bound_to: PURPOSE_OF_VERSION_1.to_vec() }
    }

    fn cipher(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, self.key.as_ref()).expect("the key has the cipher's length")
    }

    /// Seals a text in its own buffer, which needs [`OVERHEAD`] more bytes: a buffer that grows leaves a readable copy.
    pub(super) fn seal(&self, mut plain: Zeroizing<Vec<u8>>) -> Vec<u8> {
        plain.reserve(OVERHEAD);
        let nonce = self
            .cipher()
            .seal_in_place_append_tag(Aad::from(&self.bound_to), &mut *plain)
            .expect("a small text can be sealed");
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len());
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&plain);
        sealed
    }

    /// The text, if it was sealed with the same client secret for the same credential, and not changed since.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let plain = self.cipher().open_in_place(nonce, Aad::from(&self.bound_to), &mut text).ok()?.len();
        text.truncate(plain);
        Some(text)
    }
}

fn derive(client_secret: &SecretString, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, b"zoho-sidecar")
        .extract(client_secret.expose_secret().as_bytes())
        .expand(&[purpose], KeyLength)
        .and_then(|okm| okm.fill(key.as_mut()))
        .expect("32 bytes are within what HKDF-SHA256 gives");
    key
}
