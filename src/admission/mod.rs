//! How many calls of a tenant are under way at Zoho: never more than its edition allows.
//!
//! Zoho refuses a call too many with 429 for everybody who uses the organisation. Here it waits instead, in a
//! queue with a bound, for no longer than a caller would.
//!
//! - [`unidentified`]: requests whose caller is not known, or not yet

pub mod unidentified;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use unidentified::Unidentified;

/// How calls wait.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many requests of all tenants may wait for an answer.
    pub max_requests: usize,
    /// How many calls of a tenant may be under way that has no limit of its own.
    pub max_calls: usize,
    /// How many calls of a tenant may wait.
    pub queue: usize,
    /// For how long.
    pub queue_timeout: Duration,
    /// The budget of requests whose caller is not identified.
    pub unidentified: unidentified::Settings,
}

/// Holds tenants to their limits.
#[derive(Debug)]
pub struct Admission {
    gates: Vec<Gate>,
    places: Arc<Semaphore>,
    unidentified: Unidentified,
    refused: Unidentified,
    settings: Settings,
}

#[derive(Debug)]
struct Gate {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Leave to make one call, or to wait. Given back on drop; that of a call travels with the answer's body.
#[derive(Debug, Default)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>);

/// No leave was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Crowded {
    /// Too many requests of all tenants wait.
    #[error("too many requests wait for an answer")]
    Full,
    /// The queue is full.
    #[error("too many calls wait already")]
    QueueFull,
    /// The wait was too long.
    #[error("no call ended within {0:?}")]
    TooLong(Duration),
    /// The caller is not known, and had to make room for others that are not.
    #[error("too many requests of callers that are not known wait for the rest of their bodies")]
    Unidentified,
    /// The caller is not known, and its request did not come whole in time.
    #[error("the request of a caller that is not known did not come whole within {0:?}")]
    TooSlow(Duration),
}

impl Admission {
    /// For each tenant by its number, how many calls Zoho lets it have under way, if that is known.
    pub fn new(limits: &[Option<usize>], settings: Settings) -> Self {
        let gate = |limit: &Option<usize>| {
            let permits = Arc::new(Semaphore::new(limit.unwrap_or(settings.max_calls)));
            Gate { permits, waiting: AtomicUsize::new(0) }
        };
        let places = Arc::new(Semaphore::new(settings.max_requests));
        let unidentified = Unidentified::new(settings.unidentified);
        let refused = Unidentified::new(settings.unidentified);
        Self { gates: limits.iter().map(gate).collect(), places, unidentified, refused, settings }
    }

    /// The budget of requests whose caller is not known yet.
    pub fn unidentified(&self) -> &Unidentified {
        &self.unidentified
    }

    /// As much again for the rest of requests that are refused since their caller is not known: they are not to end those
    /// that may yet show who calls.
    pub fn refused(&self) -> &Unidentified {
        &self.refused
    }

    /// A place for a request that cannot be answered at once, until it is. Whatever it waits for has a limit of
    /// time; this is the one of their number, since one connection of HTTP/2 brings many.
    pub fn admit(&self) -> Result<Permit, Crowded> {
        self.places.clone().try_acquire_owned().map(|place| Permit(Some(place))).map_err(|_| Crowded::Full)
    }

    /// Waits for leave to make one call.
    pub async fn enter(&self, tenant: usize) -> Result<Permit, Crowded> {
        let gate = &self.gates[tenant];
        if let Ok(permit) = gate.permits.clone().try_acquire_owned() {
            return Ok(Permit(Some(permit)));
        }
        // In a box, so that who need not wait carries no room for it.
        Box::pin(self.wait_at(gate)).await
    }

    async fn wait_at(&self, gate: &Gate) -> Result<Permit, Crowded> {
        let _place = gate.queue(self.settings.queue)?;
        match tokio::time::timeout(self.settings.queue_timeout, gate.permits.clone().acquire_owned()).await {
            Ok(permit) => Ok(Permit(Some(permit.expect("the semaphore is never closed")))),
            Err(_) => Err(Crowded::TooLong(self.settings.queue_timeout)),
        }
    }
}

/// A place in the queue, given back on drop.
struct Place<'a>(&'a AtomicUsize);

impl Gate {
    fn queue(&self, bound: usize) -> Result<Place<'_>, Crowded> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= bound {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Crowded::QueueFull);
        }
        Ok(Place(&self.waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(limit: Option<usize>, queue: usize) -> Arc<Admission> {
        let timeout = Duration::from_secs(5);
        let unidentified = unidentified::Settings { requests: 1, bytes: 1, timeout };
        let settings =
            Settings { max_requests: 2, max_calls: 2, queue, queue_timeout: timeout, unidentified };
        Arc::new(Admission::new(&[limit], settings))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_too_many_waits_for_one_to_end() {
        let admission = admission(Some(1), 10);
        let first = admission.enter(0).await.unwrap();
        let second = tokio::spawn({
            let admission = admission.clone();
            async move { admission.enter(0).await.map(drop) }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!second.is_finished());
        drop(first);
        assert_eq!(second.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_or_in_a_full_queue() {
        let admission = admission(Some(1), 1);
        let _held = admission.enter(0).await.unwrap();
        let (one, other) = tokio::join!(admission.enter(0), admission.enter(0));
        assert_eq!(one.unwrap_err(), Crowded::TooLong(Duration::from_secs(5)));
        assert_eq!(other.unwrap_err(), Crowded::QueueFull);
    }

    #[test]
    fn no_more_requests_wait_than_may() {
        let admission = admission(None, 0);
        let held = [admission.admit().unwrap(), admission.admit().unwrap()];
        assert_eq!(admission.admit().unwrap_err(), Crowded::Full);
        drop(held);
        assert!(admission.admit().is_ok());
    }

    #[tokio::test]
    async fn a_tenant_without_a_limit_of_its_own_has_the_one_of_all() {
        let admission = admission(None, 0);
        let held = [admission.enter(0).await, admission.enter(0).await];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(admission.enter(0).await.unwrap_err(), Crowded::QueueFull);
    }
}
