//! What there is of one origin.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::client::conn::http2;
use tokio::sync::oneshot;

use super::line::Line;
use super::site::Site;
use super::stay::Stay;
use super::stream::Share;
use super::{Limits, NoConnection};
use crate::clock::Instant;
use crate::net::body::Body;

/// What a request gets.
pub(super) enum Held {
    /// A line of its own, and whether it was kept before: only then may it have ended unnoticed.
    Line { line: Line, is_kept: bool },
    /// Room on a connection of HTTP/2.
    Stream { sender: http2::SendRequest<Body>, share: Arc<Share> },
}

/// What one who waits is told.
pub(super) type Answer = Result<Held, NoConnection>;

/// A request that waits for a connection.
pub(super) struct Waiter {
    pub(super) turn: u64,
    pub(super) answer: oneshot::Sender<Answer>,
    /// It wants to be the first on a new connection, where requests share connections.
    pub(super) is_first: bool,
}

/// What is known of the protocol that an origin speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Nothing: the first connection will tell, and others wait for it.
    Unknown,
    /// One exchange at a time: each request needs a connection.
    Http1,
    /// Many at a time: one connection will do for all, as a rule.
    Http2,
}

/// Which protocols a new connection may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// What the server likes best.
    Any,
    /// HTTP/1.1, since the request or the server asks for it in the place of HTTP/2.
    Http1,
}

/// An origin, and its connections that carry nothing or have room.
pub(super) struct Host {
    pub(super) site: Site,
    pub(super) protocol: Protocol,
    /// Which protocols its next connections may speak.
    pub(super) wanted: Wanted,
    /// What its requests want, if that makes a difference.
    is_for: Option<Wanted>,
    /// Those of HTTP/1 that carry nothing, with the time since when; the last came last.
    pub(super) resting: Vec<(Line, Instant)>,
    /// Those of HTTP/2.
    pub(super) shared: Vec<Shared>,
    /// The requests that wait, in turn.
    pub(super) waiting: VecDeque<Waiter>,
    /// How many connections there are, those that are being made included.
    pub(super) open: usize,
    /// How many are being made.
    pub(super) making: usize,
    /// How many were let go and have not ended yet.
    pub(super) leaving: usize,
}

/// A connection of HTTP/2.
pub(super) struct Shared {
    pub(super) sender: http2::SendRequest<Body>,
    pub(super) share: Arc<Share>,
    pub(super) stay: Arc<Stay>,
    /// Since when it carries nothing, if it does.
    pub(super) since: Instant,
    pub(super) dies: Instant,
}

impl Shared {
    /// When it has rested for too long or is too old, as things stand.
    fn expires(&self, limits: &Limits) -> Instant {
        if self.is_unused() { self.dies.min(self.since + limits.idle_timeout) } else { self.dies }
    }

    /// Its place will be free soon, if it carries nothing.
    fn leave(&self, leaving: &mut usize) {
        if self.is_unused() && !self.sender.is_closed() {
            self.stay.leave(leaving);
        }
    }

    fn is_unused(&self) -> bool {
        self.share.streams.load(Ordering::Relaxed) == 0
    }
}

impl Host {
    pub(super) fn new(site: Site, wanted: Wanted) -> Self {
        // The protocol is agreed on in the handshake of TLS; where there is none, it is the old one.
        let is_agreed_on = site.is_https() && wanted == Wanted::Any;
        let protocol = if is_agreed_on { Protocol::Unknown } else { Protocol::Http1 };
        Self {
            is_for: if site.is_https() { Some(wanted) } else { None },
            site,
            protocol,
            wanted,
            resting: Vec::new(),
            shared: Vec::new(),
            waiting: VecDeque::new(),
            open: 0,
            making: 0,
            leaving: 0,
        }
    }

    /// Whether it is for requests that want this.
    pub(super) fn suits(&self, wanted: Wanted) -> bool {
        self.is_for.is_none_or(|own| own == wanted)
    }

    /// The line that rested last and has not ended meanwhile.
    pub(super) fn resting(&mut self) -> Option<Line> {
        while let Some((line, _)) = self.resting.pop() {
            if !line.sender.is_closed() {
                return Some(line);
            }
        }
        None
    }

