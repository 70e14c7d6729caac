//! Events that come too often: of each kind the first few are logged, then one every now and then, with the number of those
//! that were left out.
//!
//! A caller, an unreachable server or a file that hangs can cause the same event hundreds of times a second. Each would cost
//! CPU and a line, and together they would displace the lines that matter. Events of one kind come from one place in the
//! source and are about the same tenant, caller, route or task: values that the configuration bounds. Nothing that a caller
//! chooses tells kinds apart.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde_json::Value;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::note::Note;
use super::{Queue, Stream};
use crate::clock::{Clock, Instant};
use crate::telemetry::Format;

/// How many events of a kind are logged at once.
const BURST: u32 = 10;

/// After how long one more is.
const REFILL: Duration = Duration::from_secs(10);

/// Fields whose values tell kinds apart.
const OF_KIND: [&str; 4] = ["tenant", "caller", "route", "task"];

/// The target of events that operators cause: they are never left out.
pub(crate) const BY_OPERATOR: &str = "zoho_sidecar::operator";

/// More kinds than this are told apart by the place in the source alone.
const MOST_KINDS: usize = 1000;

/// Limits how often events of each kind are logged. Clones are the same.
#[derive(Clone)]
pub(crate) struct EventLimit(Arc<Shared>);

struct Shared {
    kinds: Mutex<HashMap<Key, Kind>>,
    left_out: Counter,
    queue: Queue,
    format: Format,
}

type Key = (Identifier, u64);

/// What is known of one kind.
struct Kind {
    /// The text of its events.
    message: String,
    /// How many may be logged now.
    credit: u32,
    /// When the credit was last increased.
    since: Instant,
    left_out: u64,
}

impl EventLimit {
    /// A limit for events that go to this queue; `left_out` counts those that do not.
    pub(super) fn new(queue: Queue, format: Format, left_out: Counter) -> Self {
        Self(Arc::new(Shared { kinds: Mutex::default(), left_out, queue, format }))
    }

    /// Logs how many events of each kind were left out since the last time.
    pub(crate) fn report(&self) {
        self.lock().values_mut().for_each(|kind| self.0.report(kind));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Kind>> {
        self.0.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an event is to be logged.
    fn admits(&self, callsite: Identifier, about: About, now: Instant) -> bool {
        let mut kinds = self.lock();
        let mut key = (callsite, about.kind.finish());
        if kinds.len() >= MOST_KINDS && !kinds.contains_key(&key) {
            key.1 = 0;
        }
        let kind = kinds.entry(key).or_insert_with(|| Kind {
            message: about.message,
            credit: BURST,
            since: now,
            left_out: 0,
        });
        if kind.take(now) {
            // In front of the event that follows them.
            self.0.report(kind);
            return true;
        }
        kind.left_out += 1;
        self.0.left_out.inc();
        false
    }
}

impl Kind {
    /// Uses up the credit for one event, if there is any.
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        let earned = u32::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(BURST).min(BURST);
        if self.credit + earned >= BURST {
            (self.credit, self.since) = (BURST, now);
        } else {
            self.credit += earned;
            self.since += REFILL * earned;
        }
        let has_credit = self.credit > 0;
        self.credit -= u32::from(has_credit);
        has_credit
    }
}

impl Shared {
    fn report(&self, kind: &mut Kind) {
        let left_out = std::mem::take(&mut kind.left_out);
        if left_out == 0 {
            return;
        }
        let fields = [("event", Value::from(kind.message.as_str())), ("left_out", Value::from(left_out))];
        let message = "events that came too often were left out";
        let note = Note { stream: Stream::Events, level: "WARN", message, fields: &fields };
        self.queue.put(|to| note.write(self.format, to));
    }
}

impl<S: Subscriber> Layer<S> for EventLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        // Whoever asks for more than the usual level wants to see all of it.
        if *event.metadata().level() > Level::INFO || event.metadata().target() == BY_OPERATOR {
            return true;
        }
        let mut about = About::default();
        event.record(&mut about);
        self.admits(event.metadata().callsite(), about, Clock::system().now())
    }
}

/// What an event is about, as far as its kind depends on it.
#[derive(Default)]
struct About {
    message: String,
    kind: DefaultHasher,
}

impl Visit for About {
    fn record_str(&mut self, field: &Field, value: &str) {
        if OF_KIND.contains(&field.name()) {
            (field.name(), value).hash(&mut self.kind);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::queue::Bounds;
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry;

    /// Counts the events that get through.
    struct Through(Counter);

    impl<S: Subscriber> Layer<S> for Through {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.inc();
        }
    }

    struct Heard {
        through: Counter,
        left_out: Counter,
        queue: Queue,
    }

    impl Heard {
        /// What was written about events that were left out.
        fn reports(&self) -> String {
            let mut all = Vec::new();
            for part in 0..Queue::PARTS {
                let mut text = Vec::new();
                self.queue.take(part, &mut text);
                all.extend(text);
            }
            String::from_utf8(all).unwrap()
        }
    }

    fn limited() -> (Heard, EventLimit, tracing::subscriber::DefaultGuard) {
        let queue = Queue::new(Bounds { lines: 100, bytes: 10_000 }, Counter::default());
        let (through, left_out) = (Counter::default(), Counter::default());
        let limit = EventLimit::new(queue.clone(), Format::Json, left_out.clone());
        let layers = registry().with(limit.clone()).with(Through(through.clone()));
        let guard = tracing::subscriber::set_default(layers);
        (Heard { through, left_out, queue }, limit, guard)
    }

    fn fail(tenant: &str, id: usize) {
        tracing::warn!(tenant, id, "a call failed");
    }

    #[tokio::test(start_paused = true)]
    async fn of_each_kind_a_few_are_logged_and_the_rest_is_counted() {
        let (heard, limit, _guard) = limited();
        (0..1000).for_each(|n| fail("acme", n));
        assert_eq!((heard.through.get(), heard.left_out.get()), (10, 990));
        fail("globex", 0);
        assert_eq!(heard.through.get(), 11, "another tenant is another kind");
        tracing::warn!("something else");
        assert_eq!(heard.through.get(), 12);
        assert_eq!(heard.reports(), "");

        tokio::time::sleep(REFILL).await;
        fail("acme", 0);
        fail("acme", 0);
        assert_eq!((heard.through.get(), heard.left_out.get()), (13, 991));
        let report = heard.reports();
        assert!(report.contains(r#""event":"a call failed","left_out":990}"#), "{report}");
        limit.report();
        let report = heard.reports();
        assert!(report.contains(r#""left_out":1}"#) && report.lines().count() == 1, "{report}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_again_and_again_is_logged_every_now_and_then() {
        let (heard, _, _guard) = limited();
        for n in 0..3600 {
            fail("acme", n);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let through = heard.through.get();
        assert!((360..=371).contains(&through), "{through}");
        assert_eq!(through + heard.left_out.get(), 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn details_are_never_left_out() {
        let (heard, _, _guard) = limited();
        (0..100).for_each(|n| tracing::debug!(n, "a detail"));
        assert_eq!((heard.through.get(), heard.left_out.get()), (100, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_operators_do_is_never_left_out() {
        let (heard, _, _guard) = limited();
        (0..100).for_each(|n| tracing::info!(target: BY_OPERATOR, n, "purged"));
        assert_eq!((heard.through.get(), heard.left_out.get()), (100, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_are_bounded() {
        let (heard, limit, _guard) = limited();
        (0..2 * MOST_KINDS).for_each(|n| fail(&n.to_string(), n));
        assert!(limit.lock().len() <= MOST_KINDS + 1);
        assert!(heard.left_out.get() > 0);
    }
}
