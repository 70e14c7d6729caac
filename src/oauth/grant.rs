//! The refresh-token exchange (RFC 6749 section 6), and what each reply of Zoho's accounts server means.
//!
//! Zoho answers failed exchanges mostly with status 200 and `{"error": …}`, throttling with status 400 and a
//! text in the user's language, and now and then with something else altogether. So the body decides:
//! `access_token` is success, whatever the status; everything else is sorted into a [`MintError`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Response, Uri, header};
use oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse};
use oauth2::{
    AsyncHttpClient, AuthType, Client, ClientId, ClientSecret, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, RefreshToken, RequestTokenError, StandardRevocableToken, TokenUrl,
};
use secrecy::{ExposeSecret, SecretString};

use super::reply::{MintError, Minted, Seen, ZohoToken};
use crate::net::body::{Body, Prefix};
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

/// The token answer may hold at most this; real ones have some 300 bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

impl Grant {
    /// Exchanges the refresh token for an access token, within `limit`.
    pub async fn exchange(
        &self,
        transport: &Arc<dyn Transport>,
        limit: Duration,
    ) -> Result<Minted, MintError> {
        let url = TokenUrl::new(PLACEHOLDER.to_owned()).expect("the placeholder is a URL");
        let client: ZohoClient = Client::new(ClientId::new(self.client_id.clone()))
            .set_client_secret(ClientSecret::new(self.client_secret.expose_secret().to_owned()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(url);
        let refresh_token = RefreshToken::new(self.refresh_token.expose_secret().to_owned());
        let http = AccountsHttp {
            transport: transport.clone(),
            url: self.accounts.uri(PathAndQuery::from_static("/oauth/v2/token")),
            last: Mutex::default(),
        };

        let exchange = client.exchange_refresh_token(&refresh_token).request_async(&http);
        let answer = tokio::time::timeout(limit, exchange).await.map_err(|_| self.fate_unknown())?;
        match answer {
            Ok(token) => Ok(token.minted()),
            Err(error) => Err(self.explain(error, http.last_seen())),
        }
    }

    fn fate_unknown(&self) -> MintError {
        MintError::FateUnknown { accounts: self.accounts.clone() }
    }

    fn explain(
        &self,
        error: RequestTokenError<ExchangeError, BasicErrorResponse>,
        seen: Option<Seen>,
    ) -> MintError {
        match (error, seen) {
            (RequestTokenError::Request(ExchangeError::Transport(source)), _) => match source {
                TransportError::Broken(_) | TransportError::Stale(_) => self.fate_unknown(),
                source => MintError::Unreachable { accounts: self.accounts.clone(), source },
            },
            (RequestTokenError::Request(ExchangeError::Body(_)), _) | (_, None) => self.fate_unknown(),
            // Neither this error nor its body is ever printed: a body that lacks only one field holds a token.
            (_, Some(seen)) => seen.into_error(),
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

/// How the exchange failed below OAuth.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error("the exchange did not get through")]
    Transport(#[source] TransportError),
    #[error("the answer broke off")]
    Body(#[source] crate::net::body::BoxError),
    #[error("the answer is too long")]
    TooLong,
}

/// `oauth2` over our own transport. Remembers what the answer looked like, since `oauth2` loses the status.
struct AccountsHttp {
    transport: Arc<dyn Transport>,
    url: Uri,
    last: Mutex<Option<Seen>>,
}

impl AccountsHttp {
    fn last_seen(&self) -> Option<Seen> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, seen: Seen) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, ExchangeError> {
        *request.uri_mut() = self.url.clone();
        let answer = self.transport.send(request.map(Body::full)).await.map_err(ExchangeError::Transport)?;
        let (head, body) = answer.into_parts();
        let body = match body.read_up_to(ANSWER_LIMIT).await.map_err(ExchangeError::Body)? {
            Prefix::Whole(body) => body,
            Prefix::Partial(_) => {
                self.remember(Seen::too_long(head.status));
                return Err(ExchangeError::TooLong);
            }
        };
        let seen = Seen::read(head.status, &body);
        let response = Response::builder()
            .status(seen.standard_status())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_vec())
            .expect("a status and one header make a response");
        self.remember(seen);
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for AccountsHttp {
    type Error = ExchangeError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, ExchangeError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::transport::BoxFuture;
    use http::Request;

    /// An accounts server that always gives the same answer.
    struct Accounts(u16, &'static str);

    impl Transport for Accounts {
        fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
            assert_eq!(request.uri(), "https://accounts.zoho.eu/oauth/v2/token");
            let answer = Response::builder().status(self.0).body(Body::full(self.1)).unwrap();
            Box::pin(async { Ok(answer) })
        }
    }

    async fn exchange(status: u16, body: &'static str) -> Result<Minted, MintError> {
        let grant = Grant {
            accounts: "https://accounts.zoho.eu".parse().unwrap(),
            client_id: "1000.MADEUP".into(),
            client_secret: "made-up-secret".into(),
            refresh_token: "1000.made-up".into(),
        };
        let transport: Arc<dyn Transport> = Arc::new(Accounts(status, body));
        grant.exchange(&transport, Duration::from_secs(10)).await
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
            (200, r#"{"error":"access_denied"}"#, "Throttled"),
            (429, "", "Throttled"),
            (200, r#"{"error":"general_error"}"#, "Nonsense"),
            (400, r#"{"error":"invalid_redirect_uri"}"#, "Nonsense"),
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
