//! The executable on real sockets: what only a process, a port or a signal can show.
//!
//! Every port is a free one, everything stays on this machine, and every wait has an end.
//!
//! - what tests are made of: `sidecar` (the process), `zoho` (what it talks to), `caller` and `frames` (who talks to
//!   it), `patience` (how long a test waits)
//! - chapters: `starting`, `checking`, `emulating`, `files`, `stopping`, `draining`, `leaving`, `state`,
//!   `connections`, `callers`, `tls`, `hanging_up`, `hostile`, `http2`, `repeating`, `rfc`, `smuggling`, `streaming`,
//!   `memory`, `admin`, `logs`, `nginx`, `outputs`, `signals`, `demo`, `watchdog`, `frozen`, `remembering`,
//!   `core_dumps`, `secrets_in_memory`

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise fails")]

mod caller;
#[expect(dead_code, reason = "the tests in memory need more of it")]
#[path = "../behavior/frames.rs"]
mod frames;
mod patience;
mod sidecar;
mod zoho;

mod admin;
mod callers;
mod checking;
mod connections;
#[cfg(target_os = "linux")]
mod core_dumps;
mod demo;
mod draining;
mod emulating;
mod files;
#[cfg(target_os = "linux")]
mod frozen;
mod hanging_up;
mod hostile;
mod http2;
mod leaving;
mod logs;
mod memory;
mod nginx;
mod outputs;
mod remembering;
mod repeating;
mod rfc;
#[cfg(target_os = "linux")]
mod secrets_in_memory;
mod signals;
mod smuggling;
mod starting;
mod state;
mod stopping;
mod streaming;
mod tls;
mod watchdog;

use patience::{until, within};
