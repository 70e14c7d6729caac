//! Attempts to fetch a key, and what their outcome means for the next ones.

use super::call::CacheSlot;
use crate::cache::Cache;
use crate::cache::key::Key;
use crate::clock::Clock;
use crate::routes::RouteNumber;

/// An attempt to fetch a key. One that is dropped before its end, as by the limit of a shared fetch, has failed: the next
/// callers need not wait as long for the same.
pub(super) struct Attempt<'a, V: Clone + Send + Sync + 'static> {
    cache: &'a Cache<V>,
    clock: &'a Clock,
    key: Key,
    route: RouteNumber,
    purges: u64,
    has_failed: bool,
}

impl<'a, V: Clone + Send + Sync + 'static> Attempt<'a, V> {
    pub(super) fn of(cache: &'a Cache<V>, clock: &'a Clock, slot: &CacheSlot) -> Self {
        let (key, route, purges) = (slot.key.clone(), slot.route, slot.purges);
        Self { cache, clock, key, route, purges, has_failed: true }
    }

    pub(super) fn ended(mut self, is_failure: bool) {
        self.has_failed = is_failure;
    }
}

impl<V: Clone + Send + Sync + 'static> Drop for Attempt<'_, V> {
    fn drop(&mut self) {
        if self.has_failed {
            self.cache.note_setback(&self.key, self.route, self.purges, self.clock.boot_time());
        } else {
            self.cache.clear_setback(self.key.as_bytes());
        }
    }
}
