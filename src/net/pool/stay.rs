//! Whether a connection stays.

use std::sync::atomic::{AtomicBool, Ordering};

/// What is known of a connection's place, to whoever holds the pool's.
#[derive(Default)]
pub(super) struct Stay {
    is_leaving: AtomicBool,
    has_ended: AtomicBool,
    /// Whether its read buffer takes some of the memory budget.
    has_long_buffer: AtomicBool,
}

impl Stay {
    /// Notes whether its read buffer takes some of the memory budget.
    pub(super) fn note_long_buffer(&self, is_long: bool) {
        self.has_long_buffer.store(is_long, Ordering::Relaxed);
    }

    /// Whether its read buffer takes some of the memory budget.
    pub(super) fn has_long_buffer(&self) -> bool {
        self.has_long_buffer.load(Ordering::Relaxed)
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
