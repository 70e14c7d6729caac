//! The connections of the admin listener: which one is closed when there are too many.
//!
//! A new connection is always accepted, so that probes cannot be locked out by opening connections. In exchange another one
//! is closed, in this order:
//!
//! 1. A connection that waits for the head of a request, or sends a response: the oldest of the address that has most of
//!    them. Whoever opens connections without end therefore closes its own, and a probe whose head comes late stays.
//! 2. The oldest request that has not shown the admin token. Requests leave some slots to connections that wait: otherwise
//!    each new connection could evict the only one that waits, which may be a probe whose head is about to come.
//!
//! A request that is trusted and complete is never evicted, nor is one that has shown the admin token and still sends its
//! body. Such requests are limited in number, and one too many is refused. Between its requests, a connection that has shown
//! the token makes room only for others that have.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, Request};
use http_body::Body as HttpBody;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::server::listener::Stream;

/// How many connections may wait, where the system admits them. An idle one costs some 10 KiB.
const MOST_CONNECTIONS: usize = 1000;
/// How many of them may have a request under way that has not shown the admin token.
const MOST_REQUESTS: usize = 80;
/// How many trusted requests may be handled at once.
const MOST_HANDLED: usize = 50;
/// How many connections that have shown the admin token may be idle.
const MOST_PROVEN: usize = 50;

/// Where a connection comes from, as far as one operator's addresses can be distinguished from another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// By a unix socket, or by no socket at all.
    Local,
    Address(IpAddr),
}

impl Source {
    pub(super) fn of(stream: &Stream) -> Self {
        match stream {
            Stream::Tcp(stream) => stream.peer_addr().map_or(Self::Local, |peer| Self::of_address(peer.ip())),
            Stream::Unix(_) => Self::Local,
        }
    }

    /// A host has a whole /64 of IPv6 to itself.
    fn of_address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let prefix = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from_bits(prefix))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// All connections of a listener. Clones are the same.
#[derive(Clone)]
pub(super) struct Slots {
    most: usize,
    all: Arc<Mutex<All>>,
    /// Serializes the making of pages.
    page: Arc<Semaphore>,
}

impl Default for Slots {
    fn default() -> Self {
        Self::of(MOST_CONNECTIONS)
    }
}

#[derive(Default)]
struct All {
    next: u64,
    /// Those that wait for the head of a request, or send a response.
    heads: Queue,
    /// Those with a request under way that has not shown the admin token.
    requests: Queue,
    /// Idle ones that have shown it.
    proven: Queue,
    /// How many trusted requests are handled.
    handled: usize,
    /// How many of `heads` there are of each source.
    per_source: HashMap<Source, usize>,
}

/// Connections by number, the oldest first.
type Queue = BTreeMap<u64, Connection>;

#[derive(Clone)]
struct Connection {
    source: Source,
    evicted: Arc<Notify>,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It waits for a head or sends a response; its number in the queue.
    Head(u64),
    Request(u64),
    Proven(u64),
    /// Its request is trusted and is being handled.
    Handled,
    /// It has ended.
    Gone,
}

/// There are too many trusted requests already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// The slot of one connection, given back on drop.
pub(super) struct Slot {
    slots: Slots,
    connection: Connection,
    state: Mutex<State>,
}

impl Slots {
    /// Slots for so many connections, or as many as are worth having.
    pub(super) fn of(most: usize) -> Self {
        Self { most: most.min(MOST_CONNECTIONS), all: Arc::default(), page: Arc::new(Semaphore::new(1)) }
    }

    /// A slot for a new connection.
    pub(super) fn open(&self, source: Source) -> Slot {
        let connection = Connection { source, evicted: Arc::default() };
        let mut all = self.lock();
        if all.heads.len() + all.requests.len() >= self.most && !all.evict_head() {
            all.evict_request();
        }
        let state = Mutex::new(all.join_heads(&connection));
        drop(all);
        Slot { slots: self.clone(), connection, state }
    }

