//! The log: two streams of lines, each with a bounded queue and a thread of its own that writes them.
//!
//! Nothing but those threads ever waits for standard output or standard error. While an output is stuck or fails, its
//! lines wait; when too many wait, further ones are dropped and counted, and once the output works again a line in
//! the stream itself says how many are missing.
//!
//! - `queue`: lines on their way
//! - `writer`: the thread that writes them, whatever the output does
//! - `target`: the output, and lines that were written in part
//! - `limit`: events that come too often
//! - `note`: lines about the log itself
//! - `panics`: panics as lines of the log

mod limit;
mod note;
mod panics;
mod queue;
mod target;
mod writer;

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use super::Format;
use super::printable::{Layout, printable};
use crate::supervisor::{Supervisor, Thread};
pub(crate) use limit::{BY_OPERATOR, EventLimit};
use writer::{End, Writer};

pub use panics::log_panics;
pub use queue::Bounds;
pub(crate) use queue::Queue;
pub(crate) use target::Descriptor;
pub(crate) use writer::is_reader_gone;

/// A stream of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Events, on standard error.
    Events,
    /// One line per request, and what else a serving command prints, on standard output.
    Requests,
}

impl Stream {
    /// Its name in metrics and log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Requests => "requests",
        }
    }
}

/// Both streams of a command that serves. Dropping it writes what is left, for at most two seconds.
pub(crate) struct Log {
    events: Queue,
    requests: Queue,
    limit: EventLimit,
    format: Format,
    threads: Option<Threads>,
}

impl Log {
    /// Starts the threads. `dropped` counts the lines of each stream that were dropped, `left_out` the events that came too
    /// often.
    pub(crate) fn start(
        format: Format,
        bounds: Bounds,
        dropped: impl Fn(Stream) -> Counter,
        left_out: Counter,
        supervisor: &Supervisor,
    ) -> io::Result<Self> {
        let (output, errors) = (Descriptor::output()?, Descriptor::errors()?);
        let is_same_file = output.is_same_file(&errors);
        let events = Queue::new(bounds, dropped(Stream::Events));
        let requests = Queue::new(bounds, dropped(Stream::Requests));
        let output = target::Target::new(Stream::Requests.as_str(), output);
        let errors = if is_same_file {
            output.beside(Stream::Events.as_str(), errors)
        } else {
            target::Target::new(Stream::Events.as_str(), errors)
        };
        let (end, mut threads) = Threads::of(&[&events, &requests]);
        for (stream, queue, other, target) in
            [(Stream::Events, &events, &requests, errors), (Stream::Requests, &requests, &events, output)]
        {
            let (queue, other) = (queue.clone(), Some(other.clone()));
            let writer = Writer { stream, format, queue, target, other };
            threads.handles.push(writer.start(supervisor, end.clone())?);
        }
        panics::use_queue(&events, format);
        let limit = EventLimit::new(events.clone(), format, left_out);
        Ok(Self { events, requests, limit, format, threads: Some(threads) })
    }

    /// The same where no metrics are shown.
    pub(crate) fn uncounted(format: Format, bounds: Bounds) -> io::Result<Self> {
        Self::start(format, bounds, |_| Counter::default(), Counter::default(), &Supervisor::unobserved())
    }

    /// Sends the events of `tracing` to the log from here on. Only the first call in a process has an effect.
    pub(crate) fn log_events(&self, level: &str) {
        let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
        let queue = self.events.clone();
        let is_coloured = self.format == Format::Text && io::stderr().is_terminal();
        let layout = if is_coloured { Layout::ColouredLine } else { Layout::Line };
        let lines = fmt::layer()
            .with_writer(move || EventLine { queue: queue.clone(), layout })
            .log_internal_errors(false) // they would be printed to standard error, by the thread that logs
            .with_target(false);
        let lines = match self.format {
            Format::Text => lines.with_ansi(is_coloured).boxed(),
            Format::Json => {
                lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
            }
        };
        let _already_set = registry().with(lines).with(self.limit.clone()).with(filter).try_init();
    }

