//! How the server has a request handled: by a copy of the proxy for each connection, at once or later.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;

use super::Proxy;
use crate::net::body::Body;
use crate::net::peer::Peer;
use crate::net::standing::Standing;
use crate::net::transport::BoxFuture;
use crate::server::{Greet, Handler, Repeat};

/// A request being handled: answered at once from the cache, or on its way.
pub enum Handling {
    /// The answer; `None` once it was taken.
    Now(Option<Response<Body>>),
    /// Everything that has to wait. Boxed, so that a connection does not carry the longest story around.
    Later(BoxFuture<Response<Body>>),
}

impl Future for Handling {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(answer) => Poll::Ready(answer.take().expect("a future is polled to its end once")),
            Self::Later(answer) => answer.as_mut().poll(cx),
        }
    }
}

impl Handling {
    pub(super) fn now(answer: Response<Body>) -> Self {
        Self::Now(Some(answer))
    }
}

impl Greet for Proxy {
    type Handler = Self;

    fn greet(&self, peer: Peer, standing: Standing) -> Self {
        self.clone().for_peer(peer).with_standing(standing)
    }
}

impl Handler for Proxy {
    type Answering = Handling;

    fn handle(&self, request: Request<Incoming>) -> Handling {
        self.handle(request)
    }

    fn repeat(&self, head: &[u8], answer: &mut Vec<u8>) -> Repeat {
        self.repeat(head, answer)
    }
}
