//! Fixed-size stand-ins for keys.
//!
//! A key can be as long as a request's target and headers, so a memory that is bounded by the number of its keys is
//! not bounded in bytes. A digest has 16 bytes whatever its key has. Two keys may share one (with a chance of about
//! 2^-128 for each pair, by a key that is drawn anew for each process), so a digest must never decide whose bytes are
//! served: it only serves memories in which a mistaken match costs no more than a fetch.

use std::hash::{BuildHasher, RandomState};

/// Stands for a key.
pub(super) type Digest = u128;

/// Computes the digests of one memory.
#[derive(Debug, Default)]
pub(super) struct Digests {
    high: RandomState,
    low: RandomState,
}

impl Digests {
    pub(super) fn of(&self, key: &[u8]) -> Digest {
        u128::from(self.high.hash_one(key)) << 64 | u128::from(self.low.hash_one(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_differ_by_key_and_by_memory_and_in_both_halves() {
        let (one, other) = (Digests::default(), Digests::default());
        let halves = |digest: Digest| (digest >> 64, digest & u128::from(u64::MAX));
        assert_eq!(one.of(b"/a"), one.of(b"/a"));
        for different in [one.of(b"/b"), other.of(b"/a")] {
            assert_ne!(halves(one.of(b"/a")).0, halves(different).0);
            assert_ne!(halves(one.of(b"/a")).1, halves(different).1);
        }
        assert_ne!(halves(one.of(b"/a")).0, halves(one.of(b"/a")).1);
    }
}
