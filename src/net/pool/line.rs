//! A connection of HTTP/1, which carries one exchange after another.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;

use super::Pool;
use super::failed::Failed;
use super::site::Site;
use super::stay::Stay;
use crate::clock::Instant;
use crate::net::body::Body;

/// A connection that carries nothing at the moment.
pub(super) struct Line {
    pub(super) sender: SendRequest<Body>,
    pub(super) link: Arc<Link>,
}

/// What the task that drives a connection shares with the request on it.
pub(super) struct Link {
    site: Site,
    pub(super) stay: Arc<Stay>,
    /// When it is too old for another request.
    pub(super) dies: Instant,
    /// How often the machine had been suspended when it was made: over a later suspension it carries no request.
    pub(super) suspensions: u32,
    /// Its answer has begun; free again as soon as hyper has seen the end of the exchange.
    parked: Mutex<Option<SendRequest<Body>>>,
}

impl Link {
    pub(super) fn new(site: Site, stay: Arc<Stay>, dies: Instant, suspensions: u32) -> Self {
        Self { site, stay, dies, suspensions, parked: Mutex::default() }
    }

    /// Leaves the sender until the exchange has ended, or gives it back if it has.
    fn park(self: &Arc<Self>, sender: SendRequest<Body>) -> Option<Line> {
        *self.lock() = Some(sender);
        self.free()
    }

    fn free(self: &Arc<Self>) -> Option<Line> {
        let sender = self.lock().take_if(|sender| sender.is_ready())?;
        Some(Line { sender, link: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Option<SendRequest<Body>>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Sends a request; what comes back waits for the head of its answer. Without either, the connection ends.
    pub(super) fn send(
        self,
        mut request: Request<Body>,
        pool: Arc<Pool>,
        host: usize,
    ) -> impl Future<Output = Result<Response<Incoming>, Failed>> + Send + use<> {
        let Self { mut sender, link } = self;
        to_origin_form(&mut request);
        request.headers_mut().entry(HOST).or_insert_with(|| link.site.name.clone());
        // hyper's future has room for the request, in case that it cannot be sent. Futures that hold others by value
        // grow to twice their size each.
        let sending = Box::pin(sender.try_send_request(request));
        async move {
            let answer = sending.await.map_err(|mut failed| {
                let unsent = failed.take_message().map(|request| to_absolute_form(request, &link));
                Failed { error: failed.into_error(), unsent }
            })?;
            if let Some(line) = link.park(sender) {
                pool.give_back(host, line);
            }
            Ok(answer)
        }
    }
}

/// What is asked of an origin server directly (RFC 9112 section 3.2.1).
fn to_origin_form(request: &mut Request<Body>) {
    let path = std::mem::take(request.uri_mut()).into_parts().path_and_query;
    *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
}

/// Makes of a request that was not sent after all what it was before.
fn to_absolute_form(mut request: Request<Body>, link: &Link) -> Request<Body> {
    *request.uri_mut() = link.site.uri(request.uri().path_and_query().cloned());
    request.headers_mut().remove(HOST);
    request
}

/// Drives a connection to its end, and gives it back whenever it is free.
pub(super) async fn drive<F>(connection: F, link: Arc<Link>, pool: Weak<Pool>, host: usize)
where
    F: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let ended = poll_fn(|cx| {
        let polled = connection.as_mut().poll(cx);
        if polled.is_pending()
            && let Some(line) = link.free()
            && let Some(pool) = pool.upgrade()
        {
            pool.give_back(host, line);
        }
        polled
    });
    if let Err(error) = ended.await {
        tracing::debug!(error = &error as &dyn std::error::Error, "a connection that nobody used broke");
    }
}
