//! How many calls may be under way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::zoho::edition::Edition;

/// How many complex calls may be under way at once, in every edition.
const COMPLEX: usize = 10;

/// Counts calls under way, and refuses those beyond the limit if told so.
pub(in crate::emulator) struct Gate {
    limit: usize,
    enforced: bool,
    all: Arc<AtomicUsize>,
    complex: Arc<AtomicUsize>,
    peak: AtomicUsize,
}

/// A call under way, until the last byte of its answer is sent; gives its slot back when dropped.
pub(in crate::emulator) struct UnderWay {
    counters: Vec<Arc<AtomicUsize>>,
}

impl Gate {
    pub(super) fn new(edition: Edition, enforced: bool) -> Self {
        Self {
            limit: edition.concurrent_calls(),
            enforced,
            all: Arc::default(),
            complex: Arc::default(),
            peak: AtomicUsize::new(0),
        }
    }

    /// Lets a call in, or `None` if there are too many.
    pub(in crate::emulator) fn enter(&self, is_complex: bool) -> Option<UnderWay> {
        let mut under_way = UnderWay { counters: vec![Arc::clone(&self.all)] };
        let all = self.all.fetch_add(1, Ordering::SeqCst) + 1;
        let mut fits = all <= self.limit;
        if is_complex {
            under_way.counters.push(Arc::clone(&self.complex));
            fits &= self.complex.fetch_add(1, Ordering::SeqCst) < COMPLEX;
        }
        if self.enforced && !fits {
            return None;
        }
        self.peak.fetch_max(all, Ordering::SeqCst);
        Some(under_way)
    }

    /// Forgets how many there were at once; those under way stay so.
    pub(super) fn forget_peak(&self) {
        self.peak.store(0, Ordering::SeqCst);
    }

    /// How many calls were let in at once at most.
    pub(in crate::emulator) fn peak(&self) -> usize {
        self.peak.load(Ordering::SeqCst)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        for counter in &self.counters {
            counter.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_beyond_the_edition_are_refused_until_one_ends() {
        let gate = Gate::new(Edition::Free, true);
        let mut under_way: Vec<_> = (0..5).map(|_| gate.enter(false).unwrap()).collect();
        assert!(gate.enter(false).is_none());
        under_way.pop();
        assert!(gate.enter(false).is_some());
        assert_eq!(gate.peak(), 5);
    }

    #[test]
    fn complex_calls_have_a_limit_of_their_own() {
        let gate = Gate::new(Edition::Ultimate, true);
        let under_way: Vec<_> = (0..COMPLEX).map(|_| gate.enter(true).unwrap()).collect();
        assert!(gate.enter(true).is_none());
        assert!(gate.enter(false).is_some());
        drop(under_way);
        assert!(gate.enter(true).is_some());
    }

    #[test]
    fn a_gate_that_only_counts_refuses_nobody() {
        let gate = Gate::new(Edition::Free, false);
        let under_way: Vec<_> = (0..9).map(|_| gate.enter(false).unwrap()).collect();
        assert_eq!((under_way.len(), gate.peak()), (9, 9));
    }
}
