//! Which entries a write has made untrue.
//!
//! A group has a counter per tenant, its epoch. A write moves it; an entry remembers what it was when its
//! fetch began. So forgetting any number of entries is one addition, and it also reaches fetches that are
//! still on their way. In the same way a write moves the counter of its URL (RFC 9111 section 4.4).

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use super::spelling;

/// The epochs of all groups and URLs of all tenants.
#[derive(Debug)]
pub struct Epochs {
    counters: Vec<AtomicU64>,
    groups: usize,
    /// One counter for many URLs, found by their hash. That two URLs share one only means that a write to either
    /// invalidates both.
    urls: Vec<AtomicU64>,
    /// For each tenant, of all its URLs.
    all_urls: Vec<AtomicU64>,
    hasher: RandomState,
}

/// The counter of a URL, found once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UrlSlot(usize);

const URL_COUNTERS: usize = 16 * 1024;

impl Epochs {
    /// All at zero.
    pub fn new(tenants: usize, groups: usize) -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            counters: zeros(tenants * groups),
            groups,
            urls: zeros(URL_COUNTERS),
            all_urls: zeros(tenants),
            hasher: RandomState::default(),
        }
    }

    /// The epoch of several groups and a URL together: their sum, which changes whenever one of them does.
    pub fn current(&self, tenant: usize, groups: &[usize], url: UrlSlot) -> u64 {
        let of_groups = groups.iter().map(|group| self.counter(tenant, *group).load(Ordering::Acquire));
        let of_url = self.urls[url.0].load(Ordering::Acquire);
        of_groups.sum::<u64>() + of_url + self.all_urls[tenant].load(Ordering::Acquire)
    }

    /// Makes all entries of these groups untrue.
    pub fn advance(&self, tenant: usize, groups: &[usize]) {
        for group in groups {
            self.counter(tenant, *group).fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The counter of a URL that begins with this path; the same for all spellings that mean the same to Zoho.
    pub fn url(&self, tenant: usize, path: &str, path_and_query: &str) -> UrlSlot {
        let hash = self.hasher.hash_one((tenant, spelling::of_url(path, path_and_query).as_bytes()));
        UrlSlot(usize::try_from(hash % URL_COUNTERS as u64).expect("less than 16384"))
    }

    /// Makes the entries of one URL untrue, in all their variants.
    pub fn advance_url(&self, url: UrlSlot) {
        self.urls[url.0].fetch_add(1, Ordering::AcqRel);
    }

    /// Makes the entries of all URLs of a tenant untrue.
    pub fn advance_all_urls(&self, tenant: usize) {
        self.all_urls[tenant].fetch_add(1, Ordering::AcqRel);
    }

    fn counter(&self, tenant: usize, group: usize) -> &AtomicU64 {
        &self.counters[tenant * self.groups + group]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: UrlSlot = UrlSlot(0);

    #[test]
    fn a_write_of_one_tenant_leaves_the_others_alone() {
        let epochs = Epochs::new(2, 3);
        epochs.advance(1, &[0, 2]);
        epochs.advance_all_urls(1);
        assert_eq!(epochs.current(0, &[0, 1, 2], NOWHERE), 0);
        assert_eq!(epochs.current(1, &[0, 1, 2], NOWHERE), 3);
        assert_eq!(epochs.current(1, &[1], NOWHERE), 1);
    }

    #[test]
    fn a_write_moves_the_epoch_of_its_url_in_every_spelling_and_of_no_other() {
        let epochs = Epochs::new(2, 0);
        let of_tenant = |tenant, text: &str| epochs.url(tenant, text.split('?').next().unwrap(), text);
        let url = |text: &str| of_tenant(0, text);
        for (one, other) in [
            ("/a/?x=1", "/a?x=1"),
            ("/a//", "/a"),
            ("/a/%7euser?x=%c3%a9", "/a/~user?x=%C3%A9"),
            ("/%61", "/a"),
            ("/a%zz%2", "/a%zz%2"),
            ("/a%+1", "/a%+1"),
        ] {
            assert_eq!(url(one), url(other), "{one}");
        }
        epochs.advance_url(url("/%61"));
        assert_eq!(epochs.current(0, &[], url("/a")), 1);
        let moved = (0..1_000).filter(|n| epochs.current(0, &[], url(&format!("/b{n}"))) > 0);
        assert!(moved.count() < 10, "few share its counter");
        let of_another_tenant = (2..1_000).filter(|n| of_tenant(*n, "/a") == url("/a"));
        assert!(of_another_tenant.count() < 10);
    }
}
