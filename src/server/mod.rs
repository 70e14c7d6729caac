//! Accepting callers: listeners, workers, connections, and stopping without losing a request.
//!
//! - [`address`]: where to listen
//! - [`listener`]: sockets that callers connect to
//! - [`worker`]: threads that serve connections, each with a runtime of its own
//! - [`connection`]: one connection
//! - [`continues`]: `100 Continue` over HTTP/2
//! - [`conversation`]: a connection from its first byte to its last
//! - [`course`]: what a connection tells of itself
//! - [`orders`]: what a connection is told
//! - [`descriptors`]: how many connections the system admits
//! - [`limits`]: the limits of a connection
//! - [`repeats`]: answers to heads that are known
//! - [`severable`]: connections that can be severed
//! - [`shell`]: what every request gets alike
//! - [`strict`]: HTTP/1 framing looked at before hyper reads it
//! - [`tls`]: the certificate that is shown, and those that are asked for
//!
//! One single-threaded runtime per worker costs less per request than one runtime for all; new connections
//! go to the worker that has the fewest.

pub mod address;
mod connection;
mod continues;
mod conversation;
mod course;
pub mod descriptors;
mod limits;
pub mod listener;
mod orders;
mod repeats;
mod severable;
mod shell;
mod strict;
#[cfg(test)]
mod tests;
pub mod tls;
mod worker;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::net::body::{Body, BoxError};
use crate::net::buffers::Buffers;
use crate::net::http1::Versions;
use crate::net::peer::Peer;
use crate::net::standing::{Standing, UnidentifiedConnections};
use crate::supervisor::{Supervisor, Task};
use address::Address;
use limits::Limits;
use listener::{BindError, Listener, Stream, is_of_the_caller};
use severable::Severed;
use tls::{Tls, TlsError};
use worker::{Accepted, Workers};

/// How callers are accepted.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub listen: Vec<Address>,
    /// How TLS is spoken where it is; needed only where it is.
    pub tls: Option<tls::Settings>,
    /// How many threads serve connections.
    pub workers: usize,
    /// How many connections may be open, as far as the system has file descriptors for them. One more closes an
    /// unidentified one, or is closed at once if there is none.
    pub max_connections: usize,
    /// How long a connection may take for a request's head, or stay without one.
    pub header_read_timeout: Duration,
    /// How long a caller may leave what is written to it unread.
    pub write_timeout: Duration,
    /// How many headers a request may have.
    pub max_headers: usize,
    /// How long a request's head may be.
    pub max_header_bytes: usize,
    /// How many requests one HTTP/2 connection may have under way.
    pub max_concurrent_streams: u32,
    /// How long requests may take to finish once the sidecar stops.
    pub drain_timeout: Duration,
    /// Out of which memory long pieces are read.
    pub buffers: Buffers,
}

/// What is counted.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Open connections.
    pub open: Gauge,
    /// Connections closed at once because there were too many.
    pub refused: Counter,
    /// Unidentified connections closed to make room for new ones.
    pub evicted: Counter,
    /// Connections that ended in an error.
    pub errors: Counter,
    /// What is counted of TLS.
    pub tls: tls::Counts,
}

/// Handles the requests of a connection.
///
/// By reference: a copy for each request would write to what all workers share.
pub trait Handler: Send + Sync + 'static {
    /// An answer being made.
    type Answering: Future<Output = Response<Body>> + Unpin + Send + 'static;

    /// Begins to answer a request.
    fn handle(&self, request: Request<Incoming>) -> Self::Answering;

    /// Answers a request by nothing but the bytes of its head, if they are known: appends the whole answer to `answer`
    /// as HTTP/1.1 sends it. The request has no body, and its answer need not be the last on its connection.
    fn repeat(&self, _head: &[u8], _answer: &mut Vec<u8>) -> Repeat {
        Repeat::Unknown
    }
}

/// What came of a head that may be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It is answered.
    Done,
    /// It is to be handled as any other, and shown as [`HeadBytes`]: it may be known the next time.
    Learn,
    /// It is to be handled as any other.
    Unknown,
}

/// The bytes of a request's head, among its extensions where the handler wants to know them again.
#[derive(Clone)]
pub struct HeadBytes(pub Bytes);

/// Makes the handler of each connection; one is made per worker, on its thread.
pub trait Greet: Clone + Send + 'static {
    /// What it makes.
    type Handler: Handler;

    /// The handler for who is at the other end of a connection with this standing.
    fn greet(&self, peer: Peer, standing: Standing) -> Self::Handler;
}

/// How far stopping has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Serving.
    Serving,
    /// No new connections; requests under way finish.
    Draining,
    /// Whatever is still open is closed.
    Over,
}

