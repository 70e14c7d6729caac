//! A read that is asked again in the same bytes.
//!
//! A client writes its requests always alike, so that most reads are, byte for byte, one that was answered before, or
//! would be but for an id or a place in a trace ([`super::shape`]). What a head means here depends on its bytes, on who is
//! at the other end, and on rules that stay as they are; so it need be understood only once, and its answer be written only
//! once. What may change from one time to the next is looked at each time: the tokens of callers, the credential at Zoho,
//! the entry, what made it untrue, how old it is. If it is not simply served, the request goes the long way, as if nothing
//! were known of it.
//!
//! What is known holds heads, or their shapes, with their callers' tokens, and the entry that was served last, until another
//! head takes the place. None of it leaves the process.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use foldhash::quality::RandomState;
use http::header::{HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderMap, Method, Request, Version};

use super::answer::{self, Asked, CacheStatus};
use super::call::{Plan, Reading};
use super::kinds::Kinds;
use super::written::{Anew, Written};
use super::{Arrival, Proxy, request_id, shape};
use crate::cache::decision::{Decision, decide};
use crate::cache::epochs::UrlSlot;
use crate::cache::wishes::Wishes;
use crate::callers::Identity;
use crate::net::headers::copy_if;
use crate::net::peer::Peer;
use crate::routes::RouteNumber;
use crate::server::{HeadBytes, Repeat};

/// How many heads a worker knows, at most.
const PLACES: usize = 64;
/// A longer head is not learned, so that what a worker knows is bounded in bytes too.
const LONGEST: usize = 8 * 1024;

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
    /// Where the shape of a head is written.
    static SHAPE: RefCell<Vec<u8>> = RefCell::default();
}

/// The heads that a worker knows.
#[derive(Default)]
struct Memory {
    hasher: RandomState,
    places: Vec<Place>,
}

#[derive(Default)]
struct Place {
    known: Option<Box<Known>>,
    /// Which other head came since the known one did, and how often.
    other: u64,
    times: u32,
}

/// A head, and for whom it means what.
struct Known {
    hash: u64,
    /// Its shape, if that is another one.
    head: Box<[u8]>,
    peer: Arc<Peer>,
    /// Tells the proxies of one thread apart.
    proxy: u64,
    /// Which tokens of callers were in force.
    tokens: u64,
    meaning: Meaning,
    written: Option<Written>,
}

struct Meaning {
    caller: Identity,
    tenant: usize,
    /// That of the tenant's credential.
    identity: u64,
    route: RouteNumber,
    key: Box<[u8]>,
    path_and_query: Box<str>,
    url: UrlSlot,
    path_bytes: usize,
    wishes: Wishes,
    /// The headers that put a condition on the answer.
    conditions: HeaderMap,
}

impl Memory {
    fn hash_of(&self, head: &[u8], peer: &Peer) -> u64 {
        self.hasher.hash_one((head, peer))
    }

    fn place(&mut self, hash: u64) -> &mut Place {
        self.places.resize_with(PLACES, Place::default);
        &mut self.places[usize::try_from(hash % PLACES as u64).expect("less than 64")]
    }
}

impl Place {
    /// Notes that a head came which is not known: worth learning if it comes again, but not each time, since what is not
    /// answered by an entry cannot be learned.
    fn note(&mut self, hash: u64) -> Repeat {
        self.times = if self.other == hash { self.times.saturating_add(1) } else { 1 };
        self.other = hash;
        if self.times > 1 && self.times.is_power_of_two() { Repeat::Learn } else { Repeat::Unknown }
    }
}

impl Proxy {
    /// Answers a request whose head is known, or the shape of its head.
    pub(super) fn repeat(&self, head: &[u8], answer: &mut Vec<u8>) -> Repeat {
        let hash = match self.repeat_known(head, None, answer) {
            Ok(repeat) => return repeat,
            Err(hash) => hash,
        };
        let shaped = SHAPE.with_borrow_mut(|shape| {
            let left_out = shape::write(head, shape)?;
            Some(self.repeat_known(shape, left_out.request_id, answer))
        });
        match shaped.unwrap_or(Err(hash)) {
            Ok(repeat) => repeat,
            Err(hash) => MEMORY.with_borrow_mut(|memory| memory.place(hash).note(hash)),
        }
    }

    /// Answers under the caller's own id for the request, or a new one. Where the head is not known, its hash comes back.
    fn repeat_known(&self, head: &[u8], own_id: Option<&[u8]>, answer: &mut Vec<u8>) -> Result<Repeat, u64> {
        MEMORY.with_borrow_mut(|memory| {
            let hash = memory.hash_of(head, &self.peer);
            let place = memory.place(hash);
            match &mut place.known {
                Some(known) if known.hash == hash && self.knows(known, head) => {
                    (place.other, place.times) = (0, 0);
                    let done = self.answer_known(known, own_id, answer);
                    Ok(done.map_or(Repeat::Unknown, |()| Repeat::Done))
                }
                _ => Err(hash),
            }
        })
    }

