//! The error codes in Zoho's JSON, as far as the sidecar acts on them.

use serde::Deserialize;

/// The `code` of Zoho's error envelope `{"code":…,"details":{},"message":…,"status":"error"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// `OAUTH_SCOPE_MISMATCH`: the token is good, but not for this call.
    ScopeMismatch,
    /// `TOO_MANY_REQUESTS`: too many calls at once, or the day's credits are gone.
    TooManyRequests,
    /// Any other code, or none.
    Other,
}

/// The largest error envelope worth looking into; real ones have about 100 bytes.
pub const ENVELOPE_LIMIT: usize = 16 * 1024;

impl Fault {
    /// Reads the code of an error body.
    pub fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(borrow)]
            code: std::borrow::Cow<'a, str>,
        }
        let code = serde_json::from_slice::<Envelope<'_>>(body).map(|envelope| envelope.code);
        match code.as_deref() {
            Ok("OAUTH_SCOPE_MISMATCH") => Self::ScopeMismatch,
            Ok("TOO_MANY_REQUESTS") => Self::TooManyRequests,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_read_from_zohos_envelope() {
        let body = br#"{"code":"OAUTH_SCOPE_MISMATCH","details":{},"message":"m","status":"error"}"#;
        assert_eq!(Fault::read(body), Fault::ScopeMismatch);
        assert_eq!(Fault::read(br#"{"code":"TOO_MANY_REQUESTS","details":null}"#), Fault::TooManyRequests);
    }

    #[test]
    fn anything_else_is_other_and_never_a_panic() {
        for body in [
            &b""[..],
            b"<html>",
            b"{}",
            b"[]",
            br#"{"code":7}"#,
            br#"{"code":"INVALID_TOKEN"}"#,
            br#"{"message":"OAUTH_SCOPE_MISMATCH"}"#,
            b"\xff",
        ] {
            assert_eq!(Fault::read(body), Fault::Other);
        }
    }
}
