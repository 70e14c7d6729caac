//! The refresh-token exchange (RFC 6749 section 6), and what each reply of Zoho's accounts server means.
//!
//! Zoho answers failed exchanges mostly with status 200 and `{"error": …}`, throttling with status 400 and a
//! text in the user's language, and now and then with something else altogether. So the body decides:
//! `access_token` is success, whatever the status; everything else is sorted into a [`MintError`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::reply::{self, MintError, Minted};
use crate::net::body::{Body, Prefix};
use crate::net::origin::Origin;
use crate::net::transport::{FirstOnConnection, OverHttp1, Transport, TransportError};

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

/// The token answer may hold at most this, as it comes and decoded; real ones have some 300 bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

impl Grant {
    /// Exchanges the refresh token for an access token, within `limit`.
    pub async fn exchange(
        &self,
        transport: &Arc<dyn Transport>,
        limit: Duration,
    ) -> Result<Minted, MintError> {
        tokio::time::timeout(limit, self.ask(transport)).await.unwrap_or_else(|_| Err(self.fate_unknown()))
    }

    async fn ask(&self, transport: &Arc<dyn Transport>) -> Result<Minted, MintError> {
        // Clones share one buffer, which is wiped with the last of them.
        let form = Bytes::from_owner(self.form());
        let answer = match transport.send(self.request(form.clone())).await {
            // Nothing was minted, so that the second request is the first for all that counts.
            Err(TransportError::NotProcessed(_)) => {
                let mut again = self.request(form);
                again.extensions_mut().insert(FirstOnConnection);
                transport.send(again).await
            }
            answer => answer,
        };
        let (head, body) = answer.map_err(|error| self.explain(error))?.into_parts();
        match body.read_up_to(ANSWER_LIMIT).await {
            Ok(Prefix::Whole(body)) => reply::read(head.status, &head.headers, &body, ANSWER_LIMIT),
            Ok(Prefix::Partial(_)) => Err(reply::too_long(head.status)),
            // The answer broke off.
            Err(_) => Err(self.fate_unknown()),
        }
    }

    fn request(&self, form: Bytes) -> Request<Body> {
        let mut request = Request::new(Body::full(form));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.accounts.uri(PathAndQuery::from_static("/oauth/v2/token"));
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.extensions_mut().insert(OverHttp1);
        request
    }

    /// The form of RFC 6749 section 6, with the client's credentials in it.
    fn form(&self) -> Zeroizing<Vec<u8>> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.expose_secret()),
            ("refresh_token", self.refresh_token.expose_secret()),
        ];
        // Room for every byte to be escaped: a buffer that grows would leave a copy of the secrets behind.
        let most = fields.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
        let mut form = Zeroizing::new(Vec::with_capacity(most));
        for (name, value) in fields {
            if !form.is_empty() {
                form.push(b'&');
            }
            form.extend_from_slice(name.as_bytes());
            form.push(b'=');
            for piece in form_urlencoded::byte_serialize(value.as_bytes()) {
                form.extend_from_slice(piece.as_bytes());
            }
        }
        form
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::transport::BoxFuture;
    use flate2::Compression;
    use flate2::read::GzEncoder;
    use http::Response;
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

    #[test]
    fn the_form_escapes_what_it_must_and_never_grows() {
        for (client_secret, escaped) in [
            ("made-up.secret_*", "made-up.secret_*".to_owned()),
            ("made up&=+%\u{e4}", "made+up%26%3D%2B%25%C3%A4".to_owned()),
            (&*"&".repeat(100), "%26".repeat(100)),
        ] {
            let grant = Grant {
                accounts: "https://accounts.zoho.eu".parse().unwrap(),
                client_id: "1000.MADEUP".into(),
                client_secret: client_secret.into(),
                refresh_token: "1000.made-up".into(),
            };
            let form = grant.form();
            let expected = format!(
                "grant_type=refresh_token&client_id=1000.MADEUP&client_secret={escaped}&refresh_token=1000.made-up"
            );
            assert_eq!(std::str::from_utf8(&form).unwrap(), expected);
            assert!(
                form.capacity() >= form.len() && form.capacity() <= 3 * form.len(),
                "{}",
                form.capacity()
            );
        }
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
