//! What the sidecar says about itself. Takes plain labels and numbers; knows no other room.
//!
//! - [`metrics`]: every metric, named once, with its unit
//! - [`file_kind`]: what files are for, as metrics say it
//! - `token_metrics`: what is measured of the tokens of one tenant
//! - [`outcome`]: the words for what the cache had to do with an answer
//! - `printable`: text from outside, so that a line shows what it says
//! - [`log`]: events and request lines, queued, and written by threads of their own
//! - [`request_log`]: the one line per request
//! - `shards`: counting without workers waiting for each other

pub mod file_kind;
pub mod log;
pub mod metrics;
pub mod outcome;
pub(crate) mod printable;
pub mod request_log;
mod shards;
mod token_metrics;

use tracing_subscriber::EnvFilter;

/// How events and requests are logged.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The form of every line.
    pub format: Format,
    /// Which events: a level, or directives as `tracing-subscriber` reads them.
    pub level: String,
    /// Whether each request gets a line.
    pub requests: bool,
    /// How much of each stream and worker may wait to be written; more is dropped, and counted.
    pub buffer: log::Bounds,
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
