//! Finding out whether the accounts server answers, by a request that cannot mint and carries no credential.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request};

use crate::net::body::Body;
use crate::net::origin::Origin;
use crate::net::transport::{Transport, TransportError};

/// Public, and a few hundred bytes long: it lists the accounts servers of all data centres.
const SERVER_INFO: &str = "/oauth/serverinfo";

/// More of the answer is not read; it is read at all so that its connection serves the mint that follows.
const ANSWER_LIMIT: usize = 64 * 1024;

/// True if the server answers within `limit`. Any response but a 5xx counts.
pub(super) async fn answers(accounts: &Origin, transport: &Arc<dyn Transport>, limit: Duration) -> bool {
    let asking = async {
        let answer = match transport.send(request(accounts)).await {
            // A connection that was kept through the outage says nothing of the server.
            Err(TransportError::Stale(_)) => transport.send(request(accounts)).await,
            answer => answer,
        };
        let Ok(answer) = answer else { return false };
        let answers = !answer.status().is_server_error();
        let body = answer.into_body().read_up_to(ANSWER_LIMIT);
        if answers {
            // The head has said enough, whether or not the body comes.
            let _ = tokio::time::timeout(limit / 4, body).await;
        }
        answers
    };
    tokio::time::timeout(limit, asking).await.unwrap_or(false)
}

fn request(accounts: &Origin) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = accounts.uri(PathAndQuery::from_static(SERVER_INFO));
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Response};

    use crate::net::transport::BoxFuture;

    /// An accounts server that answers with this status, or never.
    struct Accounts(Option<u16>);

    impl Transport for Accounts {
        fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
            assert_eq!(request.uri(), "https://accounts.zoho.eu/oauth/serverinfo");
            assert_eq!(request.method(), Method::GET);
            assert_eq!(request.headers().len(), 2, "no credential: {:?}", request.headers());
            let Some(status) = self.0 else { return Box::pin(std::future::pending()) };
            Box::pin(async move { Ok(Response::builder().status(status).body(Body::full("x")).unwrap()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn any_answer_but_a_server_error_shows_that_the_server_answers() {
        let accounts = "https://accounts.zoho.eu".parse().unwrap();
        for (status, expected) in [
            (Some(200), true),
            (Some(302), true),
            (Some(404), true),
            (Some(429), true),
            (Some(500), false),
            (Some(503), false),
            (None, false),
        ] {
            let transport: Arc<dyn Transport> = Arc::new(Accounts(status));
            let found = answers(&accounts, &transport, Duration::from_secs(3)).await;
            assert_eq!(found, expected, "{status:?}");
        }
    }
}