    /// Limits how often events of each kind are logged.
    pub(crate) fn limit(&self) -> &EventLimit {
        &self.limit
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Says something on standard error: as it is, or as one event where events are JSON.
    pub(crate) fn say(&self, level: &'static str, text: &str) {
        if self.format == Format::Text {
            return self.events.put_lines(text);
        }
        let note = note::Note { stream: Stream::Events, level, message: text.trim_end(), fields: &[] };
        self.events.put(|to| note.write(self.format, to));
    }

    /// The lines on standard error.
    pub(crate) fn events(&self) -> &Queue {
        &self.events
    }

    /// The lines on standard output.
    pub(crate) fn requests(&self) -> &Queue {
        &self.requests
    }

    /// Writes what is left. Says why standard output did not take all of it, if it reported an error.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.limit.report();
        let unwritten = self.threads.take().map(Threads::finish).unwrap_or_default();
        let of_output = unwritten.into_iter().find(|(stream, _)| *stream == Stream::Requests);
        of_output.map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            self.limit.report();
            threads.finish();
        }
    }
}

/// One event on its way into the queue; `tracing` writes it in one piece.
struct EventLine {
    queue: Queue,
    layout: Layout,
}

impl Write for EventLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // What an event repeats of others may be anything; what the formatter escapes of it is only what all terminals
        // take for controls.
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        let text = printable(&text, self.layout);
        self.queue.put(|to| {
            to.extend_from_slice(text.as_bytes());
            to.push(b'\n');
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Threads that write. Once this is dropped they end, and lines that are added later are dropped.
pub(super) struct Threads {
    queues: Vec<Queue>,
    handles: Vec<Thread>,
    unwritten: Arc<Mutex<Vec<(Stream, io::Error)>>>,
    /// Disconnected once all threads have ended.
    ended: Receiver<()>,
}

/// How long the end waits for the last lines. A reader who has not taken them by then will not take them.
const LAST_LINES: Duration = Duration::from_secs(2);

impl Threads {
    fn of(queues: &[&Queue]) -> (End, Self) {
        let (has_not_come, ended) = sync_channel(0);
        let unwritten = Arc::default();
        let meeting = Arc::new(Barrier::new(queues.len()));
        let end = End { meeting, unwritten: Arc::clone(&unwritten), has_not_come };
        let queues = queues.iter().copied().cloned().collect();
        (end, Self { queues, handles: Vec::new(), unwritten, ended })
    }

    /// Waits until all lines are written, or cannot be. Says why not.
    pub(super) fn finish(self) -> Vec<(Stream, io::Error)> {
        self.queues.iter().for_each(Queue::close);
        let _ = self.ended.recv_timeout(LAST_LINES);
        std::mem::take(&mut self.unwritten.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queues.iter().for_each(Queue::close);
    }
}

/// A stream of request lines alone, written to `out`.
pub(super) fn requests_to(
    format: Format,
    bounds: Bounds,
    dropped: Counter,
    out: impl Write + Send + 'static,
) -> io::Result<(Queue, Threads)> {
    let stream = Stream::Requests;
    let (queue, target) = (Queue::new(bounds, dropped), target::Target::new(stream.as_str(), out));
    let (end, mut threads) = Threads::of(&[&queue]);
    let writer = Writer { stream, format, queue: queue.clone(), target, other: None };
    threads.handles.push(writer.start(&Supervisor::unobserved(), end)?);
    Ok((queue, threads))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::printable::is_printable;

    fn taken(queue: &Queue) -> String {
        let mut text = Vec::new();
        for part in 0..Queue::PARTS {
            let mut lines = Vec::new();
            queue.take(part, &mut lines);
            text.extend(lines);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn an_event_is_one_line_that_shows_what_it_says_in_either_format() {
        let odd = "a\u{9b}31m\u{202e}b\u{2028}c\nd\u{1b}[2J\u{200b}\u{5d0}";
        let queue = Queue::new(Bounds { lines: 100, bytes: 64 * 1024 }, Counter::default());
        let writer = || {
            let queue = queue.clone();
            move || EventLine { queue: queue.clone(), layout: Layout::Line }
        };
        let event = || tracing::warn!(shown = %odd, debugged = ?odd, "{odd}");
        tracing::subscriber::with_default(fmt().with_writer(writer()).with_ansi(false).finish(), event);
        tracing::subscriber::with_default(fmt().with_writer(writer()).json().finish(), event);
        let text = taken(&queue);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text:?}");
        assert!(lines.concat().chars().all(is_printable), "{text:?}");
        assert!(lines[0].contains(r"\u202eb\u2028c\u000ad"), "{text:?}");
        let json: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!(json["fields"]["shown"], odd);
    }
}
