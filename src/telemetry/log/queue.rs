//! A bounded queue of log lines: any thread adds lines without waiting, one thread takes them out.
//!
//! The queue has a part for each worker, so that workers do not wait for each other. A line that finds its part full
//! is dropped and counted; the writer learns of it and says so in the stream itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use crate::telemetry::printable::{Layout, printable};
use crate::telemetry::shards::{SHARDS, own_shard};

/// How much may wait in each worker's part of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Lines.
    pub lines: usize,
    /// Bytes of them.
    pub bytes: usize,
}

/// A handle to the queue of one stream.
#[derive(Clone)]
pub(crate) struct Queue(Arc<Inner>);

struct Inner {
    parts: [Mutex<Part>; SHARDS],
    bounds: Bounds,
    dropped: Counter,
    /// Whether the writer has been woken for lines that it has not looked at yet.
    is_woken: AtomicBool,
    is_closed: AtomicBool,
    writer: OnceLock<Thread>,
}

/// Aligned so that two parts never share a cache line.
#[derive(Default)]
#[repr(align(128))]
struct Part {
    text: Vec<u8>,
    /// How much of `text` is whole lines. More is there only after a panic while a line was written.
    whole: usize,
    lines: usize,
    dropped: u64,
}

/// How long lines are collected before they are written, which bounds the number of writes per second.
const COLLECTED_FOR: Duration = Duration::from_millis(20);

/// A buffer that has grown longer than this is given back once it is written.
const USUAL_BYTES: usize = 64 * 1024;

impl Queue {
    pub(super) fn new(bounds: Bounds, dropped: Counter) -> Self {
        Self(Arc::new(Inner {
            parts: std::array::from_fn(|_| Mutex::default()),
            bounds: Bounds { lines: bounds.lines.max(1), bytes: bounds.bytes },
            dropped,
            is_woken: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            writer: OnceLock::new(),
        }))
    }

    /// Adds the line that `write` appends, its newline included, or counts it as dropped.
    pub(crate) fn put(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.append(lock(&self.0.parts[own_shard()]), self.is_open(), write);
    }

    /// Like [`Self::put`], also into a queue that is closed. For writers, who empty it once more when both have ended.
    pub(super) fn put_last(&self, write: impl FnOnce(&mut Vec<u8>)) {
        self.append(lock(&self.0.parts[own_shard()]), true, write);
    }

    /// Adds each line of a text.
    pub(crate) fn put_lines(&self, text: &str) {
        self.put_each(text, Layout::Lines);
    }

    /// The same for text that has colours of ours.
    pub(crate) fn put_coloured_lines(&self, text: &str) {
        self.put_each(text, Layout::ColouredLines);
    }

    fn put_each(&self, text: &str, layout: Layout) {
        for line in text.lines() {
            let line = printable(line, layout);
            self.put(|to| {
                to.extend_from_slice(line.as_bytes());
                to.push(b'\n');
            });
        }
    }

