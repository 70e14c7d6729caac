//! Meaning of a reply of the accounts server.
//!
//! Each member is read for itself, so that one of an unexpected type never hides what the others say. What a
//! reply proves is judged strictly: only an error that Zoho documents, in a reply that speaks of no token,
//! proves that none was minted.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::net::coding::decoded;
use crate::net::origin::Origin;
use crate::net::transport::TransportError;

/// What a successful exchange brings.
pub struct Minted {
    /// The access token.
    pub value: SecretString,
    /// How long it lives: more than no time, and a day at most.
    pub lifetime: Duration,
    /// The API host it is for, if the answer says.
    pub api_domain: Option<String>,
}

/// How an exchange failed. Messages never hold any part of a body that could be a token.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The accounts server was not reached.
    #[error("cannot reach the accounts server {accounts}")]
    Unreachable {
        /// The server.
        accounts: Origin,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// The connection broke or time ran out after the request was sent: a token may have been minted.
    #[error("no answer from the accounts server {accounts}")]
    FateUnknown {
        /// The server.
        accounts: Origin,
    },
    /// A server error.
    #[error("the accounts server answered with status {status}")]
    ServerError {
        /// Its status.
        status: StatusCode,
    },
    /// Too many tokens were minted lately.
    #[error("the accounts server throttles this refresh token (status {status})")]
    Throttled {
        /// Its status.
        status: StatusCode,
        /// Whether it says so in the documented form, and not by a status alone.
        is_documented: bool,
    },
    /// `invalid_code`.
    #[error("the accounts server says invalid_code: it does not accept the refresh token")]
    GrantDead,
    /// `invalid_client` or `invalid_client_secret`.
    #[error("the accounts server says {code}: it does not accept the client")]
    ClientDead {
        /// Which of the two.
        code: &'static str,
    },
    /// Another documented error.
    #[error("the accounts server says {code}")]
    Refused {
        /// Which.
        code: &'static str,
    },
    /// None of the above.
    #[error("the accounts server answered with {what} (status {status})")]
    Nonsense {
        /// Its status.
        status: StatusCode,
        /// What came, in words of ours.
        what: &'static str,
    },
}

impl MintError {
    /// Whether the accounts server may have minted a token all the same.
    pub(super) fn may_have_minted(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Throttled { is_documented: true, .. }
            | Self::GrantDead
            | Self::ClientDead { .. }
            | Self::Refused { .. } => false,
            Self::FateUnknown { .. }
            | Self::ServerError { .. }
            | Self::Throttled { is_documented: false, .. }
            | Self::Nonsense { .. } => true,
        }
    }
}

/// Zoho's access tokens live an hour. Taken when an answer does not say.
pub(super) const DEFAULT_LIFETIME: Duration = Duration::from_hours(1);

/// A lifetime of more than a day cannot be seconds.
const DAY: u64 = 86_400;

/// Documented errors without a state of their own: Zoho's, and those of RFC 6749 section 5.2.
const OTHER_ERRORS: [&str; 9] = [
    "general_error",
    "invalid_redirect_uri",
    "missing_org_info",
    "invalid_request",
    "invalid_grant",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
    "inactive_user",
];

/// Reads a complete reply.
pub(super) fn read(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    limit: usize,
) -> Result<Minted, MintError> {
    let body = decoded(headers, body, limit);
    if !body.is_whole && body.bytes.len() == limit {
        return Err(too_long(status));
    }
    let text = text_of(&body.bytes);
    let text = text.trim_start_matches('\u{feff}').trim();
    let Ok(members) = serde_json::from_str::<Members<'_>>(text) else {
        let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
        return Err(by_status(status).unwrap_or_else(|| MintError::Nonsense {
            status,
            what: match (text.is_empty(), is_json) {
                (true, _) => "an empty body",
                (_, true) => "JSON with neither access_token nor error",
                (_, false) => "something that is not JSON",
            },
        }));
    };
    if let Some(value) = members.text("access_token").filter(|token| is_usable(token)) {
        return Ok(Minted {
            value: SecretString::from(value),
            lifetime: members.lifetime().unwrap_or(DEFAULT_LIFETIME),
            api_domain: members.text("api_domain").filter(|domain| !domain.trim().is_empty()),
        });
    }
    // A token may stand anywhere in it, even where this reader does not find it.
    let speaks_of_token = text.contains("access_token") && !members.is_null("access_token");
    Err(members.error(status, speaks_of_token))
}

