//! The refresh-token exchange (RFC 6749 section 6), and what each reply of Zoho's accounts server means.
//!
//! Zoho answers failed exchanges mostly with status 200 and `{"error": …}`, throttling with status 400 and a
//! text in the user's language, and now and then with something else altogether. So the body decides:
//! `access_token` is success, whatever the status; everything else is sorted into a [`MintError`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, Client, ClientId, ClientSecret, EndpointNotSet, EndpointSet, ExtraTokenFields, RefreshToken,
    RequestTokenError, StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::accounts_http::{AccountsHttp, ExchangeError};
use super::reply::{self, MintError, Minted};
use crate::net::origin::Origin;
use crate::net::transport::{Transport, TransportError};

/// What is exchanged.
pub struct Grant {
    /// The accounts server.
    pub accounts: Origin,
    /// Who asks.
    pub client_id: String,
    /// How they prove it.
    pub client_secret: SecretString,
    /// What an access token is asked for with.
    pub refresh_token: SecretString,
}

/// Stands for the accounts server's URL inside `oauth2`, whose own parser refuses URLs that [`Origin`] admits.
/// [`AccountsHttp`] puts the real one in its place.
const PLACEHOLDER: &str = "https://accounts.invalid/oauth/v2/token";

/// Stands for the client secret and the refresh token inside `oauth2`, which does not wipe its copies. [`AccountsHttp`]
/// puts the real ones into the form that goes out.
const SECRET_PLACEHOLDER: &str = "placeholder";

