//! What is measured of the sidecar alone.

mod scaling;
mod soak;
mod stalls;

use std::sync::Arc;

use anyhow::Result;

use crate::machine;
use crate::options::Options;
use crate::origin::{Origin, RECORD};
use crate::peers::{Peer, Running, Sidecar, Wish};

pub(crate) use scaling::scaling;
pub(crate) use soak::soak;
pub(crate) use stalls::stalls;

/// A route of which there may be as many entries as wanted, and a write that forgets them all.
const CROWD: &str = r#"
[routes.crowd]
match = "GET /crm/{version}/settings/crowd/{entry}"
fresh_for = "1h"
groups = ["crowd"]
[writes.crowd]
match = ["POST /crm/{version}/settings/crowd"]
forgets = ["crowd"]
"#;

/// The sidecar and whom it asks.
struct Scene {
    origin: Arc<Origin>,
    sidecar: Sidecar,
}

impl Scene {
    /// Also says what is measured, and where.
    fn set(options: &Options) -> Result<Self> {
        machine::raise_open_files();
        let sidecar = Sidecar::this(&options.sidecar);
        println!("{} {} on {}.\n", sidecar.name(), sidecar.version()?, machine::description());
        Ok(Self { origin: Origin::start()?, sidecar })
    }

    /// A sidecar with the crowd's route and a cache of this size.
    fn run(&self, cache: &str, wish: &Wish) -> Result<Running> {
        let more = format!("{CROWD}\n[cache]\nmax_bytes = \"{cache}\"\n{}", wish.more);
        Running::start(&self.sidecar, &self.origin, &Wish { more, ..wish.clone() })
    }
}

/// Entries of the crowd.
fn crowd(entries: std::ops::Range<usize>) -> impl Iterator<Item = crate::load::Want> {
    let entry =
        |number| crate::load::Want::get(format!("/crm/v8/settings/crowd/entry{number}")).long(RECORD.len());
    entries.map(entry)
}
