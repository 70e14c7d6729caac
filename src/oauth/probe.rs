//! Finding out whether the accounts server answers, by a request that cannot mint and carries no credential.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use serde_json::value::RawValue;

use crate::net::body::{Body, Prefix};
use crate::net::coding::decoded;
use crate::net::origin::Origin;
use crate::net::transport::{OverHttp1, Transport, TransportError};

/// Public, and a few hundred bytes long: it lists the accounts servers of all data centres.
const SERVER_INFO: &str = "/oauth/serverinfo";

/// More of the answer is not read; it is read at all so that its connection serves the mint that follows.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The accounts server: it listed the data centres.
    Server,
    /// Something that answers in its place, as a maintenance page or a proxy that wants a log-in.
    SomethingElse,
    /// No answer in time, or a server error.
    Nothing,
}

impl Found {
    /// A word for metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Server => "answered",
            Self::SomethingElse => "misanswered",
            Self::Nothing => "unanswered",
        }
    }
}

/// Asks the server for its data centres, within `limit`.
pub(super) async fn ask(accounts: &Origin, transport: &Arc<dyn Transport>, limit: Duration) -> Found {
    let asking = async {
        let answer = match transport.send(request(accounts)).await {
            // A connection that was kept through the outage says nothing of the server.
            Err(TransportError::Stale(_) | TransportError::NotProcessed(_)) => {
                transport.send(request(accounts)).await
            }
            answer => answer,
        };
        let Ok(answer) = answer else { return Found::Nothing };
        let (head, body) = answer.into_parts();
        if head.status.is_server_error() {
            return Found::Nothing;
        }
        match body.read_up_to(ANSWER_LIMIT).await {
            Err(_) => Found::Nothing,
            Ok(Prefix::Whole(body)) if head.status == StatusCode::OK && is_object(&head.headers, &body) => {
                Found::Server
            }
            Ok(_) => Found::SomethingElse,
        }
    };
    tokio::time::timeout(limit, asking).await.unwrap_or(Found::Nothing)
}

/// Whether a body is a JSON object, as the list of data centres is.
fn is_object(headers: &HeaderMap, body: &[u8]) -> bool {
    let body = decoded(headers, body, ANSWER_LIMIT);
    serde_json::from_slice::<HashMap<String, &RawValue>>(&body.bytes).is_ok()
}

fn request(accounts: &Origin) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = accounts.uri(PathAndQuery::from_static(SERVER_INFO));
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // As the exchange does, which takes over the connection.
    request.extensions_mut().insert(OverHttp1);
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Response};

    use crate::net::transport::BoxFuture;

    /// An accounts server that answers this, or never.
    struct Accounts(Option<(u16, &'static str)>);

    impl Transport for Accounts {
        fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
            assert_eq!(request.uri(), "https://accounts.zoho.eu/oauth/serverinfo");
            assert_eq!(request.method(), Method::GET);
            assert_eq!(request.headers().len(), 2, "no credential: {:?}", request.headers());
            let Some((status, body)) = self.0 else { return Box::pin(std::future::pending()) };
            Box::pin(async move { Ok(Response::builder().status(status).body(Body::full(body)).unwrap()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_json_object_with_status_200_shows_that_the_server_is_there() {
        const INFO: &str = r#"{"result":"success","locations":{"eu":"https://accounts.zoho.eu"}}"#;
        let accounts = "https://accounts.zoho.eu".parse().unwrap();
        for (answer, expected) in [
            (Some((200, INFO)), Found::Server),
            (Some((200, "<html>maintenance</html>")), Found::SomethingElse),
            (Some((200, "")), Found::SomethingElse),
            (Some((200, "[]")), Found::SomethingElse),
            (Some((302, "")), Found::SomethingElse),
            (Some((404, INFO)), Found::SomethingElse),
            (Some((429, "{}")), Found::SomethingElse),
            (Some((500, INFO)), Found::Nothing),
            (Some((503, "")), Found::Nothing),
            (None, Found::Nothing),
        ] {
            let transport: Arc<dyn Transport> = Arc::new(Accounts(answer));
            let found = ask(&accounts, &transport, Duration::from_secs(3)).await;
            assert_eq!(found, expected, "{answer:?}");
        }
    }
}
