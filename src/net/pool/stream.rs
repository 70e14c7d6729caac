//! A connection of HTTP/2, which carries many exchanges at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use http::{Request, Response};
use http_body::Body as HttpBody;
use hyper::client::conn::http2::SendRequest;

use super::Pool;
use super::failed::Failed;
use crate::net::body::Body;
use crate::net::guarded::Guarded;
use crate::net::whole::whole_with;

/// How many exchanges a connection may have before its server has said how many it allows. RFC 9113 section 6.5.2
/// recommends that none allow fewer; more would be refused, or wait where no other connection can serve them.
pub(super) const FIRST_STREAMS: usize = 100;

/// What is known of a connection.
pub(super) struct Share {
    /// How many exchanges are under way.
    pub(super) streams: AtomicUsize,
    /// How many the server allows: none on a connection that ends; or [`FIRST_STREAMS`] as long as it has not said.
    pub(super) most: AtomicUsize,
    /// Whether it has carried an answer.
    pub(super) is_proven: AtomicBool,
    /// Whether it waits for a request that is to be the first on it.
    pub(super) is_reserved: AtomicBool,
}

impl Share {
    pub(super) fn new() -> Self {
        let most = AtomicUsize::new(FIRST_STREAMS);
        Self {
            streams: AtomicUsize::new(0),
            most,
            is_proven: AtomicBool::new(false),
            is_reserved: AtomicBool::new(false),
        }
    }

    /// Whether the server allows none any more.
    pub(super) fn is_shut(&self) -> bool {
        self.most.load(Ordering::Relaxed) == 0
    }

    /// Takes room for an exchange, if there is some.
    pub(super) fn enter(&self) -> bool {
        let has_room = self.streams.load(Ordering::Relaxed) < self.most.load(Ordering::Relaxed)
            && !self.is_reserved.load(Ordering::Relaxed);
        self.streams.fetch_add(usize::from(has_room), Ordering::Relaxed);
        has_room
    }
}

/// An exchange that is under way, until both its directions have ended.
struct Counted {
    share: Arc<Share>,
    pool: Weak<Pool>,
    host: usize,
    has_ended: AtomicBool,
}

impl Counted {
    fn end(&self) {
        if !self.has_ended.swap(true, Ordering::Relaxed)
            && let Some(pool) = self.pool.upgrade()
        {
            let now = pool.clock.now();
            pool.with(|places| places.end_stream(self.host, &self.share, now));
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a request and waits for the head of its answer. If the answer or its body is given up, its stream is reset.
pub(super) async fn send(
    mut sender: SendRequest<Body>,
    share: Arc<Share>,
    request: Request<Body>,
    pool: &Arc<Pool>,
    host: usize,
) -> Result<Response<Body>, Failed> {
    let counted = Counted { share, pool: Arc::downgrade(pool), host, has_ended: AtomicBool::new(false) };
    let counted = Arc::new(counted);
    // The answer may come, and end, before the request has.
    let request = request.map(|body| counted_body(body, &counted));
    let sending = sender.try_send_request(request);
    if counted.share.is_reserved.swap(false, Ordering::Relaxed) {
        // The first request is on its way, and others may follow.
        pool.with(|places| places.look_at_shared(host));
    }
    let answer = sending.await.map_err(|mut failed| {
        let unsent = failed.take_message();
        if unsent.is_some() {
            counted.end();
        }
        Failed { error: failed.into_error(), unsent }
    })?;
    counted.share.is_proven.store(true, Ordering::Relaxed);
    let version = answer.version();
    Ok(answer.map(|body| whole_with(version, body.into(), counted)))
}

/// The body of a request, which counts until it is dropped: once all of it is sent, or the rest is not wanted.
fn counted_body(body: Body, counted: &Arc<Counted>) -> Body {
    if body.is_end_stream() { body } else { Body::stream(Guarded::new(body, counted.clone())) }
}
