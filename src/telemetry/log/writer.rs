//! The thread that writes the lines of one stream. It alone waits for the output.

use std::io::{self, Write};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::Stream;
use super::note::Note;
use super::queue::Queue;
use super::target::{Batch, Target};
use crate::supervisor::{Heartbeat, Importance, Supervisor, Thread};
use crate::telemetry::Format;

/// What the thread needs.
pub(super) struct Writer<W> {
    pub(super) stream: Stream,
    pub(super) format: Format,
    pub(super) queue: Queue,
    pub(super) target: Target<W>,
    /// Where a failure of this stream is reported: the other stream, where there is one.
    pub(super) other: Option<Queue>,
}

/// Where writers meet when they end.
#[derive(Clone)]
pub(super) struct End {
    /// They wait for each other here, so that either can still report a failure of the other.
    pub(super) meeting: Arc<Barrier>,
    /// Why the last lines of a stream are not written.
    pub(super) unwritten: Arc<Mutex<Vec<(Stream, io::Error)>>>,
    /// Its receiver sees when all of its clones are gone.
    #[expect(dead_code, reason = "nothing is sent through it")]
    pub(super) has_not_come: SyncSender<()>,
}

/// How long after a failed write the next is tried; each wait is twice as long as the one before, up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

impl<W: Write + Send + 'static> Writer<W> {
    /// Starts the thread. A panic costs the lines that were being written, and the thread is started again.
    pub(super) fn start(self, supervisor: &Supervisor, end: End) -> io::Result<Thread> {
        let name = format!("log-{}", self.stream.as_str());
        let heartbeat = supervisor.heartbeat(name.as_str(), Importance::Degrading);
        let mut work = Work {
            writer: self,
            heartbeat,
            batch: Batch::default(),
            lost: 0,
            is_failing: false,
            has_met: false,
        };
        let mut end = Some(end);
        supervisor.thread(&name, move || {
            if let Some(at_the_end) = &end {
                work.run(at_the_end);
            }
            end = None;
        })
    }
}

struct Work<W> {
    writer: Writer<W>,
    /// Beats while the output takes lines, so that one that never returns is noticed.
    heartbeat: Heartbeat,
    batch: Batch,
    /// Lines that were dropped and not yet reported.
    lost: u64,
    is_failing: bool,
    /// Whether it has been at the meeting at the end.
    has_met: bool,
}

impl<W: Write> Work<W> {
    /// Writes until the queue is closed, and then what the other writer has to report at its end.
    fn run(&mut self, end: &End) {
        self.writer.queue.write_on_this_thread();
        self.give_up_batch(); // there is one only after a panic
        let mut ended = self.write_until_closed();
        if !std::mem::replace(&mut self.has_met, true) {
            end.meeting.wait();
            ended = ended.and_then(|()| self.write_all());
        }
        if let Err(error) = ended {
            let mut unwritten = end.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
            unwritten.push((self.writer.stream, error));
        }
    }

    fn write_until_closed(&mut self) -> io::Result<()> {
        loop {
            let is_closed = self.writer.queue.wait();
            self.write_all()?;
            if is_closed {
                return Ok(());
            }
        }
    }

    /// Writes what is in the queue now.
    fn write_all(&mut self) -> io::Result<()> {
        for part in 0..Queue::PARTS {
            self.lost += self.writer.queue.take(part, &mut self.batch.text);
            self.write_batch()?;
        }
        self.write_loss()
    }

    /// Says in the stream itself how many lines are missing in it.
    fn write_loss(&mut self) -> io::Result<()> {
        if self.lost == 0 {
            return Ok(());
        }
        let fields = [("stream", Value::from(self.writer.stream.as_str())), ("lost", Value::from(self.lost))];
        let note = Note {
            stream: self.writer.stream,
            level: "WARN",
            message: "log lines were lost",
            fields: &fields,
        };
        note.write(self.writer.format, &mut self.batch.text);
        self.lost = 0;
        self.write_batch()
    }

    /// Writes the batch, however often that takes. Fails only once the queue is closed.
    fn write_batch(&mut self) -> io::Result<()> {
        let mut pause = FIRST_RETRY;
        while let Err(error) = self.try_to_write() {
            self.report(&error);
            if self.writer.queue.is_closed() {
                self.give_up_batch();
                return Err(error);
            }
            self.writer.queue.pause(pause);
            pause = (pause * 2).min(LONGEST_RETRY);
        }
        self.is_failing = false;
        self.batch.clear();
        Ok(())
    }

    fn try_to_write(&mut self) -> io::Result<()> {
        let _beats = self.heartbeat.busy();
        self.writer.target.write(&mut self.batch)
    }

    fn give_up_batch(&mut self) {
        let lines = self.batch.clear();
        self.lost += lines;
        self.writer.queue.count_dropped(lines);
    }

    /// Reports the first failure in a row on the other stream. A reader who has left wants no report.
    fn report(&mut self, error: &io::Error) {
        let is_first = !std::mem::replace(&mut self.is_failing, true);
        if let Some(other) = self.writer.other.as_ref().filter(|_| is_first && !is_reader_gone(error)) {
            let (stream, message) = match self.writer.stream {
                Stream::Events => {
                    (Stream::Requests, "standard error cannot be written; its lines wait or are dropped")
                }
                Stream::Requests => {
                    (Stream::Events, "standard output cannot be written; its lines wait or are dropped")
                }
            };
            let fields = [("error", Value::from(error.to_string()))];
            let note = Note { stream, level: "WARN", message, fields: &fields };
            other.put_last(|to| note.write(self.writer.format, to));
        }
    }
}

