//! What a reply of the accounts server looks like, and what it means.

use std::time::Duration;

use http::StatusCode;
use oauth2::basic::BasicTokenType;
use oauth2::{AccessToken, RefreshToken, TokenResponse};
use secrecy::SecretString;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

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
        matches!(self, Self::FateUnknown { .. })
    }
}

/// Zoho's access tokens live an hour. Taken when an answer does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_hours(1);

/// What an answer looked like, apart from what `oauth2` makes of it.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) status: StatusCode,
    verdict: Verdict,
}

#[derive(Clone)]
enum Verdict {
    Token,
    Error { code: String, failure: bool },
    OtherJson,
    NotJson { empty: bool },
}

impl Seen {
    pub(super) fn read(status: StatusCode, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Probe {
            access_token: Option<serde::de::IgnoredAny>,
            error: Option<String>,
            status: Option<String>,
        }
        // `serde` takes a list for an object with these values.
        let is_list = body.trim_ascii_start().starts_with(b"[");
        let verdict = match serde_json::from_slice::<Probe>(body) {
            Ok(_) if is_list => Verdict::OtherJson,
            Ok(Probe { access_token: Some(_), .. }) => Verdict::Token,
            Ok(Probe { error: Some(code), status, .. }) => {
                Verdict::Error { code, failure: status.as_deref() == Some("failure") }
            }
            Ok(_) => Verdict::OtherJson,
            Err(_) => Verdict::NotJson { empty: body.is_empty() },
        };
        Self { status, verdict }
    }

    /// One whose body was too long to be read.
    pub(super) fn too_long(status: StatusCode) -> Self {
        Self { status, verdict: Verdict::OtherJson }
    }

    /// The status that RFC 6749 wants for such a body (sections 5.1 and 5.2); `oauth2` goes by it, and looks for
    /// a token only in what has one.
    pub(super) fn standard_status(&self) -> StatusCode {
        match self.verdict {
            Verdict::Token => StatusCode::OK,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) fn into_error(self) -> MintError {
        let status = self.status;
        let nonsense = |what| MintError::Nonsense { status, what };
        match self.verdict {
            Verdict::Error { code, failure } => match code.as_str() {
                "invalid_code" => MintError::GrantDead,
                "invalid_client" => MintError::ClientDead { code: "invalid_client" },
                "invalid_client_secret" => MintError::ClientDead { code: "invalid_client_secret" },
                "Access Denied" | "access_denied" => MintError::Throttled { status },
                // The throttle's texts come in the user's language; what stays is `status: failure`, or 400
                // where every other refusal has 200.
                _ if failure || status == StatusCode::TOO_MANY_REQUESTS => MintError::Throttled { status },
                "general_error" => nonsense("general_error, its catch-all"),
                _ if status == StatusCode::BAD_REQUEST && !is_identifier(&code) => {
                    MintError::Throttled { status }
                }
                _ => nonsense("an error code it does not document"),
            },
            _ if status.is_server_error() => MintError::ServerError { status },
            _ if status == StatusCode::TOO_MANY_REQUESTS => MintError::Throttled { status },
            _ if status.is_redirection() => nonsense("a redirect, which is never followed"),
            Verdict::Token => nonsense("a token answer without a usable token"),
            Verdict::OtherJson => nonsense("JSON with neither access_token nor error"),
            Verdict::NotJson { empty: true } => nonsense("an empty body"),
            Verdict::NotJson { empty: false } => nonsense("something that is not JSON"),
        }
    }
}

/// OAuth error codes are identifiers; sentences in some language are not.
fn is_identifier(code: &str) -> bool {
    code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// The token answer as Zoho sends it. Only `access_token` is needed.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct ZohoToken {
    #[serde(deserialize_with = "usable")]
    access_token: AccessToken,
    #[serde(skip, default = "bearer")]
    token_type: BasicTokenType,
    #[serde(default, skip_serializing, deserialize_with = "lenient::number")]
    expires_in: Option<u64>,
    #[serde(default, skip_serializing, deserialize_with = "lenient::number")]
    expires_in_sec: Option<u64>,
    #[serde(default, skip_serializing, deserialize_with = "lenient::text")]
    api_domain: Option<String>,
}

/// At least one visible character or space, and nothing else (RFC 6749 appendix A.12).
fn usable<'de, D: Deserializer<'de>>(from: D) -> Result<AccessToken, D::Error> {
    let token = String::deserialize(from)?;
    if token.is_empty() || !token.bytes().all(|b| matches!(b, b' '..=b'~')) {
        return Err(D::Error::custom("this is no access token"));
    }
    Ok(AccessToken::new(token))
}

fn bearer() -> BasicTokenType {
    BasicTokenType::Bearer
}

impl ZohoToken {
    pub(super) fn minted(self) -> Minted {
        Minted {
            lifetime: self.expires_in().unwrap_or(DEFAULT_LIFETIME),
            value: SecretString::from(self.access_token.into_secret()),
            api_domain: self.api_domain,
        }
    }
}

impl TokenResponse for ZohoToken {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    /// An older shape carries seconds in `expires_in_sec` and milliseconds in `expires_in`. A lifetime of
    /// more than a day cannot be seconds, since Zoho's tokens live an hour.
    fn expires_in(&self) -> Option<Duration> {
        const DAY: u64 = 86_400;
        let seconds = self
            .expires_in_sec
            .or(self.expires_in.map(|value| if value > DAY { value / 1000 } else { value }))?;
        (seconds > 0).then(|| Duration::from_secs(seconds.min(DAY)))
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        None
    }

    fn scopes(&self) -> Option<&Vec<oauth2::Scope>> {
        None
    }
}

/// Fields that are a help but no reason to throw a good token away.
mod lenient {
    use serde::{Deserialize, Deserializer};
    use serde_json::Value;

    pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        Ok(match Value::deserialize(from)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        })
    }

    pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
        Ok(Value::deserialize(from)?.as_str().map(str::to_owned))
    }
}
