//! A request once it is understood: whose it is, which rule covers it, and what to ask Zoho.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::quality::FixedState;
use http::header::{HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Version};
use http_body::Body as HttpBody;

use super::account::Label;
use super::answer::WhyPassed;
use super::inspect::{self, Access};
use super::kinds::Kinds;
use super::refusal::Refusal;
use super::settings::Settings;
use super::unknown_write::UnknownWrite;
use crate::cache::entry::Entry;
use crate::cache::epochs::UrlSlot;
use crate::cache::key::{self, Key};
use crate::cache::validator::http_date;
use crate::callers::{CallerNumber, Identity};
use crate::clock::BootTime;
use crate::net::http1::Fault;
use crate::net::http1::request_line::is_sendable;
use crate::net::peer::Peer;
use crate::oauth::RouteKey;
use crate::routes::{Forgets, RouteNumber};
use crate::rulebook::Rulebook;
use crate::tenants::{self, NoTenant};
use crate::upstream::outbound::{Audience, Outbound, Received};
use crate::zoho::lenient::{could_be_of_accounts, query_names_method};
use crate::zoho::path::{Area, Destination, destination, is_of_accounts, is_plain, segments};

/// A request, read but not copied.
pub(super) struct Reading<'a> {
    /// Who asks.
    pub(super) caller: Identity,
    /// Whose it is.
    pub(super) tenant: usize,
    /// What Zoho is asked for.
    pub(super) path_and_query: &'a str,
    /// The same without the query.
    pub(super) path: &'a str,
    /// What the cache has to do with it.
    pub(super) plan: Plan,
    /// Whether a header or parameter names another method or target, so that it could be any write.
    pub(super) is_overridden: bool,
}

/// What the cache has to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Answer by this route's rule.
    Cached(RouteNumber),
    /// Pass it through, for this reason; the route is known all the same for the log.
    Pass(WhyPassed, Option<RouteNumber>),
}

/// What a request turned out to be.
pub(super) enum Read<'a> {
    /// One for Zoho's API.
    Call(Reading<'a>),
    /// One that the sidecar answers in the place of Zoho's accounts server: what remains of its path and query
    /// without the base by which it may have chosen a tenant. Who asks for a token may not have shown yet who it
    /// is, so that whose it is cannot be decided here.
    Accounts(&'a str),
}

/// Reads a request: refuses what is ambiguous and who is unknown, chooses the tenant, finds the rule.
pub(super) fn read<'a, B: HttpBody>(
    rules: &Rulebook,
    caller: Identity,
    settings: &Settings,
    peer: &Peer,
    request: &'a Request<B>,
    kinds: Kinds,
) -> Result<Read<'a>, Refusal> {
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    if target.len() > settings.max_uri_bytes {
        return Err(Refusal::UriTooLong(settings.max_uri_bytes));
    }
    inspect::check(request, kinds)?;
    let access = access(rules, caller, peer);
    if !settings.allow_browsers {
        inspect::check_not_a_browser(request.headers(), kinds, access)?;
    }
    // A page whose name leads here by its own name server comes over plain http: it has no certificate for us.
    if access == Access::Open && !peer.is_tls {
        inspect::check_host_is_ours(request, &settings.hosts)?;
    }
    let bare = tenants::split_base(target).1;
    let path = without_query(bare);
    let is_plainly_crm = path.starts_with("/crm/") && is_plain(path);
    if !is_plainly_crm {
        if is_of_accounts(path) {
            inspect::check_meaning(&rules.routes, request.method(), path)?;
            return Ok(Read::Accounts(bare));
        }
        if could_be_of_accounts(path) {
            return Err(Refusal::Ambiguous("its path could be read as one of Zoho's accounts server"));
        }
    }
    let choice = choose(rules, caller, request.headers(), target)?;
    if caller == Identity::Unknown {
        return Err(Refusal::CallerUnknown);
    }
    let path = without_query(choice.path_and_query);
    if path.starts_with("/tenants/") {
        return Err(Refusal::Ambiguous("its path names a tenant twice"));
    }
    if !is_plainly_crm {
        inspect::check_meaning(&rules.routes, request.method(), path)?;
    }
    let path_and_query = choice.path_and_query;
    // Forms are sent by POST, and frameworks read the parameter there only.
    let is_overridden = kinds.have(Kinds::OVERRIDE)
        || *request.method() == Method::POST
            && path_and_query.get(path.len() + 1..).is_some_and(query_names_method);
    let plan = plan(rules, request, path, kinds, is_overridden);
    Ok(Read::Call(Reading { caller, tenant: choice.tenant, path_and_query, path, plan, is_overridden }))
}