impl Grant {
    /// Exchanges the refresh token for an access token, within `limit`.
    pub async fn exchange(
        &self,
        transport: &Arc<dyn Transport>,
        limit: Duration,
    ) -> Result<Minted, MintError> {
        let url = TokenUrl::new(PLACEHOLDER.to_owned()).expect("the placeholder is a URL");
        let client: ZohoClient = Client::new(ClientId::new(self.client_id.clone()))
            .set_client_secret(ClientSecret::new(SECRET_PLACEHOLDER.to_owned()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(url);
        let refresh_token = RefreshToken::new(SECRET_PLACEHOLDER.to_owned());
        let http = AccountsHttp {
            accounts: &self.accounts,
            client_secret: &self.client_secret,
            refresh_token: &self.refresh_token,
            transport: transport.clone(),
            failure: Mutex::default(),
        };

        let exchange = client.exchange_refresh_token(&refresh_token).request_async(&http);
        let answer = tokio::time::timeout(limit, exchange).await.map_err(|_| self.fate_unknown())?;
        match answer {
            Ok(token) => Ok(minted(&token)),
            Err(RequestTokenError::Request(ExchangeError::Transport(error))) => Err(self.explain(error)),
            // Neither this error nor its body is ever printed: a body that lacks only one field holds a token.
            Err(_) => Err(http.failure().unwrap_or_else(|| self.fate_unknown())),
        }
    }

    fn fate_unknown(&self) -> MintError {
        MintError::FateUnknown { accounts: self.accounts.clone() }
    }

    /// Only a server that was never reached, or says that it did not process the request, has surely minted nothing.
    fn explain(&self, error: TransportError) -> MintError {
        match error {
            TransportError::Connect(_)
            | TransportError::ConnectTimeout
            | TransportError::TooManyConnections
            | TransportError::NotProcessed(_) => {
                MintError::Unreachable { accounts: self.accounts.clone(), source: error }
            }
            _ => self.fate_unknown(),
        }
    }
}

type ZohoClient = Client<
    BasicErrorResponse,
    ZohoToken,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

type ZohoToken = StandardTokenResponse<ZohoFields, BasicTokenType>;

/// What Zoho's answers have beside what RFC 6749 wants.
#[derive(Debug, Deserialize, Serialize)]
struct ZohoFields {
    api_domain: Option<String>,
}

impl ExtraTokenFields for ZohoFields {}

fn minted(token: &ZohoToken) -> Minted {
    Minted {
        value: SecretString::from(token.access_token().secret().as_str()),
        lifetime: token.expires_in().unwrap_or(reply::DEFAULT_LIFETIME),
        api_domain: token.extra_fields().api_domain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::body::Body;
    use crate::net::transport::BoxFuture;
    use crate::oauth::accounts_http::ANSWER_LIMIT;
    use flate2::Compression;
    use flate2::read::GzEncoder;
    use http::header::ACCEPT_ENCODING;
    use http::{Request, Response};
    use secrecy::ExposeSecret;
    use std::io::Read;

    /// An accounts server that always gives the same answer.
    struct Accounts(u16, &'static [u8]);

    impl Transport for Accounts {
        fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
            assert_eq!(request.uri(), "https://accounts.zoho.eu/oauth/v2/token");
            assert_eq!(request.headers()[ACCEPT_ENCODING], "identity");
            let answer = Response::builder().status(self.0).body(Body::full(self.1)).unwrap();
            Box::pin(async { Ok(answer) })
        }
    }

    async fn exchange(status: u16, body: &'static str) -> Result<Minted, MintError> {
        exchange_bytes(status, body.as_bytes()).await
    }

    async fn exchange_bytes(status: u16, body: &'static [u8]) -> Result<Minted, MintError> {
        let grant = Grant {
            accounts: "https://accounts.zoho.eu".parse().unwrap(),
            client_id: "1000.MADEUP".into(),
            client_secret: "made-up-secret".into(),
            refresh_token: "1000.made-up".into(),
        };
        let transport: Arc<dyn Transport> = Arc::new(Accounts(status, body));
        grant.exchange(&transport, Duration::from_secs(10)).await
    }

    fn all(mut source: impl Read) -> Vec<u8> {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn a_body_with_an_access_token_is_success_whatever_the_status() {
        for status in [200, 201, 400, 500] {
            let minted = exchange(status, r#"{"access_token":"1000.made.up","expires_in":3600}"#).await;
            let minted = minted.unwrap_or_else(|error| panic!("{status}: {error}"));
            assert_eq!(minted.value.expose_secret(), "1000.made.up");
            assert_eq!(minted.lifetime, Duration::from_hours(1));
        }
    }

    #[tokio::test]
    async fn lifetimes_are_understood_in_every_shape_seen() {
        for (body, seconds) in [
            (r#"{"access_token":"t","expires_in":3600}"#, 3600),
            (r#"{"access_token":"t","expires_in":"1800"}"#, 1800),
            (r#"{"access_token":"t","expires_in_sec":3600,"expires_in":3600000}"#, 3600),
            (r#"{"access_token":"t","expires_in":3600000}"#, 3600),
            (r#"{"access_token":"t"}"#, 3600),
            (r#"{"access_token":"t","expires_in":-1,"api_domain":7}"#, 3600),
            (r#"{"access_token":"t","expires_in":18446744073709551615}"#, 86_400),
            (r#"{"access_token":"t","expires_in":1e999}"#, 86_400),
            (r#"{"access_token":"t","expires_in":1800.5}"#, 1800),
            (r#"{"access_token":"t","expires_in":" 1800.0 "}"#, 1800),
            (r#"{"access_token":"t","expires_in":0}"#, 3600),
            (r#"{"access_token":"t","expires_in":"soon","expires_in_sec":null}"#, 3600),
            (r#"{"access_token":"t","expires_in":{"seconds":1},"scope":["a"],"api_domain":null}"#, 3600),
            (r#"{"access_token":"t","expires_in":1800,"status":200,"error":null}"#, 1800),
            (r#"{"access_token":"t","expires_in":1800,"junk":"\ud800"}"#, 1800),
        ] {
            let minted = exchange(200, body).await.unwrap_or_else(|error| panic!("{body}: {error}"));
            assert_eq!(minted.lifetime.as_secs(), seconds, "{body}");
        }
    }

    #[tokio::test]
    async fn every_reply_of_the_accounts_server_has_its_meaning() {
        let throttled = r#"{"error_description":"You have made too many requests continuously. Please try again after some time.","error":"Access Denied","status":"failure"}"#;
        let localised =
            r#"{"error_description":"您连续发出了太多的请求。","error":"访问被拒绝","status":"failure"}"#;
        for (status, body, meaning) in [
            (200, r#"{"error":"invalid_code"}"#, "GrantDead"),
            (200, r#"{"error":"invalid_client"}"#, "ClientDead"),
            (200, r#"{"error":"invalid_client_secret"}"#, "ClientDead"),
            (400, throttled, "Throttled"),
            (200, throttled, "Throttled"),
            (400, localised, "Throttled"),
            (400, r#"{"error":"访问被拒绝"}"#, "Throttled"),
            (400, r#"{"error":"Accès refusé"}"#, "Throttled"),
            (400, r#"{"error":"INVALID_CODE"}"#, "Nonsense"),
            (400, r#"{"error":"invalid-code"}"#, "Nonsense"),
            (400, r#"{"error":"weird.thing1"}"#, "Nonsense"),
            (400, r#"{"error":"invalid_code "}"#, "Nonsense"),
            (200, r#"{"error":"access_denied"}"#, "Throttled"),
            (429, "", "Throttled"),
            (200, r#"{"error":"general_error"}"#, "Refused"),
            (400, r#"{"error":"invalid_redirect_uri"}"#, "Refused"),
            (500, r#"{"error":"general_error"}"#, "ServerError"),
            (200, r#"{"error":"something_new"}"#, "Nonsense"),
            (200, r#"{"error":"invalid_code","status":400}"#, "GrantDead"),
            (200, r#"{"error":"invalid_code","error_description":["x"],"access_token":null}"#, "GrantDead"),
            (200, r#"{"error":{"code":"invalid_client","message":"m"}}"#, "ClientDead"),
            (200, r#"{"error":7}"#, "Nonsense"),
            (200, r#"{"error":"invalid_code","access_token":""}"#, "Nonsense"),
            (200, r#"{"error":"invalid_code","data":{"access_token":"1000.made.up"}}"#, "Nonsense"),
            (502, r#"{"access_token":"1000.made"#, "ServerError"),
            (200, "<html>maintenance</html>", "Nonsense"),
            (200, "", "Nonsense"),
            (200, "{}", "Nonsense"),
            (200, "[]", "Nonsense"),
            (200, r#"{"access_token":7}"#, "Nonsense"),
            (200, r#"{"access_token":""}"#, "Nonsense"),
            (200, r#"{"access_token":"1000.made\r\nup"}"#, "Nonsense"),
            (200, r#"["1000.made.up"]"#, "Nonsense"),
            (302, "", "Nonsense"),
            (500, "<html>", "ServerError"),
            (503, "", "ServerError"),
        ] {
            let error =
                exchange(status, body).await.err().unwrap_or_else(|| panic!("{status} {body}: success"));
            assert!(format!("{error:?}").starts_with(meaning), "{status} {body}: {error:?}");
        }
    }

    #[tokio::test]
    async fn replies_are_read_whatever_their_coding_and_what_comes_before_them() {
        let text = r#"{"access_token":"1000.made.up","expires_in":1800}"#;
        let gzip = all(GzEncoder::new(text.as_bytes(), Compression::default()));
        let utf16 = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let spaced = format!("\u{feff}\r\n\t {text}\n").into_bytes();
        let odd = [&b"{\"note\":\"\xe9\","[..], &text.as_bytes()[1..]].concat();
        for body in [gzip, utf16, spaced, odd] {
            let body: &'static [u8] = body.leak();
            let minted = exchange_bytes(200, body).await.unwrap_or_else(|error| panic!("{body:?}: {error}"));
            assert_eq!(minted.value.expose_secret(), "1000.made.up");
        }
    }

    #[tokio::test]
    async fn only_a_documented_error_proves_that_nothing_was_minted() {
        for (status, body, may_have_minted) in [
            (200, r#"{"error":"invalid_code"}"#, false),
            (200, r#"{"error":"invalid_client","status":400}"#, false),
            (400, r#"{"error":"Access Denied","status":"failure"}"#, false),
            (200, r#"{"error":"general_error"}"#, false),
            (429, "", true),
            (200, r#"{"error":"something_new"}"#, true),
            (200, r#"{"error":"invalid_code","access_token":"1000.made\r\nup"}"#, true),
            (200, r#"{"error":"invalid_code","tokens":[{"access_token":"1000.made.up"}]}"#, true),
            (200, r#"{"error":"invalid_co"#, true),
            (200, r#"{"access_token":"1000.made"#, true),
            (200, "", true),
            (302, "", true),
            (502, "<html>", true),
        ] {
            let error = exchange(status, body).await.err().unwrap();
            assert_eq!(error.may_have_minted(), may_have_minted, "{status} {body}: {error:?}");
        }
    }

    #[tokio::test]
    async fn a_reply_that_inflates_without_end_is_given_up() {
        let bomb = all(GzEncoder::new(std::io::repeat(b' ').take(8 << 20), Compression::best()));
        assert!(bomb.len() < ANSWER_LIMIT);
        let error = exchange_bytes(200, bomb.leak()).await.err().unwrap();
        assert!(matches!(error, MintError::Nonsense { .. }) && error.may_have_minted(), "{error:?}");
    }

    #[tokio::test]
    async fn a_body_of_ten_megabytes_is_not_read() {
        let long: &'static str = Box::leak("x".repeat(10 << 20).into_boxed_str());
        assert!(matches!(exchange(200, long).await, Err(MintError::Nonsense { .. })));
        assert!(matches!(exchange(503, long).await, Err(MintError::ServerError { .. })));
    }

    #[tokio::test]
    async fn no_error_shows_a_token_that_came_in_an_unusable_answer() {
        let error = exchange(200, r#"{"access_token":["1000.made-up-leak"]}"#).await.err().unwrap();
        assert!(!format!("{error:?} {error}").contains("made-up-leak"));
    }
}
