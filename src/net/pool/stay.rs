//! Whether a connection stays.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What is known of a connection's place, to whoever holds the pool's.
#[derive(Default)]
pub(super) struct Stay {
    is_leaving: AtomicBool,
    has_ended: AtomicBool,
    /// How many bytes of the budget of memory its buffer takes.
    buffer: AtomicUsize,
}

impl Stay {
    /// Notes how many bytes of the budget of memory its buffer takes.
    pub(super) fn note_buffer(&self, bytes: usize) {
        self.buffer.store(bytes, Ordering::Relaxed);
    }

    /// Whether its buffer takes any of the budget of memory.
    pub(super) fn has_long_buffer(&self) -> bool {
        self.buffer.load(Ordering::Relaxed) > 0
    }

    /// The connection is let go: its place will be free.
    pub(super) fn leave(&self, leaving: &mut usize) {
        let is_news =
            !self.has_ended.load(Ordering::Relaxed) && !self.is_leaving.swap(true, Ordering::Relaxed);
        *leaving += usize::from(is_news);
    }

    /// The connection has ended: its place is free.
    pub(super) fn end(&self, leaving: &mut usize) {
        *leaving -= usize::from(self.is_leaving.load(Ordering::Relaxed));
        self.has_ended.store(true, Ordering::Relaxed);
    }
}
