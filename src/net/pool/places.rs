//! What there is of all origins, and who is served next: decisions only.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::sync::oneshot;

use super::host::{Answer, Held, Host, Protocol, Shared, Waiter, Wanted};
use super::line::Line;
use super::site::Site;
use super::stay::Stay;
use super::stream::Share;
use super::{Limits, NoConnection};
use crate::clock::{Instant, Moment, SHORTEST_SUSPENSION};
use crate::net::buffers::Buffers;

/// All connections that carry nothing or have room, and all who wait for one.
pub(super) struct Places {
    limits: Limits,
    buffers: Buffers,
    /// By number, and never fewer: the origins of a configuration, which are few.
    hosts: Vec<Host>,
    open: usize,
    turns: u64,
    ages: u32,
    /// How often the machine has been suspended, as far as was seen, and when that was looked at for the first time since.
    suspensions: u32,
    looked_at: Option<Moment>,
    /// When somebody looks again for what is old, and whether that is too late by now.
    looked_for: Option<Instant>,
    hurries: bool,
    /// Hosts to which a connection is to be made now, each as often as it stands here. It has its place already.
    pub(super) to_make: Vec<usize>,
}

/// Where a request waits, and for what.
pub(super) type Turn = (u64, oneshot::Receiver<Answer>);

impl Places {
    pub(super) fn new(limits: Limits, buffers: Buffers) -> Self {
        Self {
            limits,
            buffers,
            hosts: Vec::new(),
            open: 0,
            turns: 0,
            ages: 0,
            suspensions: 0,
            looked_at: None,
            looked_for: None,
            hurries: false,
            to_make: Vec::new(),
        }
    }

    /// The number of a URI's origin, if it has one. Requests that want HTTP/1.1 do not share it with others where those
    /// may get HTTP/2.
    pub(super) fn find(&mut self, uri: &Uri, wanted: Wanted) -> Option<usize> {
        if let Some(known) = self.hosts.iter().position(|host| host.suits(wanted) && host.site.is_of(uri)) {
            return Some(known);
        }
        self.hosts.push(Host::new(Site::of(uri)?, wanted));
        Some(self.hosts.len() - 1)
    }

