//! What a peer holds when it has nothing to do, and what a connection adds that has asked once.

use std::net::TcpStream;

use anyhow::Result;

use super::Bench;
use crate::load::{Want, plain};
use crate::machine;
use crate::peers::{Running, Wish};
use crate::table::Figure;

/// Connections that are left for whoever else asks.
const SOME: usize = 50;

impl Bench {
    pub(super) fn memory(&mut self, peer: usize) -> Result<()> {
        let running = Running::start(&*self.peers[peer], &self.origin, &Wish::default())?;
        let mut connections = vec![plain::ask(running.address, &Want::count())?];
        let idle = running.resident();
        self.sheet.note(peer, Figure::Idle, idle as f64 / f64::from(1 << 20));
        for wanted in [1_000, 10_000] {
            let many = usize::from(wanted).min(usize::try_from(machine::connections())? - SOME);
            if many < usize::from(wanted) {
                eprintln!(
                    "  {many} connections instead of {wanted}: the system lets nobody have more files open"
                );
            }
            fill(&mut connections, many, &running)?;
            let more = running.resident().saturating_sub(idle);
            self.sheet.note(peer, Figure::Connection(wanted), more as f64 / 1024.0 / many as f64);
        }
        Ok(())
    }
}

fn fill(connections: &mut Vec<TcpStream>, up_to: usize, running: &Running) -> Result<()> {
    while connections.len() <= up_to {
        connections.push(plain::ask(running.address, &Want::count())?);
    }
    Ok(())
}
