//! Writes: what they make untrue is forgotten before anybody learns that they happened.

use http::header::{CONTENT_LOCATION, LOCATION};

use super::call::Call;
use super::fate::Fate;
use super::fetch::Reply;
use super::late::{Invalidation, Urls};
use super::refusal::Refusal;
use super::unknown_write::UnknownWrite;
use super::{Arrival, Proxy};
use crate::cache::epochs::UrlSlot;
use crate::clock::Instant;
use crate::net::body::{Body, Prefix};
use crate::routes::Forgets;
use crate::zoho::composite::{self, Part};
use crate::zoho::lenient::is_oddly_spelled;
use crate::zoho::path::with_plain_slashes;

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
            let urls = std::mem::take(&mut self.urls);
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
        let is_unsafe = !call.method.is_safe() || call.unknown_write.is_some();
        if let Some(why) = &call.unknown_write {
            self.report_unknown_write(call, why);
        }
        let (forgets, urls, body) = if composite::is_composite(call.target.path()) {
            Box::pin(self.look_into(call, body, arrival, deadline)).await?
        } else if call.unknown_write.is_some() {
            (call.forgets.clone(), Urls::All, body)
        } else {
            let own = if is_unsafe { self.urls_of(call, call.target.as_str()) } else { Urls::default() };
            (call.forgets.clone(), own, body)
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

    /// Logs a request that invalidates all groups of its tenant: a caller that sends many of them makes the cache useless.
    #[cold]
    fn report_unknown_write(&self, call: &Call, why: &UnknownWrite) {
        let rules = &self.shared.rules;
        tracing::warn!(
            caller = call.caller.map(|number| &*rules.callers.caller(number).name),
            tenant = &*rules.tenants.tenant(call.tenant).name,
            header = why.header(),
            reason = %why,
            request_id = call.request_id.to_str().unwrap_or_default(),
            "a request could be any write; if it succeeds, all groups of its tenant are invalidated"
        );
    }

    /// The URLs whose entries a write to this one invalidates; none if no rule stores anything for it. A lenient server acts
    /// on other readings of it, and invalidating too much is never wrong: where they are more than two, or another route's
    /// than they seem, all URLs of the tenant are invalidated.
    fn urls_of(&self, call: &Call, url: &str) -> Urls {
        let path = url.split('?').next().unwrap_or_default();
        let query = &url[path.len()..];
        let slot = |path: &str| {
            let is_stored = self.is_stored_for(path);
            is_stored.then(|| self.shared.cache.epochs.url(call.tenant, path, &format!("{path}{query}")))
        };
        let with_plain_slashes = with_plain_slashes(path);
        let slots: Vec<UrlSlot> =
            slot(path).into_iter().chain(with_plain_slashes.and_then(|path| slot(&path))).collect();
        let is_uncertain = slots.is_empty() || is_oddly_spelled(path);
        if is_uncertain && self.shared.rules.routes.covers_by_any_reading(path) {
            Urls::All
        } else {
            Urls::These(slots)
        }
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
            self.forget(call.tenant, &[], &self.urls_of(call, &url));
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
                || UnknownWrite::of(&part.method, &part.path).is_some();
            !could_be_any
        };
        let is_unknown = call.unknown_write.is_some();
        let Some(parts) = parts.filter(|parts| !is_unknown && parts.iter().all(is_known)) else {
            if !is_unknown {
                self.report_unknown_write(call, &UnknownWrite::Composite);
            }
            return Ok((routes.everything(), Urls::All, body));
        };
        let forgets = parts
            .iter()
            .map(|part| routes.forgotten_by_any_reading(&part.method, &part.path))
            .fold(Forgets::default(), Forgets::and);
        let writes = parts.iter().filter(|part| !part.method.is_safe() || !part.is_plain);
        let urls = writes.map(|part| match &part.query {
            None => self.urls_of(call, &part.path),
            Some(query) => self.urls_of(call, &format!("{}?{query}", part.path)),
        });
        let urls = urls.fold(Urls::default(), Urls::and);
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
