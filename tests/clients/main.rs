//! Real clients, as their users have them, against the executable and an emulated Zoho: Zoho's own SDKs,
//! unchanged, and clients that know nothing of Zoho.
//!
//! `./ci.sh` installs them. What a client is to see is asserted in its script; what Zoho is to see, here.
//!
//! - what tests are made of: `sidecar` and `caller` (those of the executable's tests), `zoho`, `client`
//! - chapters: `sdks`, `plain`

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise fails")]

#[expect(dead_code, reason = "the tests of the executable need more of it")]
#[path = "../binary/caller.rs"]
mod caller;
#[expect(dead_code, reason = "the tests of the executable need more of it")]
#[path = "../binary/sidecar.rs"]
mod sidecar;

mod client;
mod zoho;

mod plain;
mod sdks;

use std::time::Duration;

/// Longer than anything takes on a busy machine. A wait that comes to its end is a failure.
const PATIENCE: Duration = Duration::from_secs(120);

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
