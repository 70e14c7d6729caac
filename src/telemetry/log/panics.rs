//! Panics as lines of the log.
//!
//! The standard library's own hook writes to standard error, and waits for it, on the thread that panicked.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use serde_json::Value;

use super::Stream;
use super::note::Note;
use super::queue::Queue;
use super::target::Descriptor;
use crate::telemetry::Format;

/// Where panics are reported. Until it is set, and in commands that do not serve, they go to standard error directly.
static LOG: OnceLock<(Queue, Format)> = OnceLock::new();

/// More of a message or a backtrace is cut off.
const LONGEST_TEXT: usize = 4096;

/// Reports panics in the log from here on.
pub fn log_panics() {
    std::panic::set_hook(Box::new(report));
}

pub(super) fn use_queue(events: &Queue, format: Format) {
    let _already_set = LOG.set((events.clone(), format));
}

/// Must not panic, which would end the process, nor wait, also where the thread panicked while it was logging.
fn report(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let mut fields = vec![
        ("panic", Value::from(beginning(panic.payload_as_str().unwrap_or("(no text)")))),
        ("thread", Value::from(thread.name().unwrap_or("(unnamed)"))),
        ("location", Value::from(location)),
    ];
    let backtrace = Backtrace::capture(); // only if the environment asks for it
    if backtrace.status() == BacktraceStatus::Captured {
        fields.push(("backtrace", Value::from(beginning(&backtrace.to_string()))));
    }
    let note = Note { stream: Stream::Events, level: "ERROR", message: "a thread panicked", fields: &fields };
    match LOG.get() {
        Some((queue, format)) => queue.try_put(|to| note.write(*format, to)),
        None => {
            let mut line = Vec::new();
            note.write(Format::Text, &mut line);
            let _ = Descriptor::errors().and_then(|mut errors| errors.write_all(&line));
        }
    }
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_TEXT)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::log::Bounds;
    use prometheus_client::metrics::counter::Counter;

    #[test]
    fn a_panic_is_a_line_of_the_log_with_thread_and_place() {
        let bounds = Bounds { lines: 100, bytes: 64 * 1024 };
        let queue = Queue::new(bounds, Counter::default());
        use_queue(&queue, Format::Json);
        log_panics();
        let panicking = || panic!("a defect, on purpose");
        let thread = std::thread::Builder::new().name("example".to_owned()).spawn(panicking).unwrap();
        assert!(thread.join().is_err());
        let _ = std::panic::take_hook();

        let mut text = Vec::new();
        for part in 0..Queue::PARTS {
            let mut lines = Vec::new();
            queue.take(part, &mut lines);
            text.extend(lines);
        }
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find(|line| line.contains("on purpose")).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["panic"], &line["thread"]), (&"a defect, on purpose".into(), &"example".into()));
        assert!(line["location"].as_str().unwrap().contains("panics.rs:"), "{line}");
        assert_eq!(line["level"], "ERROR");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "é".repeat(LONGEST_TEXT);
        assert_eq!(beginning(&text).len(), LONGEST_TEXT);
        assert_eq!(beginning(&format!("a{text}")).len(), LONGEST_TEXT - 1);
        assert_eq!(beginning("short"), "short");
    }
}
