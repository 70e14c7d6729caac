//! Which entries a write has made untrue.
//!
//! A group has a counter per tenant, its epoch. A write moves it; an entry remembers what it was when its
//! fetch began. So forgetting any number of entries is one addition, and it also reaches fetches that are
//! still on their way.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// The epochs of all groups of all tenants.
#[derive(Debug)]
pub struct Epochs {
    counters: Vec<AtomicU64>,
    groups: usize,
    /// For routes that obey the origin: one for many URLs, found by their hash. That two share one only means
    /// that a write to either forgets both.
    urls: Vec<AtomicU64>,
    hasher: RandomState,
}

const URL_COUNTERS: usize = 4096;

impl Epochs {
    /// All at zero.
    pub fn new(tenants: usize, groups: usize) -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            counters: zeros(tenants * groups),
            groups,
            urls: zeros(URL_COUNTERS),
            hasher: RandomState::new(),
        }
    }

    /// The epoch of several groups together: their sum, which changes whenever one of them does.
    pub fn current(&self, tenant: usize, groups: &[usize]) -> u64 {
        groups.iter().map(|group| self.counter(tenant, *group).load(Ordering::Acquire)).sum()
    }

    /// Makes all entries of these groups untrue.
    pub fn advance(&self, tenant: usize, groups: &[usize]) {
        for group in groups {
            self.counter(tenant, *group).fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The epoch of one URL.
    pub fn of_url(&self, tenant: usize, path_and_query: &str) -> u64 {
        self.url(tenant, path_and_query).load(Ordering::Acquire)
    }

    /// Makes the entries of one URL untrue.
    pub fn advance_url(&self, tenant: usize, path_and_query: &str) {
        self.url(tenant, path_and_query).fetch_add(1, Ordering::AcqRel);
    }

    fn url(&self, tenant: usize, path_and_query: &str) -> &AtomicU64 {
        let hash = self.hasher.hash_one((tenant, path_and_query));
        &self.urls[usize::try_from(hash % URL_COUNTERS as u64).expect("less than 4096")]
    }

    fn counter(&self, tenant: usize, group: usize) -> &AtomicU64 {
        &self.counters[tenant * self.groups + group]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_one_tenant_leaves_the_others_alone() {
        let epochs = Epochs::new(2, 3);
        epochs.advance(1, &[0, 2]);
        assert_eq!(epochs.current(0, &[0, 1, 2]), 0);
        assert_eq!(epochs.current(1, &[0, 1, 2]), 2);
        assert_eq!(epochs.current(1, &[1]), 0);
    }
}
