//! Many who want the same at once, which nobody has asked for before.

use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;

use super::Bench;
use crate::load::Want;
use crate::load::closed::Closed;
use crate::peers::{Running, Skill, Wish};
use crate::table::Figure;

const CALLERS: usize = 500;
const DELAY_MILLIS: u64 = 80;

impl Bench {
    pub(super) fn storm(&mut self, peer: usize) -> Result<()> {
        if ![Skill::Memory, Skill::Proxy].into_iter().all(|skill| self.peers[peer].can(skill)) {
            return Ok(());
        }
        let running = Running::start(&*self.peers[peer], &self.origin, &Wish::default())?;
        let mut closed = Closed::open(running.address, CALLERS)?;
        let before = self.origin.calls.load(Relaxed);
        self.origin.delay.store(DELAY_MILLIS, Relaxed);
        let mut left = CALLERS;
        let once = || {
            left = left.checked_sub(1)?;
            Some(0)
        };
        let tally = closed.run(&[Want::count()], once);
        self.origin.delay.store(0, Relaxed);
        let calls = self.origin.calls.load(Relaxed) - before;
        self.sheet.note(peer, Figure::StormCalls, calls as f64);
        self.sheet.note(peer, Figure::StormWait, tally?.took.as_secs_f64() * 1000.0);
        Ok(())
    }
}
