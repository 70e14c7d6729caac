//! What long bodies cost.

use anyhow::Result;

use super::Bench;
use crate::load::bulk::{self, Way};
use crate::peers::{Running, Skill, Wish};
use crate::table::Figure;

const MEBIBYTES: usize = 64;
const AT_ONCE: usize = 4;

impl Bench {
    pub(super) fn bodies(&mut self, peer: usize) -> Result<()> {
        if !self.peers[peer].can(Skill::Proxy) {
            return Ok(());
        }
        // About a GiB, in a second or so.
        let times = if self.options.span.as_secs() > 1 { 4 } else { 1 };
        let running = Running::start(&*self.peers[peer], &self.origin, &Wish::default())?;
        for (way, figure) in [(Way::Down, Figure::Down), (Way::Up, Figure::Up)] {
            let (ran, bytes) = self.pace.undisturbed(|| {
                let before = running.cpu()?;
                let bytes = bulk::run(running.address, way, MEBIBYTES, AT_ONCE, times)?;
                Ok((running.ran_since(before)?, bytes))
            })?;
            self.sheet.note(peer, figure, ran * f64::from(1 << 30) / bytes as f64);
        }
        Ok(())
    }
}