    /// Lets a line go.
    pub(super) fn end(&mut self, line: &Line) {
        line.link.stay.leave(&mut self.leaving);
    }

    /// Gives no connection that there is a further request.
    pub(super) fn end_all(&mut self) {
        for (line, _) in std::mem::take(&mut self.resting) {
            self.end(&line);
        }
        self.end_all_shared();
    }

    fn end_all_shared(&mut self) {
        for shared in std::mem::take(&mut self.shared) {
            shared.leave(&mut self.leaving);
        }
    }

    /// A connection has ended.
    pub(super) fn vacate(&mut self, stay: &Stay) {
        self.open -= 1;
        stay.end(&mut self.leaving);
    }

    /// Forgets what has ended; since when the connection rests that has rested longest.
    pub(super) fn longest_rest(&mut self) -> Option<Instant> {
        self.resting.retain(|(line, _)| !line.sender.is_closed());
        self.shared.retain(|shared| !shared.sender.is_closed());
        let line = self.resting.first().map(|(_, since)| *since);
        line.into_iter().chain(self.unused().map(|(_, since)| since)).min()
    }

    /// Lets go what has rested longest.
    pub(super) fn end_longest_rest(&mut self) {
        let line = self.resting.first().map(|(_, since)| *since);
        match self.unused().min_by_key(|(_, since)| *since) {
            Some((at, since)) if line.is_none_or(|line| since < line) => self.end_shared(at),
            _ => {
                let (line, _) = self.resting.remove(0);
                self.end(&line);
            }
        }
    }

    /// The connections of HTTP/2 that carry nothing, and since when.
    fn unused(&self) -> impl Iterator<Item = (usize, Instant)> {
        let all = self.shared.iter().enumerate();
        all.filter(|(_, shared)| shared.is_unused()).map(|(at, shared)| (at, shared.since))
    }

    /// Lets a connection of HTTP/2 go, which ends what it carries.
    fn end_shared(&mut self, at: usize) {
        let shared = self.shared.swap_remove(at);
        shared.leave(&mut self.leaving);
    }

    /// Gives a connection of HTTP/2 no further request.
    pub(super) fn retire(&mut self, share: &Arc<Share>) {
        if let Some(at) = self.shared.iter().position(|shared| Arc::ptr_eq(&shared.share, share)) {
            self.end_shared(at);
        }
    }

    /// Makes the next connections without HTTP/2, and gives those there are no further request.
    pub(super) fn require_http1(&mut self) {
        self.wanted = Wanted::Http1;
        self.protocol = Protocol::Http1;
        self.end_all_shared();
    }

    /// Lets a connection of HTTP/2 go if it has come to rest, and may not or `makes_place`.
    pub(super) fn rest(&mut self, share: &Arc<Share>, makes_place: bool, max_idle: usize) {
        let is_it = |shared: &Shared| Arc::ptr_eq(&shared.share, share) && shared.is_unused();
        if let Some(at) = self.shared.iter().position(is_it)
            && (makes_place || self.unused().count() + self.resting.len() > max_idle)
        {
            self.end_shared(at);
        }
    }

    /// The line that rested last, or room on a connection that is shared.
    pub(super) fn take(&mut self) -> Option<Held> {
        if let Some(line) = self.resting() {
            return Some(Held::Line { line, is_kept: true });
        }
        self.shared.retain(|shared| !shared.sender.is_closed());
        let with_room = self.shared.iter().find(|shared| shared.share.enter())?;
        Some(Held::Stream { sender: with_room.sender.clone(), share: with_room.share.clone() })
    }

    /// Gives this to the request that has waited longest; back if none waits.
    pub(super) fn hand(&mut self, held: Held) -> Option<Held> {
        self.hand_to(held, |_| true)
    }

    /// The same among the requests of this kind.
    fn hand_to(&mut self, mut held: Held, is_meant: impl Fn(&Waiter) -> bool) -> Option<Held> {
        while let Some(at) = self.waiting.iter().position(&is_meant)
            && let Some(Waiter { answer, .. }) = self.waiting.remove(at)
        {
            match answer.send(Ok(held)) {
                Err(Ok(refused)) => held = refused,
                Ok(()) | Err(Err(_)) => return None,
            }
        }
        Some(held)
    }

