//! Going through all entries, a piece at a time, so that hits do not wait for it.
//!
//! moka could drop entries when their time is up, but does so in one go, at a look-up, with all whose time is up by
//! then: for 100,000 that came together some hit took most of a second.

use std::hint::black_box;
use std::time::Duration;

use super::Cache;
use super::entry::Entry;
use super::key::Key;
use crate::clock::Clock;
use crate::supervisor::Heartbeat;

/// How many entries are looked at in one go: some 300 µs of work.
const PIECE: usize = 128;

/// How long a walk rests between two pieces, so that those who share its core with it, workers among them, have most
/// of it. Giving way to other tasks would not do: workers are threads of their own.
const PAUSE: Duration = Duration::from_millis(1);

/// How often it is looked which entries can be of no use any more.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// Shows all entries that are there when it begins, and counts those of which `visit` says so. Calls `pause` before
    /// it lets others work.
    pub(super) async fn walk(&self, visit: impl Fn(&Key, &Entry) -> bool, pause: impl Fn()) -> u64 {
        let (mut entries, mut count) = (self.entries.iter(), 0);
        loop {
            let mut looked_at = 0;
            for (key, entry) in entries.by_ref().take(PIECE) {
                looked_at += 1;
                count += u64::from(visit(&key, &entry));
            }
            if looked_at < PIECE {
                return count;
            }
            tidy_up();
            pause();
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Frees the memory of entries from which nothing could be served any more, every now and then, until dropped.
    pub async fn keep_swept(&self, clock: &Clock, heartbeat: &Heartbeat) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let _busy = heartbeat.busy();
            let now = clock.boot_time();
            let sweep = |key: &Key, entry: &Entry| {
                let is_useless = entry.is_useless(now);
                if is_useless {
                    self.entries.invalidate(key.as_bytes());
                }
                is_useless
            };
            self.walk(sweep, || heartbeat.beat()).await;
        }
    }
}

/// Has the allocator sort what was freed lately.
///
/// glibc puts that off until somebody wants a larger piece from the same arena, and then does all of it at once, with the
/// arena locked: that of the worker who made the entries, who has to wait. moka's list of a segment's keys is such a piece:
/// it begins as a small one, which this thread has from an entry just freed, and grows where that came from. Without this
/// each of its 64 lists took 12 ms for 100,000 entries; with it no worker waits for more than the entries of one piece.
/// Other allocators lose nothing by it.
fn tidy_up() {
    const SMALL: usize = 32;
    const LARGER: usize = 8 << 10;
    let mut grows = Vec::<u8>::with_capacity(SMALL);
    // The compiler could leave out what nobody looks at.
    black_box(&mut grows).reserve_exact(LARGER);
    black_box(grows);
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use http::StatusCode;

    use super::*;
    use crate::cache::entry::Fetched;
    use crate::cache::purge::Purge;
    use crate::cache::rule::Rule;
    use crate::cache::{Lookup, Settings};
    use crate::clock::Clock;
    use crate::supervisor::{Importance, Supervisor};

    const ENTRIES: usize = 10 * PIECE;
    const KEPT: Duration = Duration::from_mins(5);

    fn full() -> Cache<()> {
        let settings = Settings {
            max_bytes: 64 << 20,
            max_entry_bytes: 1 << 16,
            uncacheable_for: Duration::from_mins(1),
            fetch_timeout: Duration::from_mins(1),
            max_key_header_bytes: 1 << 10,
        };
        let (cache, now) = (Cache::new(settings, 1, 1), Clock::system().boot_time());
        let rule = Rule::lasting(KEPT);
        for number in 0..ENTRIES {
            let entry = Entry::new(&rule, 0, Fetched::plain(StatusCode::OK, "{}", now, 0));
            cache.store(Key::from_bytes(format!("/{number}").as_bytes()), Arc::new(entry), 0, || 0);
        }
        assert_eq!(cache.entries.iter().count(), ENTRIES);
        cache
    }

    #[tokio::test(start_paused = true)]
    async fn a_purge_reaches_a_workers_copy_of_what_the_store_had_no_room_for() {
        let (cache, clock, rule) = (full(), Clock::system(), Rule::lasting(KEPT));
        let look = || cache.lookup(b"/1", &rule, 0, clock.boot_time());
        for _ in 0..3 {
            assert!(matches!(look(), Lookup::Fresh(..)));
        }
        cache.entries.invalidate(&b"/1"[..]);
        assert!(matches!(look(), Lookup::Fresh(..)), "there is a copy");
        cache.purge(&Purge::default()).await;
        assert!(matches!(look(), Lookup::Miss));
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_be_of_no_use_any_more_is_swept_away_and_nothing_else() {
        let (cache, clock) = (full(), Clock::system());
        let heartbeat = Supervisor::unobserved().heartbeat("cache-sweep", Importance::Degrading);
        let swept = || async {
            tokio::select! {
                () = cache.keep_swept(&clock, &heartbeat) => unreachable!("it goes on for ever"),
                () = tokio::time::sleep(SWEEP_EVERY + Duration::from_secs(1)) => {}
            }
        };
        tokio::time::advance(KEPT * 3 / 4).await;
        let rule = Rule::lasting(KEPT);
        let newer = Entry::new(&rule, 0, Fetched::plain(StatusCode::OK, "{}", clock.boot_time(), 0));
        cache.store(Key::from_bytes(b"/new"), Arc::new(newer), 0, || 0);
        swept().await;
        assert_eq!(cache.entries.iter().count(), ENTRIES + 1);
        swept().await;
        assert_eq!(cache.entries.iter().count(), 1);
        assert_eq!(cache.size().0, 1);
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
        let (cache, began) = (full(), Clock::system().boot_time());
        let elsewhere = Purge { route: Some(1), ..Purge::default() };
        assert_eq!(cache.purge(&elsewhere).await, 0);
        assert!(Clock::system().boot_time() - began >= PAUSE * u32::try_from(ENTRIES / PIECE).unwrap());
        assert_eq!(cache.entries.iter().count(), ENTRIES);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_fetched_while_a_purge_goes_on_is_kept() {
        let (cache, now) = (full(), Clock::system().boot_time());
        let everything = Purge::default();
        let mut purging = pin!(cache.purge(&everything));
        assert!(purging.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());

        let rule = Rule::lasting(KEPT);
        let entry = || Arc::new(Entry::new(&rule, 0, Fetched::plain(StatusCode::OK, "{}", now, 0)));
        let key = || Key::from_bytes(b"/new");
        assert!(!cache.store(key(), entry(), 0, || 0), "its fetch began before the purge");
        assert!(cache.store(key(), entry(), cache.purges(), || 0));
        purging.await;
    }
}