    pub(super) fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }

    /// Ends the connections from before a suspension of the machine, if there was one: the servers and the address
    /// translators between may have given them up, and a request on one of them would wait for its time limit. Exchanges
    /// that are under way go on.
    pub(super) fn end_suspended(&mut self, moment: Moment) {
        let before = *self.looked_at.get_or_insert(moment);
        if before.suspended_until(moment) < SHORTEST_SUSPENSION {
            return;
        }
        self.looked_at = Some(moment);
        self.suspensions = self.suspensions.wrapping_add(1);
        self.hosts.iter_mut().for_each(Host::end_all);
    }

    pub(super) fn suspensions(&self) -> u32 {
        self.suspensions
    }

    /// The line that rested last. While somebody waits, none does.
    pub(super) fn resting(&mut self, number: usize) -> Option<Line> {
        self.hosts[number].resting()
    }

    /// A connection, or a turn to wait for one; with `is_first` one that has carried no request yet, where requests
    /// share connections.
    pub(super) fn take(&mut self, number: usize, is_first: bool) -> Result<Held, Turn> {
        let host = &mut self.hosts[number];
        // Where no new connection can be made, and where none is shared, any will do.
        let is_first = is_first
            && host.protocol == Protocol::Http2
            && host.open < self.limits.most_per_host
            && self.open < self.limits.most;
        // Who has come before is served before.
        if !is_first
            && !host.has_waiting()
            && let Some(held) = host.take()
        {
            return Ok(held);
        }
        self.turns += 1;
        let (answer, waits) = oneshot::channel();
        host.waiting.push_back(Waiter { turn: self.turns, answer, is_first });
        self.fill(number);
        Err((self.turns, waits))
    }

    /// Somebody waits no longer.
    pub(super) fn leave(&mut self, number: usize, turn: u64) {
        let waiting = &mut self.hosts[number].waiting;
        if let Ok(at) = waiting.binary_search_by_key(&turn, |waiter| waiter.turn) {
            waiting.remove(at);
        }
    }

    /// Why somebody who has waited for so long got none.
    pub(super) fn why_none(&self, number: usize) -> NoConnection {
        if self.hosts[number].making > 0 { NoConnection::TooLate } else { NoConnection::Crowded }
    }

    /// A line is free: for whoever waits, or to rest.
    pub(super) fn give_back(&mut self, number: usize, line: Line, now: Instant) {
        if now >= line.link.dies || line.link.suspensions != self.suspensions {
            self.hosts[number].end(&line);
            return;
        }
        self.offer(number, Held::Line { line, is_kept: true }, now);
    }

    /// A line was made.
    pub(super) fn add_line(&mut self, number: usize, line: Line, now: Instant) {
        self.made(number, Protocol::Http1);
        self.offer(number, Held::Line { line, is_kept: false }, now);
        self.fill(number);
    }

    /// A connection was made that many can share.
    pub(super) fn add_shared(&mut self, number: usize, shared: Shared) {
        self.made(number, Protocol::Http2);
        let share = shared.share.clone();
        let host = &mut self.hosts[number];
        host.add_shared(shared);
        self.rest(number, &share);
        self.fill(number);
    }

    fn offer(&mut self, number: usize, held: Held, now: Instant) {
        let Some(Held::Line { line, .. }) = self.hosts[number].hand(held) else { return };
        let makes_place = self.makes_place();
        let host = &mut self.hosts[number];
        // A connection that was read in long pieces keeps its buffer while it rests.
        let is_costly = line.link.stay.has_long_buffer() && !self.buffers.are_mostly_free();
        if makes_place || is_costly || host.resting.len() >= self.limits.max_idle {
            host.end(&line);
        } else {
            let expires = line.link.dies.min(now + self.limits.idle_timeout);
            host.resting.push((line, now));
            self.look_by(expires);
        }
    }

    /// A shared connection carries nothing, or goes on.
    fn rest(&mut self, number: usize, share: &Arc<Share>) {
        let makes_place = self.makes_place();
        self.hosts[number].rest(share, makes_place, self.limits.max_idle);
        self.look_at(number);
    }

    /// Whether what comes to rest is let go for those who wait at other hosts.
    fn makes_place(&self) -> bool {
        self.open >= self.limits.most && self.shortage() > 0
    }

    /// How many connections those who wait could do with, beside the places that will be free as it is.
    fn shortage(&self) -> usize {
        let wanted = |host: &Host| host.missing().min(self.limits.most_per_host.saturating_sub(host.open));
        let wanted: usize = self.hosts.iter().map(wanted).sum();
        wanted.saturating_sub(self.hosts.iter().map(|host| host.leaving).sum())
    }

    fn made(&mut self, number: usize, protocol: Protocol) {
        let host = &mut self.hosts[number];
        host.making -= 1;
        host.protocol = protocol;
    }

    /// A connection could not be made.
    pub(super) fn fail(&mut self, number: usize, why: &NoConnection) {
        let host = &mut self.hosts[number];
        host.making -= 1;
        host.fail(why);
        self.fill(number);
    }

    /// A connection has ended, or will never be.
    pub(super) fn vacate(&mut self, number: usize, stay: &Stay) {
        self.open -= 1;
        self.hosts[number].vacate(stay);
        // Who has waited longest first, at whatever host: else one that is busy would keep its places for itself.
        let first = |(number, host): (usize, &Host)| Some((host.waiting.front()?.turn, number));
        let mut turns: Vec<_> = self.hosts.iter().enumerate().filter_map(first).collect();
        turns.sort_unstable();
        for (_, number) in turns {
            self.fill(number);
        }
    }

    /// A shared connection is to carry no further request.
    pub(super) fn retire(&mut self, number: usize, share: &Arc<Share>) {
        self.hosts[number].retire(share);
        self.fill(number);
    }

    /// A server has asked for HTTP/1.1 in the place of HTTP/2.
    pub(super) fn require_http1(&mut self, number: usize) {
        self.hosts[number].require_http1();
        self.fill(number);
    }

    /// An exchange on a shared connection has ended.
    pub(super) fn end_stream(&mut self, number: usize, share: &Arc<Share>, now: Instant) {
        self.hosts[number].end_stream(share, now);
        self.rest(number, share);
    }

    /// Shared connections have ended, or have room for another number of exchanges.
    pub(super) fn look_at_shared(&mut self, number: usize) {
        self.hosts[number].shared.retain(|shared| !shared.sender.is_closed());
        self.hosts[number].serve();
        self.fill(number);
    }

    /// Has connections made for those who wait, as far as there is place.
    fn fill(&mut self, number: usize) {
        let host = &mut self.hosts[number];
        let missing = host.missing().min(self.limits.most_per_host.saturating_sub(host.open));
        let starts = missing.min(self.limits.most.saturating_sub(self.open));
        host.making += starts;
        host.open += starts;
        self.open += starts;
        self.to_make.extend(std::iter::repeat_n(number, starts));
        if starts < missing {
            self.make_place();
        }
    }

    /// Lets go what has rested longest, as far as others want its place. They get it once the connection has ended.
    fn make_place(&mut self) {
        for _ in 0..self.shortage() {
            let rests = self.hosts.iter_mut().filter_map(|host| Some((host.longest_rest()?, host)));
            let Some((_, host)) = rests.min_by_key(|(since, _)| *since) else { return };
            host.end_longest_rest();
        }
    }

    /// Ends what has rested for too long or is too old; when to look again, if anything is left.
    pub(super) fn end_old(&mut self, now: Instant) -> Option<Instant> {
        let limits = self.limits;
        let next = self.hosts.iter_mut().filter_map(|host| host.end_old(&limits, now)).min();
        self.looked_for = next;
        next
    }

    /// Something of this host may be old earlier than it was.
    fn look_at(&mut self, number: usize) {
        if let Some(expires) = self.hosts[number].expires(&self.limits) {
            self.look_by(expires);
        }
    }

    fn look_by(&mut self, expires: Instant) {
        self.hurries |= self.looked_for.is_none_or(|looked_for| expires < looked_for);
    }

    /// Whether [`Self::end_old`] is to be called earlier than it said.
    pub(super) fn hurries(&mut self) -> bool {
        std::mem::take(&mut self.hurries)
    }

    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        assert_eq!(self.open, self.hosts.iter().map(|host| host.open).sum::<usize>());
        assert!(self.hosts.iter().all(|host| host.leaving + host.making <= host.open));
        self.open
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.hosts.iter().map(|host| host.waiting.len()).sum()
    }

    /// When a connection that is made now is too old.
    pub(super) fn next_death(&mut self, now: Instant) -> Instant {
        self.ages = self.ages.wrapping_add(1);
        now + age(self.limits.max_age, self.ages)
    }
}

/// How old the `n`th connection may get: between three quarters of `most` and all of it, and never like its
/// neighbours, so that connections that were made together do not end together. Multiples of the golden ratio lie
/// evenly between whole numbers, however many there are.
fn age(most: Duration, n: u32) -> Duration {
    const GOLDEN_RATIO: u32 = 0x9E37_79B9; // its fraction, of 2^32
    let part = f64::from(n.wrapping_mul(GOLDEN_RATIO)) / f64::from(u32::MAX);
    most.mul_f64(0.75 + part / 4.0)
}
