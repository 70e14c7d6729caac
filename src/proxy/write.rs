//! Writes: what they make untrue is forgotten before anybody learns that they happened.

use http::header::{CONTENT_LOCATION, LOCATION};

use super::call::{Call, could_be_any_write};
use super::fate::Fate;
use super::fetch::Reply;
use super::late::{Invalidation, Urls};
use super::refusal::Refusal;
use super::{Arrival, Proxy};
use crate::cache::epochs::UrlSlot;
use crate::clock::Instant;
use crate::net::body::{Body, Prefix};
use crate::routes::Forgets;
use crate::zoho::composite::{self, Part};
use crate::zoho::path::lenient_reading;

/// A composite request holds five calls of at most a hundred records; a longer one is not looked into.
const COMPOSITE_LIMIT: usize = 256 * 1024;

/// A write whose fate is being decided. On drop, which comes before the caller's answer and also when the
/// caller hangs up, it makes its groups untrue unless it certainly did not happen.
struct PendingWrite<'a> {
    proxy: &'a Proxy,
    tenant: usize,
    forgets: Forgets,
    urls: Urls,
    fate: Fate,
}

impl Drop for PendingWrite<'_> {
    fn drop(&mut self) {
        let is_uncertain = matches!(self.fate, Fate::Unknown | Fate::Uncertain);
        if !is_uncertain && self.fate != Fate::Happened {
            return;
        }
        self.proxy.forget(self.tenant, &self.forgets.groups, &self.urls);
        // Zoho may still be at it after the caller has left or was told of a timeout.
        let patience = is_uncertain.then_some(self.proxy.upstream.settings().first_byte_timeout);
        if let Some(pause) = self.forgets.again_after.max(patience) {
            let groups = std::mem::take(&mut self.forgets.groups);
            let urls = std::mem::replace(&mut self.urls, Urls::These(Vec::new()));
            self.proxy.forget_again(self.tenant, Invalidation { groups, urls }, pause);
        }
    }
}

impl PendingWrite<'_> {
    fn note(&mut self, fate: Fate) {
        if self.fate != Fate::Uncertain || fate == Fate::Happened {
            self.fate = fate;
        }
    }
}

impl Proxy {
    /// Fetches for a relayed request. If it is a write, what it makes untrue is forgotten before anybody
    /// learns that it happened.
    pub(super) async fn fetch_for(
        &self,
        call: &Call,
        body: Body,
        arrival: &Arrival,
    ) -> Result<Reply, Refusal> {
        // One for the whole call: what is looked into before it is sent on takes of the same time.
        let deadline = self.upstream.deadline();
        let is_unsafe = !call.method.is_safe() || call.is_unknown_write;
        let (forgets, urls, body) = if composite::is_composite(call.target.path()) {
            Box::pin(self.look_into(call, body, arrival, deadline)).await?
        } else if call.is_unknown_write {
            (call.forgets.clone(), Urls::All, body)
        } else {
            let own = if is_unsafe { self.url_slots(call, call.target.as_str()) } else { Vec::new() };
            (call.forgets.clone(), Urls::These(own), body)
        };
        if forgets.groups.is_empty() && !is_unsafe {
            return self.fetch(call, body, deadline, &mut |_| {}).await;
        }
        let mut write = PendingWrite { proxy: self, tenant: call.tenant, forgets, urls, fate: Fate::NotSent };
        let fetched = self.fetch(call, body, deadline, &mut |fate| write.note(fate)).await;
        if is_unsafe && let Ok(reply) = &fetched {
            self.forget_named(call, reply);
        }
        drop(write);
        fetched
    }

