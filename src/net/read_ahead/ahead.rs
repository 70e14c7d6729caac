//! What was read ahead, between the task that reads and the reader.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::net::body::BoxError;
use crate::net::buffers::{Buffers, Purpose, Reservation};
use crate::net::pieces::Pieces;

/// How often a body that waits for memory looks whether others have left some.
const NEXT_LOOK: Duration = Duration::from_millis(500);

/// How a body ended.
pub(super) enum End {
    Complete,
    Broken(BoxError),
}

/// What was read ahead, and is not written yet.
pub(super) struct Ahead {
    state: Mutex<State>,
    /// Some of it was taken or written.
    progress: Notify,
    buffers: Buffers,
}

pub(super) struct State {
    /// What waits to be taken.
    pub(super) pieces: Pieces,
    /// How many bytes were taken and are not written yet.
    pub(super) unwritten: usize,
    reservation: Reservation,
    pub(super) end: Option<End>,
    pub(super) reader: Option<Waker>,
}

impl Ahead {
    pub(super) fn new(pieces: Pieces, end: Option<End>, buffers: &Buffers) -> Arc<Self> {
        let reservation = buffers.reservation(Purpose::Stream);
        let mut state = State { pieces, unwritten: 0, reservation, end, reader: None };
        state.count();
        Arc::new(Self { state: Mutex::new(state), progress: Notify::new(), buffers: buffers.clone() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the reader.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.count();
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(super) fn end(&self, end: End) {
        self.change(|state| state.end = Some(end));
    }

    /// Whether the next piece may be read.
    pub(super) fn has_room(&self) -> bool {
        let held = self.lock().held();
        self.buffers.have_room_for_more(held)
    }

    pub(super) async fn room(&self) {
        while !self.has_room() {
            // Whether it is time or progress that ends the wait, there is something to look at.
            let _ = timeout(NEXT_LOOK, self.progress.notified()).await;
        }
    }
}

impl State {
    /// How many bytes are in memory.
    pub(super) fn held(&self) -> usize {
        self.pieces.bytes() + self.unwritten
    }

    /// Why the body broke, once. After that it has ended.
    pub(super) fn take_error(&mut self) -> Option<BoxError> {
        match self.end.replace(End::Complete) {
            Some(End::Broken(error)) => Some(error),
            _ => None,
        }
    }

    pub(super) fn count(&mut self) {
        let held = self.held();
        self.reservation.set(held);
    }
}

/// A piece that counts as held until its last byte is written.
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    pub(super) ahead: Arc<Ahead>,
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
