//! The connections of the admin listener: which one is closed when there are too many.
//!
//! A new connection is always accepted, so that probes cannot be locked out by opening connections. In exchange the one is
//! closed that has waited longest for the head of a request, and only if none waits for one, the request that is under way
//! for longest. Requests that are no probes leave some slots to connections that wait: otherwise each newcomer could evict
//! the only one that waits, which may be a probe whose head is about to come.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request};
use http_body::Body as HttpBody;
use tokio::sync::Notify;

use crate::net::waiting::{Ticket, Waiting};

/// More connections at once are no operations.
const MOST_CONNECTIONS: usize = 100;
/// How many of them may have a request under way that is no probe.
const MOST_REQUESTS: usize = 80;

/// All connections of a listener. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Slots {
    /// Those that wait for the head of a request, or send an answer.
    heads: Waiting<Arc<Notify>>,
    /// Those with a request under way that is no probe.
    requests: Waiting<Arc<Notify>>,
}

/// The slot of one connection, given back on drop.
pub(super) struct Slot {
    slots: Slots,
    evicted: Arc<Notify>,
    ticket: Mutex<Option<Ticket<Arc<Notify>>>>,
}

impl Slots {
    /// A slot for a new connection.
    pub(super) fn open(&self) -> Slot {
        if self.heads.len() + self.requests.len() >= MOST_CONNECTIONS {
            let oldest = self.heads.evict().or_else(|| self.requests.evict());
            let _ = oldest.inspect(|evicted| evicted.notify_one());
        }
        let evicted = Arc::<Notify>::default();
        let ticket = Mutex::new(Some(self.heads.join(evicted.clone())));
        Slot { slots: self.clone(), evicted, ticket }
    }
}

impl Slot {
    /// Ends when the connection is to be closed.
    pub(super) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The head of a request has come. Until its answer is there, it is no connection that waits.
    pub(super) fn begin<B: HttpBody>(&self, request: &Request<B>) {
        if is_probe(request) {
            return self.move_to(&self.slots.heads);
        }
        if self.slots.requests.len() >= MOST_REQUESTS {
            let _ = self.slots.requests.evict().inspect(|evicted| evicted.notify_one());
        }
        self.move_to(&self.slots.requests);
    }

    /// A request is answered. From here on the connection waits for the next one.
    pub(super) fn end(&self) {
        self.move_to(&self.slots.heads);
    }

    /// Moves to the end of a queue, unless the connection was evicted.
    fn move_to(&self, queue: &Waiting<Arc<Notify>>) {
        let mut ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        let held = ticket.take().and_then(Ticket::leave);
        *ticket = held.map(|evicted| queue.join(evicted));
    }
}

/// Whether a request is a probe, which is answered immediately with a few bytes.
fn is_probe<B: HttpBody>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && matches!(request.uri().path(), "/livez" | "/readyz")
        && request.body().is_end_stream()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::body::Body;

    fn request(method: &str, path: &str, body: &'static str) -> Request<Body> {
        Request::builder().method(method).uri(path).body(Body::full(body)).unwrap()
    }

    fn is_evicted(slot: &Slot) -> bool {
        slot.ticket.lock().unwrap().as_ref().is_none_or(|_| {
            let mut evicted = std::pin::pin!(slot.evicted());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            evicted.as_mut().poll(&mut context).is_ready()
        })
    }

    #[test]
    fn the_connection_that_waits_longest_makes_room() {
        let slots = Slots::default();
        let open: Vec<Slot> = (0..MOST_CONNECTIONS).map(|_| slots.open()).collect();
        open[0].begin(&request("GET", "/metrics", ""));
        open[1].begin(&request("GET", "/livez", ""));
        open[2].begin(&request("POST", "/purge", "{}"));
        open[2].end();
        let newcomers = [slots.open(), slots.open()];
        let evicted: Vec<usize> = (0..open.len()).filter(|n| is_evicted(&open[*n])).collect();
        assert_eq!(evicted, [3, 4]);
        assert!(newcomers.iter().all(|slot| !is_evicted(slot)));
    }

    #[test]
    fn requests_leave_slots_to_connections_that_wait() {
        let slots = Slots::default();
        let probe = slots.open();
        let busy: Vec<Slot> = (0..3 * MOST_CONNECTIONS)
            .map(|_| {
                let slot = slots.open();
                slot.begin(&request("GET", "/metrics", ""));
                slot
            })
            .collect();
        assert!(!is_evicted(&probe), "requests evict requests");
        let evicted = busy.iter().filter(|slot| is_evicted(slot)).count();
        assert_eq!(evicted, busy.len() - MOST_REQUESTS);
    }

    #[test]
    fn what_may_take_its_time_is_no_probe() {
        assert!(is_probe(&request("GET", "/livez", "")) && is_probe(&request("HEAD", "/readyz", "")));
        assert!(!is_probe(&request("GET", "/livez", "x")), "its body may never come");
        assert!(!is_probe(&request("POST", "/livez", "")) && !is_probe(&request("GET", "/metrics", "")));
    }
}
