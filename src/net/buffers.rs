//! How much memory the bodies on their way may take together.
//!
//! Each body may have [`OWN`] bytes in each place that holds some of it, so that it always gets on. Everything beyond
//! comes out of one budget of the process: while that has room bodies are read in long pieces, which costs less CPU per
//! byte, and when it is used up they go through in short ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

/// What a body may hold without asking.
pub const OWN: usize = 16 * 1024;

/// How much of one body is read ahead of whoever it is for, or waits to be written, while the budget has room.
const MOST_PER_BODY: usize = 256 * 1024;

/// The budget of a process. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Buffers(Arc<Inner>);

/// Bodies on their way to one reader get three quarters of the budget, so that callers that do not read cannot keep the
/// cache from storing what many callers wait for.
#[derive(Debug)]
struct Inner {
    limit: usize,
    streamed: AtomicUsize,
    stored: AtomicUsize,
    /// Of all responses that were read to be stored and still are somewhere.
    entries: AtomicUsize,
    /// How much of those the cache accounts for.
    cached: AtomicUsize,
}

/// What bytes are held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// They are on their way to one reader, and could go in shorter pieces.
    Stream,
    /// They are read to be stored in the cache, whole or not at all.
    Store,
    /// They have been read to be stored. What is more of these than the cache may hold was not stored, or was evicted, and is
    /// still on its way to somebody.
    Entry,
}

impl Inner {
    fn streamed_limit(&self) -> usize {
        self.limit / 4 * 3
    }

    fn counter(&self, purpose: Purpose) -> &AtomicUsize {
        match purpose {
            Purpose::Stream => &self.streamed,
            Purpose::Store => &self.stored,
            Purpose::Entry => &self.entries,
        }
    }

    /// What is held beside the bodies that are streamed.
    fn stored(&self) -> usize {
        let beside_cache = self.entries.load(Relaxed).saturating_sub(self.cached.load(Relaxed));
        self.stored.load(Relaxed) + beside_cache
    }

    /// How many more bytes may be taken.
    fn left(&self, purpose: Purpose) -> usize {
        let (streamed, stored) = (self.streamed.load(Relaxed), self.stored());
        let limit = self.streamed_limit();
        match purpose {
            Purpose::Stream => {
                limit.saturating_sub(streamed).min(self.limit.saturating_sub(streamed + stored))
            }
            // Streams may have overdrawn their share.
            Purpose::Store | Purpose::Entry => self.limit.saturating_sub(streamed.min(limit) + stored),
        }
    }
}

impl Buffers {
    /// A budget of so many bytes.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit,
            streamed: AtomicUsize::new(0),
            stored: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
            cached: AtomicUsize::new(usize::MAX),
        }))
    }

    /// Counts responses that were read to be stored as far as they are more than a cache may hold.
    pub fn beside_cache(&self, bytes: u64) {
        self.0.cached.store(usize::try_from(bytes).unwrap_or(usize::MAX), Relaxed);
    }

    /// How long a response may be that is read to be stored, while bodies on their way take all that they may.
    pub fn most_to_store(&self) -> usize {
        (self.0.limit - self.0.streamed_limit()).max(OWN)
    }

    /// How many bytes are in use. They may be a few more than the budget has: a piece that is in memory already is
    /// counted, not thrown away.
    pub fn used(&self) -> usize {
        self.0.streamed.load(Relaxed) + self.0.stored()
    }

    /// Whether a body that holds so much on its way to one reader may take another piece.
    pub fn have_room_for_more(&self, held: usize) -> bool {
        held <= OWN || self.have_room_for_long(held)
    }

    /// The same, beyond what each body may have.
    pub fn have_room_for_long(&self, held: usize) -> bool {
        held <= MOST_PER_BODY && self.0.left(Purpose::Stream) > 0
    }

    /// Whether so much is left that what nobody uses at the moment may be kept.
    pub fn are_mostly_free(&self) -> bool {
        self.used() <= self.0.limit / 4
    }

    /// Nothing reserved yet.
    pub fn reservation(&self, purpose: Purpose) -> Reservation {
        Reservation { buffers: self.clone(), purpose, bytes: 0 }
    }

    /// The same bytes, counted until the last clone or slice of them is dropped. Few are not counted.
    pub fn hold(&self, bytes: Bytes) -> Bytes {
        if bytes.len() <= OWN {
            return bytes;
        }
        let mut reservation = self.reservation(Purpose::Stream);
        reservation.set(bytes.len());
        reservation.hold(bytes)
    }
}

/// A part of the budget, given back on drop.
#[derive(Debug)]
pub struct Reservation {
    buffers: Buffers,
    purpose: Purpose,
    bytes: usize,
}

impl Reservation {
    /// How many bytes are reserved.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The budget that it is a part of.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// The same bytes, held for another purpose.
    #[must_use]
    pub fn becomes(mut self, purpose: Purpose) -> Self {
        let mut other = self.buffers.reservation(purpose);
        other.set(self.bytes);
        self.set(0);
        other
    }

