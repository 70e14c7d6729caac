//! Forgetting by hand.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Cache;
use super::entry::Entry;
use super::key::Key;

/// What is to be forgotten. All that is named must hold; nothing named is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purge {
    /// Entries of this tenant, by number.
    pub tenant: Option<usize>,
    /// Entries of this route, by number.
    pub route: Option<usize>,
    /// Entries of exactly this path, whatever their query.
    pub path: Option<String>,
    /// Entries of routes in this group, by the routes' numbers.
    pub routes_of_group: Option<Vec<usize>>,
    /// How thoroughly.
    pub depth: Depth,
}

/// How thoroughly to forget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Depth {
    /// Gone.
    #[default]
    Hard,
    /// Stale: fetched anew by the next request, and still there if that fails.
    Soft,
}

/// How many entries are looked at in one go: less than a millisecond's work.
const PIECE: usize = 256;

/// How long a purge rests between two pieces, so that those who share its core with it, workers among them, have most
/// of it. Giving way to other tasks would not do: workers are threads of their own.
const PAUSE: Duration = Duration::from_millis(1);

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// Forgets, and says how many entries: all that were there when it was first polled are gone when it is ready.
    /// Fetches under way then are answered and not stored: they may have begun before what the purge is about.
    pub async fn purge(&self, purge: &Purge) -> u64 {
        self.purges.fetch_add(1, Ordering::AcqRel);
        let (mut entries, mut count) = (self.entries.iter(), 0);
        loop {
            let mut looked_at = 0;
            for (key, entry) in entries.by_ref().take(PIECE) {
                looked_at += 1;
                count += u64::from(self.forget(purge, &key, &entry));
            }
            if looked_at < PIECE {
                return count;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Forgets this entry if the purge is about it, and says whether it is.
    fn forget(&self, purge: &Purge, key: &Key, entry: &Entry) -> bool {
        if !purge.covers(key, entry.route()) {
            return false;
        }
        match purge.depth {
            Depth::Hard => self.entries.invalidate(key.as_bytes()),
            Depth::Soft => entry.expire_by_hand(),
        }
        true
    }
}

impl Purge {
    fn covers(&self, key: &Key, route: usize) -> bool {
        self.route.is_none_or(|wanted| wanted == route)
            && self.routes_of_group.as_ref().is_none_or(|routes| routes.contains(&route))
            && self.tenant.is_none_or(|wanted| key.tenant() == wanted)
            && self.path.as_ref().is_none_or(|wanted| key.path() == wanted.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use http::StatusCode;

    use super::*;
    use crate::cache::Settings;
    use crate::cache::entry::Fetched;
    use crate::cache::rule::Rule;
    use crate::clock::Clock;

    const ENTRIES: usize = 10 * PIECE;

    fn full() -> Cache<()> {
        let settings = Settings {
            max_bytes: 64 << 20,
            max_entry_bytes: 1 << 16,
            uncacheable_for: Duration::from_mins(1),
            fetch_timeout: Duration::from_mins(1),
        };
        let (cache, now) = (Cache::new(settings, 1, 1), Clock::system().now());
        let rule = Rule::lasting(Duration::from_mins(5));
        for number in 0..ENTRIES {
            let entry = Entry::new(&rule, 0, Fetched::plain(StatusCode::OK, "{}", now, 0));
            cache.store(Key::from_bytes(format!("/{number}").as_bytes()), Arc::new(entry), 0, || 0);
        }
        assert_eq!(cache.entries.iter().count(), ENTRIES);
        cache
    }

    #[tokio::test(start_paused = true)]
    async fn a_purge_gives_way_after_each_piece() {
        let cache = full();
        let everything = Purge::default();
        let mut purging = pin!(cache.purge(&everything));
        let (mut left, mut pauses) = (ENTRIES, 0);
        loop {
            let polled = purging.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let still_there = cache.entries.iter().count();
            assert!(left - still_there <= PIECE, "{left} {still_there}");
            left = still_there;
            if let Poll::Ready(count) = polled {
                assert_eq!((count, left, pauses), (ENTRIES as u64, 0, ENTRIES / PIECE));
                break;
            }
            tokio::time::advance(PAUSE).await;
            pauses += 1;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_purge_that_finds_nothing_of_its_own_gives_way_as_often() {
        let (cache, began) = (full(), Clock::system().now());
        let elsewhere = Purge { route: Some(1), ..Purge::default() };
        assert_eq!(cache.purge(&elsewhere).await, 0);
        assert!(Clock::system().now() - began >= PAUSE * u32::try_from(ENTRIES / PIECE).unwrap());
        assert_eq!(cache.entries.iter().count(), ENTRIES);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_fetched_while_a_purge_goes_on_is_kept() {
        let (cache, now) = (full(), Clock::system().now());
        let everything = Purge::default();
        let mut purging = pin!(cache.purge(&everything));
        assert!(purging.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());

        let rule = Rule::lasting(Duration::from_mins(5));
        let entry = || Arc::new(Entry::new(&rule, 0, Fetched::plain(StatusCode::OK, "{}", now, 0)));
        let key = || Key::from_bytes(b"/new");
        assert!(!cache.store(key(), entry(), 0, || 0), "its fetch began before the purge");
        assert!(cache.store(key(), entry(), cache.purges(), || 0));
        purging.await;
    }
}
