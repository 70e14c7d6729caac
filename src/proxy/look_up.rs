//! A read that a rule covers, looked up in the cache.

use std::sync::Arc;

use http::{HeaderName, Request};

use super::answer::{CacheStatus, WhyPassed};
use super::call::{CacheSlot, Reading};
use super::kinds::Kinds;
use super::refusal::{HeaderTooLong, Refusal};
use super::written::Written;
use super::{Arrival, Errand, Fetch, Found, Proxy};
use crate::cache::Lookup;
use crate::cache::decision::{Decision, WhyFetch, decide};
use crate::cache::entry::Entry;
use crate::cache::epochs::UrlSlot;
use crate::cache::key::{self, Key};
use crate::cache::rule::Rule;
use crate::cache::vary;
use crate::cache::wishes::Wishes;
use crate::routes::RouteNumber;
use crate::upstream::outbound::Received;

/// A read before its key is made.
struct Look<'a, B> {
    proxy: &'a Proxy,
    request: &'a Request<B>,
    reading: &'a Reading<'a>,
    arrival: &'a Arrival,
    route: RouteNumber,
    rule: &'a Rule,
    identity: u64,
    wishes: Wishes,
    url: UrlSlot,
    epoch: u64,
    purges: u64,
}

impl Proxy {
    /// Looks a read up in the cache, and answers it there and then if an entry does.
    pub(super) fn look_up<B>(
        &self,
        route: RouteNumber,
        reading: &Reading<'_>,
        request: &Request<B>,
        arrival: &Arrival,
    ) -> Found {
        let (cache, headers) = (&self.shared.cache, request.headers());
        let rule = &self.shared.rules.routes.route(route).rule;
        let identity = self.shared.tokens[reading.tenant].identity();
        let has_wishes = arrival.kinds.have(Kinds::WISH);
        let wishes = if has_wishes { Wishes::of(headers) } else { Wishes::default() };
        let url = cache.epochs.url(reading.tenant, reading.path, reading.path_and_query);
        // Both are read before anything is looked up: what comes after them makes what is found a thing of the past.
        let (epoch, purges) = (self.shared.epoch(reading.tenant, rule, url), cache.purges());
        let look = Look {
            proxy: self,
            request,
            reading,
            arrival,
            route,
            rule,
            identity,
            wishes,
            url,
            epoch,
            purges,
        };
        reading.with_key(identity, headers, &rule.vary_by, |key, parts| {
            let limit = cache.max_key_header_bytes();
            if let Some(name) = key::overlong_header(key, parts, limit) {
                return look.refuse(&Refusal::HeaderTooLong(Box::new(HeaderTooLong { name, limit })));
            }
            match cache.lookup(key, rule, epoch, arrival.at) {
                Lookup::Varies(names) => look.look_further(key, &names),
                found => look.act(key, key.len(), found),
            }
        })
    }
}

impl<B> Look<'_, B> {
    /// Looks for an answer that depends on these headers of the request.
    #[cold]
    fn look_further(&self, plain: &[u8], names: &[HeaderName]) -> Found {
        let cache = &self.proxy.shared.cache;
        let limit = cache.max_key_header_bytes();
        match vary::longer_key(plain, names, self.request.headers(), limit) {
            Some(key) => {
                let found = cache.lookup(key.as_bytes(), self.rule, self.epoch, self.arrival.at);
                self.act(key.as_bytes(), plain.len(), found)
            }
            None if self.wishes.only_if_cached => self.refuse(&Refusal::NotCached),
            None => Found::Nothing(Errand::Pass(WhyPassed::Uncacheable)),
        }
    }

    /// Acts on what was found under a key, of which so many bytes are the plain one.
    fn act(&self, key: &[u8], plain_length: usize, found: Lookup) -> Found {
        let (proxy, cache, now) = (self.proxy, &self.proxy.shared.cache, self.arrival.at);
        let validates = match &found {
            Lookup::Fresh(entry, _) | Lookup::Stale(entry, _) if entry.has_validator() => Some(entry.clone()),
            _ => None,
        };
        let slot = |not_before| CacheSlot {
            key: Key::from_bytes(key),
            plain_length,
            route: self.route,
            epoch: self.epoch,
            purges: self.purges,
            url: self.url,
            validates,
            not_before,
        };
        let is_set_back = || cache.is_set_back(key, now);
        match decide(found, self.rule, &self.wishes, is_set_back, now) {
            Decision::Serve(entry, served) => {
                // A response that varies on other fields cannot be known by the bytes of the head alone.
                if key.len() == plain_length && Written::can_hold(&entry) {
                    let (request, reading) = (self.request, self.reading);
                    proxy.learn(request, reading, key, self.identity, self.wishes, self.arrival);
                }
                Found::Answer(self.answer(&entry, CacheStatus::Served(served)))
            }
            Decision::ServeAndRenew(entry, served) => {
                let answer = self.answer(&entry, CacheStatus::Served(served));
                Found::AnswerAndRenew(answer, slot(Some(now)))
            }
            Decision::Fetch(why, fallback) if cache.is_uncacheable(key, now) => {
                Found::Nothing(match fallback {
                    Some(_) => Errand::PassAlone(Box::new(Fetch { slot: slot(None), why, fallback })),
                    None => Errand::Pass(WhyPassed::Uncacheable),
                })
            }
            Decision::Fetch(why, fallback) => {
                let slot = slot((why == WhyFetch::Forced).then_some(now));
                Found::Nothing(Errand::Fetch(Box::new(Fetch { slot, why, fallback })))
            }
            Decision::PassUnstored => Found::Nothing(Errand::Pass(WhyPassed::NoStore)),
            Decision::NotCached => self.refuse(&Refusal::NotCached),
        }
    }

    fn answer(&self, entry: &Arc<Entry>, status: CacheStatus) -> http::Response<crate::net::body::Body> {
        let facts = Proxy::facts(self.request.method(), self.reading, self.arrival);
        let asked = Received { headers: self.request.headers(), version: self.request.version() };
        self.proxy.answer_entry(entry, status, asked, facts, self.arrival.at)
    }

    fn refuse(&self, refusal: &Refusal) -> Found {
        let facts = Proxy::facts(self.request.method(), self.reading, self.arrival);
        Found::Answer(self.proxy.answer_refusal(facts, self.request.headers(), refusal))
    }
}
