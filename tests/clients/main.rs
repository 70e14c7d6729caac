//! Real clients, as their users have them, against the executable and an emulated Zoho: Zoho's own SDKs,
//! unchanged, and clients that know nothing of Zoho.
//!
//! `./ci.sh` installs them. What a client is to see is asserted in its script; what Zoho is to see, here.
//!
//! - what tests are made of: `sidecar`, `caller` and `patience` (those of the executable's tests), `zoho`, `client`
//! - chapters: `sdks`, `plain`, `browser`

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise fails")]

#[expect(dead_code, reason = "the tests of the executable need more of it")]
#[path = "../binary/caller.rs"]
mod caller;
#[path = "../binary/patience.rs"]
mod patience;
#[expect(dead_code, reason = "the tests of the executable need more of it")]
#[path = "../binary/sidecar.rs"]
mod sidecar;

mod client;
mod zoho;

mod browser;
mod plain;
mod sdks;

use patience::{until, within};
