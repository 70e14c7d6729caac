//! Forgetting by hand.

use std::sync::atomic::Ordering;

use super::Cache;
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

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// Forgets, and says how many entries: all that were there when it was first polled are gone when it is ready.
    /// Fetches under way then are answered and not stored: they may have begun before what the purge is about.
    pub async fn purge(&self, purge: &Purge) -> u64 {
        self.purges.fetch_add(1, Ordering::AcqRel);
        let count = self.walk(|key, entry| {
            if !purge.covers(key, entry.route()) {
                return false;
            }
            match purge.depth {
                Depth::Hard => self.entries.invalidate(key.as_bytes()),
                Depth::Soft => entry.expire_by_hand(),
            }
            self.near.stamp_of(key.as_bytes()).move_on();
            true
        });
        let count = count.await;
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
            && self.path.as_ref().is_none_or(|wanted| key.path() == wanted.as_bytes())
    }
}
