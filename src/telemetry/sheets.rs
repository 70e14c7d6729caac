//! Lines on their way to the log: each worker writes on a sheet of its own, and one thread collects them.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use super::shards::{SHARDS, own_shard};

/// Where lines are put. When the last of those that were cloned from it is gone, the rest is written.
#[derive(Clone)]
pub(super) struct Desk {
    sheets: Arc<Sheets>,
    _closes: Arc<Closes>,
}

/// How long lines are collected before they are written: some fifty writes a second, however many lines there are.
const COLLECTED_FOR: Duration = Duration::from_millis(20);

/// A sheet that has grown longer gives its memory back once it is written.
const USUAL_BYTES: usize = 64 * 1024;

struct Sheets {
    each: [Mutex<Sheet>; SHARDS],
    most_lines: usize,
    /// Whether the collector has been told that there is something.
    is_called: AtomicBool,
    is_over: AtomicBool,
    collector: OnceLock<Thread>,
}

/// Apart from the others in memory, so that writing on one does not slow down who writes on its neighbour.
#[derive(Default)]
#[repr(align(128))]
struct Sheet {
    text: Vec<u8>,
    lines: usize,
}

struct Closes(Arc<Sheets>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
        self.0.call();
    }
}

impl Desk {
    /// A desk with room for so many lines of each worker, and whose lines a thread writes to `out`. What is received
    /// tells that the thread has ended.
    pub(super) fn new(
        most_lines: usize,
        mut out: impl Write + Send + 'static,
    ) -> std::io::Result<(Self, Receiver<()>)> {
        let sheets = Arc::new(Sheets {
            each: std::array::from_fn(|_| Mutex::default()),
            most_lines,
            is_called: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            collector: OnceLock::new(),
        });
        let (at_the_end, ended) = sync_channel(0);
        let collected = sheets.clone();
        let thread = std::thread::Builder::new().name("request-log".into()).spawn(move || {
            let _closes_when_this_thread_ends = at_the_end;
            // Whoever reads the log may be gone. Requests matter more; their lines are dropped.
            let _ = collected.collect(&mut out);
            collected.is_over.store(true, Ordering::Release);
        })?;
        sheets.collector.set(thread.thread().clone()).expect("it is set here only");
        Ok((Self { sheets: sheets.clone(), _closes: Arc::new(Closes(sheets)) }, ended))
    }

    /// Puts a line there, unless there are too many already or nobody collects them. Says whether it did.
    pub(super) fn put(&self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.sheets.is_over.load(Ordering::Acquire) {
            return false;
        }
        let mut sheet = self.sheets.each[own_shard()].lock().unwrap_or_else(PoisonError::into_inner);
        if sheet.lines >= self.sheets.most_lines {
            return false;
        }
        sheet.lines += 1;
        write(&mut sheet.text);
        drop(sheet);
        self.sheets.call();
        true
    }
}

impl Sheets {
    fn call(&self) {
        // Looked at first, so that workers do not fight over what is settled.
        let is_news = !self.is_called.load(Ordering::Acquire) && !self.is_called.swap(true, Ordering::AcqRel);
        if (is_news || self.is_over.load(Ordering::Acquire))
            && let Some(collector) = self.collector.get()
        {
            collector.unpark();
        }
    }

    fn collect(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut text = Vec::new();
        loop {
            while !self.is_called.load(Ordering::Acquire) && !self.is_over.load(Ordering::Acquire) {
                std::thread::park();
            }
            if !self.is_over.load(Ordering::Acquire) {
                std::thread::park_timeout(COLLECTED_FOR);
            }
            // Before the sheets are looked at: what is put there from now on calls again.
            self.is_called.store(false, Ordering::SeqCst);
            let is_over = self.is_over.load(Ordering::Acquire);
            for sheet in &self.each {
                let mut sheet = sheet.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(&mut sheet.text, &mut text);
                sheet.lines = 0;
                drop(sheet);
                out.write_all(&text)?;
                text.clear();
                text.shrink_to(USUAL_BYTES);
            }
            out.flush()?;
            if is_over {
                return Ok(());
            }
        }
    }
}
