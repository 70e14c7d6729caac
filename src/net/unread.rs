//! Answers that their caller does not read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::body::{Body, BoxBody, BoxError};
use crate::supervisor::Supervisor;

/// The caller left its answer unread for too long, and the answer was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer was left unread for {0:?}")]
struct LeftUnread(Duration);

/// What lies written and unread per stream of HTTP/2. hyper would take some 400 KiB, for each of the many streams of a
/// caller that promises to read and does not.
pub const HTTP2_SEND_BUFFER: usize = 64 * 1024;

/// What of a long answer is handed out at once: a frame of HTTP/2 (RFC 9113 section 4.2). Whoever reads so much within the
/// limit of time is seen to read.
pub const PIECE: usize = 16 * 1024;

/// Gives a body up that nobody asks for more of within `limit` (or twice that, at most).
///
/// Of a stream of HTTP/2 whose caller opens no window one piece is asked for and no more, while the connection is well and
/// answers pings: neither the limits of the body nor those of the connection would ever end it. The stream itself stays
/// until its caller reads on and finds it reset, or leaves; what it held, a call to Zoho above all, is free. So are bytes
/// in memory, if they are more than [`HTTP2_SEND_BUFFER`]: fewer are out of our hands as soon as they are asked for.
pub fn given_up_when_unread(body: Body, limit: Duration, supervisor: &Supervisor) -> Body {
    let body = match body {
        Body::Stream(body) if !body.is_end_stream() => body,
        Body::Full(Some(bytes)) if bytes.len() > HTTP2_SEND_BUFFER => Box::pin(Pieces(bytes)),
        short => return short,
    };
    let slot = Arc::new(Slot(Mutex::new(State { body: Some(body), turn: 0, is_callers: true })));
    let watch = supervisor.once("unread-answers", watch(slot.clone(), limit));
    Body::stream(Unread { slot, watch, limit })
}

/// Bytes in memory in copied pieces: a part of them that waits to be written would keep all of them.
struct Pieces(Bytes);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let most = self.0.len().min(PIECE);
        let piece = self.0.split_to(most);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(Bytes::copy_from_slice(&piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    const LIMIT: Duration = Duration::from_secs(60);

    fn long() -> Bytes {
        (0..=3 * HTTP2_SEND_BUFFER).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn long_bytes_that_are_read_arrive_whole() {
        let body = given_up_when_unread(Body::full(long()), LIMIT, &Supervisor::unobserved());
        assert_eq!(body.size_hint().exact(), Some(long().len() as u64));
        assert_eq!(body.collect().await.unwrap().to_bytes(), long());
    }

    #[tokio::test(start_paused = true)]
    async fn long_bytes_that_are_left_unread_are_free_though_a_piece_of_them_waits() {
        let bytes = long();
        let mut body = given_up_when_unread(Body::full(bytes.clone()), LIMIT, &Supervisor::unobserved());
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(piece, bytes[..PIECE]);
        assert!(!bytes.is_unique(), "the body has them");
        tokio::time::sleep(LIMIT * 2).await;
        assert!(bytes.is_unique(), "nobody has them any more");
        assert!(body.frame().await.unwrap().unwrap_err().is::<LeftUnread>());
        drop(piece);
    }

    #[tokio::test(start_paused = true)]
    async fn short_bytes_stay_as_they_are() {
        let short = Bytes::from(vec![1; HTTP2_SEND_BUFFER]);
        let Body::Full(Some(same)) =
            given_up_when_unread(Body::full(short.clone()), LIMIT, &Supervisor::unobserved())
        else {
            panic!("they were wrapped")
        };
        assert_eq!(same.as_ptr(), short.as_ptr());
    }
}
