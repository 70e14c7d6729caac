//! What the sidecar says about itself. Takes plain labels and numbers; knows no other room.
//!
//! - [`metrics`]: every metric, named once, with its unit
//! - [`outcome`]: the words for what the cache had to do with an answer
//! - [`request_log`]: the one line per request, written by a thread of its own
//! - `shards`: counting without workers waiting for each other
//! - `sheets`: its lines on their way
//! - here: events (starting, stopping, trouble) as sentences on standard error

pub mod metrics;
pub mod outcome;
pub mod request_log;
mod shards;
mod sheets;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// How events and requests are logged.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The form of every line.
    pub format: Format,
    /// Which events: a level, or directives as `tracing-subscriber` reads them.
    pub level: String,
    /// Whether each request gets a line.
    pub requests: bool,
    /// How many request lines of each worker may wait to be written; more are dropped, and counted.
    pub buffer_lines: usize,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Whether a text is what `log.level` takes.
pub fn is_level(text: &str) -> bool {
    text.parse::<EnvFilter>().is_ok()
}

/// Sends events to standard error from here on. Only the first call has an effect.
pub fn log_events(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let _already_set = match settings.format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
    };
}