    /// Like [`Self::put`], but takes any part that is free, and drops the line if all are locked. A panic hook may run
    /// while its own thread holds the lock of a part.
    pub(super) fn try_put(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let own = own_shard();
        let free = (0..SHARDS).find_map(|n| match self.0.parts[(own + n) % SHARDS].try_lock() {
            Ok(part) => Some(part),
            Err(TryLockError::Poisoned(part)) => Some(part.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        match free {
            Some(part) => self.append(part, self.is_open(), write),
            None => {
                self.0.dropped.inc();
            }
        }
    }

    fn append(&self, mut part: MutexGuard<'_, Part>, is_open: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let Part { text, whole, lines, dropped } = &mut *part;
        let has_room = is_open && *lines < self.0.bounds.lines;
        if has_room {
            text.truncate(*whole);
            write(text);
        }
        if !has_room || text.len() > self.0.bounds.bytes {
            text.truncate(*whole);
            *dropped += 1;
            self.0.dropped.inc();
        } else {
            *whole = text.len();
            *lines += 1;
        }
        drop(part);
        self.wake();
    }

    fn wake(&self) {
        // Read before it is written, so that workers do not contend for it while the writer is busy.
        if !self.0.is_woken.load(Ordering::Acquire) && !self.0.is_woken.swap(true, Ordering::AcqRel) {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(writer) = self.0.writer.get() {
            writer.unpark();
        }
    }

    /// Lets the writer end once it has written what is there. Lines that come later are dropped.
    pub(super) fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        self.unpark();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Acquire)
    }

    /// Asked while a part is locked: the writer empties every part once more after the queue is closed, so that a line
    /// is either taken by it or counted as dropped.
    fn is_open(&self) -> bool {
        !self.is_closed()
    }

    /// Counts lines that were taken and cannot be written.
    pub(super) fn count_dropped(&self, lines: u64) {
        self.0.dropped.inc_by(lines);
    }

    /// Makes the current thread the one that is woken for lines.
    pub(super) fn write_on_this_thread(&self) {
        let _already_set = self.0.writer.set(std::thread::current());
    }

    /// Waits until there are lines and they were collected for a while, or until the queue is closed. Says whether it
    /// is closed.
    pub(super) fn wait(&self) -> bool {
        while !self.0.is_woken.load(Ordering::Acquire) && !self.is_closed() {
            std::thread::park();
        }
        self.pause(COLLECTED_FOR);
        // Before the parts are looked at: a line that is added from here on wakes the writer again.
        self.0.is_woken.store(false, Ordering::SeqCst);
        self.is_closed()
    }

    /// Waits for this long, or a little less, or until the queue is closed.
    pub(super) fn pause(&self, time: Duration) {
        if !self.is_closed() {
            std::thread::park_timeout(time);
        }
    }

    /// Moves the lines of one part into an empty buffer. Says how many were dropped since it was last emptied.
    pub(super) fn take(&self, part: usize, into: &mut Vec<u8>) -> u64 {
        into.shrink_to(USUAL_BYTES);
        let mut part = lock(&self.0.parts[part]);
        let whole = std::mem::take(&mut part.whole);
        part.text.truncate(whole);
        part.lines = 0;
        std::mem::swap(&mut part.text, into);
        std::mem::take(&mut part.dropped)
    }

    /// How many parts there are.
    pub(super) const PARTS: usize = SHARDS;
}

/// A thread that panicked while it held the lock left at most half a line behind, which [`Part::whole`] tells apart.
fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(lines: usize, bytes: usize) -> (Queue, Counter) {
        let dropped = Counter::default();
        (Queue::new(Bounds { lines, bytes }, dropped.clone()), dropped)
    }

    fn taken(queue: &Queue) -> (String, u64) {
        let (mut all, mut dropped) = (String::new(), 0);
        for part in 0..Queue::PARTS {
            let mut text = Vec::new();
            dropped += queue.take(part, &mut text);
            all.push_str(std::str::from_utf8(&text).unwrap());
        }
        (all, dropped)
    }

    #[test]
    fn lines_beyond_the_bound_in_number_are_dropped_and_counted_once() {
        let (queue, dropped) = queue(2, 1024);
        queue.put_lines("a\nb\nc\nd\n");
        assert_eq!(dropped.get(), 2);
        assert_eq!(taken(&queue), ("a\nb\n".to_owned(), 2));
        queue.put_lines("e");
        assert_eq!(taken(&queue), ("e\n".to_owned(), 0));
    }

    #[test]
    fn lines_beyond_the_bound_in_bytes_are_dropped_and_a_shorter_one_still_fits() {
        let (queue, dropped) = queue(100, 10);
        queue.put_lines("12345\n123456789\nabc");
        assert_eq!(dropped.get(), 1);
        assert_eq!(taken(&queue), ("12345\nabc\n".to_owned(), 1));
    }

    #[test]
    fn a_line_whose_writing_panicked_leaves_nothing_behind() {
        let (queue, _) = queue(100, 1024);
        let half_a_line = std::panic::AssertUnwindSafe(|| {
            queue.put(|to| {
                to.extend_from_slice(b"half a");
                std::panic::resume_unwind(Box::new("made up"));
            });
        });
        assert!(std::panic::catch_unwind(half_a_line).is_err());
        queue.put_lines("whole");
        assert_eq!(taken(&queue).0, "whole\n");
    }

    #[test]
    fn a_line_can_be_added_while_the_same_thread_holds_a_part() {
        let (queue, dropped) = queue(100, 1024);
        queue.put(|to| {
            queue.try_put(|inner| inner.extend_from_slice(b"inner\n"));
            to.extend_from_slice(b"outer\n");
        });
        let (text, _) = taken(&queue);
        assert!(text.contains("inner\n") && text.contains("outer\n"), "{text}");
        assert_eq!(dropped.get(), 0);
    }

    #[test]
    fn a_closed_queue_takes_no_lines_and_counts_them() {
        let (queue, dropped) = queue(100, 1024);
        queue.close();
        queue.put_lines("late");
        assert_eq!(dropped.get(), 1);
        assert_eq!(taken(&queue).0, "");
    }
}
