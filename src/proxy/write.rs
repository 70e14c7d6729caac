//! Writes: what they make untrue is forgotten before anybody learns that they happened.

use std::time::Duration;

use http::header::{CONTENT_LOCATION, LOCATION};

use super::Proxy;
use super::call::Call;
use super::fate::Fate;
use super::fetch::Reply;
use super::refusal::Refusal;
use crate::net::body::{Body, Prefix};
use crate::routes::Forgets;
use crate::zoho::composite;

/// A composite request holds five calls of at most a hundred records; a longer one is not looked into.
const COMPOSITE_LIMIT: usize = 256 * 1024;

/// A write whose fate is being decided. On drop, which comes before the caller's answer and also when the
/// caller hangs up, it makes its groups untrue unless it certainly did not happen.
struct PendingWrite<'a> {
    proxy: &'a Proxy,
    tenant: usize,
    forgets: Forgets,
    url: Option<&'a str>,
    fate: Fate,
}

impl Drop for PendingWrite<'_> {
    fn drop(&mut self) {
        let is_uncertain = matches!(self.fate, Fate::Unknown | Fate::Uncertain);
        if !is_uncertain && self.fate != Fate::Happened {
            return;
        }
        self.proxy.forget(self.tenant, &self.forgets.groups);
        if let Some(url) = self.url {
            self.proxy.shared.cache.epochs.advance_url(self.tenant, url);
        }
        // Zoho may still be at it after the caller has left or was told of a timeout.
        let patience = is_uncertain.then_some(self.proxy.upstream.settings().first_byte_timeout);
        if let Some(pause) = self.forgets.again_after.max(patience) {
            self.proxy.forget_again(self.tenant, self.forgets.groups.clone(), pause);
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
    pub(super) async fn fetch_for(&self, call: &Call, body: Body) -> Result<Reply, Refusal> {
        let (forgets, body) = if composite::is_composite(call.outbound.method(), call.target.path()) {
            self.look_into(call, body).await?
        } else {
            (call.forgets.clone(), body)
        };
        // RFC 9111 section 4.4, for routes that go by it.
        let forgets_url = self.shared.rules.routes.some_obey_origin() && !call.method.is_safe();
        if forgets.groups.is_empty() && !forgets_url {
            return self.fetch(call, body, &mut |_| {}).await;
        }
        let url = forgets_url.then(|| call.target.as_str());
        let mut write = PendingWrite { proxy: self, tenant: call.tenant, forgets, url, fate: Fate::NotSent };
        let fetched = self.fetch(call, body, &mut |fate| write.note(fate)).await;
        if forgets_url && let Ok(reply) = &fetched {
            self.forget_urls(call, reply);
        }
        drop(write);
        fetched
    }

    /// An answer that is no error makes untrue what is kept of the URL it was for, and of those it names on the
    /// same host.
    fn forget_urls(&self, call: &Call, reply: &Reply) {
        if !(reply.head.status.is_success() || reply.head.status.is_redirection()) {
            return;
        }
        let epochs = &self.shared.cache.epochs;
        epochs.advance_url(call.tenant, call.target.as_str());
        for name in [LOCATION, CONTENT_LOCATION] {
            let named = reply.head.headers.get(name).and_then(|value| value.to_str().ok());
            if let Some(url) = named.and_then(|url| call.outbound.on_same_origin(url)) {
                epochs.advance_url(call.tenant, &url);
            }
        }
    }

    /// What the calls in a composite request make untrue; everything, if they cannot be read.
    async fn look_into(&self, call: &Call, body: Body) -> Result<(Forgets, Body), Refusal> {
        let body = self.upstream.paced_request(body, self.upstream.deadline());
        let routes = &self.shared.rules.routes;
        let read =
            body.read_up_to(COMPOSITE_LIMIT).await.map_err(|error| Refusal::of_request_body(&error))?;
        let (parts, body) = match read {
            Prefix::Whole(bytes) => (composite::parts(call.target.path(), &bytes), Body::full(bytes)),
            Prefix::Partial(body) => (None, body),
        };
        self.permit_parts(call, parts.as_deref())?;
        let forgets = match parts {
            Some(parts) => parts
                .iter()
                .map(|part| routes.forgotten_by(&part.method, &part.path))
                .fold(Forgets::default(), Forgets::and),
            None => routes.everything(),
        };
        Ok((forgets, body))
    }

    fn forget(&self, tenant: usize, groups: &[usize]) {
        let shared = &*self.shared;
        shared.cache.epochs.advance(tenant, groups);
        for group in groups {
            let name = &shared.rules.routes.groups()[*group];
            shared.metrics.count_invalidation(&shared.rules.tenants.tenant(tenant).name, name);
        }
    }

    /// Forgets once more when a job that Zoho has accepted may have ended. The task lives as long as the
    /// worker, and there are no more of them than jobs that Zoho accepts within the pause.
    fn forget_again(&self, tenant: usize, groups: Vec<usize>, pause: Duration) {
        let proxy = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            proxy.forget(tenant, &groups);
        });
    }
}
