//! Purging by hand, and what a purge means for fetches that are under way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::Cache;
use super::entry::Entry;
use super::key::Key;
use super::spelling;

/// What is to be forgotten. All that is named must hold; nothing named is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purge {
    /// Entries of this tenant, by number.
    pub tenant: Option<usize>,
    /// Entries of this route, by number.
    pub route: Option<usize>,
    /// Entries of exactly this path, in any spelling and whatever their query.
    pub path: Option<String>,
    /// Entries of routes in this group, by the routes' numbers.
    pub routes_of_group: Option<Vec<usize>>,
    /// How thoroughly.
    pub depth: Depth,
}

/// How thoroughly to forget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Stale: fetched anew by the next request, and still there if that fails.
    Soft,
    /// Gone.
    #[default]
    Hard,
}

/// How many purges are remembered. A fetch that began before more of them is taken to be covered by a hard one.
const REMEMBERED: usize = 64;
/// A longer path is not remembered: its purge is taken to cover every path.
const LONGEST_PATH: usize = 1024;

/// The latest purges, numbered from 1.
///
/// A fetch notes the number of the latest purge when it begins. What it brings is neither stored nor shared with a
/// later request if a purge since then covers it.
#[derive(Debug, Default)]
pub(super) struct Purges {
    latest: AtomicU64,
    recent: RwLock<VecDeque<Purge>>,
}

impl Purges {
    /// The number of the latest purge.
    pub(super) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Acquire)
    }

    fn note(&self, purge: &Purge) {
        let mut purge = purge.clone();
        purge.path = purge.path.filter(|path| path.len() <= LONGEST_PATH);
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        recent.push_back(purge);
        if recent.len() > REMEMBERED {
            recent.pop_front();
        }
        self.latest.fetch_add(1, Ordering::AcqRel);
    }

    /// How thoroughly the entry of a key was purged since the purge of this number; `None` if it was not.
    pub(super) fn since(&self, number: u64, key: &Key, route: usize) -> Option<Depth> {
        if number == self.latest() {
            return None;
        }
        self.judge(&self.read(), number, key, route)
    }

    /// Calls `store` unless the entry of a key was purged since the purge of this number. A purge that begins
    /// meanwhile waits, so that it finds whatever is stored here.
    pub(super) fn unless_since(&self, number: u64, key: &Key, route: usize, store: impl FnOnce()) -> bool {
        let recent = self.read();
        let is_purged = self.judge(&recent, number, key, route).is_some();
        if !is_purged {
            store();
        }
        !is_purged
    }

    fn judge(&self, recent: &VecDeque<Purge>, number: u64, key: &Key, route: usize) -> Option<Depth> {
        let missed = usize::try_from(self.latest().saturating_sub(number)).unwrap_or(usize::MAX);
        if missed > recent.len() {
            return Some(Depth::Hard);
        }
        let since = recent.iter().skip(recent.len() - missed);
        since.filter(|purge| purge.covers(key, route)).map(|purge| purge.depth).max()
    }

    fn read(&self) -> RwLockReadGuard<'_, VecDeque<Purge>> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// Forgets, and says how many entries: all that were there when it was first polled are gone when it is ready.
    /// Fetches of what it covers that are under way then are answered and not stored: they may have begun before
    /// what the purge is about. No request that comes later joins them.
    pub async fn purge(&self, purge: &Purge) -> u64 {
        self.purges.note(purge);
        let purge_entry = |key: &Key, entry: &Entry| {
            if !purge.covers(key, entry.route()) {
                return false;
            }
            match purge.depth {
                Depth::Hard => self.entries.invalidate(key.as_bytes()),
                Depth::Soft => {
                    // Otherwise a fetch that failed before the purge would keep the next request from fetching.
                    self.setbacks.clear(key.as_bytes());
                    entry.expire_by_hand();
                }
            }
            self.near.stamp_of(key.as_bytes()).move_on();
            !entry.is_marker()
        };
        let count = self.walk(purge_entry, || {}).await;
        // After the walk, so that no copy is made of what it has not come to yet.
        self.near.change_all();
        count
    }
}

impl Purge {
    fn covers(&self, key: &Key, route: usize) -> bool {
        self.route.is_none_or(|wanted| wanted == route)
            && self.routes_of_group.as_ref().is_none_or(|routes| routes.contains(&route))
            && self.tenant.is_none_or(|wanted| key.tenant() == wanted)
            && self.path.as_ref().is_none_or(|wanted| is_path_of(key, wanted))
    }
}

/// Whether a key is for a path. Both are compared in their normal form.
fn is_path_of(key: &Key, path: &str) -> bool {
    let own = key.path();
    own == path.as_bytes()
        || std::str::from_utf8(own).is_ok_and(|own| spelling::of_path(own) == spelling::of_path(path))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::cache::key::{self, Parts};

    fn key_of(tenant: usize, path_and_query: &str) -> Key {
        let (headers, mut bytes) = (HeaderMap::new(), Vec::new());
        let parts = Parts { tenant, identity: 1, path_and_query, headers: &headers, vary_by: &[] };
        key::write(&parts, &mut bytes);
        Key::from_bytes(&bytes)
    }

    #[test]
    fn a_fetch_is_overtaken_by_the_purges_since_its_beginning_that_cover_it() {
        let path = |path: &str| Purge { path: Some(path.to_owned()), ..Purge::default() };
        let soft = |purge: Purge| Purge { depth: Depth::Soft, ..purge };
        let key = key_of(1, "/a?page=2");
        for (purge, expected) in [
            (Purge::default(), Some(Depth::Hard)),
            (soft(Purge::default()), Some(Depth::Soft)),
            (path("/a"), Some(Depth::Hard)),
            (path("/b"), None),
            (Purge { tenant: Some(0), ..Purge::default() }, None),
            (Purge { route: Some(7), ..Purge::default() }, Some(Depth::Hard)),
            (Purge { route: Some(8), ..Purge::default() }, None),
            (Purge { routes_of_group: Some(vec![6, 7]), ..Purge::default() }, Some(Depth::Hard)),
            (Purge { routes_of_group: Some(vec![6]), ..Purge::default() }, None),
            (path(&"/".repeat(LONGEST_PATH + 1)), Some(Depth::Hard)),
        ] {
            let purges = Purges::default();
            purges.note(&Purge::default());
            let began = purges.latest();
            assert_eq!(purges.since(began, &key, 7), None, "an earlier one");
            purges.note(&purge);
            assert_eq!(purges.since(began, &key, 7), expected, "{purge:?}");
            assert_eq!(purges.unless_since(began, &key, 7, || ()), expected.is_none(), "{purge:?}");
            purges.note(&soft(Purge::default()));
            assert_eq!(purges.since(began, &key, 7), expected.max(Some(Depth::Soft)), "{purge:?}");
        }
    }

    #[test]
    fn a_fetch_from_before_more_purges_than_are_remembered_is_taken_to_be_covered() {
        let (purges, key) = (Purges::default(), key_of(0, "/a"));
        let elsewhere = Purge { tenant: Some(1), ..Purge::default() };
        (0..REMEMBERED).for_each(|_| purges.note(&elsewhere));
        assert_eq!(purges.since(0, &key, 0), None);
        purges.note(&elsewhere);
        assert_eq!(purges.since(0, &key, 0), Some(Depth::Hard));
        assert_eq!(purges.since(1, &key, 0), None);
    }
}
