//! What a request for a token is told, in the shape of Zoho's answers.

use serde_json::{Value, json};

use crate::net::form::Form;

/// A token that opens nothing and looks it. It is the same for all, so nothing has to be kept.
pub(super) const PLACEHOLDER: &str = "made-up-token-of-zoho-sidecar";

/// How long clients are told to keep it, in seconds: as long as one of Zoho's.
const EXPIRES_IN: u32 = 3600;

/// How a token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant {
    RefreshToken,
    AuthorizationCode,
    ClientCredentials,
}

impl Grant {
    fn of(form: &Form) -> Option<Self> {
        match form.value("grant_type")? {
            "refresh_token" => Some(Self::RefreshToken),
            "authorization_code" => Some(Self::AuthorizationCode),
            "client_credentials" => Some(Self::ClientCredentials),
            _ => None,
        }
    }
}

/// The answer to a request for a token. `base_url` is where the caller is to call next, and must be the
/// sidecar's own: SDKs go where it says from their second call on.
///
/// Never in it: `expires_in_sec`, with which some clients take `expires_in` for milliseconds, and `scope`, of
/// which the sidecar knows nothing. Mistakes are told with status 200, as Zoho does.
pub(super) fn answer(form: &Form, base_url: &str, token: &str) -> Value {
    let Some(grant) = Grant::of(form) else {
        return json!({ "error": "unsupported_grant_type" });
    };
    let mut answer = json!({
        "access_token": token,
        "api_domain": base_url,
        "token_type": "Bearer",
        "expires_in": EXPIRES_IN,
    });
    if grant == Grant::AuthorizationCode {
        answer["refresh_token"] = Value::from(token);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(form: &str) -> String {
        answer(&Form::urlencoded(form), "http://sidecar:8080", PLACEHOLDER).to_string()
    }

    #[test]
    fn a_refresh_token_is_exchanged_for_a_placeholder() {
        let form = "refresh_token=1000.a&client_id=1000.B&client_secret=c&grant_type=refresh_token";
        insta::assert_snapshot!(answered(form), @r#"{"access_token":"made-up-token-of-zoho-sidecar","api_domain":"http://sidecar:8080","expires_in":3600,"token_type":"Bearer"}"#);
        assert_eq!(answered("grant_type=client_credentials&soid=ZohoCRM.1"), answered(form));
    }

    #[test]
    fn a_code_brings_a_refresh_token_too() {
        insta::assert_snapshot!(answered("code=1000.a&grant_type=authorization_code"), @r#"{"access_token":"made-up-token-of-zoho-sidecar","api_domain":"http://sidecar:8080","expires_in":3600,"refresh_token":"made-up-token-of-zoho-sidecar","token_type":"Bearer"}"#);
    }

    #[test]
    fn any_other_grant_is_an_error_of_zohos() {
        for form in ["", "grant_type=", "grant_type=password", "refresh_token=1000.a"] {
            assert_eq!(answered(form), r#"{"error":"unsupported_grant_type"}"#, "{form}");
        }
    }
}
