//! Whether a connection belongs to a known caller, and which connection is closed when there is no place for another.
//!
//! A connection is unidentified until a known caller makes a request on it. Without this, whoever can connect could take all
//! places for connections and leave none for the callers they are meant for. When there is no place left, the unidentified
//! connection that is open for longest is closed for the newcomer; connections of known callers are never closed for others.
//! Connections of a caller without a credential (`anybody = true`) are in between: after their first permitted request they are
//! closed only if no unidentified connection is left.
//! When unidentified connections hold too many bytes, of incomplete heads and of unread HTTP/2 responses, the oldest of those
//! that hold at least an average share is closed.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use tokio::task::AbortHandle;

use super::waiting::{Ticket, Waiting};

/// How many bytes all unidentified connections may hold: enough for thousands of usual heads or open streams.
const MOST_BYTES: i64 = 8 * 1024 * 1024;

/// All unidentified connections. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct UnidentifiedConnections {
    open: Waiting<Open>,
    /// Those of a caller without a credential that has made a request which it may make.
    admitted: Waiting<Open>,
    /// Signed, since it may be taken from before it is added to: a connection's own number changes first.
    held_bytes: Arc<AtomicI64>,
    evicted: Counter,
}

/// What ends a connection.
struct Open {
    task: AbortHandle,
    standing: Arc<Inner>,
}

/// The standing of one connection. Clones are the same; the default is that of a connection that is never closed for others.
#[derive(Clone, Default)]
pub struct Standing(Option<Arc<Inner>>);

struct Inner {
    all: UnidentifiedConnections,
    is_settled: AtomicBool,
    is_admitted: AtomicBool,
    /// How many bytes are held for it, as far as they are counted.
    held_bytes: AtomicI64,
    state: Mutex<State>,
}

enum State {
    /// Its task is not known yet.
    New,
    Unidentified(Ticket<Open>),
    /// It is a known caller's, or has ended.
    Settled,
}

impl UnidentifiedConnections {
    /// None yet. Those that are closed for others are counted.
    pub fn counting(evicted: Counter) -> Self {
        Self { evicted, ..Self::default() }
    }

    /// Begins to close the connection that is open for longest, of admitted ones only if there is no other. Its place is
    /// free once its task is gone.
    pub fn evict(&self) -> bool {
        self.close(self.open.evict().or_else(|| self.admitted.evict()))
    }

    /// The same with the connection that is open for longest of those that hold at least an equal share of all.
    fn evict_holder(&self) -> bool {
        let connections = i64::try_from(self.open.len() + self.admitted.len()).unwrap_or(i64::MAX);
        let share = (self.held_bytes.load(Relaxed) / connections.max(1)).max(1);
        let holds_it = |open: &Open| open.standing.held_bytes.load(Relaxed) >= share;
        let found = self.open.evict_one_that(holds_it);
        self.close(found.or_else(|| self.admitted.evict_one_that(holds_it)))
    }

    fn close(&self, evicted: Option<Open>) -> bool {
        let Some(Open { task, standing }) = evicted else { return false };
        // It counts no more, though it may take a moment to go: else one byte too many would evict several.
        standing.is_settled.store(true, Relaxed);
        standing.hold(0);
        task.abort();
        self.evicted.inc();
        true
    }
}

impl Standing {
    /// That of a new connection.
    pub fn new(all: UnidentifiedConnections) -> Self {
        Self(Some(Arc::new(Inner {
            all,
            is_settled: AtomicBool::new(false),
            is_admitted: AtomicBool::new(false),
            held_bytes: AtomicI64::new(0),
            state: Mutex::new(State::New),
        })))
    }

    /// From here on the connection is closed by ending this task, if it has to make room.
    pub fn watch(&self, task: AbortHandle) {
        if let Some(inner) = &self.0 {
            let mut state = inner.lock();
            if let State::New = *state {
                let open = Open { task, standing: inner.clone() };
                let is_admitted = inner.is_admitted.load(Relaxed);
                let queue = if is_admitted { &inner.all.admitted } else { &inner.all.open };
                *state = State::Unidentified(queue.join(open));
            }
        }
    }

    /// A known caller makes a request on the connection. Costs next to nothing but the first time.
    pub fn identify(&self) {
        if let Some(inner) = &self.0
            && !inner.is_settled.load(Relaxed)
        {
            inner.settle();
        }
    }

    /// A caller that shows no credential makes a request on the connection that it may make.
    pub fn admit(&self) {
        if let Some(inner) = &self.0
            && !inner.is_admitted.load(Relaxed)
        {
            inner.admit();
        }
    }

    /// So many bytes are held for the connection. While its caller is not known they count.
    pub fn hold(&self, bytes: usize) {
        if let Some(inner) = &self.0
            && !inner.is_settled.load(Relaxed)
            && inner.hold(bytes) > MOST_BYTES
        {
            inner.all.evict_holder();
        }
    }

