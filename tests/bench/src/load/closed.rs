//! So many connections, each asking again as soon as it has its answer: what a peer can do at most.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Want;
use super::poll::Poll;
use super::wire::Connection;

/// How long anybody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) answers: u64,
    pub(crate) took: Duration,
}

/// Connections that ask.
pub(crate) struct Closed {
    connections: Vec<Connection>,
    asked: Vec<usize>,
    poll: Poll,
    scratch: Vec<u8>,
}

impl Closed {
    pub(crate) fn open(to: SocketAddr, connections: usize) -> Result<Self> {
        Self::open_to_each(&[to], connections)
    }

    /// The connections shared out among several.
    pub(crate) fn open_to_each(to: &[SocketAddr], connections: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let mut all = Vec::new();
        for number in 0..connections {
            let connection = Connection::open(to[number % to.len()])?;
            poll.add(&connection.stream, number as u64)?;
            all.push(connection);
        }
        Ok(Self { connections: all, asked: vec![0; connections], poll, scratch: vec![0; 64 << 10] })
    }

    /// Asks for what `next` says, by its number in `wants`, until it says `None`; then waits for the last answers.
    pub(crate) fn run(&mut self, wants: &[Want], mut next: impl FnMut() -> Option<usize>) -> Result<Tally> {
        let start = Instant::now();
        let (mut under_way, mut answers) = (0_usize, 0);
        for at in 0..self.connections.len() {
            under_way += usize::from(self.ask(at, wants, next())?);
        }
        let mut ready = Vec::with_capacity(self.connections.len());
        while under_way > 0 {
            self.poll.wait(&mut ready, Some(PATIENCE))?;
            ensure!(!ready.is_empty(), "{under_way} requests had no answer within {PATIENCE:?}");
            for &number in &ready {
                let at = usize::try_from(number)?;
                if self.connections[at].receive(&mut self.scratch, &wants[self.asked[at]])? {
                    answers += 1;
                    under_way -= usize::from(!self.ask(at, wants, next())?);
                }
            }
        }
        Ok(Tally { answers, took: start.elapsed() })
    }

    /// Asks for all of these in turn, again and again.
    pub(crate) fn for_as_long_as(&mut self, span: Duration, wants: &[Want]) -> Result<Tally> {
        let end = Instant::now() + span;
        let mut turns = (0..wants.len()).cycle();
        self.run(wants, || if Instant::now() < end { turns.next() } else { None })
    }

    fn ask(&mut self, at: usize, wants: &[Want], what: Option<usize>) -> Result<bool> {
        let Some(what) = what else { return Ok(false) };
        self.asked[at] = what;
        self.connections[at].send(&wants[what])?;
        Ok(true)
    }
}
