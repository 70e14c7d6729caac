//! Copies of a worker's own of what it serves most, so that a hit writes to nothing that other workers share.
//!
//! moka notes each look-up in a queue of all threads, and an entry, its bytes and each of its header values are counted
//! by whoever holds them: with many cores these counts would be what hits wait for. A copy is good for as long as the
//! stamp of its key has not moved; whoever changes what is stored under a key moves it.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use super::entry::Entry;

/// How many entries a worker has copies of, at most.
const PLACES: usize = 64;
/// A longer one is not copied: counting is nothing beside sending so much.
const MOST_BYTES: usize = 8 * 1024;
/// Nor is one that weighs more with its head and key, which bounds the copies of a worker to 2 MiB.
const MOST_WEIGHT: u32 = 32 * 1024;
/// Every so many-th time the store is asked nevertheless: it keeps what it knows to be wanted.
const TOLD_EVERY: u32 = 32;
/// That two keys share a stamp only means that a copy is made anew now and then.
const STAMPS: usize = 4096;

/// The stamps of all keys, and how a worker finds its copies.
#[derive(Debug)]
pub(super) struct Near {
    /// Tells the copies of this cache from those of another in the same thread.
    cache: u64,
    stamps: Box<[Stamp]>,
    hasher: RandomState,
}

/// How often what is stored under some keys has changed.
#[derive(Debug, Default)]
pub(super) struct Stamp(AtomicU64);