    /// Whether a request waits that takes room on any connection.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.iter().any(|waiter| !waiter.is_first)
    }

    /// Adds a new shared connection. The first room on it is for a request that wants to be first.
    pub(super) fn add_shared(&mut self, shared: Shared) {
        if self.waiting.iter().any(|waiter| waiter.is_first) && shared.share.enter() {
            shared.share.is_reserved.store(true, Ordering::Relaxed);
            let held = Held::Stream { sender: shared.sender.clone(), share: shared.share.clone() };
            if self.hand_to(held, |waiter| waiter.is_first).is_some() {
                shared.share.streams.fetch_sub(1, Ordering::Relaxed);
                shared.share.is_reserved.store(false, Ordering::Relaxed);
            }
        }
        self.shared.push(shared);
        self.serve();
    }

    /// Gives room on shared connections to those who wait, as far as there is some.
    pub(super) fn serve(&mut self) {
        while self.has_waiting()
            && let Some(held) = self.take()
        {
            match self.hand_to(held, |waiter| !waiter.is_first) {
                None => {}
                Some(Held::Stream { share, .. }) => drop(share.streams.fetch_sub(1, Ordering::Relaxed)),
                Some(Held::Line { .. }) => unreachable!("lines rest only while nobody waits"),
            }
        }
    }

    /// Those who wait for a connection that could not be made are told so: all of them where all waited for that
    /// one, else who waits the longest, unless one is being made for it all the same. Where it was broken off it is all
    /// too: that is the end of a runtime, on which any other would be broken off at once, one within the other.
    pub(super) fn fail(&mut self, why: &NoConnection) {
        let is_for_all = self.protocol != Protocol::Http1 || matches!(why, NoConnection::BrokenOff);
        let all = self.waiting.len();
        let count = if is_for_all { all } else { all.saturating_sub(self.making).min(1) };
        for waiter in self.waiting.drain(..count) {
            // A request that was given up needs no answer.
            let _ = waiter.answer.send(Err(why.clone()));
        }
    }

    /// How many connections those who wait could do with.
    pub(super) fn missing(&self) -> usize {
        let wanted = match self.protocol {
            Protocol::Http1 => self.waiting.len(),
            Protocol::Unknown => self.waiting.len().min(1),
            Protocol::Http2 => {
                let firsts = self.waiting.iter().filter(|waiter| waiter.is_first).count();
                firsts.max(usize::from(!self.waiting.is_empty()))
            }
        };
        wanted.saturating_sub(self.making)
    }

    /// Ends what has rested for too long or is too old; when to look again, if anything is left.
    pub(super) fn end_old(&mut self, limits: &Limits, now: Instant) -> Option<Instant> {
        let leaving = &mut self.leaving;
        self.resting.retain(|(line, since)| {
            let has_ended = line.sender.is_closed();
            let is_old = line.link.dies.min(*since + limits.idle_timeout) <= now;
            if is_old && !has_ended {
                line.link.stay.leave(leaving);
            }
            !is_old && !has_ended
        });
        self.shared.retain(|shared| {
            let is_old = shared.expires(limits) <= now;
            if is_old {
                shared.leave(leaving);
            }
            !is_old && !shared.sender.is_closed()
        });
        self.expires(limits)
    }

    /// When the first of its connections will have rested for too long or be too old, as things stand.
    pub(super) fn expires(&self, limits: &Limits) -> Option<Instant> {
        let lines = self.resting.iter().map(|(line, since)| line.link.dies.min(*since + limits.idle_timeout));
        lines.chain(self.shared.iter().map(|shared| shared.expires(limits))).min()
    }

    /// An exchange on a shared connection has ended.
    pub(super) fn end_stream(&mut self, share: &Arc<Share>, now: Instant) {
        share.streams.fetch_sub(1, Ordering::Relaxed);
        if let Some(at) = self.shared.iter().position(|shared| Arc::ptr_eq(&shared.share, share)) {
            self.shared[at].since = now;
            if now >= self.shared[at].dies {
                self.end_shared(at);
            }
        }
        self.serve();
    }
}
