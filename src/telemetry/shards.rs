//! Counting without workers waiting for each other: each thread has a place of its own, and who reads adds them up.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::metrics::counter::Atomic;

/// How many places there are. A core for each is more than most have; threads beyond that share.
pub(super) const SHARDS: usize = 16;

/// A number in parts.
#[derive(Debug, Default)]
pub(super) struct Shards([Shard; SHARDS]);

/// Apart from its neighbours in memory, so that cores do not take each other's away.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(AtomicU64);

impl Atomic<u64> for Shards {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    /// Gives what the thread's own part was before.
    fn inc_by(&self, more: u64) -> u64 {
        self.0[own_shard()].0.fetch_add(more, Ordering::Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.iter().map(|shard| shard.0.load(Ordering::Relaxed)).sum()
    }
}

/// Which place is this thread's.
pub(super) fn own_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.get().unwrap_or_else(|| {
        let own = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
        OWN.set(Some(own));
        own
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_many_threads_count_is_all_there() {
        let shards = Arc::new(Shards::default());
        let count = |shards: Arc<Shards>| {
            move || {
                for _ in 0..1_000 {
                    shards.inc();
                }
            }
        };
        let threads: Vec<_> = (0..SHARDS * 2).map(|_| std::thread::spawn(count(shards.clone()))).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        shards.inc_by(7);
        assert_eq!(shards.get(), SHARDS as u64 * 2_000 + 7);
    }
}