/// The error for a reply whose body is too long to be read.
pub(super) fn too_long(status: StatusCode) -> MintError {
    by_status(status).unwrap_or(MintError::Nonsense { status, what: "a body far too long for a token" })
}

/// The error by status alone, where the body gives none.
fn by_status(status: StatusCode) -> Option<MintError> {
    if status.is_server_error() {
        Some(MintError::ServerError { status })
    } else if status == StatusCode::TOO_MANY_REQUESTS {
        Some(MintError::Throttled { status, is_documented: false })
    } else if status.is_redirection() {
        Some(MintError::Nonsense { status, what: "a redirect, which is never followed" })
    } else {
        None
    }
}

/// JSON is UTF-8 (RFC 8259 section 8.1); some servers send UTF-16 with a mark at its beginning. Bytes that are no
/// text become U+FFFD, which no usable token holds.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        Cow::Owned(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
    };
    match bytes {
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes),
    }
}

/// At least one visible character or space, and nothing else (RFC 6749 appendix A.12).
fn is_usable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// The members of a reply, each as it was written. Of several with one name the last counts, as for most readers.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Members<'a>(#[serde(borrow)] HashMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    fn written(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.get())
    }

    /// A member that is a string.
    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.written(name)?).ok()
    }

    fn is_null(&self, name: &str) -> bool {
        self.written(name) == Some("null")
    }

    /// A member that is a number, or a string that holds one. Its whole part; none if it is negative.
    fn number(&self, name: &str) -> Option<u64> {
        let text = self.text(name).or_else(|| self.written(name).map(str::to_owned))?;
        let text = text.trim();
        if let Ok(number) = text.parse() {
            return Some(number);
        }
        let number: f64 = text.parse().ok()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the whole part is wanted, and what is too large becomes the largest"
        )]
        (number >= 0.0).then_some(number as u64)
    }

    /// An older shape carries seconds in `expires_in_sec` and milliseconds in `expires_in`.
    fn lifetime(&self) -> Option<Duration> {
        let in_seconds = |value| if value > DAY { value / 1000 } else { value };
        let seconds = self.number("expires_in_sec").or(self.number("expires_in").map(in_seconds))?;
        (seconds > 0).then(|| Duration::from_secs(seconds.min(DAY)))
    }

    /// The error code, also of an error that is an object with a code in it.
    fn code(&self) -> Option<String> {
        self.text("error").or_else(|| {
            let inner: Members<'_> = serde_json::from_str(self.written("error")?).ok()?;
            ["code", "error", "message"].into_iter().find_map(|name| inner.text(name))
        })
    }

    /// What a reply without a usable token means.
    fn error(&self, status: StatusCode, speaks_of_token: bool) -> MintError {
        let nonsense = |what| MintError::Nonsense { status, what };
        if speaks_of_token {
            return by_status(status).unwrap_or(nonsense("a token answer without a usable token"));
        }
        let Some(code) = self.code() else {
            return by_status(status).unwrap_or(nonsense("JSON with neither access_token nor error"));
        };
        let throttled = MintError::Throttled { status, is_documented: true };
        match code.as_str() {
            "invalid_code" => MintError::GrantDead,
            "invalid_client" => MintError::ClientDead { code: "invalid_client" },
            "invalid_client_secret" => MintError::ClientDead { code: "invalid_client_secret" },
            "Access Denied" | "access_denied" => throttled,
            // The throttle's texts come in the user's language; what stays is `status: failure`, or 400
            // where every other refusal has 200.
            _ if self.text("status").as_deref() == Some("failure") => throttled,
            _ if status == StatusCode::TOO_MANY_REQUESTS => throttled,
            _ if status == StatusCode::BAD_REQUEST && !is_word(&code) => throttled,
            _ if status.is_server_error() => MintError::ServerError { status },
            code => match OTHER_ERRORS.into_iter().find(|known| *known == code) {
                Some(code) => MintError::Refused { code },
                None => nonsense("an error code it does not document"),
            },
        }
    }
}

/// OAuth error codes are single words of ASCII; sentences in some language are not.
fn is_word(code: &str) -> bool {
    code.trim().bytes().all(|b| b.is_ascii_graphic())
}
