//! How soon a peer serves, and how large its executable is.

use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context as _, Result, ensure};

use super::Bench;
use crate::peers::{Running, Wish};
use crate::table::Figure;

/// Starts in a round.
const TIMES: usize = 5;

impl Bench {
    pub(super) fn start(&mut self, peer: usize) -> Result<()> {
        let binary = self.peers[peer].binary();
        let size = std::fs::metadata(&binary).with_context(|| binary.display().to_string())?.len();
        self.sheet.note(peer, Figure::Binary, size as f64 / f64::from(1 << 20));
        // The first start finds no token and no page of the executable in memory.
        let place = self.state.path().join(peer.to_string());
        std::fs::create_dir_all(&place)?;
        let wish = Wish { keep: Some(place), ..Wish::default() };
        drop(Running::start(&*self.peers[peer], &self.origin, &wish)?);
        let mints = self.origin.mints.load(Relaxed);
        for _ in 0..TIMES {
            let running = Running::start(&*self.peers[peer], &self.origin, &wish)?;
            self.sheet.note(peer, Figure::Start, running.started_in.as_secs_f64() * 1000.0);
        }
        ensure!(
            self.origin.mints.load(Relaxed) == mints,
            "a token was minted, though the one before still lived"
        );
        Ok(())
    }
}
