//! Encrypting what a state file holds, with a key that only the credential has.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use secrecy::{ExposeSecret, SecretString};

/// AES-256-GCM under a key from HKDF-SHA256 (RFC 5869) of the client secret.
#[derive(Clone)]
pub(super) struct SealingKey([u8; 32]);

/// Distinguishes this use of the client secret from any other, and this format from later ones.
const PURPOSE: &[u8] = b"zoho-sidecar token state 1";

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

impl SealingKey {
    pub(super) fn derive(client_secret: &SecretString) -> Self {
        let mut key = [0; 32];
        Salt::new(HKDF_SHA256, b"zoho-sidecar")
            .extract(client_secret.expose_secret().as_bytes())
            .expand(&[PURPOSE], KeyLength)
            .and_then(|okm| okm.fill(&mut key))
            .expect("32 bytes are within what HKDF-SHA256 gives");
        Self(key)
    }

    fn cipher(&self) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, &self.0).expect("the key has the cipher's length")
    }

    pub(super) fn seal(&self, mut plain: Vec<u8>) -> Vec<u8> {
        let nonce = self
            .cipher()
            .seal_in_place_append_tag(Aad::from(PURPOSE), &mut plain)
            .expect("a small text can be sealed");
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend_from_slice(&plain);
        sealed
    }

    pub(super) fn open(&self, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        if sealed.len() < NONCE_LEN {
            return None;
        }
        let mut text = sealed.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&sealed).ok()?;
        let plain = self.cipher().open_in_place(nonce, Aad::from(PURPOSE), &mut text).ok()?.len();
        text.truncate(plain);
        Some(text)
    }
}
