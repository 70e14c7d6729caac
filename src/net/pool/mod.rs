//! Connections to servers: made when a request needs one, kept, and shared out again.
//!
//! - `line`: a connection of HTTP/1, which carries one exchange after another
//! - `stream`: a connection of HTTP/2, which carries many at once
//! - `driving`: what drives such a connection
//! - `host`: what there is of one origin
//! - `places`: what there is of all, and who is served next; no input or output
//! - `making`: how a connection is made
//! - `exchange`: a request on a connection, and its answer
//! - `failed`: how that fails
//! - `head`: how large the heads of answers may be
//! - `site`: where connections lead
//! - `stay`: whether one stays
//!
//! A request takes the connection that rested last. If there is none it waits, and gets what comes first: one that
//! is free again, or the one that is being made. What is made for a request that is gone is kept for the next. One
//! task drives each connection, and it is that task which gives the connection back; there is none per request.
//!
//! No connection is opened ahead of a request: a server that closes what nobody uses would be called again and again
//! for nothing.

mod driving;
mod exchange;
mod failed;
mod head;
mod host;
mod line;
mod making;
mod places;
mod site;
mod stay;
mod stream;

#[cfg(test)]
mod tests;

pub(super) use exchange::exchange;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::Connection;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::{timeout, timeout_at};
use tower_service::Service;

use super::body::BoxError;
use super::buffers::Buffers;
use super::transport::TransportError;
use crate::clock::Clock;
use crate::supervisor::{Heartbeat, Supervisor, Task};
pub(super) use head::HeadLimits;
use host::{Answer, Held, Wanted};
use line::Line;
use making::{Connect, Making, connecting};
use places::Places;
use stay::Stay;

/// Bounds for connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For making one, and for waiting for one.
    pub(super) connect_timeout: Duration,
    /// How long a server may leave what is written to it unread.
    pub(super) write_timeout: Duration,
    /// How long one may rest.
    pub(super) idle_timeout: Duration,
    /// How many of a host may rest at once.
    pub(super) max_idle: usize,
    /// How old one may get. It is not broken off then, but carries no further request.
    pub(super) max_age: Duration,
    /// How large the heads of answers may be.
    pub(super) head: HeadLimits,
    /// How many there may be, those that are being made included.
    pub(super) most: usize,
    /// The same of one host.
    pub(super) most_per_host: usize,
}

/// The connections of a worker.
pub(super) struct Pool {
    connect: Connect,
    head_limits: HeadLimits,
    connect_timeout: Duration,
    clock: Clock,
    places: Mutex<Places>,
    /// Wakes the one that ends what is old, which is there from the first connection on.
    hurry: Arc<Notify>,
    supervisor: Supervisor,
    watching: OnceLock<Task>,
}

/// Why a request got no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum NoConnection {
    /// None could be made.
    #[error(transparent)]
    Failed(Arc<dyn std::error::Error + Send + Sync>),
    /// One was being made, and nobody goes on with it.
    #[error("making it was broken off")]
    BrokenOff,
    /// The server allows nothing on those that can be made.
    #[error("the server allows no request on its connections")]
    Shut,
    /// None was made in time.
    #[error("no connection in time")]
    TooLate,
    /// There were as many as may be all the time.
    #[error("no place for a connection")]
    Crowded,
}

/// A request's URI names no host.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the URI has no scheme and host")]
struct NoHost;

impl From<NoConnection> for TransportError {
    fn from(why: NoConnection) -> Self {
        match why {
            NoConnection::Failed(_) | NoConnection::BrokenOff | NoConnection::Shut => {
                Self::Connect(why.into())
            }
            NoConnection::TooLate => Self::ConnectTimeout,
            NoConnection::Crowded => Self::TooManyConnections,
        }
    }
}

impl Pool {
    /// None yet; they will be made by `connector`.
    ///
    /// `http1` makes those to servers that ask for HTTP/1.1 in the place of HTTP/2.
    pub(super) fn new<C>(
        connector: C,
        http1: C,
        limits: Limits,
        buffers: &Buffers,
        supervisor: &Supervisor,
        clock: Clock,
    ) -> Arc<Self>
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + Read + Write + Unpin + Send + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send,
    {
        Arc::new(Self {
            connect: connecting(connector, http1, limits, buffers.clone()),
            head_limits: limits.head,
            connect_timeout: limits.connect_timeout,
            clock,
            places: Mutex::new(Places::new(limits, buffers.clone())),
            hurry: Arc::default(),
            supervisor: supervisor.clone(),
            watching: OnceLock::new(),
        })
    }