impl Stamp {
    /// What is stored has changed. Called when it has, so that no copy of what was before is made after it.
    pub(super) fn move_on(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[derive(Default)]
struct Place {
    /// Whose turn it is if it asks again before the copy was asked for.
    next: u64,
    copy: Option<Copy>,
}

struct Copy {
    cache: u64,
    key: Box<[u8]>,
    stamp: u64,
    entry: Arc<Entry>,
    uses: u32,
}

thread_local! {
    static PLACES_OF_THREAD: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
}

impl Near {
    pub(super) fn new() -> Self {
        static CACHES: AtomicU64 = AtomicU64::new(0);
        Self {
            cache: CACHES.fetch_add(1, Ordering::Relaxed),
            stamps: (0..STAMPS).map(|_| Stamp::default()).collect(),
            hasher: RandomState::default(),
        }
    }

    /// What is stored under a key: the worker's own copy, or what `store` has.
    pub(super) fn find(&self, key: &[u8], store: impl Fn() -> Option<Arc<Entry>>) -> Option<Arc<Entry>> {
        let hash = self.hasher.hash_one(key);
        // Read before the store is: a change that comes in between makes the copy a bad one.
        let stamp = self.stamp(hash).0.load(Ordering::Acquire);
        PLACES_OF_THREAD.with_borrow_mut(|places| {
            places.resize_with(PLACES, Place::default);
            let place = &mut places[usize::try_from(hash % PLACES as u64).expect("less than 64")];
            if let Some(copy) = &mut place.copy
                && copy.stamp == stamp
                && copy.cache == self.cache
                && *copy.key == *key
            {
                place.next = 0;
                copy.uses += 1;
                let entry = copy.entry.clone();
                if copy.uses % TOLD_EVERY == 0 && store().is_none() {
                    // It made room for others; who asks next fetches it.
                    place.copy = None;
                }
                return Some(entry);
            }
            let entry = store()?;
            if place.next == hash
                && entry.body().len() <= MOST_BYTES
                && entry.weight(key.len()) <= MOST_WEIGHT
            {
                let (cache, key, copied) = (self.cache, key.into(), Arc::new(entry.copied()));
                place.copy = Some(Copy { cache, key, stamp, entry: copied, uses: 0 });
            }
            place.next = hash;
            Some(entry)
        })
    }

    /// What is stored may have changed under any key. Of what the store had no room for there may be copies yet, which
    /// nobody finds who goes through the store.
    pub(super) fn change_all(&self) {
        self.stamps.iter().for_each(Stamp::move_on);
    }

    /// The stamp of a key.
    pub(super) fn stamp_of(&self, key: &[u8]) -> &Stamp {
        self.stamp(self.hasher.hash_one(key))
    }

    fn stamp(&self, hash: u64) -> &Stamp {
        &self.stamps[usize::try_from((hash >> 32) % STAMPS as u64).expect("less than 4096")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::Fetched;
    use crate::cache::rule::Rule;
    use crate::clock::Clock;
    use http::StatusCode;
    use std::cell::Cell;
    use std::time::Duration;

    fn entry(body: &'static str) -> Arc<Entry> {
        let rule = Rule::lasting(Duration::from_mins(1));
        let now = Clock::system().boot_time();
        Arc::new(Entry::new(&rule, 0, Fetched::plain(StatusCode::OK, body, now, 0)))
    }

    /// A store of one entry that counts how often it is asked.
    struct Store {
        entry: RefCell<Option<Arc<Entry>>>,
        asked: Cell<u32>,
    }

    impl Store {
        fn of(body: &'static str) -> Self {
            Self { entry: RefCell::new(Some(entry(body))), asked: Cell::new(0) }
        }

        fn look(&self, near: &Near, key: &[u8]) -> Option<String> {
            let found = near.find(key, || {
                self.asked.set(self.asked.get() + 1);
                self.entry.borrow().clone()
            });
            found.map(|entry| String::from_utf8(entry.body().to_vec()).unwrap())
        }
    }

    #[tokio::test]
    async fn what_is_asked_again_is_copied_and_the_store_is_told_now_and_then() {
        let (near, store) = (Near::new(), Store::of("1"));
        for _ in 0..2 + 10 * TOLD_EVERY {
            assert_eq!(store.look(&near, b"/a").as_deref(), Some("1"));
        }
        assert_eq!(store.asked.get(), 2 + 10);
        let own = near.find(b"/a", || unreachable!("there is a copy")).unwrap();
        let stored = store.entry.borrow().clone().unwrap();
        assert_ne!(own.body().as_ptr(), stored.body().as_ptr(), "the bytes are the worker's own");
        assert_eq!(own.head(), stored.head());
    }

    #[tokio::test]
    async fn a_change_is_seen_at_once() {
        let (near, store) = (Near::new(), Store::of("1"));
        for body in ["1", "2", "3"] {
            *store.entry.borrow_mut() = Some(entry(body));
            near.stamp_of(b"/a").move_on();
            for _ in 0..5 {
                assert_eq!(store.look(&near, b"/a").as_deref(), Some(body));
            }
        }
        *store.entry.borrow_mut() = None;
        near.stamp_of(b"/a").move_on();
        assert_eq!(store.look(&near, b"/a"), None);
    }

    #[tokio::test]
    async fn what_the_store_had_no_room_for_is_not_kept_for_ever() {
        let (near, store) = (Near::new(), Store::of("1"));
        (0..10).for_each(|_| assert!(store.look(&near, b"/a").is_some()));
        *store.entry.borrow_mut() = None;
        let served = (0..100).filter(|_| store.look(&near, b"/a").is_some()).count();
        assert!(served <= TOLD_EVERY as usize, "{served}");
    }

    #[tokio::test]
    async fn keys_and_caches_are_told_apart_even_where_they_share_a_place() {
        let (one, other) = (Near::new(), Near::new());
        let keys: Vec<String> = (0..500).map(|n| format!("/{n}")).collect();
        for _ in 0..4 {
            for key in &keys {
                let stored = |of: &'static str| move || Some(entry(of));
                assert_eq!(one.find(key.as_bytes(), stored("one")).unwrap().body(), "one");
                assert_eq!(other.find(key.as_bytes(), stored("other")).unwrap().body(), "other");
            }
        }
    }

    #[tokio::test]
    async fn a_long_entry_is_not_copied() {
        let (near, store) = (Near::new(), Store::of(""));
        *store.entry.borrow_mut() = Some(entry("x".repeat(MOST_BYTES + 1).leak()));
        (0..10).for_each(|_| assert!(store.look(&near, b"/a").is_some()));
        assert_eq!(store.asked.get(), 10);
    }

    #[tokio::test]
    async fn an_entry_with_a_long_key_is_not_copied() {
        let (near, store) = (Near::new(), Store::of("1"));
        let long = vec![b'x'; MOST_WEIGHT as usize];
        (0..10).for_each(|_| assert!(store.look(&near, &long).is_some()));
        assert_eq!(store.asked.get(), 10);
    }
}
