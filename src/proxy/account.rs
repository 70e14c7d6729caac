//! What is known of a request, for its log line and its metrics.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use http::header::HeaderValue;
use http::{Method, StatusCode};

use crate::callers::policy::Excess;
use crate::clock::{BootTime, Clock};
use crate::telemetry::metrics::{Metrics, RequestCounters};
use crate::telemetry::outcome::Outcome;
use crate::telemetry::request_log::{Line, RequestLog};
use crate::tenants::Tenants;
use crate::zoho::path::Area;

/// The counters of every tenant and route, found once.
pub(super) struct Counters {
    by_tenant: Vec<Vec<RequestCounters>>,
    unknown: RequestCounters,
}

/// What stands for the route of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// A configured route, by its number.
    Route(usize),
    /// No route, but an area of the API.
    Area(Area),
    /// Refused before it could be known.
    Unknown,
}

/// The label of requests that were refused before their tenant was known.
const UNKNOWN: &str = "unknown";

impl Counters {
    pub(super) fn new(metrics: &Metrics, tenants: &Tenants, routes: &[crate::routes::Route]) -> Self {
        let of_tenant = |tenant: &crate::tenants::Tenant| {
            let names = routes.iter().map(|route| route.name.as_str());
            names
                .chain(Area::ALL.map(Area::as_str))
                .map(|name| metrics.requests(&tenant.name, name))
                .collect()
        };
        Self {
            by_tenant: tenants.all().iter().map(of_tenant).collect(),
            unknown: metrics.requests(UNKNOWN, UNKNOWN),
        }
    }

    pub(super) fn of(&self, tenant: Option<usize>, label: Label) -> &RequestCounters {
        let Some(of_tenant) = tenant.map(|tenant| &self.by_tenant[tenant]) else {
            return &self.unknown;
        };
        match label {
            Label::Route(number) => &of_tenant[number],
            Label::Area(area) => &of_tenant[of_tenant.len() - Area::ALL.len() + area as usize],
            Label::Unknown => &self.unknown,
        }
    }
}

/// Where accounts are written to.
pub(super) struct Books {
    pub(super) log: RequestLog,
    pub(super) clock: Clock,
    pub(super) caller_names: Vec<String>,
    pub(super) tenant_names: Vec<String>,
    pub(super) route_names: Vec<String>,
}

impl Books {
    pub(super) fn route_name(&self, label: Label) -> &str {
        match label {
            Label::Route(number) => &self.route_names[number],
            Label::Area(area) => area.as_str(),
            Label::Unknown => UNKNOWN,
        }
    }
}

/// The account of one request whose answer is still on its way. Kept only while the log is on.
pub(super) struct Account(Option<Box<Open>>);

struct Open {
    books: std::sync::Arc<Books>,
    facts: Facts<'static>,
}

/// The facts of a request.
#[derive(Clone)]
pub(super) struct Facts<'a> {
    pub(super) arrived: BootTime,
    pub(super) request_id: Cow<'a, HeaderValue>,
    pub(super) method: Cow<'a, Method>,
    pub(super) path: Cow<'a, str>,
    pub(super) caller: Option<usize>,
    pub(super) tenant: Option<usize>,
    pub(super) label: Label,
    pub(super) status: StatusCode,
    pub(super) outcome: Outcome,
    pub(super) refusal: Option<&'static str>,
    /// Borrowed, since it may only be found out while the request is on its way.
    pub(super) would_refuse: Cow<'a, OnceLock<Excess>>,
    pub(super) upstream: Option<Duration>,
}

impl Account {
    pub(super) fn open(books: &std::sync::Arc<Books>, facts: impl FnOnce() -> Facts<'static>) -> Self {
        Self(books.log.is_on().then(|| Box::new(Open { books: books.clone(), facts: facts() })))
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// The answer cannot be finished for this reason.
    pub(super) fn refuse(&mut self, code: &'static str) {
        if let Some(open) = &mut self.0 {
            open.facts.refusal = Some(code);
        }
    }

    /// Writes the line.
    pub(super) fn close(&mut self, bytes: u64, cut_short: bool) {
        if let Some(open) = self.0.take() {
            write(&open.books, &open.facts, bytes, cut_short);
        }
    }
}

impl Facts<'_> {
    pub(super) fn into_owned(self) -> Facts<'static> {
        Facts {
            request_id: Cow::Owned(self.request_id.into_owned()),
            method: Cow::Owned(self.method.into_owned()),
            path: Cow::Owned(self.path.into_owned()),
            arrived: self.arrived,
            caller: self.caller,
            tenant: self.tenant,
            label: self.label,
            status: self.status,
            outcome: self.outcome,
            refusal: self.refusal,
            would_refuse: Cow::Owned(self.would_refuse.into_owned()),
            upstream: self.upstream,
        }
    }
}

/// Writes the line of a request whose answer is known whole.
pub(super) fn write(books: &Books, facts: &Facts<'_>, bytes: u64, cut_short: bool) {
    let took = books.clock.boot_time().saturating_duration_since(facts.arrived);
    let now = books.clock.wall();
    books.log.write(&Line {
        // When it came; a request need not look at the wall clock unless there is a log.
        time: now.checked_sub(took).unwrap_or(now),
        request_id: facts.request_id.to_str().unwrap_or_default(),
        caller: facts.caller.map(|caller| books.caller_names[caller].as_str()),
        tenant: facts.tenant.map(|tenant| books.tenant_names[tenant].as_str()),
        method: &facts.method,
        path: &facts.path,
        route: books.route_name(facts.label),
        status: facts.status.as_u16(),
        cache: facts.outcome,
        refusal: facts.refusal,
        would_refuse: facts.would_refuse.get().map(|excess| excess.as_str()),
        bytes,
        took,
        upstream: facts.upstream,
        cut_short,
    });
}
