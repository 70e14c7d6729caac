//! What drives a connection of HTTP/2 to its end, and sees at once how many exchanges its server allows.
//!
//! hyper drives one by two futures that it would have run as tasks of their own: one takes requests in, the other reads
//! and writes frames. Here both are one task, which runs of them what was woken. That the server allows another number
//! of exchanges is read by the second, but only the first can tell. As two tasks the pool learnt of it with the next
//! request, which was one too late if the server allows none; and what was taken in then would wait for ever.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::{Executor, Read, Write};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Pool;
use super::head::HeadLimits;
use super::stream::{FIRST_STREAMS, Share};
use crate::net::body::Body;
use crate::net::transport::BoxFuture;

/// How often HTTP/2 asks a silent server whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// What a server may send before it is read: on one stream so much that 1.5 MB a second come from another continent, and
/// on a connection so much more that as many unread answers as an organisation may have calls under way (25 at most) do not
/// stop the others. hyper's windows that adapt would make both as large as what was read fastest, up to 16 MiB.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 32 * STREAM_WINDOW;

/// Begins to speak HTTP/2 for a host of this pool.
pub(super) async fn speak<T>(
    io: T,
    head: HeadLimits,
    pool: Weak<Pool>,
    host: usize,
) -> hyper::Result<(SendRequest<Body>, Arc<Share>, Driving<T>)>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let runner = Runner::default();
    let mut builder = http2::Builder::new(runner.clone());
    builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL);
    builder.initial_max_send_streams(FIRST_STREAMS).max_header_list_size(head.http2_bytes());
    builder.initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let (sender, intake) = builder.handshake(io).await?;
    let share = Arc::new(Share::new());
    let driving = Driving {
        intake: Some(intake),
        frames: runner.first(),
        ended: Ok(()),
        share: share.clone(),
        pool,
        host,
        turns: None,
    };
    Ok((sender, share, driving))
}

/// Runs what hyper wants to have run beside a connection. The first of it, which comes with the handshake, is what
/// reads and writes frames, and is left to [`Driving`]; the others are parts of exchanges.
#[derive(Clone, Default)]
struct Runner {
    first: Arc<Mutex<First>>,
}

#[derive(Default)]
enum First {
    #[default]
    Awaited,
    Here(BoxFuture<()>),
    Taken,
}

impl Runner {
    fn first(&self) -> Option<BoxFuture<()>> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *first, First::Taken) {
            First::Here(future) => Some(future),
            First::Awaited | First::Taken => None,
        }
    }
}

impl<F> Executor<F> for Runner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*first, First::Awaited) {
            *first = First::Here(Box::pin(future));
        } else {
            TokioExecutor::new().execute(future);
        }
    }
}

/// Drives a connection to its end.
pub(super) struct Driving<T>
where
    T: Read + Write + Unpin + Send + 'static,
{
    /// Takes requests in, for as long as there may be some.
    intake: Option<http2::Connection<T, Body, Runner>>,
    /// Reads and writes, for as long as the connection is open.
    frames: Option<BoxFuture<()>>,
    ended: hyper::Result<()>,
    share: Arc<Share>,
    pool: Weak<Pool>,
    host: usize,
    turns: Option<Turns>,
}

impl<T> Driving<T>
where
    T: Read + Write + Unpin + Send + 'static,
{
    fn take_in(&mut self, turn: &Arc<Turn>) {
        let Some(intake) = &mut self.intake else { return };
        let Some(waker) = turn.due() else { return };
        if let Poll::Ready(ended) = Pin::new(intake).poll(&mut Context::from_waker(&waker)) {
            self.ended = ended;
            self.take_no_more();
        }
    }

    fn read_and_write(&mut self, turn: &Arc<Turn>) {
        let Some(frames) = &mut self.frames else { return };
        let Some(waker) = turn.due() else { return };
        if frames.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.frames = None;
        }
        let Some(intake) = &self.intake else { return };
        let most = intake.current_max_send_streams();
        if self.share.most.swap(most, Ordering::Relaxed) == most {
            return;
        }
        if most == 0 {
            // What the server has accepted goes on; what waits to be taken in goes back, and to another connection.
            tracing::debug!("a server of HTTP/2 allows no request on its connection any more");
            self.take_no_more();
        } else {
            self.tell();
        }
    }

    /// From here on the connection ends with what it carries.
    fn take_no_more(&mut self) {
        self.intake = None;
        self.tell();
    }

    fn tell(&self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.with(|places| places.look_at_shared(self.host));
        }
    }
}

impl<T> Future for Driving<T>
where
    T: Read + Write + Unpin + Send + 'static,
{
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let kept = self.turns.take().filter(|turns| turns.intake.task.will_wake(cx.waker()));
        let turns = kept.unwrap_or_else(|| Turns::of(cx.waker()));
        // What the server says counts for what is taken in now, and that is written before anything else is read. Twice,
        // since a request that takes the last room goes on only once its head is written.
        for _ in 0..2 {
            self.read_and_write(&turns.frames);
            self.take_in(&turns.intake);
        }
        self.read_and_write(&turns.frames);
        self.turns = Some(turns);
        if self.intake.is_none() && self.frames.is_none() {
            Poll::Ready(std::mem::replace(&mut self.ended, Ok(())))
        } else {
            Poll::Pending
        }
    }
}

/// Which of the futures was woken.
struct Turns {
    intake: Arc<Turn>,
    frames: Arc<Turn>,
}

impl Turns {
    fn of(task: &Waker) -> Self {
        let new = || Arc::new(Turn { is_due: AtomicBool::new(true), task: task.clone() });
        Self { intake: new(), frames: new() }
    }
}

struct Turn {
    is_due: AtomicBool,
    task: Waker,
}

impl Turn {
    fn due(self: &Arc<Self>) -> Option<Waker> {
        self.is_due.swap(false, Ordering::AcqRel).then(|| Waker::from(self.clone()))
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_due.swap(true, Ordering::AcqRel) {
            self.task.wake_by_ref();
        }
    }
}