    /// The connection has ended.
    pub fn end(&self) {
        if let Some(inner) = &self.0 {
            inner.settle();
        }
    }
}

impl Inner {
    #[cold]
    fn settle(&self) {
        self.is_settled.store(true, Relaxed);
        self.hold(0);
        let before = std::mem::replace(&mut *self.lock(), State::Settled);
        drop(before);
    }

    #[cold]
    fn admit(&self) {
        self.is_admitted.store(true, Relaxed);
        let mut state = self.lock();
        *state = match std::mem::replace(&mut *state, State::Settled) {
            State::Unidentified(ticket) => match ticket.leave() {
                Some(open) => State::Unidentified(self.all.admitted.join(open)),
                // It was evicted a moment ago.
                None => State::Settled,
            },
            other => other,
        };
    }

    /// Gives how many bytes all connections hold then.
    fn hold(&self, bytes: usize) -> i64 {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let more = bytes - self.held_bytes.swap(bytes, Relaxed);
        self.all.held_bytes.fetch_add(more, Relaxed) + more
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Connection {
        standing: Standing,
        task: tokio::task::JoinHandle<()>,
    }

    fn open(all: &UnidentifiedConnections) -> Connection {
        let standing = Standing::new(all.clone());
        let task = tokio::spawn(std::future::pending());
        standing.watch(task.abort_handle());
        Connection { standing, task }
    }

    #[tokio::test]
    async fn the_oldest_unidentified_connection_makes_room() {
        let all = UnidentifiedConnections::default();
        let [known, first, second] = [(); 3].map(|()| open(&all));
        known.standing.identify();
        assert!(all.evict());
        assert!(first.task.await.unwrap_err().is_cancelled());
        second.standing.end();
        assert!(!all.evict(), "the other is a known caller's");
        assert!(!known.task.is_finished());
    }

    #[tokio::test]
    async fn unfinished_heads_of_unidentified_connections_are_bounded_in_bytes() {
        const ALL: usize = 8 * 1024 * 1024;
        let all = UnidentifiedConnections::default();
        let known = open(&all);
        known.standing.identify();
        known.standing.hold(2 * ALL);
        let idle = open(&all);
        let [first, second] = [(); 2].map(|()| open(&all));
        first.standing.hold(ALL / 2);
        second.standing.hold(ALL / 2);
        assert_eq!(all.open.len(), 3, "they fit, and those of known callers do not count");
        second.standing.hold(ALL / 2 + 1);
        assert_eq!(all.held_bytes.load(Relaxed), MOST_BYTES / 2 + 1, "though the first has not ended yet");
        assert!(first.task.await.unwrap_err().is_cancelled());
        first.standing.hold(ALL);
        first.standing.end();
        assert_eq!(all.held_bytes.load(Relaxed), MOST_BYTES / 2 + 1);
        second.standing.hold(0);
        second.standing.end();
        assert_eq!((all.held_bytes.load(Relaxed), all.evicted.get()), (0, 1));
        assert!(!idle.task.is_finished(), "it is older, and holds nothing");
    }

    #[tokio::test]
    async fn an_admitted_connection_makes_room_after_all_that_are_unidentified() {
        let all = UnidentifiedConnections::default();
        let [admitted, first, second] = [(); 3].map(|()| open(&all));
        let early = Standing::new(all.clone());
        early.admit();
        let early_task = tokio::spawn(std::future::pending::<()>());
        early.watch(early_task.abort_handle());
        admitted.standing.admit();
        for unidentified in [first, second] {
            assert!(all.evict());
            assert!(unidentified.task.await.unwrap_err().is_cancelled());
        }
        assert!(!admitted.task.is_finished() && !early_task.is_finished());
        assert!(all.evict() && all.evict());
        assert!(early_task.await.unwrap_err().is_cancelled());
        assert!(admitted.task.await.unwrap_err().is_cancelled());
        assert!(!all.evict());
        let known = open(&all);
        known.standing.admit();
        known.standing.identify();
        assert!(!all.evict(), "its caller has shown a credential since");
    }

    #[tokio::test]
    async fn an_older_connection_that_holds_less_than_its_share_stays() {
        const ALL: usize = 8 * 1024 * 1024;
        let all = UnidentifiedConnections::default();
        let [modest, greedy, other] = [(); 3].map(|()| open(&all));
        modest.standing.hold(2048);
        greedy.standing.hold(ALL / 2);
        other.standing.hold(ALL / 2);
        assert!(greedy.task.await.unwrap_err().is_cancelled());
        assert!(!modest.task.is_finished() && !other.task.is_finished());
    }

    #[tokio::test]
    async fn a_connection_that_is_identified_before_its_task_is_known_stays() {
        let all = UnidentifiedConnections::default();
        let standing = Standing::new(all.clone());
        standing.identify();
        standing.watch(tokio::spawn(std::future::pending::<()>()).abort_handle());
        assert!(!all.evict());
    }
}
