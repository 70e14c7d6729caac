//! Requests whose caller is not known, or not yet: a small budget of their own.
//!
//! Where callers are configured, whoever can connect may still ask for a token, since an SDK shows who it is only in the form
//! that it sends for one; and whoever is refused may still be sending a body. Such requests get nothing of what known callers
//! need. Their number, their bytes and their time are bounded, and a newcomer always gets in: the request that waits longest
//! makes room for it. A form that comes with its head is answered at once, however many others wait for theirs, and ends none.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

use super::Crowded;
use crate::net::waiting::{Ticket, Waiting};

/// The budget.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How many requests may wait.
    pub requests: usize,
    /// How many bytes they may take together.
    pub bytes: usize,
    /// How long each may take.
    pub timeout: Duration,
}

/// The requests that wait. Clones are the same.
#[derive(Debug, Clone)]
pub struct Unidentified {
    waiting: Waiting<Holder>,
    used: Arc<AtomicUsize>,
    settings: Settings,
}

struct Holder {
    evicted: Arc<Notify>,
    _bytes: Bytes,
}

/// A part of the budget, given back on drop.
struct Bytes(Arc<AtomicUsize>, usize);

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Relaxed);
    }
}

/// One request's share of the budget, returned on drop.
struct Slot {
    evicted: Arc<Notify>,
    timeout: Duration,
    _ticket: Ticket<Holder>,
}

impl Unidentified {
    pub(super) fn new(settings: Settings) -> Self {
        Self { waiting: Waiting::default(), used: Arc::default(), settings }
    }

    /// Lets `work` go on until it ends, its part of the budget is needed for another request, or time is up. Work that ends
    /// without waiting needs no part.
    pub async fn hold<T>(&self, bytes: usize, work: impl Future<Output = T>) -> Result<T, Crowded> {
        let mut work = pin!(work);
        match std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
            Poll::Ready(done) => Ok(done),
            Poll::Pending => self.admit(bytes).hold(work).await,
        }
    }

    /// Admits a request that takes so many bytes, and ends those that wait longest if there are too many. One alone is
    /// admitted whatever it takes, since it has a limit of its own.
    fn admit(&self, bytes: usize) -> Slot {
        let is_full = || {
            self.waiting.len() >= self.settings.requests
                || self.used.load(Relaxed).saturating_add(bytes) > self.settings.bytes
        };
        while is_full() {
            let Some(Holder { evicted, .. }) = self.waiting.evict() else { break };
            evicted.notify_one();
        }
        self.used.fetch_add(bytes, Relaxed);
        let evicted = Arc::<Notify>::default();
        let holder = Holder { evicted: evicted.clone(), _bytes: Bytes(self.used.clone(), bytes) };
        Slot { evicted, timeout: self.settings.timeout, _ticket: self.waiting.join(holder) }
    }
}

impl Slot {
    /// Lets `work` go on until it ends, the slot is needed for another request, or time is up.
    async fn hold<T>(&self, work: impl Future<Output = T>) -> Result<T, Crowded> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.evicted.notified() => Err(Crowded::Unidentified),
            () = tokio::time::sleep(self.timeout) => Err(Crowded::TooSlow(self.timeout)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    const SETTINGS: Settings = Settings { requests: 3, bytes: 1000, timeout: Duration::from_secs(10) };

    async fn has_to_go(slot: &Slot) -> bool {
        tokio::time::timeout(Duration::from_millis(1), slot.hold(pending::<()>())).await
            == Ok(Err(Crowded::Unidentified))
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_that_waits_longest_makes_room_for_one_too_many() {
        let budget = Unidentified::new(SETTINGS);
        let [first, second, third, fourth] = [(); 4].map(|()| budget.admit(10));
        assert!(has_to_go(&first).await);
        for slot in [&second, &third, &fourth] {
            assert!(!has_to_go(slot).await);
        }
        drop(second);
        let _fifth = budget.admit(10);
        assert!(!has_to_go(&third).await, "there was a slot");
        assert_eq!(budget.used.load(Relaxed), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_bounded_too() {
        let budget = Unidentified::new(SETTINGS);
        let (first, second) = (budget.admit(400), budget.admit(400));
        let third = budget.admit(500);
        assert!(has_to_go(&first).await);
        assert!(!has_to_go(&second).await);
        let alone = budget.admit(5000);
        assert!(has_to_go(&second).await && has_to_go(&third).await && !has_to_go(&alone).await);
        drop(alone);
        assert_eq!(budget.used.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_does_not_wait_ends_no_other() {
        let budget = Unidentified::new(SETTINGS);
        let waiting = [(); 3].map(|()| budget.admit(10));
        assert_eq!(budget.hold(5000, ready(7)).await, Ok(7));
        for slot in &waiting {
            assert!(!has_to_go(slot).await);
        }
        assert_eq!(budget.hold(10, pending::<()>()).await, Err(Crowded::TooSlow(SETTINGS.timeout)));
        assert!(has_to_go(&waiting[0]).await);
    }

    #[tokio::test(start_paused = true)]
    async fn no_request_takes_longer_than_it_may() {
        let slot = Unidentified::new(SETTINGS).admit(1);
        assert_eq!(slot.hold(ready(7)).await, Ok(7));
        assert_eq!(slot.hold(pending::<()>()).await, Err(Crowded::TooSlow(SETTINGS.timeout)));
    }
}
