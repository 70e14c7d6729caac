//! How long answers take while a peer has about half to do of what a bare server could.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use crate::load::closed::Closed;
use crate::load::open::{self, Pace};
use crate::load::{Want, plain};
use crate::peers::{Ceiling, Running, Skill, Wish};
use crate::table::Figure;

/// Connections among which the requests are spread: so many that none is lacking.
const CONNECTIONS: usize = 256;
/// Times the bare server is asked how much it can do; the best one counts.
const TRIES: usize = 3;
/// So far behind the times a peer cannot keep up.
const HOPELESS: Duration = Duration::from_secs(2);

impl Bench {
    pub(super) fn latency(&mut self, peer: usize) -> Result<()> {
        if !self.peers[peer].can(Skill::Memory) {
            return Ok(());
        }
        let rate = self.rate()?;
        let running = Running::start(&*self.peers[peer], &self.origin, &Wish::default())?;
        plain::ask(running.address, &Want::count())?;
        let want = Want::count().says(self.peers[peer].hit());
        let pace = Pace { to: running.address, connections: CONNECTIONS, rate, hopeless: HOPELESS };
        let _ = open::run(Pace { rate: rate / 2.0, ..pace }, &want, self.options.span / 4)?;
        let span = self.options.span;
        let Some(latencies) = self.pace.undisturbed(|| open::run(pace, &want, span))? else {
            eprintln!("  {} cannot keep up with {rate:.0} requests a second", self.peers[peer].name());
            return Ok(());
        };
        for share in [5000, 9900, 9990] {
            self.sheet.note(peer, Figure::Latency(share), latencies.within(f64::from(share) / 10_000.0));
        }
        Ok(())
    }

    /// The rate for all peers and rounds.
    fn rate(&mut self) -> Result<f64> {
        if let Some(rate) = self.rate {
            return Ok(rate);
        }
        let running = Running::start(&Ceiling::Hyper, &self.origin, &Wish::default())?;
        let mut closed = Closed::open(running.address, self.options.connections)?;
        let mut most: f64 = 0.0;
        for _ in 0..TRIES {
            let span = self.options.span / 2;
            let tally = self.pace.undisturbed(|| closed.for_as_long_as(span, &[Want::count()]))?;
            most = most.max(tally.answers as f64 / tally.took.as_secs_f64());
        }
        let half = most / 2.0;
        let rate = (half / 1000.0).round() * 1000.0;
        self.rate = Some(rate);
        Ok(rate)
    }
}
