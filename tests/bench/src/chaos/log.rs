//! Readers of the sidecar's output, which can stop reading for a while as a stuck log collector does.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// One stream of output, read line by line in a thread of its own.
pub(super) struct LogReader {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    is_paused: AtomicBool,
    requests: AtomicU64,
    malformed: AtomicU64,
    panics: AtomicU64,
}

/// What a stream held, once it has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogSeen {
    /// Lines about requests.
    pub(super) requests: u64,
    /// Lines that are no JSON object: torn, or glued together.
    pub(super) malformed: u64,
    /// Lines about panics.
    pub(super) panics: u64,
}

impl LogReader {
    pub(super) fn start(stream: impl Read + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let seen = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut lines = BufReader::new(stream).lines();
            loop {
                while seen.is_paused.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                match lines.next() {
                    Some(Ok(line)) => seen.note(&line),
                    _ => break,
                }
            }
        });
        Self { shared, thread }
    }

    pub(super) fn pause(&self, is_paused: bool) {
        self.shared.is_paused.store(is_paused, Ordering::Relaxed);
    }

    /// Waits for the end of the stream.
    pub(super) fn end(self) -> LogSeen {
        self.pause(false);
        self.thread.join().expect("reading lines does not panic");
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogSeen {
            requests: of(&self.shared.requests),
            malformed: of(&self.shared.malformed),
            panics: of(&self.shared.panics),
        }
    }
}

impl Shared {
    fn note(&self, line: &str) {
        let counter = match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line) {
            Ok(fields) if fields.contains_key("took_us") => &self.requests,
            Ok(_) if line.contains("panicked") => &self.panics,
            Ok(_) => return,
            Err(_) => {
                eprintln!("no JSON in the log: {line}");
                &self.malformed
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