    /// A line to the origin of `uri` that rests, if nobody waits for one.
    fn resting(&self, uri: &Uri, wanted: Wanted) -> Option<(usize, Line)> {
        let moment = self.clock.moment();
        let mut places = self.lock();
        places.end_suspended(moment);
        let host = places.find(uri, wanted)?;
        Some((host, places.resting(host)?))
    }

    /// A connection to the origin of `uri`, to be used at once; with `is_first` none that has carried a request, where
    /// requests share connections.
    async fn take(
        self: &Arc<Self>,
        uri: &Uri,
        wanted: Wanted,
        is_first: bool,
    ) -> Result<(usize, Held), NoConnection> {
        let moment = self.clock.moment();
        let (host, answer) = self.with(|places| {
            places.end_suspended(moment);
            let host = places.find(uri, wanted).ok_or_else(|| NoConnection::Failed(Arc::new(NoHost)))?;
            Ok((host, places.take(host, is_first)))
        })?;
        let (turn, answer) = match answer {
            Ok(held) => return Ok((host, held)),
            Err(waiting) => waiting,
        };
        let mut waiting = Waiting { pool: self, host, turn, answer };
        match timeout(self.connect_timeout, &mut waiting.answer).await {
            Ok(answer) => {
                answer.expect("who waits is answered as long as there is a pool").map(|held| (host, held))
            }
            Err(_) => Err(self.lock().why_none(host)),
        }
    }

    /// A line is free again.
    fn give_back(self: &Arc<Self>, host: usize, line: Line) {
        let now = self.clock.now();
        self.with(|places| places.give_back(host, line, now));
    }

    /// Nobody wants what was taken.
    fn put_back(self: &Arc<Self>, host: usize, held: Held) {
        match held {
            Held::Line { line, .. } => self.give_back(host, line),
            Held::Stream { share, .. } => {
                let now = self.clock.now();
                share.is_reserved.store(false, Ordering::Relaxed);
                self.with(|places| places.end_stream(host, &share, now));
            }
        }
    }

    /// Looks at the places, and does what follows from it once nobody holds them.
    fn with<R>(self: &Arc<Self>, look: impl FnOnce(&mut Places) -> R) -> R {
        let mut places = self.lock();
        let result = look(&mut places);
        let (to_make, hurries) = (std::mem::take(&mut places.to_make), places.hurries());
        drop(places);
        if hurries {
            self.hurry.notify_one();
        }
        if !to_make.is_empty() {
            self.start(to_make);
        }
        result
    }

    #[cold]
    fn start(self: &Arc<Self>, to_make: Vec<usize>) {
        let all: Vec<_> = to_make.into_iter().map(|host| Making::of(self.clone(), host)).collect();
        // A runtime that ends drops connections, and wants no others.
        if Handle::try_current().is_err() {
            return;
        }
        self.watching.get_or_init(|| {
            let (pool, hurry, clock) = (Arc::downgrade(self), self.hurry.clone(), self.clock.clone());
            self.supervisor.task("pool-ages", move |heartbeat| {
                watch(pool.clone(), hurry.clone(), clock.clone(), heartbeat)
            })
        });
        for making in all {
            self.supervisor.once("pool-connection", making.make());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits for a connection.
struct Waiting<'a> {
    pool: &'a Arc<Pool>,
    host: usize,
    turn: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answer.close();
        match self.answer.try_recv() {
            Ok(Ok(held)) => self.pool.put_back(self.host, held),
            Ok(Err(_)) => {}
            Err(_) => self.pool.with(|places| places.leave(self.host, self.turn)),
        }
    }
}

/// A place among all connections, free again when this is dropped.
struct Place {
    pool: Weak<Pool>,
    host: usize,
    stay: Arc<Stay>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.with(|places| places.vacate(self.host, &self.stay));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.hurry.notify_one();
    }
}

/// Ends connections that have rested for too long, are too old or are from before a suspension of the machine, for as long as there is a pool.
async fn watch(pool: Weak<Pool>, hurry: Arc<Notify>, clock: Clock, heartbeat: Heartbeat) {
    loop {
        let Some(pool) = pool.upgrade() else { return };
        let busy = heartbeat.busy();
        let moment = clock.moment();
        let next = pool.with(|places| {
            places.end_suspended(moment);
            places.end_old(moment.now)
        });
        drop(pool);
        drop(busy);
        let waiting = async {
            match next {
                Some(next) => drop(timeout_at(next, hurry.notified()).await),
                None => hurry.notified().await,
            }
        };
        tokio::select! {
            () = waiting => {}
            () = clock.resumed() => {}
        }
    }
}