/// How a request comes by which this caller asks.
pub(super) fn access(rules: &Rulebook, caller: Identity, peer: &Peer) -> Access {
    let is_open = peer.uid.is_none() && rules.callers.is_anonymous(caller);
    if is_open { Access::Open } else { Access::Shown }
}

fn without_query(path_and_query: &str) -> &str {
    let end = path_and_query.bytes().position(|byte| byte == b'?');
    &path_and_query[..end.unwrap_or(path_and_query.len())]
}

/// Chooses the tenant; where none is named, the only one that the caller may use. Who is unknown does not learn
/// which there are.
pub(super) fn choose<'a>(
    rules: &Rulebook,
    caller: Identity,
    headers: &HeaderMap,
    target: &'a str,
) -> Result<tenants::Choice<'a>, Refusal> {
    let own = caller.number().and_then(|number| rules.callers.caller(number).policy.tenants());
    match rules.tenants.choose_of(own, headers, target) {
        Err(NoTenant::Missing(_) | NoTenant::Unknown(_)) if caller == Identity::Unknown => {
            Err(Refusal::CallerUnknown)
        }
        choice => Ok(choice?),
    }
}

fn plan<B: HttpBody>(
    rules: &Rulebook,
    request: &Request<B>,
    path: &str,
    kinds: Kinds,
    is_overridden: bool,
) -> Plan {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let route = if is_read { rules.routes.route_of(request.method(), path) } else { None };
    if is_overridden {
        return Plan::Pass(WhyPassed::Override, route);
    }
    if !is_read {
        return Plan::Pass(WhyPassed::Method, None);
    }
    let Some(route) = route else { return Plan::Pass(WhyPassed::NoRule, None) };
    if !request.body().is_end_stream() {
        // Its meaning is not defined (RFC 9110 section 9.3.1), so no key could hold it.
        return Plan::Pass(WhyPassed::Body, Some(route));
    }
    if kinds.have(Kinds::CONDITION) && has_condition_for_zoho(request.headers()) {
        return Plan::Pass(WhyPassed::Conditional, Some(route));
    }
    Plan::Cached(route)
}

/// Zoho takes `If-Modified-Since` with an ISO date as a filter, so its answer is another one than the
/// entry's. With a date of HTTP it is a condition that an entry can answer. The conditions that ask for a
/// failure are left to Zoho.
fn has_condition_for_zoho(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_MATCH)
        || headers.contains_key(IF_UNMODIFIED_SINCE)
        || headers.get_all(IF_MODIFIED_SINCE).iter().any(|value| http_date(value).is_none())
}

impl Reading<'_> {
    /// Builds the cache key in a buffer that is used again and again.
    pub(super) fn with_key<T>(
        &self,
        identity: u64,
        headers: &HeaderMap,
        vary_by: &[http::HeaderName],
        use_key: impl FnOnce(&[u8], &key::Parts<'_>) -> T,
    ) -> T {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        BUFFER.with_borrow_mut(|buffer| {
            let parts = key::Parts {
                tenant: self.tenant,
                identity,
                path_and_query: self.path_and_query,
                headers,
                vary_by,
            };
            key::write(&parts, buffer);
            use_key(buffer, &parts)
        })
    }

    /// What stands for the route in logs and metrics.
    pub(super) fn label(&self) -> Label {
        match self.plan {
            Plan::Cached(route) | Plan::Pass(_, Some(route)) => Label::Route(route),
            Plan::Pass(_, None) => Label::Area(Area::of(self.path)),
        }
    }
}

/// A request that goes on to Zoho, with all that is needed for it after the caller's request is taken apart.
#[derive(Clone)]
pub(super) struct Call {
    /// Which configured caller asks.
    pub(super) caller: Option<CallerNumber>,
    /// Whose it is.
    pub(super) tenant: usize,
    /// The caller's method; a shared fetch asks by GET even for a caller's HEAD.
    pub(super) method: Method,
    /// What Zoho is asked for.
    pub(super) target: PathAndQuery,
    /// What stands for the route in logs and metrics.
    pub(super) label: Label,
    /// The id under which the request is known.
    pub(super) request_id: HeaderValue,
    /// The groups that this request makes untrue, if it succeeds.
    pub(super) forgets: Forgets,
    /// Why it could be any write, if it could: then it invalidates everything of its tenant.
    pub(super) unknown_write: Option<Box<UnknownWrite>>,
    /// The caller's headers, for a fetch whose answer may say which of them it depends on.
    pub(super) asked: Option<HeaderMap>,
    /// How the caller speaks.
    pub(super) version: Version,
    /// The request as it goes out.
    pub(super) outbound: Outbound,
}

impl Call {
    /// The same call, to be answered with 304 if the answer with these headers is still right.
    pub(super) fn validating(&self, head: &HeaderMap) -> Self {
        Self { outbound: self.outbound.validating(head), ..self.clone() }
    }