    /// Reserves exactly so many bytes, if the budget has room for those that are more, or if they are no more than each
    /// body may have.
    ///
    /// Two that ask at the same moment may both get the last of it.
    pub fn try_set(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let fits = bytes <= OWN || more == 0 || more <= self.buffers.0.left(self.purpose);
        if fits {
            self.set(bytes);
        }
        fits
    }

    /// Reserves as many bytes as there are, up to so many, and leaves half of the budget to others.
    pub fn set_up_to_half(&mut self, bytes: usize) -> usize {
        self.set(self.bytes.min(bytes));
        let left = (self.buffers.0.limit / 2).saturating_sub(self.buffers.used());
        self.set(self.bytes + (bytes - self.bytes).min(left));
        self.bytes
    }

    /// Reserves exactly so many bytes: they are in memory already.
    pub fn set(&mut self, bytes: usize) {
        let used = self.buffers.0.counter(self.purpose);
        if bytes > self.bytes {
            used.fetch_add(bytes - self.bytes, Relaxed);
        } else if bytes < self.bytes {
            used.fetch_sub(self.bytes - bytes, Relaxed);
        }
        self.bytes = bytes;
    }

    /// The same bytes, with the reservation until the last clone or slice of them is dropped. Few are not counted.
    pub fn hold(self, bytes: Bytes) -> Bytes {
        if self.bytes <= OWN {
            return bytes;
        }
        Bytes::from_owner(Held { bytes, _reservation: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.set(0);
    }
}

struct Held {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_take_three_quarters_and_what_is_stored_gets_the_rest() {
        let buffers = Buffers::new(100 * OWN);
        let [mut first, mut second] = [Purpose::Stream; 2].map(|purpose| buffers.reservation(purpose));
        let mut stored = buffers.reservation(Purpose::Store);
        assert!(first.try_set(60 * OWN));
        assert!(!second.try_set(16 * OWN));
        assert!(second.try_set(15 * OWN));
        first.set(90 * OWN);
        assert!(stored.try_set(25 * OWN), "streams that took more than their share take nothing of this");
        assert!(!stored.try_set(26 * OWN));
        drop((first, second));
        assert!(stored.try_set(100 * OWN), "nothing else has any");
        assert!(!buffers.have_room_for_more(OWN + 1));
        drop(stored);
        assert!(buffers.have_room_for_more(OWN + 1));
        assert_eq!(buffers.used(), 0);
    }

    #[test]
    fn responses_beside_the_cache_take_of_what_is_kept_for_those_to_be_stored() {
        let buffers = Buffers::new(100 * OWN);
        buffers.beside_cache(30 * OWN as u64);
        let entry = || {
            let mut read = buffers.reservation(Purpose::Store);
            read.set(20 * OWN);
            read.becomes(Purpose::Entry).hold(Bytes::from(vec![7; 20 * OWN]))
        };
        let first = entry();
        assert_eq!(buffers.used(), 0, "the cache accounts for it");
        let second = entry();
        assert_eq!(buffers.used(), 10 * OWN);
        assert!(buffers.reservation(Purpose::Store).try_set(90 * OWN));
        assert!(!buffers.reservation(Purpose::Store).try_set(91 * OWN));
        drop(first);
        assert_eq!(buffers.used(), 0);
        drop(second);
    }

    #[test]
    fn half_of_the_budget_is_left_to_others() {
        let buffers = Buffers::new(100 * OWN);
        let [mut first, mut second] = [Purpose::Stream; 2].map(|purpose| buffers.reservation(purpose));
        assert!(first.try_set(60 * OWN));
        assert_eq!(second.set_up_to_half(60 * OWN), 0, "more than half is in use");
        assert!(first.try_set(20 * OWN));
        assert_eq!(second.set_up_to_half(60 * OWN), 30 * OWN);
        assert_eq!(second.set_up_to_half(10), 10);
    }

    #[test]
    fn each_body_has_its_own_16_kib_and_they_count() {
        let buffers = Buffers::new(0);
        let mut first = buffers.reservation(Purpose::Stream);
        assert!(first.try_set(OWN));
        assert!(!first.try_set(OWN + 1));
        assert_eq!(buffers.used(), OWN);
    }

    #[test]
    fn held_bytes_count_until_the_last_slice_of_them_is_gone() {
        let buffers = Buffers::new(100);
        let mut held = buffers.hold(Bytes::from(vec![7; OWN + 1]));
        assert_eq!(buffers.used(), OWN + 1, "they are there, though they are too many");
        let slice = held.split_to(1);
        drop(held);
        assert_eq!(buffers.used(), OWN + 1);
        drop(slice);
        assert_eq!(buffers.used(), 0);
        assert_eq!(buffers.hold(Bytes::from(vec![7; OWN])).len(), OWN);
        assert_eq!(buffers.used(), 0);
    }
}
