//! What an answer costs, from memory or passed on.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Bench;
use crate::load::closed::{Closed, Tally};
use crate::load::{Want, http2};
use crate::machine;
use crate::peers::{Running, Skill, Wish};
use crate::table::{Answers, Figure, Manner};

/// How many ids there are where each request has its own: so many that nobody remembers one until it comes again.
const IDS: usize = 10_000;

/// Before anything counts, so that connections are made and caches warm.
const WARM_UP: Duration = Duration::from_millis(300);

impl Bench {
    pub(super) fn answers(&mut self, peer: usize, answers: Answers) -> Result<()> {
        for manner in [Manner::Plain, Manner::Anew, Manner::Logged, Manner::Http2] {
            let needed = match manner {
                Manner::Plain | Manner::Anew => None,
                Manner::Logged => Some(Skill::Log),
                Manner::Http2 => Some(Skill::Http2),
            };
            let source = if answers == Answers::Kept { Skill::Memory } else { Skill::Proxy };
            if needed.into_iter().chain([source]).all(|skill| self.peers[peer].can(skill)) {
                self.answers_in(peer, answers, manner)?;
            }
        }
        Ok(())
    }

    fn answers_in(&mut self, peer: usize, answers: Answers, manner: Manner) -> Result<()> {
        let wish = Wish { log: manner == Manner::Logged, http2: manner == Manner::Http2, ..Wish::default() };
        let running = Running::start(&*self.peers[peer], &self.origin, &wish)?;
        let (want, hit) = match answers {
            Answers::Kept => (Want::count(), self.peers[peer].hit()),
            Answers::Passed => (Want::record(), None),
        };
        let mut load = Load::open(&running, manner, self.options.connections)?;
        load.run(std::slice::from_ref(&want), WARM_UP)?;
        let want = want.says(hit);
        let wants =
            if manner == Manner::Anew { (0..IDS).map(|id| want.under(id)).collect() } else { vec![want] };
        let origin = &self.origin;
        let (tally, ran, busy) = self.pace.undisturbed(|| {
            let busy = machine::busy(machine::PEERS);
            let (calls, cpu) = (origin.calls.load(Relaxed), running.cpu()?);
            let tally = load.run(&wants, self.options.span)?;
            let (ran, calls) = (running.ran_since(cpu)?, origin.calls.load(Relaxed) - calls);
            let expected = if answers == Answers::Kept { 0 } else { tally.answers };
            ensure!(
                calls == expected,
                "{} answers cost {calls} calls at the origin, not {expected}",
                tally.answers
            );
            Ok((tally, ran, machine::busy(machine::PEERS) - busy))
        })?;

        let took = tally.took.as_secs_f64();
        self.sheet.note(peer, Figure::Cpu(answers, manner), ran * 1e6 / tally.answers as f64);
        self.sheet.note(peer, Figure::Rate(answers, manner), tally.answers as f64 / took);
        self.sheet.note(peer, Figure::Busy(answers, manner), busy / took);
        self.disturbed.push((busy - ran).max(0.0) / took);
        Ok(())
    }
}

/// Whoever asks, in either version of HTTP.
pub(super) enum Load<'a> {
    Http1(Box<Closed>),
    Http2(&'a Running, usize),
}

impl<'a> Load<'a> {
    pub(super) fn open(running: &'a Running, manner: Manner, connections: usize) -> Result<Self> {
        Ok(match manner {
            Manner::Http2 => Self::Http2(running, connections),
            Manner::Plain | Manner::Anew | Manner::Logged => {
                Self::Http1(Box::new(Closed::open(running.address, connections)?))
            }
        })
    }

    pub(super) fn run(&mut self, wants: &[Want], span: Duration) -> Result<Tally> {
        match self {
            Self::Http1(closed) => closed.for_as_long_as(span, wants),
            Self::Http2(running, streams) => http2::run(running.address, *streams, &wants[0], span),
        }
    }
}
