//! Requests that are due at fixed times, whether or not earlier ones have their answers. Latency counts from when
//! a request was due, so that whoever had to wait for a slow one before it counts as slow too.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Want;
use super::poll::Poll;
use super::wire::Connection;

/// How long requests took, sorted.
#[derive(Debug)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    /// The time within which this share of the requests had their answer, in microseconds.
    pub(crate) fn within(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the length")]
        let at = (last as f64 * share).ceil() as usize;
        self.0.get(at.min(last)).map_or(0.0, |nanoseconds| f64::from(*nanoseconds) / 1000.0)
    }
}

/// A request under way: which connection, and when it was due.
struct Load {
    connections: Vec<Connection>,
    due: Vec<Instant>,
    free: Vec<usize>,
    waiting: VecDeque<Instant>,
    took: Vec<u32>,
}

/// What is due, and to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) to: SocketAddr,
    pub(crate) connections: usize,
    /// Requests a second.
    pub(crate) rate: f64,
    /// So far behind the times the rate is one that the peer cannot keep.
    pub(crate) hopeless: Duration,
}

/// Asks at this pace for as long as that; `None` if the peer cannot keep up.
pub(crate) fn run(pace: Pace, want: &Want, span: Duration) -> Result<Option<Latencies>> {
    let Pace { to, connections, rate, hopeless } = pace;
    let poll = Poll::new()?;
    let mut load = Load::open(to, connections, &poll)?;
    let mut scratch = vec![0; 64 << 10];
    let mut ready = Vec::with_capacity(connections);
    let (step, start) = (Duration::from_secs_f64(1.0 / rate), Instant::now());
    let (mut due, end) = (start, start + span);
    loop {
        let now = Instant::now();
        while due <= now && due < end {
            load.waiting.push_back(due);
            due += step;
        }
        load.send(want)?;
        if load.waiting.front().is_some_and(|oldest| now - *oldest > hopeless) {
            return Ok(None);
        }
        if due >= end && load.free.len() == connections {
            break;
        }
        ensure!(now < end + Duration::from_secs(30), "the last answers for {} did not come", want.path);
        // It never sleeps: to be woken up takes longer than what is measured.
        poll.wait(&mut ready, Some(Duration::ZERO))?;
        for &number in &ready {
            let at = usize::try_from(number)?;
            if load.connections[at].receive(&mut scratch, want)? {
                load.answered(at);
            }
        }
    }
    load.took.sort_unstable();
    Ok(Some(Latencies(load.took)))
}

impl Load {
    fn open(to: SocketAddr, connections: usize, poll: &Poll) -> Result<Self> {
        let mut all = Vec::new();
        for number in 0..connections {
            let connection = Connection::open(to)?;
            poll.add(&connection.stream, number as u64)?;
            all.push(connection);
        }
        let (due, free) = (vec![Instant::now(); connections], (0..connections).collect());
        Ok(Self { connections: all, due, free, waiting: VecDeque::new(), took: Vec::new() })
    }

    /// Sends what is due, as far as there are connections.
    fn send(&mut self, want: &Want) -> Result<()> {
        while let (Some(due), Some(at)) = (self.waiting.front().copied(), self.free.last().copied()) {
            self.waiting.pop_front();
            self.free.pop();
            self.due[at] = due;
            self.connections[at].send(want)?;
        }
        Ok(())
    }

    fn answered(&mut self, at: usize) {
        let took = self.due[at].elapsed().as_nanos();
        self.took.push(u32::try_from(took).unwrap_or(u32::MAX));
        self.free.push(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_looked_up_among_what_is_sorted() {
        let latencies = Latencies((1..=1000).map(|n| n * 1000).collect());
        assert!((latencies.within(0.5) - 501.0).abs() < 0.1);
        assert!((latencies.within(0.999) - 1000.0).abs() < 1.1);
        assert!((latencies.within(1.0) - 1000.0).abs() < 0.1);
    }
}