    fn knows(&self, known: &Known, head: &[u8]) -> bool {
        *known.head == *head
            && known.proxy == self.shared.number
            && *known.peer == *self.peer
            && known.tokens == self.shared.rules.callers.tokens().generation()
            && known.meaning.identity == self.shared.tokens[known.meaning.tenant].identity()
    }

    /// Answers from the entry, if nothing but that is to be done.
    fn answer_known(&self, known: &mut Known, own_id: Option<&[u8]>, answer: &mut Vec<u8>) -> Option<()> {
        let (shared, meaning) = (&*self.shared, &known.meaning);
        let now = shared.clock.boot_time();
        let rule = &shared.rules.routes.route(meaning.route).rule;
        let epoch = shared.epoch(meaning.tenant, rule, meaning.url);
        let found = shared.cache.lookup(&meaning.key, rule, epoch, now);
        let is_set_back = || shared.cache.is_set_back(&meaning.key, now);
        let Decision::Serve(entry, served) = decide(found, rule, &meaning.wishes, is_set_back, now) else {
            return None;
        };
        let (status, age) = (CacheStatus::Served(served), entry.age(now).as_secs());
        let request_id = request_id::of_value(own_id);
        if !known.written.as_ref().is_some_and(|written| written.is_of(&entry)) {
            let asked = Asked { method: &Method::GET, headers: &meaning.conditions };
            let response = answer::from_entry(&entry, status, asked, request_id.clone(), now);
            known.written = Written::new(entry, response);
        }
        let written = known.written.as_ref()?;
        let anew = Anew { age, cache_status: &status.header(), request_id: &request_id };
        written.append(&anew, answer);

        let arrival = Arrival { at: now, request_id, kinds: Kinds::NONE, would_refuse: OnceLock::new() };
        let facts = Self::facts(&Method::GET, &meaning.reading(), &arrival);
        self.account_for(written.status(), status, facts, written.bytes());
        if shared.rules.callers.is_anybody(meaning.caller) {
            self.standing.admit();
        } else {
            self.standing.identify();
        }
        Some(())
    }

    /// Learns what a head means that is answered from this entry, if the server has shown it for that.
    pub(super) fn learn<B>(
        &self,
        request: &Request<B>,
        reading: &Reading<'_>,
        key: &[u8],
        identity: u64,
        wishes: Wishes,
        arrival: &Arrival,
    ) {
        let (Some(HeadBytes(head)), Plan::Cached(route)) = (request.extensions().get(), reading.plan) else {
            return;
        };
        let (rules, headers) = (&*self.shared.rules, request.headers());
        let rule = &rules.routes.route(route).rule;
        // Taken before the caller is identified once more: tokens that change in between make this one worthless.
        let tokens = rules.callers.tokens().generation();
        if head.len() > LONGEST
            || request.method() != Method::GET
            || request.version() != Version::HTTP_11
            || arrival.kinds.have(Kinds::INSPECTED)
            || arrival.would_refuse.get().is_some()
            || rule.obeys_origin
            || rule.vary_by.iter().any(shape::leaves_out)
            || rules.callers.identify(&self.peer, headers) != reading.caller
        {
            return;
        }
        let meaning = Meaning {
            caller: reading.caller,
            tenant: reading.tenant,
            identity,
            route,
            key: key.into(),
            path_and_query: reading.path_and_query.into(),
            url: self.shared.cache.epochs.url(reading.tenant, reading.path, reading.path_and_query),
            path_bytes: reading.path.len(),
            wishes,
            conditions: conditions_in(headers),
        };
        let mut shape = Vec::new();
        let head: Box<[u8]> = match shape::write(head, &mut shape) {
            Some(_) => shape.into(),
            None => head.to_vec().into(),
        };
        MEMORY.with_borrow_mut(|memory| {
            let hash = memory.hash_of(&head, &self.peer);
            let (peer, proxy) = (self.peer.clone(), self.shared.number);
            let known = Known { hash, head, peer, proxy, tokens, meaning, written: None };
            *memory.place(hash) = Place { known: Some(Box::new(known)), other: 0, times: 0 };
        });
    }
}

impl Meaning {
    fn reading(&self) -> Reading<'_> {
        Reading {
            caller: self.caller,
            tenant: self.tenant,
            path_and_query: &self.path_and_query,
            path: &self.path_and_query[..self.path_bytes],
            plan: Plan::Cached(self.route),
            is_overridden: false,
        }
    }
}

fn conditions_in(headers: &HeaderMap) -> HeaderMap {
    let mut conditions = copy_if(headers, 0, |name| [IF_NONE_MATCH, IF_MODIFIED_SINCE].contains(name));
    conditions.values_mut().for_each(|value| *value = copied(value));
    conditions
}

/// A value in memory of its own; the request's are parts of the buffer that it came in, and would keep all of that.
fn copied(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).expect("the bytes of a header value make one")
}
