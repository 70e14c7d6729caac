//! What Zoho said, for as long as a rule lets it be repeated.
//!
//! - [`content`]: whether a 200 holds an answer
//! - `digest`: fixed-size stand-ins for keys
//! - [`key`]: what makes two requests the same
//! - [`media`]: the content types that a rule stores
//! - `near`: a worker's own copies of what it serves most
//! - [`origin`]: routes that obey the answer's own headers
//! - [`rule`]: how a route is cached
//! - [`freshness`]: the pure decision: fresh, stale or gone
//! - [`entry`]: what is kept of an answer, and what never is
//! - [`decision`]: what to do about a read: serve, renew, fetch
//! - [`wishes`]: what a caller asks of the cache
//! - [`validator`]: `ETag`, and the conditions that callers put on it
//! - [`purge`]: purging by hand
//! - `spelling`: spellings of a URL that mean the same
//! - [`flight`]: one fetch per key, however many ask
//! - [`vary`]: which request headers select among answers
//! - [`epochs`]: which entries a write has made untrue
//! - [`walk`]: going through all entries
//!
//! moka bounds memory; our own clock decides age. An entry whose epoch has moved is as good as gone, and a
//! fetch that began before the move is never stored. Nor is one that began before a purge that covers it.

pub mod content;
pub mod decision;
mod digest;
mod directives;
pub mod entry;
pub mod epochs;
pub mod flight;
pub mod freshness;
pub mod key;
pub mod media;
mod near;
pub mod origin;
pub mod purge;
pub mod rule;
mod setbacks;
mod spelling;
pub mod validator;
pub mod vary;
mod walk;
pub mod wishes;

use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;
use http::header::HeaderName;
use moka::sync::Cache as Moka;

use crate::clock::BootTime;
use digest::{Digest, Digests};
use entry::Entry;
use epochs::Epochs;
use flight::Flights;
use freshness::Freshness;
use key::Key;
use near::Near;
use purge::{Depth, Purges};
use rule::Rule;
use setbacks::Setbacks;

/// How much is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bound for all entries together, their overhead included.
    pub max_bytes: u64,
    /// A longer answer is passed on and not stored.
    pub max_entry_bytes: usize,
    /// How long a key whose answer could not be stored is fetched without others waiting for it.
    pub uncacheable_for: Duration,
    /// Limit for one shared fetch, from start to the last byte.
    pub fetch_timeout: Duration,
    /// How many bytes the values of one request header may put into a key.
    pub max_key_header_bytes: usize,
}

/// What a look-up found.
#[derive(Debug)]
pub enum Lookup {
    /// An entry that may be served as it is.
    Fresh(Arc<Entry>, Duration),
    /// An entry past its freshness; what it may still serve for is said by [`Freshness`].
    Stale(Arc<Entry>, Freshness),
    /// An entry that a write has made untrue, for a rule that prefers old to none when Zoho cannot answer;
    /// and how long it has been past its freshness.
    Overtaken(Arc<Entry>, Duration),
    /// No answer: each has a longer key, in which these request headers stand too.
    Varies(Arc<[HeaderName]>),
    /// Nothing.
    Miss,
}

/// The cache. `V` is what a shared fetch ends with.
pub struct Cache<V> {
    entries: Moka<Key, Arc<Entry>, RandomState>,
    near: Near,
    uncacheable: Moka<Digest, BootTime>,
    digests: Digests,
    setbacks: Setbacks,
    purges: Purges,
    /// Groups of entries that writes make untrue.
    pub epochs: Epochs,
    /// Fetches under way.
    pub flights: Arc<Flights<V>>,
    settings: Settings,
}

