//! What a connection is told from outside: that its time is up, that the sidecar stops.
//!
//! A connection is polled for each piece of a request, its orders almost never have news. So they have a waker of
//! their own, and are looked at only when that was called: else each request would pay for a timer and for a look
//! at a lock that all workers share.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::watch;

use super::Phase;
use super::course::Course;
use crate::clock::{Clock, Instant};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing has been under way for a while: what only a request needs may go.
    Rest,
    /// Every answer is the last one from here on.
    WindDown,
    /// There was no request for too long.
    TimeUp,
    /// Close, whatever is under way.
    Cut,
}

/// How long a connection on which nothing comes may stay when the sidecar stops: what its caller has sent may still
/// be on the way.
const GRACE: Duration = Duration::from_millis(250);

/// When it is first looked whether anything was asked since a connection was last at rest. Each look that finds
/// something puts the next one off for twice as long: who asks often is left alone, and who asks now and then rests soon.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Orders, one after the other.
pub(super) struct Orders {
    next: Pin<Box<dyn Future<Output = (Watch, Order)> + Send>>,
    signal: Arc<Signal>,
    waker: Waker,
    task: Option<Waker>,
}

impl Orders {
    pub(super) fn new(watch: Watch) -> Self {
        let signal = Arc::new(Signal { called: AtomicBool::new(true), task: Mutex::default() });
        Self { next: Box::pin(watch.next()), waker: signal.clone().into(), signal, task: None }
    }

    /// The next order. There is always one to come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Order> {
        if !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            self.task = Some(cx.waker().clone());
            *self.signal.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        }
        if !self.signal.called.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.signal.called.store(false, Ordering::Release);
        let Poll::Ready((watch, order)) = self.next.as_mut().poll(&mut Context::from_waker(&self.waker))
        else {
            return Poll::Pending;
        };
        self.next = Box::pin(watch.next());
        self.signal.called.store(true, Ordering::Release);
        Poll::Ready(order)
    }
}

/// Passes a call on to the connection's task, and remembers that it came.
struct Signal {
    called: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.called.store(true, Ordering::Release);
        if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.wake_by_ref();
        }
    }
}

enum News {
    LookTime,
    Stirred,
    Phase(Phase),
}

/// Watches over a connection.
pub(super) struct Watch {
    course: Arc<Course>,
    phases: watch::Receiver<Phase>,
    /// How long there may be no request.
    patience: Duration,
    /// How many had come at the last look.
    seen: u64,
    /// Since when there has been none, as far as was seen.
    since: Instant,
    look_at: Instant,
    look_after: Duration,
    was_answering: bool,
    is_resting: bool,
    is_draining: bool,
}

impl Watch {
    pub(super) fn over(course: Arc<Course>, patience: Duration, phases: watch::Receiver<Phase>) -> Self {
        let now = Clock::system().now();
        Self {
            course,
            phases,
            patience,
            seen: 0,
            since: now,
            look_at: now + patience,
            look_after: FIRST_LOOK,
            was_answering: false,
            // Before its first request it has nothing that could go.
            is_resting: true,
            is_draining: false,
        }
    }

    /// The next order, and who gives those after it.
    async fn next(mut self) -> (Self, Order) {
        loop {
            let is_draining = self.is_draining;
            let is_news =
                |phase: &Phase| *phase == Phase::Over || (*phase == Phase::Draining && !is_draining);
            let news = tokio::select! {
                () = tokio::time::sleep_until(self.look_at) => News::LookTime,
                () = self.course.stirred(), if self.is_resting => News::Stirred,
                phase = self.phases.wait_for(is_news) => News::Phase(phase.map_or(Phase::Over, |phase| *phase)),
            };
            let now = Clock::system().now();
            let order = match news {
                News::LookTime => self.look(now),
                News::Stirred => self.stir(now),
                News::Phase(Phase::Draining) => Some(self.drain(now)),
                News::Phase(_) => Some(Order::Cut),
            };
            if let Some(order) = order {
                return (self, order);
            }
        }
    }

    fn drain(&mut self, now: Instant) -> Order {
        (self.is_draining, self.patience) = (true, GRACE.min(self.patience));
        (self.since, self.look_at) = (now, now + self.patience);
        Order::WindDown
    }

    /// A request has come to a connection at rest: from here on it is looked at again.
    fn stir(&mut self, now: Instant) -> Option<Order> {
        (self.is_resting, self.look_after) = (false, FIRST_LOOK);
        self.look_at = now + FIRST_LOOK.min(self.patience);
        None
    }

    /// Looks what has happened since the last look. An exact time of each request would cost each of them a look at
    /// the clock; so time is up a little late, by no more than [`LAST_LOOK`].
    fn look(&mut self, now: Instant) -> Option<Order> {
        let begun = self.course.begun();
        let is_answering = self.course.is_answering();
        if begun != self.seen || is_answering || self.was_answering {
            // What was going on at the last look, or began since, has ended now at the latest.
            self.since = now;
            self.look_after = (self.look_after * 2).min(LAST_LOOK);
        }
        (self.seen, self.was_answering) = (begun, is_answering);
        let end = self.since + self.patience;
        if end <= now {
            self.look_at = now + self.patience;
            return Some(Order::TimeUp);
        }
        let may_rest = self.since < now && !self.is_resting && self.course.is_at_rest();
        if may_rest {
            self.is_resting = true;
            self.course.calm();
        }
        self.look_at = if self.is_resting { end } else { end.min(now + self.look_after) };
        may_rest.then_some(Order::Rest)
    }
}