/// Listeners that are bound and accept nothing yet.
pub struct Bound {
    listeners: Vec<Listener>,
    tls: Option<Tls>,
    settings: Settings,
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum CannotListen {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Binds all listeners, or none.
pub fn bind(settings: Settings) -> Result<Bound, CannotListen> {
    let tls = settings.tls.clone().map(Tls::new).transpose()?;
    let listeners = settings.listen.iter().map(Listener::bind).collect::<Result<_, _>>()?;
    Ok(Bound { listeners, tls, settings })
}

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every request was answered.
    Drained,
    /// Some connections were cut when the time was up, or when it was asked for.
    Cut(usize),
}

impl Bound {
    /// The addresses, with the ports that were got.
    pub fn addresses(&self) -> Vec<Address> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Serves until `stop` ends, then lets requests finish, until `hurry` ends or time is up.
    pub async fn serve<G: Greet>(
        self,
        supervisor: &Supervisor,
        counts: Counts,
        make: impl Fn() -> G + Clone + Send + 'static,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> io::Result<Ended> {
        let Self { listeners, tls, mut settings } = self;
        settings.max_connections = descriptors::connections(settings.max_connections);
        let tls = tls.map(|tls| Arc::new(tls.counting(counts.tls.clone())));
        let (phase, phases) = watch::channel(Phase::Serving);
        let unidentified = UnidentifiedConnections::counting(counts.evicted.clone());
        let workers = Workers::start(&settings, &counts, make, &phases, &unidentified, supervisor)?;
        let workers = Arc::new(workers);
        // One permit per connection: all of them free means that all connections have ended.
        let places = Arc::new(Semaphore::new(settings.max_connections));

        let entrance = Entrance { workers, places, unidentified, counts };
        let mut accepting = Vec::new();
        for listener in listeners {
            let tls = tls.clone().filter(|_| matches!(listener, Listener::Tls(_)));
            accepting.push(entrance.start_accepting(listener, tls, supervisor));
        }
        let renewing = tls.map(|tls| {
            supervisor.task("tls-certificates", move |heartbeat| tls.clone().keep_fresh(heartbeat))
        });
        stop.await;
        phase.send_replace(Phase::Draining);
        for accepting in accepting {
            accepting.end().await;
        }
        drop(renewing);

        let Entrance { workers, places, .. } = entrance;
        let all = u32::try_from(settings.max_connections).unwrap_or(u32::MAX);
        let drained = tokio::select! {
            _ = places.acquire_many(all) => true,
            () = tokio::time::sleep(settings.drain_timeout) => false,
            () = hurry => false,
        };
        let open = settings.max_connections - places.available_permits();
        phase.send_replace(Phase::Over);
        let workers = Arc::into_inner(workers).expect("the accepting tasks have ended");
        let joining = supervisor.blocking("workers", move || workers.join());
        let have_ended = tokio::time::timeout(LAST_WORKERS, joining).await.is_ok();
        if !have_ended {
            tracing::error!("a worker does not end and is left behind");
        }
        Ok(if drained && have_ended { Ended::Drained } else { Ended::Cut(open) })
    }
}

/// Serves one connection that came by no listener, to its end.
pub async fn serve_connection<H: Handler>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handler: H,
    settings: &Settings,
) -> Result<(), BoxError> {
    let (_phase, phases) = watch::channel(Phase::Serving);
    conversation::serve(
        io,
        handler,
        Versions::Any,
        Standing::default(),
        Arc::new(Limits::of(settings)),
        phases,
        Severed::default(),
    )
    .await
}

/// How long workers may take to end when all connections are closed. One that is stuck must not hold the process.
const LAST_WORKERS: Duration = Duration::from_secs(5);

/// How long accepting rests when the process has no file descriptors left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that makes room may take to close. Only a worker that is stuck needs so long.
const EVICTION: Duration = Duration::from_secs(1);

/// Where connections come in.
#[derive(Clone)]
struct Entrance {
    workers: Arc<Workers>,
    places: Arc<Semaphore>,
    unidentified: UnidentifiedConnections,
    counts: Counts,
}

/// A listener whose connections are accepted.
struct Accepting {
    entrance: Entrance,
    listener: Arc<Listener>,
    tls: Option<Arc<Tls>>,
    task: Task,
}

impl Accepting {
    /// Stops to accept. Who has connected by then is served too.
    async fn end(self) {
        let Self { entrance, listener, tls, task } = self;
        task.stop().await;
        let listener = Arc::into_inner(listener).expect("the task that shared it has ended");
        for stream in listener.close().await {
            entrance.admit(stream, tls.as_ref()).await;
        }
    }
}

impl Entrance {
    fn start_accepting(
        &self,
        listener: Listener,
        tls: Option<Arc<Tls>>,
        supervisor: &Supervisor,
    ) -> Accepting {
        let (entrance, listener) = (self.clone(), Arc::new(listener));
        let (shared, spoken) = (listener.clone(), tls.clone());
        let task = supervisor.task(format!("accept/{}", listener.address()), move |_| {
            let (entrance, listener, tls) = (entrance.clone(), shared.clone(), spoken.clone());
            async move { entrance.accept(&listener, tls.as_ref()).await }
        });
        Accepting { entrance: self.clone(), listener, tls, task }
    }

    /// Accepts until it is stopped.
    async fn accept(&self, listener: &Listener, tls: Option<&Arc<Tls>>) {
        loop {
            match listener.accept().await {
                Ok(stream) => self.admit(stream, tls).await,
                Err(error) if is_of_the_caller(&error) => {}
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "connections cannot be accepted"
                    );
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    async fn admit(&self, stream: Stream, tls: Option<&Arc<Tls>>) {
        match self.place().await {
            Some(place) => self.workers.hand_over(Accepted { stream, tls: tls.cloned(), place }),
            None => {
                self.counts.refused.inc();
            }
        }
    }

    /// A place for a connection: a free one, or that of the unidentified connection that is open for longest. Nobody is
    /// accepted until that one is closed, so that there are never more connections than there may be.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        if !self.unidentified.evict() {
            return None;
        }
        let place = tokio::time::timeout(EVICTION, self.places.clone().acquire_owned()).await;
        place.ok()?.ok()
    }
}