    /// What a write to this URL moves; nothing if no rule stores anything for it.
    fn url_slots(&self, call: &Call, url: &str) -> Vec<UrlSlot> {
        let path = url.split('?').next().unwrap_or_default();
        let query = &url[path.len()..];
        let slot = |path: &str| {
            let is_stored = self.is_stored_for(path);
            is_stored.then(|| self.shared.cache.epochs.url(call.tenant, path, &format!("{path}{query}")))
        };
        // A lenient server acts on the other reading, and invalidating too much is never wrong.
        let lenient = lenient_reading(path);
        slot(path).into_iter().chain(lenient.and_then(|path| slot(&path))).collect()
    }

    /// Whether a rule stores answers for a path, with or without a final slash: to Zoho's router both are the same, but
    /// a template that ends in `**` may match only one of them.
    fn is_stored_for(&self, path: &str) -> bool {
        let routes = &self.shared.rules.routes;
        let bare = path.trim_end_matches('/');
        routes.covers(bare) || routes.covers(&format!("{bare}/"))
    }

    /// An answer that is no error makes untrue what is stored for the URL it was for, and for those it names on the
    /// same host.
    fn forget_named(&self, call: &Call, reply: &Reply) {
        if !(reply.head.status.is_success() || reply.head.status.is_redirection()) {
            return;
        }
        let named = [LOCATION, CONTENT_LOCATION].into_iter().filter_map(|name| {
            let url = reply.head.headers.get(name)?.to_str().ok()?;
            call.outbound.on_same_origin(url)
        });
        for url in std::iter::once(call.target.as_str().to_owned()).chain(named) {
            self.url_slots(call, &url)
                .into_iter()
                .for_each(|slot| self.shared.cache.epochs.advance_url(slot));
        }
    }

    /// What the calls in a composite request make untrue; everything, if they cannot be read.
    async fn look_into(
        &self,
        call: &Call,
        body: Body,
        arrival: &Arrival,
        deadline: Instant,
    ) -> Result<(Forgets, Urls, Body), Refusal> {
        let body = self.upstream.paced_request(body, deadline);
        let routes = &self.shared.rules.routes;
        let read =
            body.read_up_to(COMPOSITE_LIMIT).await.map_err(|error| Refusal::of_request_body(&error))?;
        let (parts, body) = match read {
            Prefix::Whole(bytes) => (composite::parts(call.target.path(), &bytes), Body::full(bytes)),
            Prefix::Partial(body) => (None, body),
        };
        let parts = parts.filter(|_| composite::has_one_reading(call.outbound.headers()));
        self.permit_parts(call, parts.as_deref(), arrival)?;
        let is_known = |part: &Part| {
            let could_be_any = part.is_overridden
                || part.borrows && !part.method.is_safe()
                || composite::is_composite(&part.path)
                || could_be_any_write(&part.method, &part.path);
            !could_be_any
        };
        let Some(parts) = parts.filter(|parts| !call.is_unknown_write && parts.iter().all(is_known)) else {
            return Ok((routes.everything(), Urls::All, body));
        };
        let forgets = parts
            .iter()
            .map(|part| routes.forgotten_by(&part.method, &part.path))
            .fold(Forgets::default(), Forgets::and);
        let writes = parts.iter().filter(|part| !part.method.is_safe() || !part.is_plain);
        let urls = writes.flat_map(|part| match &part.query {
            None => self.url_slots(call, &part.path),
            Some(query) => self.url_slots(call, &format!("{}?{query}", part.path)),
        });
        let urls = Urls::These(urls.collect());
        Ok((forgets, urls, body))
    }

    pub(super) fn forget(&self, tenant: usize, groups: &[usize], urls: &Urls) {
        let shared = &*self.shared;
        shared.cache.epochs.advance(tenant, groups);
        match urls {
            Urls::These(urls) => urls.iter().for_each(|url| shared.cache.epochs.advance_url(*url)),
            Urls::All => shared.cache.epochs.advance_all_urls(tenant),
        }
        for group in groups {
            let name = &shared.rules.routes.groups()[*group];
            shared.metrics.count_invalidation(&shared.rules.tenants.tenant(tenant).name, name);
        }
    }
}
