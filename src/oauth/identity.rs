//! A name for one refresh token of one client, which reveals neither.

use aws_lc_rs::digest::{Context, SHA256};
use secrecy::{ExposeSecret, SecretString};

/// A digest of a whole credential: accounts server, environment, client id and refresh token.
///
/// It is part of every cache key, since a response depends on the token's user, and it is authenticated with the state
/// file, so that no other credential can open that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity([u8; 32]);

impl Identity {
    /// The identity of a client with a refresh token, in an environment behind an accounts server: a token
    /// is worth nothing, and must not be sent, anywhere else.
    pub fn of(client_id: &str, refresh_token: &SecretString, accounts: &str, environment: &str) -> Self {
        // The parts go into the digest one by one: a buffer that holds them all would be one more copy of the secret.
        let mut digest = Context::new(&SHA256);
        digest.update(b"zoho-sidecar credential identity\0");
        for part in [accounts, environment, client_id] {
            digest.update(part.as_bytes());
            digest.update(&[0]);
        }
        digest.update(refresh_token.expose_secret().as_bytes());
        Self(digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Eight bytes, enough to tell the credentials of one sidecar apart.
    pub fn short(self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk().expect("32 bytes are more than 8"))
    }

    /// All of it, to be authenticated with what belongs to the credential.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Half of it in hexadecimal digits. It tells nothing about the credential.
    pub(super) fn file_name(self) -> String {
        self.0[..16].iter().fold(String::with_capacity(32), |name, byte| name + &format!("{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_credential_changes_its_identity() {
        let identity = |client_id, refresh_token: &str, accounts, environment| {
            Identity::of(client_id, &SecretString::from(refresh_token), accounts, environment)
        };
        let (eu, us) = ("https://accounts.zoho.eu", "https://accounts.zoho.com");
        let all = [
            identity("1000.MADEUP", "1000.made-up", eu, "production"),
            identity("1000.MADEUQ", "1000.made-up", eu, "production"),
            identity("1000.MADEUP", "1000.made-uq", eu, "production"),
            identity("1000.MADEUP", "1000.made-up", us, "production"),
            identity("1000.MADEUP", "1000.made-up", eu, "sandbox"),
        ];
        for (n, one) in all.iter().enumerate() {
            for other in &all[n + 1..] {
                assert!(one != other && one.short() != other.short() && one.file_name() != other.file_name());
            }
        }
        assert_eq!(all[0].file_name(), format!("{:016x}", all[0].short()) + &all[0].file_name()[16..]);
    }
}
