//! Reading a body ahead of whoever it is for, so that its sender is done with it soon.
//!
//! What is there when the head is there is taken at once; a body that has then ended needs nothing more. Any other is
//! read by a task of its own: up to 256 KiB ahead while the process has memory for it, 16 KiB when it has
//! not. The body itself, with whatever guards it holds, is dropped as soon as its last byte is in memory.

mod ahead;
mod reading;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::sleep;

use super::body::{Body, BoxError};
use super::buffers::{Buffers, OWN};
use super::paced::BrokenOff;
use super::pieces::Pieces;
use crate::causes::with_causes;
use crate::supervisor::Supervisor;
use ahead::{Ahead, End};
use reading::{OfUnknownLength, ReadAhead};

/// Whom a body is read for.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// How many bytes it is handed at once.
    pub piece: usize,
    /// How long the whole may take, for messages.
    pub total: Duration,
    /// How much of that time is left.
    pub left: Duration,
}

/// Takes what is there of a body, and has the rest read by a task.
pub async fn read_ahead(mut body: Body, reader: Reader, buffers: &Buffers, supervisor: &Supervisor) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    if matches!(body, Body::Full(_)) {
        return body;
    }
    let left = body.size_hint();
    let (mut there, mut may_wait) = (Pieces::default(), true);
    let found = std::future::poll_fn(|cx| poll_take(&mut there, &mut body, &mut may_wait, buffers, cx)).await;
    let end = match found {
        Found::Whole if there.bytes() <= reader.piece && (there.is_one() || there.bytes() <= OWN) => {
            let whole = Body::full(buffers.hold(there.join()));
            // A response that came in chunks leaves in chunks: hyper would announce a length that it knows.
            return if left.exact().is_some() { whole } else { Body::stream(OfUnknownLength(whole)) };
        }
        Found::Whole => Some(End::Complete),
        Found::Broken(error) => Some(End::Broken(error)),
        Found::More => None,
    };
    let goes_on = end.is_none();
    let ahead = Ahead::new(there, end, buffers);
    let reading = goes_on.then(|| supervisor.once("read-ahead", read(Reading(ahead.clone()), body, reader)));
    Body::stream(ReadAhead { ahead, left, piece: reader.piece, has_paused: false, reading })
}

enum Found {
    Whole,
    More,
    Broken(BoxError),
}

/// Takes what needs no waiting. After a first piece whoever brings the body gets one turn (`may_wait`) to say that it was
/// the last: that costs far less than a task.
fn poll_take(
    there: &mut Pieces,
    body: &mut Body,
    may_wait: &mut bool,
    buffers: &Buffers,
    cx: &mut Context<'_>,
) -> Poll<Found> {
    loop {
        if !buffers.have_room_for_more(there.bytes()) {
            return Poll::Ready(Found::More);
        }
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    there.push(data);
                }
                if body.is_end_stream() {
                    return Poll::Ready(Found::Whole);
                }
            }
            Poll::Ready(None) => return Poll::Ready(Found::Whole),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Found::Broken(of_this_side(error))),
            Poll::Pending if there.is_empty() || !*may_wait => return Poll::Ready(Found::More),
            Poll::Pending => {
                *may_wait = false;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

/// The task stopped before the end of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reading the body failed")]
struct Stopped;

/// The sender broke the body off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct BrokenOffBySender(String);

/// An error without the code with which the sender has reset its stream of HTTP/2: hyper would reset the reader's with the
/// same, and `REFUSED_STREAM` would tell it that nothing was processed (RFC 9113 section 8.7).
fn of_this_side(error: BoxError) -> BoxError {
    if error.is::<hyper::Error>() { BrokenOffBySender(with_causes(&*error)).into() } else { error }
}

/// What the task fills. Dropped before the end, it breaks the body off, so that its reader does not wait for ever.
struct Reading(Arc<Ahead>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.end.get_or_insert_with(|| End::Broken(Stopped.into()));
        });
    }
}

/// Reads a body to its end, as far ahead as may be.
async fn read(reading: Reading, mut body: Body, reader: Reader) {
    let ahead = &reading.0;
    // The body's own limit of time counts only while it is asked for more.
    let mut late = pin!(sleep(reader.left));
    let end = loop {
        if !ahead.has_room() {
            tokio::select! {
                biased;
                () = ahead.room() => {}
                () = &mut late => break End::Broken(BrokenOff::Total(reader.total).into()),
            }
        }
        match body.frame().await {
            Some(Ok(frame)) => {
                let is_last = body.is_end_stream();
                if let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) {
                    ahead.change(|state| state.pieces.push(data));
                }
                if is_last {
                    break End::Complete;
                }
            }
            Some(Err(error)) => break End::Broken(of_this_side(error)),
            None => break End::Complete,
        }
    };
    // The call to Zoho is over before anybody hears of it.
    drop(body);
    ahead.end(end);
}
