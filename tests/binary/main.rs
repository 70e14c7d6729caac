//! The executable on real sockets: what only a process, a port or a signal can show.
//!
//! Every port is a free one, everything stays on this machine, and every wait has an end.
//!
//! - what tests are made of: `sidecar` (the process), `zoho` (what it talks to), `caller` and `frames` (who talks to it)
//! - chapters: `starting`, `checking`, `emulating`, `stopping`, `leaving`, `state`, `connections`,
//!   `callers`, `tls`, `hanging_up`, `hostile`, `http2`, `repeating`, `rfc`, `smuggling`, `streaming`, `admin`,
//!   `logs`, `demo`

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise fails")]

mod caller;
#[expect(dead_code, reason = "the tests in memory need more of it")]
#[path = "../behavior/frames.rs"]
mod frames;
mod sidecar;
mod zoho;

mod admin;
mod callers;
mod checking;
mod connections;
mod demo;
mod emulating;
mod hanging_up;
mod hostile;
mod http2;
mod leaving;
mod logs;
mod repeating;
mod rfc;
mod smuggling;
mod starting;
mod state;
mod stopping;
mod streaming;
mod tls;

use std::time::Duration;

/// Longer than anything takes on a busy machine. A wait that comes to its end is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is looked at that cannot be waited for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What comes of the future, which `what` describes.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let in_time = tokio::time::timeout(PATIENCE, future).await;
    in_time.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !is_so().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await;
}