    /// What refuses or accepts tokens. Paths that differ only in ids are one route.
    pub(super) fn route_key(&self) -> RouteKey {
        let mut hasher = FixedState::with_seed(0).build_hasher();
        match self.label {
            Label::Route(number) => number.hash(&mut hasher),
            Label::Area(_) | Label::Unknown => {
                // The answer to a HEAD is that to a GET.
                let method = if self.method == Method::HEAD { &Method::GET } else { &self.method };
                method.hash(&mut hasher);
                for segment in segments(self.target.path()) {
                    let is_word = segment.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
                    if is_word { segment } else { "{}" }.hash(&mut hasher);
                }
            }
        }
        RouteKey::of(hasher.finish())
    }

    /// The call that a reading of `request` leads to. What it brings may be for many: `is_shared`.
    pub(super) fn new<B>(
        rules: &Rulebook,
        reading: &Reading<'_>,
        request: &Request<B>,
        request_id: HeaderValue,
        is_shared: bool,
    ) -> Result<Self, Refusal> {
        let method = request.method().clone();
        let target = target(request, reading.path_and_query)?;
        if !is_sendable(target.as_str().as_bytes()) {
            return Err(Refusal::Malformed(Fault::Target));
        }
        let tenant = rules.tenants.tenant(reading.tenant);
        let origin = match destination(&method, reading.path) {
            Destination::Api => tenant.data_center.api.of(tenant.environment),
            Destination::Uploads => &tenant.data_center.uploads,
        };
        let rule = match reading.plan {
            Plan::Cached(route) => Some(&rules.routes.route(route).rule),
            Plan::Pass(_, Some(route)) if reading.is_overridden => Some(&rules.routes.route(route).rule),
            Plan::Pass(..) => None,
        };
        let unknown_write = if reading.is_overridden {
            Some(UnknownWrite::of_override(request.headers()))
        } else {
            UnknownWrite::of(&method, reading.path)
        };
        let forgets = if unknown_write.is_some() {
            rules.routes.everything()
        } else {
            rules.routes.forgotten_by_any_reading(&method, reading.path)
        };
        let obeys_origin = rule.is_some_and(|rule| rule.obeys_origin);
        let (asked_by, audience) = match is_shared {
            true if obeys_origin => (Method::GET, Audience::AlikeByVary),
            true if key::accepts_gzip(request.headers()) => (Method::GET, Audience::AllWithGzip),
            true => (Method::GET, Audience::AllPlain),
            false if reading.is_overridden && rule.is_some() => (method.clone(), Audience::CallerOfRoute),
            false => (method.clone(), Audience::Caller),
        };
        let vary_by = rule.map_or(&[][..], |rule| rule.vary_by.as_slice());
        let outbound = Outbound::new(
            asked_by,
            origin.clone(),
            target.clone(),
            Received { headers: request.headers(), version: request.version() },
            &request_id,
            audience,
            vary_by,
        );
        Ok(Self {
            caller: reading.caller.number(),
            tenant: reading.tenant,
            forgets,
            unknown_write: unknown_write.map(Box::new),
            label: reading.label(),
            method,
            target,
            request_id,
            version: request.version(),
            asked: is_shared.then(|| request.headers().clone()),
            outbound,
        })
    }
}

/// What remains of the target for Zoho; shares the request's bytes unless a base URL was taken off.
fn target<B>(request: &Request<B>, path_and_query: &str) -> Result<PathAndQuery, Refusal> {
    match request.uri().path_and_query() {
        Some(whole) if whole.as_str() == path_and_query => Ok(whole.clone()),
        _ if path_and_query.starts_with('?') => format!("/{path_and_query}").parse(),
        _ => path_and_query.parse(),
    }
    .map_err(|_| Refusal::Ambiguous("its target is not a path"))
}

/// Where an answer belongs in the cache.
#[derive(Clone)]
pub(super) struct CacheSlot {
    pub(super) key: Key,
    /// How much of it is the plain key, without the headers that an answer has named.
    pub(super) plain_length: usize,
    pub(super) route: RouteNumber,
    pub(super) epoch: u64,
    /// The number of the latest purge before anything was looked up.
    pub(super) purges: u64,
    /// What a write to the same URL moves.
    pub(super) url: UrlSlot,
    /// An entry that Zoho may say is unchanged.
    pub(super) validates: Option<Arc<Entry>>,
    /// An entry stored since then is as good as what this fetch would bring; `None` for any fresh one.
    pub(super) not_before: Option<BootTime>,
}

impl CacheSlot {
    /// The bytes of the plain key.
    pub(super) fn plain(&self) -> &[u8] {
        &self.key.as_bytes()[..self.plain_length]
    }
}