/// Whether a write failed only because nobody reads any more.
pub(crate) fn is_reader_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::log::{Bounds, Queue, Threads, requests_to};
    use prometheus_client::metrics::counter::Counter;
    use std::sync::{Condvar, MutexGuard};

    /// An output that does what the test wants.
    #[derive(Clone, Default)]
    struct Output(Arc<(Mutex<State>, Condvar)>);

    #[derive(Default)]
    struct State {
        text: Vec<u8>,
        mood: Mood,
        /// How many writes were tried.
        tries: usize,
    }

    #[derive(Default, Clone, Copy, PartialEq)]
    enum Mood {
        #[default]
        Works,
        Fails(io::ErrorKind),
        Panics,
        Blocks,
    }

    impl Output {
        fn state(&self) -> MutexGuard<'_, State> {
            self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn becomes(&self, mood: Mood) {
            self.state().mood = mood;
            self.0.1.notify_all();
        }

        /// Waits until this is so of its state.
        fn until(&self, mut is_so: impl FnMut(&State) -> bool) {
            let wait = Duration::from_secs(60);
            let waited = self.0.1.wait_timeout_while(self.state(), wait, |state| !is_so(state));
            assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out());
        }

        fn text(&self) -> String {
            String::from_utf8(self.state().text.clone()).unwrap()
        }

        fn until_written(&self, line: &str) {
            self.until(|state| String::from_utf8_lossy(&state.text).contains(line));
        }
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.state();
            state.tries += 1;
            self.0.1.notify_all();
            let waited = self.0.1.wait_while(state, |state| state.mood == Mood::Blocks);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            match state.mood {
                Mood::Fails(kind) => return Err(kind.into()),
                Mood::Panics => panic!("an output that panics, on purpose"),
                Mood::Works | Mood::Blocks => {}
            }
            state.text.extend_from_slice(bytes);
            self.0.1.notify_all();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn started(output: &Output, lines: usize) -> (Queue, Threads, Counter) {
        let (dropped, bounds) = (Counter::default(), Bounds { lines, bytes: 64 * 1024 });
        let (queue, threads) = requests_to(Format::Json, bounds, dropped.clone(), output.clone()).unwrap();
        (queue, threads, dropped)
    }

    #[test]
    fn lines_wait_while_the_output_fails_and_are_written_when_it_works_again() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::BrokenPipe, io::ErrorKind::WouldBlock] {
            let output = Output::default();
            let (queue, threads, dropped) = started(&output, 100);
            output.becomes(Mood::Fails(kind));
            queue.put_lines("one");
            output.until(|state| state.tries >= 2);
            queue.put_lines("two");
            output.becomes(Mood::Works);
            output.until_written("two");
            assert!(threads.finish().is_empty());
            assert_eq!((output.text().as_str(), dropped.get()), ("one\ntwo\n", 0), "{kind}");
        }
    }

    #[test]
    fn the_stream_itself_says_how_many_lines_are_missing_in_it() {
        let output = Output::default();
        let (queue, threads, dropped) = started(&output, 2);
        output.becomes(Mood::Fails(io::ErrorKind::StorageFull));
        queue.put_lines("one");
        output.until(|state| state.tries >= 1);
        queue.put_lines("two\nthree\nfour\nfive\nsix");
        output.becomes(Mood::Works);
        output.until_written("lost");
        queue.put_lines("seven");
        threads.finish();
        let text = output.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[..3].join(" ").as_str(), lines[4]), ("one two three", "seven"), "{text}");
        assert!(
            lines[3]
                .contains(r#""level":"WARN","message":"log lines were lost","stream":"requests","lost":3"#)
        );
        assert_eq!(dropped.get(), 3);
    }

    #[test]
    fn the_thread_survives_a_panic_and_counts_what_it_was_writing_as_lost() {
        let output = Output::default();
        let (queue, threads, dropped) = started(&output, 100);
        output.becomes(Mood::Panics);
        queue.put_lines("one\ntwo");
        output.until(|state| state.tries >= 1);
        output.becomes(Mood::Works);
        queue.put_lines("three");
        output.until_written("\"lost\":2");
        assert!(threads.finish().is_empty());
        assert_eq!(dropped.get(), 2);
        assert!(output.text().starts_with("three\n"), "{}", output.text());
    }

    #[test]
    fn the_end_does_not_wait_for_an_output_that_is_stuck() {
        let output = Output::default();
        let (queue, threads, _) = started(&output, 100);
        output.becomes(Mood::Blocks);
        queue.put_lines("one");
        output.until(|state| state.tries == 1);
        let (finished, waiting) = std::sync::mpsc::channel();
        std::thread::spawn(move || finished.send(threads.finish().len()));
        assert_eq!(waiting.recv_timeout(Duration::from_secs(30)), Ok(0));
        assert_eq!(output.text(), "");
        output.becomes(Mood::Works);
    }

    #[test]
    fn the_end_of_an_output_that_fails_comes_at_once_and_says_why() {
        let output = Output::default();
        let (queue, threads, _) = started(&output, 100);
        output.becomes(Mood::Fails(io::ErrorKind::StorageFull));
        queue.put_lines("one");
        let unwritten = threads.finish();
        assert_eq!(unwritten.len(), 1);
        assert_eq!(unwritten[0].1.kind(), io::ErrorKind::StorageFull);
    }
}