    /// How many requests may be under way that have not shown the admin token: the rest is for connections that wait.
    fn most_requests(&self) -> usize {
        (self.most * 4 / 5).clamp(1, MOST_REQUESTS)
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl All {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn join_heads(&mut self, connection: &Connection) -> State {
        let number = self.number();
        *self.per_source.entry(connection.source).or_default() += 1;
        self.heads.insert(number, connection.clone());
        State::Head(number)
    }

    /// Closes the oldest waiting connection of a source that has most of them.
    fn evict_head(&mut self) -> bool {
        let most = self.per_source.values().copied().max().unwrap_or_default();
        let is_of_most = |connection: &Connection| self.per_source.get(&connection.source) == Some(&most);
        let Some(number) = self.heads.iter().find(|(_, one)| is_of_most(one)).map(|(number, _)| *number)
        else {
            return false;
        };
        self.leave_heads(number).is_some_and(Connection::evict)
    }

    fn evict_request(&mut self) -> bool {
        self.requests.pop_first().is_some_and(|(_, connection)| connection.evict())
    }

    fn leave_heads(&mut self, number: u64) -> Option<Connection> {
        let connection = self.heads.remove(&number)?;
        if let Some(count) = self.per_source.get_mut(&connection.source) {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&connection.source);
            }
        }
        Some(connection)
    }

    /// Takes a connection out of where it is. `false` if it is not there any more, since it was evicted.
    fn leave(&mut self, state: State) -> bool {
        match state {
            State::Head(number) => self.leave_heads(number).is_some(),
            State::Request(number) => self.requests.remove(&number).is_some(),
            State::Proven(number) => self.proven.remove(&number).is_some(),
            State::Handled => {
                self.handled -= 1;
                true
            }
            State::Gone => false,
        }
    }
}

impl Connection {
    fn evict(self) -> bool {
        self.evicted.notify_one();
        true
    }
}

impl Slot {
    /// Ends when the connection is to be closed.
    pub(super) async fn evicted(&self) {
        self.connection.evicted.notified().await;
    }

    /// The head of a request has come. A probe is answered at once, so that its connection is one that waits.
    pub(super) fn begin<B: HttpBody>(&self, request: &Request<B>) {
        let connection = &self.connection;
        if is_probe(request) {
            return self.change(|all| all.join_heads(connection));
        }
        let most = self.slots.most_requests();
        self.change(|all| {
            if all.requests.len() >= most {
                all.evict_request();
            }
            let number = all.number();
            all.requests.insert(number, connection.clone());
            State::Request(number)
        });
    }

    /// The request is trusted and is handled from here on: it is not evicted any more.
    pub(super) fn handle(&self) -> Result<(), TooMany> {
        let mut state = self.lock();
        let mut all = self.slots.lock();
        if *state == State::Handled {
            return Ok(());
        }
        if all.handled >= MOST_HANDLED {
            return Err(TooMany);
        }
        // One that was evicted a moment ago ends without being handled.
        if all.leave(*state) {
            all.handled += 1;
            *state = State::Handled;
        } else {
            *state = State::Gone;
        }
        Ok(())
    }

    /// Waits until no other connection has a page made. A page takes milliseconds, and a probe should wait for one of them
    /// at the most, not for one of each connection.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.slots.page.acquire().await.ok()
    }

    /// A request has its response. From here on the connection waits for the next one.
    pub(super) fn end(&self, has_shown_token: bool) {
        let connection = &self.connection;
        self.change(|all| {
            if !has_shown_token {
                return all.join_heads(connection);
            }
            if all.proven.len() >= MOST_PROVEN {
                let _ = all.proven.pop_first().map(|(_, idle)| idle.evict());
            }
            let number = all.number();
            all.proven.insert(number, connection.clone());
            State::Proven(number)
        });
    }

    /// Leaves a queue and joins another, unless the connection was evicted.
    fn change(&self, join: impl FnOnce(&mut All) -> State) {
        let mut state = self.lock();
        let mut all = self.slots.lock();
        *state = if all.leave(*state) { join(&mut all) } else { State::Gone };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.change(|_| State::Gone);
    }
}

/// Returns true for a probe, which gets its few bytes immediately.
fn is_probe<B: HttpBody>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && matches!(request.uri().path(), "/livez" | "/readyz")
        && request.body().is_end_stream()
}

#[cfg(test)]
mod tests;
