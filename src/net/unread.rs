//! Answers that their caller does not read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::body::{Body, BoxBody, BoxError};

/// The caller left its answer unread for too long, and the answer was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer was left unread for {0:?}")]
struct LeftUnread(Duration);

/// Gives a body up that nobody asks for more of within `limit` (or twice that, at most).
///
/// A stream of HTTP/2 whose caller opens no window is asked for nothing, while the connection is well and answers
/// pings: neither the limits of the body nor those of the connection would ever end it. The stream itself stays
/// until its caller reads on and finds it reset, or leaves; what it held, a call to Zoho above all, is free.
pub fn given_up_when_unread(body: Body, limit: Duration) -> Body {
    let body = match body {
        Body::Stream(body) if !body.is_end_stream() => body,
        // Bytes in memory hold nothing but themselves.
        in_memory => return in_memory,
    };
    let slot = Arc::new(Slot(Mutex::new(State { body: Some(body), turn: 0, is_callers: true })));
    let watch = tokio::spawn(watch(slot.clone(), limit)).abort_handle();
    Body::stream(Unread { slot, watch, limit })
}

/// Ends with the body, or when it has given the body up.
async fn watch(slot: Arc<Slot>, limit: Duration) {
    loop {
        let seen = slot.lock().turn;
        tokio::time::sleep(limit).await;
        if let Some(body) = slot.unread_since(seen) {
            drop(body);
            return;
        }
    }
}

struct Slot(Mutex<State>);

struct State {
    /// `None` once it was given up.
    body: Option<BoxBody>,
    /// How often somebody has asked for more.
    turn: u64,
    /// Whether the next step is the caller's: a piece was handed out, and it has not come for another.
    is_callers: bool,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body, if the caller has had its turn since then and did nothing.
    fn unread_since(&self, turn: u64) -> Option<BoxBody> {
        let mut state = self.lock();
        if state.is_callers && state.turn == turn { state.body.take() } else { None }
    }
}

struct Unread {
    slot: Arc<Slot>,
    watch: AbortHandle,
    limit: Duration,
}

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.slot.lock();
        let Some(body) = &mut state.body else {
            return Poll::Ready(Some(Err(LeftUnread(self.limit).into())));
        };
        let polled = body.as_mut().poll_frame(cx);
        state.turn += 1;
        state.is_callers = polled.is_ready();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.slot.lock().body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.slot.lock().body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
