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
/// join a fetch from before it.
pub struct Flights<V> {
    under_way: Mutex<HashMap<(Key, u64), Waiting<V>>>,
    limit: Duration,
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
        Arc::new(Self { under_way: Mutex::default(), limit })
    }

    /// Joins the flight of a key, or begins it.
    pub fn join<F>(self: &Arc<Self>, key: Key, epoch: u64, fetch: impl FnOnce() -> F) -> Ticket<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let limit = self.limit;
        let mut under_way = self.lock();
        if let Some(waiting) = under_way.get(&(key.clone(), epoch)) {
            return Ticket { waiting: waiting.clone(), leads: false };
        }
        let (result, waiting) = watch::channel(None);
        under_way.insert((key.clone(), epoch), waiting.clone());
        drop(under_way);

        let landing = Landing { flights: self.clone(), flight: Some((key, epoch)) };
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
        self.lock().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Key, u64), Waiting<V>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight off the list, also when its task panics or is dropped with the runtime.
struct Landing<V: Clone + Send + Sync + 'static> {
    flights: Arc<Flights<V>>,
    flight: Option<(Key, u64)>,
}

impl<V: Clone + Send + Sync + 'static> Drop for Landing<V> {
    fn drop(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.flights.lock().remove(&flight);
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
            tickets.push(flights.join(key(), 0, || async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                fetches.fetch_add(1, Ordering::SeqCst);
                42
            }));
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
        let leader = flights.join(key(), 0, fetch);
        let follower = flights.join(key(), 0, fetch);
        drop(leader);
        assert_eq!(follower.landed().await, Ok(42));
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_after_a_write_does_not_join_a_fetch_from_before_it() {
        let flights = Flights::<u32>::new(LIMIT);
        let before = flights.join(key(), 0, || async { 1 });
        let after = flights.join(key(), 1, || async { 2 });
        assert!(after.leads);
        assert_eq!((before.landed().await, after.landed().await), (Ok(1), Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_never_ends_is_ended_and_frees_its_key() {
        let flights = Flights::<u32>::new(LIMIT);
        let stuck = flights.join(key(), 0, std::future::pending);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let late = flights.join(key(), 0, std::future::pending);
        assert_eq!(late.landed().await, Err(Lost::TooSlow(LIMIT)), "who joined later is told the same");
        assert_eq!(stuck.landed().await, Err(Lost::TooSlow(LIMIT)));
        tokio::task::yield_now().await;
        assert!(flights.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_panics_frees_its_key_and_its_waiters() {
        let flights = Flights::<u32>::new(LIMIT);
        let ticket = flights.join(key(), 0, || async { panic!("a defect, on purpose") });
        assert_eq!(ticket.landed().await, Err(Lost::Ended));
        assert!(flights.is_empty());
    }
}
