//! The way of the `oauth2` crate to Zoho's accounts server: our transport, Zoho's replies, and secrets that are wiped.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode};
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use zeroize::Zeroizing;

use super::reply::{self, MintError};
use crate::net::body::{Body, Prefix};
use crate::net::origin::Origin;
use crate::net::transport::{FirstOnConnection, OverHttp1, Transport, TransportError};

/// The token answer may hold at most this, as it comes and decoded; real ones have some 300 bytes.
pub(super) const ANSWER_LIMIT: usize = 64 * 1024;

/// How the exchange failed below OAuth.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error("the exchange did not get through")]
    Transport(#[source] TransportError),
    #[error("the answer broke off")]
    Body(#[source] crate::net::body::BoxError),
}

/// `oauth2` over our own transport. It puts the URL and the secrets in the place of their placeholders, reads the reply
/// leniently, and hands `oauth2` the same in the strict form of RFC 6749; what a failure means, it remembers, since that
/// form has no words for it.
pub(super) struct AccountsHttp<'a> {
    pub(super) accounts: &'a Origin,
    pub(super) client_secret: &'a SecretString,
    pub(super) refresh_token: &'a SecretString,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) failure: Mutex<Option<MintError>>,
}

impl AccountsHttp<'_> {
    /// What the last failure means.
    pub(super) fn failure(&self) -> Option<MintError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A form of `oauth2` with the secrets in the place of their placeholders.
    fn form(&self, with_placeholders: &[u8]) -> Zeroizing<Vec<u8>> {
        let secret = |name: &str| match name {
            "client_secret" => Some(self.client_secret),
            "refresh_token" => Some(self.refresh_token),
            _ => None,
        };
        let fields: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(with_placeholders)
            .map(|(name, value)| {
                let value = secret(&name).map_or(value, |secret| secret.expose_secret().into());
                (name, value)
            })
            .collect();
        // Room for every byte to be escaped: a buffer that grows would leave a copy of the secrets behind.
        let most = fields.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
        let mut form = Zeroizing::new(Vec::with_capacity(most));
        for (name, value) in &fields {
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

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, ExchangeError> {
        let (mut head, form) = request.into_parts();
        head.uri = self.accounts.uri(PathAndQuery::from_static("/oauth/v2/token"));
        head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        head.extensions.insert(OverHttp1);
        // Clones share one buffer, which is wiped with the last of them.
        let form = Bytes::from_owner(self.form(&form));
        let mut again = Request::from_parts(head.clone(), Body::full(form.clone()));
        again.extensions_mut().insert(FirstOnConnection);
        let answer = match self.transport.send(Request::from_parts(head, Body::full(form))).await {
            // Nothing was minted, so that the second request is the first for all that counts.
            Err(TransportError::NotProcessed(_)) => self.transport.send(again).await,
            answer => answer,
        };
        let answer = answer.map_err(ExchangeError::Transport)?;
        let (head, body) = answer.into_parts();
        let read = match body.read_up_to(ANSWER_LIMIT).await.map_err(ExchangeError::Body)? {
            Prefix::Whole(body) => reply::read(head.status, &head.headers, &body, ANSWER_LIMIT),
            Prefix::Partial(_) => Err(reply::too_long(head.status)),
        };
        Ok(match read {
            Ok(minted) => strict(
                StatusCode::OK,
                &json!({
                    "access_token": minted.value.expose_secret(),
                    "token_type": "bearer",
                    "expires_in": minted.lifetime.as_secs(),
                    "api_domain": minted.api_domain,
                }),
            ),
            Err(failure) => {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                strict(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_request" }))
            }
        })
    }
}

/// An answer as RFC 6749 wants it (sections 5.1 and 5.2).
fn strict(status: StatusCode, body: &serde_json::Value) -> HttpResponse {
    let mut response = Response::new(body.to_string().into_bytes());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl<'c> AsyncHttpClient<'c> for AccountsHttp<'_> {
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

    /// For a form that is only looked at.
    struct Nowhere;

    impl Transport for Nowhere {
        fn send(&self, _: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
            unreachable!("nothing is sent")
        }
    }

    #[test]
    fn the_form_escapes_what_it_must_and_never_grows() {
        for (client_secret, escaped) in [
            ("made-up.secret_*", "made-up.secret_*".to_owned()),
            ("made up&=+%\u{e4}", "made+up%26%3D%2B%25%C3%A4".to_owned()),
            (&*"&".repeat(100), "%26".repeat(100)),
        ] {
            let http = AccountsHttp {
                accounts: &"https://accounts.zoho.eu".parse().unwrap(),
                client_secret: &client_secret.into(),
                refresh_token: &"1000.made-up".into(),
                transport: Arc::new(Nowhere),
                failure: Mutex::default(),
            };
            let form =
                http.form(b"grant_type=refresh_token&refresh_token=x&client_id=1000.MADEUP&client_secret=x");
            let expected = format!(
                "grant_type=refresh_token&refresh_token=1000.made-up&client_id=1000.MADEUP&client_secret={escaped}"
            );
            assert_eq!(std::str::from_utf8(&form).unwrap(), expected);
            let room = form.capacity();
            assert!(room >= form.len() && room <= 3 * form.len(), "{room}");
        }
    }
}