/// How many uncacheable keys are remembered, by their digests; each costs some 200 bytes.
const UNCACHEABLE_KEYS: u64 = 10_000;

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// An empty cache for so many tenants and groups.
    pub fn new(settings: Settings, tenants: usize, groups: usize) -> Self {
        let entries = Moka::builder()
            .max_capacity(settings.max_bytes)
            .weigher(|key: &Key, entry: &Arc<Entry>| entry.weight(key.len()))
            .build_with_hasher(RandomState::default());
        Self {
            entries,
            near: Near::new(),
            uncacheable: Moka::builder().max_capacity(UNCACHEABLE_KEYS).build(),
            digests: Digests::default(),
            setbacks: Setbacks::new(),
            purges: Purges::default(),
            epochs: Epochs::new(tenants, groups),
            flights: Flights::new(settings.fetch_timeout),
            settings,
        }
    }

    /// Looks a key up. `epoch` is the current one of the rule's groups.
    pub fn lookup(&self, key: &[u8], rule: &Rule, epoch: u64, now: BootTime) -> Lookup {
        let Some(entry) = self.near.find(key, || self.entries.get(key)) else { return Lookup::Miss };
        if let Some(variant) = entry.variant()
            && entry.is_marker()
        {
            return Lookup::Varies(variant.names().clone());
        }
        if entry.epoch() != epoch {
            let by = entry.age(now).saturating_sub(rule.fresh_for(entry.status()));
            let may_help = rule.stale_after_write && by < rule.stale_if_error;
            return if may_help { Lookup::Overtaken(entry, by) } else { Lookup::Miss };
        }
        match freshness::judge(&entry, rule, now) {
            Freshness::Fresh { left } => Lookup::Fresh(entry, left),
            Freshness::Gone => Lookup::Miss,
            stale @ Freshness::Stale { .. } => Lookup::Stale(entry, stale),
        }
    }

    /// The number of the latest purge. A request reads it before it looks anything up, so that whatever it finds or
    /// fetches can be told from what came after a purge.
    pub fn purges(&self) -> u64 {
        self.purges.latest()
    }

    /// How thoroughly the entry of a key was purged since the purge of this number; `None` if it was not.
    pub fn purged_since(&self, purges: u64, key: &Key, route: usize) -> Option<Depth> {
        self.purges.since(purges, key, route)
    }

    /// Stores an entry under the plain key of its requests or, if it has one, under a longer key; unless its epoch has
    /// moved since its fetch began, or it was purged since. Says whether it did.
    pub fn store(&self, plain: Key, entry: Arc<Entry>, purges: u64, current_epoch: impl Fn() -> u64) -> bool {
        if entry.epoch() != current_epoch() {
            return false;
        }
        // A move between the look above and the insert is harmless: the entry carries the old epoch, and no
        // look-up will take it.
        let (key, route) = (plain.clone(), entry.route());
        self.purges.unless_since(purges, &key, route, || {
            let longer = entry.variant().and_then(|variant| variant.key().cloned());
            match (longer, entry.marker()) {
                (Some(longer), Some(marker)) => {
                    self.insert(longer, entry);
                    self.insert(plain, Arc::new(marker));
                }
                _ => self.insert(plain, entry),
            }
        })
    }

    fn insert(&self, key: Key, entry: Arc<Entry>) {
        let stamp = self.near.stamp_of(key.as_bytes());
        self.entries.insert(key, entry);
        stamp.move_on();
    }

    /// Remembers that a key's answer could not be stored, so that nobody waits for the next one.
    pub fn remember_uncacheable(&self, key: &[u8], now: BootTime) {
        self.uncacheable.insert(self.digests.of(key), now);
    }

    /// Whether a key's answer could lately not be stored.
    pub fn is_uncacheable(&self, key: &[u8], now: BootTime) -> bool {
        self.uncacheable
            .get(&self.digests.of(key))
            .is_some_and(|noted| now.saturating_duration_since(noted) < self.settings.uncacheable_for)
    }

    /// Notes that fetching a key failed; until the pause that follows is over, stale entries answer without another
    /// attempt. The failure of a fetch from before a purge that covers the key is not noted: the purge promises
    /// that the next request fetches.
    pub fn note_setback(&self, key: &Key, route: usize, purges: u64, now: BootTime) {
        self.purges.unless_since(purges, key, route, || self.setbacks.note(key.as_bytes(), now));
    }

    /// Notes that fetching a key went well.
    pub fn clear_setback(&self, key: &[u8]) {
        self.setbacks.clear(key);
    }

    /// Whether fetching a key failed so lately that it is left alone.
    pub fn is_set_back(&self, key: &[u8], now: BootTime) -> bool {
        self.setbacks.holds(key, now)
    }

    /// A longer answer is not stored.
    pub fn max_entry_bytes(&self) -> usize {
        self.settings.max_entry_bytes
    }

    /// How many bytes the values of one request header may put into a key.
    pub fn max_key_header_bytes(&self) -> usize {
        self.settings.max_key_header_bytes
    }

    /// Entries, and the bytes they weigh.
    pub fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::entry::Fetched;
    use crate::clock::Clock;
    use http::StatusCode;

    fn settings() -> Settings {
        Settings {
            max_bytes: 1 << 20,
            max_entry_bytes: 1 << 16,
            uncacheable_for: Duration::from_mins(1),
            fetch_timeout: Duration::from_mins(1),
            max_key_header_bytes: 1 << 10,
        }
    }

    fn rule() -> Rule {
        Rule {
            stale_while_revalidate: Duration::from_mins(1),
            stale_if_error: Duration::from_hours(1),
            groups: vec![0],
            ..Rule::lasting(Duration::from_mins(5))
        }
    }

    fn key(path: &str) -> Key {
        Key::from_bytes(path.as_bytes())
    }

    fn entry(now: BootTime, epoch: u64) -> Arc<Entry> {
        Arc::new(Entry::new(&rule(), 0, Fetched::plain(StatusCode::OK, "{}", now, epoch)))
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_fresh_then_stale_then_gone() {
        let (cache, clock) = (Cache::<()>::new(settings(), 1, 1), Clock::system());
        cache.store(key("/a"), entry(clock.boot_time(), 0), 0, || 0);
        let look = || cache.lookup(b"/a", &rule(), 0, clock.boot_time());

        assert!(matches!(look(), Lookup::Fresh(_, left) if left == Duration::from_mins(5)));
        tokio::time::advance(Duration::from_mins(5)).await;
        assert!(matches!(look(), Lookup::Stale(..)));
        tokio::time::advance(Duration::from_hours(1)).await;
        assert!(matches!(look(), Lookup::Miss));
    }

    #[tokio::test]
    async fn an_entry_whose_epoch_moved_is_not_found() {
        let (cache, clock) = (Cache::<()>::new(settings(), 1, 1), Clock::system());
        cache.store(key("/a"), entry(clock.boot_time(), 0), 0, || 0);
        assert!(matches!(cache.lookup(b"/a", &rule(), 1, clock.boot_time()), Lookup::Miss));
    }

    #[tokio::test]
    async fn a_fetch_that_a_write_overtook_is_not_stored() {
        let (cache, clock) = (Cache::<()>::new(settings(), 1, 1), Clock::system());
        let url = cache.epochs.url(0, "/a", "/a");
        let began = cache.epochs.current(0, &[0], url);
        cache.epochs.advance(0, &[0]);
        let current = || cache.epochs.current(0, &[0], url);
        let stored = cache.store(key("/a"), entry(clock.boot_time(), began), 0, current);
        assert!(!stored);
        assert!(matches!(cache.lookup(b"/a", &rule(), began, clock.boot_time()), Lookup::Miss));
    }

    #[tokio::test]
    async fn memory_is_bounded_by_bytes() {
        let small = Settings { max_bytes: 64 * 1024, ..settings() };
        let (cache, clock) = (Cache::<()>::new(small, 1, 1), Clock::system());
        for n in 0..2_000 {
            cache.store(key(&format!("/{n}")), entry(clock.boot_time(), 0), 0, || 0);
        }
        let (entries, bytes) = cache.size();
        assert!(bytes <= 64 * 1024, "{bytes}");
        assert!(entries > 10, "{entries}");
    }

    #[tokio::test]
    async fn any_number_of_keys_of_any_length_takes_a_bounded_number_of_bytes() {
        let small = Settings { max_bytes: 1 << 20, ..settings() };
        let (cache, clock) = (Cache::<()>::new(small, 1, 1), Clock::system());
        let rest = "x".repeat(8 * 1024);
        for n in 0..3 * UNCACHEABLE_KEYS {
            let long = format!("/{n}?{rest}");
            cache.note_setback(&key(&long), 0, 0, clock.boot_time());
            cache.remember_uncacheable(long.as_bytes(), clock.boot_time());
            if n % 100 == 0 {
                cache.store(key(&long), entry(clock.boot_time(), 0), 0, || 0);
                let _ = cache.lookup(long.as_bytes(), &rule(), 0, clock.boot_time());
            }
        }
        cache.uncacheable.run_pending_tasks();
        // Each is a digest and a few words, whatever its key has.
        assert_eq!(size_of::<Digest>(), 16);
        let remembered = (cache.setbacks.len(), cache.uncacheable.entry_count());
        assert!(remembered.0 <= UNCACHEABLE_KEYS && remembered.1 <= UNCACHEABLE_KEYS, "{remembered:?}");
        assert!(remembered.0 > UNCACHEABLE_KEYS / 2, "{remembered:?}");
        let (_, bytes) = cache.size();
        assert!(((1 << 18)..=1 << 20).contains(&bytes), "{bytes}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_uncacheable_key_is_remembered_for_a_while() {
        let (cache, clock) = (Cache::<()>::new(settings(), 1, 1), Clock::system());
        cache.remember_uncacheable(b"/big", clock.boot_time());
        assert!(cache.is_uncacheable(b"/big", clock.boot_time()));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(!cache.is_uncacheable(b"/big", clock.boot_time()));
    }
}
