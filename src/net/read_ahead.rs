//! Reading a body ahead of whoever it is for, so that its sender is done with it soon.
//!
//! What is there when the head is there is taken at once; a body that has then ended needs nothing more. Any other is
//! read by a task of its own: up to 256 KiB ahead while the process has memory for it, 16 KiB when it has
//! not. The body itself, with whatever guards it holds, is dropped as soon as its last byte is in memory.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep, timeout};

use super::body::{Body, BoxError};
use super::buffers::{Buffers, OWN, Purpose, Reservation};
use super::paced::BrokenOff;
use super::pieces::Pieces;
use super::unread::LeftUnread;
use crate::supervisor::Supervisor;

/// How often a body that waits for memory looks whether others have left some.
const NEXT_LOOK: Duration = Duration::from_millis(500);

/// Whom a body is read for.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// How many bytes it is handed at once.
    pub piece: usize,
    /// How long it may take nothing.
    pub limit: Duration,
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
    Body::stream(ReadAhead { ahead, left, reader, unread: None, has_paused: false, reading })
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
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Found::Broken(error)),
            Poll::Pending if there.is_empty() || !*may_wait => return Poll::Ready(Found::More),
            Poll::Pending => {
                *may_wait = false;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

/// How a body ended.
enum End {
    Complete,
    Broken(BoxError),
}

/// What was read ahead, and is not written yet.
struct Ahead {
    state: Mutex<State>,
    /// Some of it was taken or written.
    progress: Notify,
    buffers: Buffers,
}

struct State {
    /// What waits to be taken.
    pieces: Pieces,
    /// How many bytes were taken and are not written yet.
    unwritten: usize,
    /// How often some were taken or written.
    turns: u64,
    reservation: Reservation,
    end: Option<End>,
    reader: Option<Waker>,
}

impl Ahead {
    fn new(pieces: Pieces, end: Option<End>, buffers: &Buffers) -> Arc<Self> {
        let reservation = buffers.reservation(Purpose::Stream);
        let mut state = State { pieces, unwritten: 0, turns: 0, reservation, end, reader: None };
        state.count();
        Arc::new(Self { state: Mutex::new(state), progress: Notify::new(), buffers: buffers.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the reader.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.count();
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn end(&self, end: End) {
        self.change(|state| state.end = Some(end));
    }

    /// Whether the next piece may be read.
    fn has_room(&self) -> bool {
        let held = self.lock().held();
        self.buffers.have_room_for_more(held)
    }

    async fn room(&self) {
        while !self.has_room() {
            // Whether it is time or progress that ends the wait, there is something to look at.
            let _ = timeout(NEXT_LOOK, self.progress.notified()).await;
        }
    }
}

impl State {
    /// How many bytes are in memory.
    fn held(&self) -> usize {
        self.pieces.bytes() + self.unwritten
    }

    /// Why the body broke, once. After that it has ended.
    fn take_error(&mut self) -> Option<BoxError> {
        match self.end.replace(End::Complete) {
            Some(End::Broken(error)) => Some(error),
            _ => None,
        }
    }

    fn count(&mut self) {
        let held = self.held();
        self.reservation.set(held);
    }
}

/// The task stopped before the end of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reading the body failed")]
struct Stopped;

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
            Some(Err(error)) => break End::Broken(error),
            None => break End::Complete,
        }
    };
    // The call to Zoho is over before anybody hears of it.
    drop(body);
    ahead.end(end);
}

/// A piece that counts as held until its last byte is written.
struct Taken {
    bytes: Bytes,
    ahead: Arc<Ahead>,
}

impl AsRef<[u8]> for Taken {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.ahead.lock();
        state.unwritten -= self.bytes.len();
        state.turns += 1;
        state.count();
        // A reader that waits for more does not wait for this.
        let reader = if state.unwritten == 0 { state.reader.take() } else { None };
        drop(state);
        self.ahead.progress.notify_one();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// The body as its reader sees it.
struct ReadAhead {
    ahead: Arc<Ahead>,
    /// The bytes that are still to be handed out, as far as they are known.
    left: SizeHint,
    reader: Reader,
    /// The turn after which the reader has taken nothing, and when that is too long ago.
    unread: Option<(u64, Pin<Box<Sleep>>)>,
    /// Whether what goes before an error had a turn to be written.
    has_paused: bool,
    reading: Option<AbortHandle>,
}

impl ReadAhead {
    /// Ready when for too long nothing of what was handed out has been written.
    fn poll_unread(&mut self, turn: u64, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.reader.limit;
        let timer = match &mut self.unread {
            Some((since, timer)) if *since == turn => timer,
            other => &mut other.insert((turn, Box::pin(sleep(limit)))).1,
        };
        timer.as_mut().poll(cx)
    }

    /// Stops reading, and keeps nothing that was not handed out.
    fn give_up(&mut self) {
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
        let mut state = self.ahead.lock();
        let pieces = std::mem::take(&mut state.pieces);
        state.count();
        drop(state);
        drop(pieces);
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        let mut state = self.ahead.lock();
        let bytes = state.pieces.pop(self.reader.piece)?;
        state.unwritten += bytes.len();
        state.turns += 1;
        state.count();
        Some(bytes)
    }

    /// How the body goes on where there is no piece of it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.ahead.lock();
        let (turn, is_unwritten) = (state.turns, state.unwritten > 0);
        if matches!(state.end, Some(End::Complete)) {
            return Poll::Ready(None);
        }
        if matches!(state.end, Some(End::Broken(_))) {
            // hyper drops what it has not written when a body breaks, the head too.
            let had_its_turn = std::mem::replace(&mut self.has_paused, true);
            if !is_unwritten && had_its_turn {
                return Poll::Ready(state.take_error().map(Err));
            }
            if !is_unwritten {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        state.reader = Some(cx.waker().clone());
        drop(state);
        if !is_unwritten {
            self.unread = None;
            return Poll::Pending;
        }
        ready!(self.poll_unread(turn, cx));
        self.give_up();
        let error = self.ahead.lock().take_error();
        Poll::Ready(Some(Err(error.unwrap_or_else(|| LeftUnread(self.reader.limit).into()))))
    }
}

impl HttpBody for ReadAhead {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(bytes) = this.next_piece() else { return this.poll_end(cx) };
        this.left = less(&this.left, bytes.len() as u64);
        let taken = Taken { bytes, ahead: this.ahead.clone() };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(taken)))))
    }

    fn is_end_stream(&self) -> bool {
        let state = self.ahead.lock();
        state.pieces.is_empty() && matches!(state.end, Some(End::Complete))
    }

    fn size_hint(&self) -> SizeHint {
        self.left
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// A body whose length is not announced, and whose end neither.
struct OfUnknownLength(Body);

impl HttpBody for OfUnknownLength {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// The hint without bytes that were handed out.
fn less(hint: &SizeHint, bytes: u64) -> SizeHint {
    let mut left = SizeHint::new();
    left.set_lower(hint.lower().saturating_sub(bytes));
    if let Some(upper) = hint.upper() {
        left.set_upper(upper.saturating_sub(bytes).max(left.lower()));
    }
    left
}
