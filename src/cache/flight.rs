//! One fetch per key, however many ask.
//!
//! A fetch runs in a task of its own, so that a caller who hangs up takes nobody else down, and its end,
//! whatever it is, reaches everybody who waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::key::Key;

/// Fetches under way, each known by its key and the epoch it began in: who asks after a write must not
/// join a fetch from before it. There are no more of them than calls that may be under way or wait, and the length of
/// a key is bounded.
pub struct Flights<V> {
    under_way: Mutex<Fetches<V>>,
    limit: Duration,
}

struct Fetches<V> {
    by_key: HashMap<(Key, u64), Fetch<V>>,
    /// The number of the next one.
    next: u64,
}

/// A fetch under way.
struct Fetch<V> {
    waiting: Waiting<V>,
    /// Tells it from one that took its place.
    number: u64,
    /// The number of the latest purge when it began.
    purges: u64,
}

type Waiting<V> = watch::Receiver<Option<Result<V, Lost>>>;

/// Why a flight brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// It took longer than a fetch may.
    #[error("the fetch took longer than {0:?}")]
    TooSlow(Duration),
    /// Its task ended without a result: a defect, or the process is stopping.
    #[error("the fetch ended without a result")]
    Ended,
}

/// Somebody's part in a flight.
pub struct Ticket<V> {
    waiting: Waiting<V>,
    /// Whether this one began the flight.
    pub leads: bool,
}

impl<V: Clone + Send + Sync + 'static> Flights<V> {
    /// No flights yet; each may take `limit`.
    pub fn new(limit: Duration) -> Arc<Self> {
        let fetches = Fetches { by_key: HashMap::new(), next: 0 };
        Arc::new(Self { under_way: Mutex::new(fetches), limit })
    }

    /// Joins the fetch of a key, or begins one. `purges` is the number of the latest purge when the caller began, and
    /// `is_current` says of such a number whether no purge since then covers the key: a fetch from before one is
    /// finished for those who wait for it, and nobody else joins it.
    pub fn join<F>(
        self: &Arc<Self>,
        key: Key,
        epoch: u64,
        purges: u64,
        is_current: impl FnOnce(u64) -> bool,
        fetch: impl FnOnce() -> F,
    ) -> Ticket<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (limit, id) = (self.limit, (key, epoch));
        let mut under_way = self.lock();
        if let Some(found) = under_way.by_key.get(&id)
            && is_current(found.purges)
        {
            return Ticket { waiting: found.waiting.clone(), leads: false };
        }
        let (result, waiting) = watch::channel(None);
        let number = under_way.next;
        under_way.next += 1;
        under_way.by_key.insert(id.clone(), Fetch { waiting: waiting.clone(), number, purges });
        drop(under_way);

        let landing = Landing { flights: self.clone(), id, number };
        let fetching = fetch();
        tokio::spawn(async move {
            let ended = tokio::time::timeout(limit, fetching).await;
            // Newcomers begin anew, or find the cache filled, before those who wait are woken.
            drop(landing);
            result.send_replace(Some(ended.map_err(|_| Lost::TooSlow(limit))));
        });
        Ticket { waiting, leads: true }
    }

    /// How many fetches are under way.
    pub fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Fetches<V>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a fetch off the list, also when its task panics or is dropped with the runtime.
struct Landing<V: Clone + Send + Sync + 'static> {
    flights: Arc<Flights<V>>,
    id: (Key, u64),
    number: u64,
}

impl<V: Clone + Send + Sync + 'static> Drop for Landing<V> {
    fn drop(&mut self) {
        let mut under_way = self.flights.lock();
        // A purge may have let another fetch take its place.
        if under_way.by_key.get(&self.id).is_some_and(|fetch| fetch.number == self.number) {
            under_way.by_key.remove(&self.id);
        }
    }
}

impl<V: Clone> Ticket<V> {
    /// Waits for the end of the flight, which comes within its limit.
    pub async fn landed(mut self) -> Result<V, Lost> {
        match self.waiting.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Err(Lost::Ended)),
            Err(_) => Err(Lost::Ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const LIMIT: Duration = Duration::from_secs(30);

    fn key() -> Key {
        Key::from_bytes(b"/a")
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_meanwhile_share_one_fetch_and_its_result() {
        let (flights, fetches) = (Flights::<u32>::new(LIMIT), Arc::new(AtomicUsize::new(0)));
        let mut tickets = Vec::new();
        for _ in 0..500 {
            let fetches = fetches.clone();
            tickets.push(flights.join(
                key(),
                0,
                0,
                |_| true,
                || async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    fetches.fetch_add(1, Ordering::SeqCst);
                    42
                },
            ));
        }
        assert_eq!(tickets.iter().filter(|ticket| ticket.leads).count(), 1);
        for ticket in tickets {
            assert_eq!(ticket.landed().await, Ok(42));
        }
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        assert!(flights.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_hangs_up_takes_nobody_down() {
        let flights = Flights::<u32>::new(LIMIT);
        let fetch = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            42
        };
        let leader = flights.join(key(), 0, 0, |_| true, fetch);
        let follower = flights.join(key(), 0, 0, |_| true, fetch);
        drop(leader);
        assert_eq!(follower.landed().await, Ok(42));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_after_a_write_does_not_join_a_fetch_from_before_it() {
        let flights = Flights::<u32>::new(LIMIT);
        let before = flights.join(key(), 0, 0, |_| true, || async { 1 });
        let after = flights.join(key(), 1, 0, |_| true, || async { 2 });
        assert!(after.leads);
        assert_eq!((before.landed().await, after.landed().await), (Ok(1), Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_after_a_purge_does_not_join_a_fetch_from_before_it() {
        let flights = Flights::<u32>::new(LIMIT);
        let fetch = |result, seconds| {
            move || async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                result
            }
        };
        let since_purge_7 = |purges| purges >= 7;
        let before = flights.join(key(), 0, 6, |_| true, fetch(1, 1));
        let after = flights.join(key(), 0, 7, since_purge_7, fetch(2, 2));
        assert!(after.leads);
        assert_eq!(before.landed().await, Ok(1));
        // The end of the old fetch leaves the new one where it can be joined.
        let late = flights.join(key(), 0, 7, since_purge_7, fetch(3, 1));
        assert!(!late.leads);
        assert_eq!((after.landed().await, late.landed().await), (Ok(2), Ok(2)));
        assert!(flights.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_never_ends_is_ended_and_frees_its_key() {
        let flights = Flights::<u32>::new(LIMIT);
        let stuck = flights.join(key(), 0, 0, |_| true, std::future::pending);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let late = flights.join(key(), 0, 0, |_| true, std::future::pending);
        assert_eq!(late.landed().await, Err(Lost::TooSlow(LIMIT)), "who joined later is told the same");
        assert_eq!(stuck.landed().await, Err(Lost::TooSlow(LIMIT)));
        tokio::task::yield_now().await;
        assert!(flights.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_panics_frees_its_key_and_its_waiters() {
        let flights = Flights::<u32>::new(LIMIT);
        let ticket = flights.join(key(), 0, 0, |_| true, || async { panic!("a defect, on purpose") });
        assert_eq!(ticket.landed().await, Err(Lost::Ended));
        assert!(flights.is_empty());
    }
}
