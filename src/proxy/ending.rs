//! How a story ends: every answer is counted, and gets its line in the log.

use std::borrow::Cow;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use serde_json::Value;

use super::account::{self, Account, Facts, Label};
use super::answer::{self, Asked, CacheStatus, Timing};
use super::call::{Call, Reading};
use super::delivery::Delivery;
use super::fetch::Reply;
use super::refusal::Refusal;
use super::rest::{self, Rest};
use super::{Arrival, Handling, Proxy};
use crate::cache::entry::Entry;
use crate::callers::Identity;
use crate::clock::BootTime;
use crate::net::body::Body;
use crate::net::headers::REQUEST_ID;
use crate::net::read_ahead::{Reader, read_ahead};
use crate::net::unread::{PIECE, given_up_when_unread};
use crate::telemetry::outcome::Outcome;
use crate::upstream::outbound::Received;
use crate::zoho::path::is_token_path;

impl Proxy {
    /// Sends Zoho's answer on its way to the caller.
    pub(super) async fn deliver(
        &self,
        call: &Call,
        reply: Reply,
        status: CacheStatus,
        arrival: &Arrival,
    ) -> Response<Body> {
        let Reply { mut head, body, timing, .. } = reply;
        let is_head = call.method == Method::HEAD;
        let body = if is_head { Body::empty() } else { self.read_ahead(body, call.version, &timing).await };
        let has_no_body = is_head || head.status == StatusCode::NOT_MODIFIED;
        answer::retain_for_callers(&mut head.headers, has_no_body);
        answer::label(&mut head.headers, status, Some(&timing), call.request_id.clone());

        self.shared.counters.of(Some(call.tenant), call.label).count(head.status, status.outcome());
        let account = Account::open(&self.shared.books, || Facts {
            status: head.status,
            outcome: status.outcome(),
            upstream: Some(timing.upstream),
            ..Self::facts_of(call, arrival).into_owned()
        });
        let body = if account.is_open() { Body::stream(Delivery::new(body, account)) } else { body };
        let mut response = Response::new(self.watched(body, call.version));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        response
    }

    /// A body that is read whether or not its caller reads it, as far as there is memory for it: its call to Zoho ends
    /// with Zoho's last byte.
    async fn read_ahead(&self, body: Body, version: Version, timing: &Timing) -> Body {
        let settings = self.upstream.settings();
        let reader = Reader {
            piece: if version == Version::HTTP_2 { PIECE } else { usize::MAX },
            total: settings.total_timeout,
            left: settings.total_timeout.saturating_sub(timing.queue + timing.token + timing.upstream),
        };
        read_ahead(body, reader, &settings.buffers, &self.shared.supervisor).await
    }

    /// A body that is given up when its caller leaves it unread, where it is one of several on a connection; an only
    /// one is watched by the server.
    fn watched(&self, body: Body, version: Version) -> Body {
        if version == Version::HTTP_2 {
            given_up_when_unread(body, self.shared.settings.unread_timeout, &self.shared.supervisor)
        } else {
            body
        }
    }

    /// Answers from an entry, counted and logged.
    pub(super) fn answer_entry(
        &self,
        entry: &Entry,
        status: CacheStatus,
        asked: Received<'_>,
        facts: Facts<'_>,
        now: BootTime,
    ) -> Response<Body> {
        let Received { headers, version } = asked;
        let request_id = facts.request_id.clone().into_owned();
        let asked = Asked { method: &facts.method, headers };
        let response = answer::from_entry(entry, status, asked, request_id, now);
        let bytes = response.body().size_hint().exact().unwrap_or_default();
        self.account_for(response.status(), status, facts, bytes);
        response.map(|body| self.watched(body, version))
    }

    /// Counts and logs an answer that is all there.
    pub(super) fn account_for(&self, status: StatusCode, from: CacheStatus, facts: Facts<'_>, bytes: u64) {
        let shared = &*self.shared;
        shared.counters.of(facts.tenant, facts.label).count(status, from.outcome());
        if shared.books.log.is_on() {
            let facts = Facts { status, outcome: from.outcome(), ..facts };
            account::write(&shared.books, &facts, bytes, false);
        }
    }

    /// Sends the refusal of a request of which only the head was looked at, once the rest of its body is read, if there is
    /// room to wait for that.
    pub(super) fn turn_away<B>(
        &self,
        request: Request<B>,
        caller: Identity,
        answer: Response<Body>,
        refusal: &Refusal,
    ) -> Handling
    where
        B: HttpBody + Into<Body>,
    {
        if !rest::is_worth_reading(request.body(), request.headers(), refusal) {
            return Handling::now(answer);
        }
        let Ok(room) = self.room_for_rest(caller, rest::BYTES) else { return Handling::now(answer) };
        let rest = self.upstream.paced_request(request.into_body().into(), self.upstream.short_deadline());
        Handling::Later(Box::pin(async move {
            // However it ends, the answer is the same.
            let _ = room.hold(rest::discard(rest)).await;
            answer
        }))
    }

    /// Refuses a call whose body may have been given up on its way.
    pub(super) async fn refuse(
        &self,
        call: &Call,
        headers: &HeaderMap,
        rest: Option<Rest>,
        arrival: &Arrival,
        refusal: &Refusal,
    ) -> Response<Body> {
        let answer = self.answer_refusal(Self::facts_of(call, arrival), headers, refusal);
        if let Some(body) = rest.and_then(|rest| rest.take())
            && rest::is_worth_reading(&body, headers, refusal)
        {
            rest::discard(self.upstream.paced_request(body, self.upstream.short_deadline())).await;
        }
        answer
    }

    pub(super) fn refuse_unread<B>(
        &self,
        request: &Request<B>,
        caller: Identity,
        arrival: &Arrival,
        refusal: &Refusal,
    ) -> Response<Body> {
        if *refusal == Refusal::CallerUnknown {
            self.count_unknown();
        }
        let facts = Self::facts_unread(request, caller, arrival);
        self.answer_refusal(facts, request.headers(), refusal)
    }

    pub(super) fn refuse_read<B>(
        &self,
        request: &Request<B>,
        reading: &Reading<'_>,
        arrival: &Arrival,
        refusal: &Refusal,
    ) -> Response<Body> {
        self.answer_refusal(Self::facts(request.method(), reading, arrival), request.headers(), refusal)
    }

    /// Answers in the place of the accounts server, counted and logged.
    pub(super) fn answer_told(&self, facts: &Facts<'_>, said: &Value) -> Response<Body> {
        let shared = &*self.shared;
        let (body, outcome) = (said.to_string(), Outcome::StandIn);
        shared.counters.of(facts.tenant, facts.label).count(StatusCode::OK, outcome);
        if shared.books.log.is_on() {
            let facts = Facts { outcome, ..facts.clone() };
            account::write(&shared.books, &facts, body.len() as u64, false);
        }
        let mut response = Response::new(Body::full(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REQUEST_ID, facts.request_id.clone().into_owned());
        response
    }

    pub(super) fn answer_refusal(
        &self,
        facts: Facts<'_>,
        headers: &HeaderMap,
        refusal: &Refusal,
    ) -> Response<Body> {
        let shared = &*self.shared;
        shared.metrics.count_refusal(refusal.code());
        shared.counters.of(facts.tenant, facts.label).count(refusal.status(), Outcome::Refused);
        let mut response = refusal.response(&facts.request_id, headers, is_token_path(&facts.path));
        let length = response.body().size_hint().exact().unwrap_or_default();
        let is_head = *facts.method == Method::HEAD;
        if is_head {
            // hyper takes the length of an answer without a body from its header (RFC 9110 section 9.3.2).
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
            *response.body_mut() = Body::empty();
        }
        let bytes = if is_head { 0 } else { length };
        if shared.books.log.is_on() {
            let facts = Facts {
                status: refusal.status(),
                outcome: Outcome::Refused,
                refusal: Some(refusal.code()),
                ..facts
            };
            account::write(&shared.books, &facts, bytes, false);
        }
        response
    }

    /// What the log tells of a request of which nothing is known but who sent it.
    pub(super) fn facts_unread<'a, B>(
        request: &'a Request<B>,
        caller: Identity,
        arrival: &'a Arrival,
    ) -> Facts<'a> {
        Facts {
            arrived: arrival.at,
            request_id: Cow::Borrowed(&arrival.request_id),
            method: Cow::Borrowed(request.method()),
            path: Cow::Borrowed(request.uri().path()),
            caller: caller.number(),
            tenant: None,
            label: Label::Unknown,
            status: StatusCode::OK,
            outcome: Outcome::Refused,
            refusal: None,
            would_refuse: Cow::Borrowed(&arrival.would_refuse),
            upstream: None,
        }
    }

    /// What the log tells of a request that was just read.
    pub(super) fn facts<'a>(method: &'a Method, reading: &Reading<'a>, arrival: &'a Arrival) -> Facts<'a> {
        Facts {
            arrived: arrival.at,
            request_id: Cow::Borrowed(&arrival.request_id),
            method: Cow::Borrowed(method),
            path: Cow::Borrowed(reading.path),
            caller: reading.caller.number(),
            tenant: Some(reading.tenant),
            label: reading.label(),
            status: StatusCode::OK,
            outcome: Outcome::Hit,
            refusal: None,
            would_refuse: Cow::Borrowed(&arrival.would_refuse),
            upstream: None,
        }
    }

    /// What the log tells of a call.
    pub(super) fn facts_of<'a>(call: &'a Call, arrival: &'a Arrival) -> Facts<'a> {
        Facts {
            arrived: arrival.at,
            request_id: Cow::Borrowed(&call.request_id),
            method: Cow::Borrowed(&call.method),
            path: Cow::Borrowed(call.target.path()),
            caller: call.caller,
            tenant: Some(call.tenant),
            label: call.label,
            status: StatusCode::OK,
            outcome: Outcome::Bypass,
            refusal: None,
            would_refuse: Cow::Borrowed(&arrival.would_refuse),
            upstream: None,
        }
    }
}

/// A request that is being answered. If it is dropped before it is, its caller has left, and its line says so.
pub(super) struct Unanswered<'a, F: Fn() -> Facts<'a>> {
    proxy: &'a Proxy,
    facts: F,
    is_answered: bool,
}

/// What nginx logs for a caller that left; no answer ever carries it.
const CALLER_LEFT: u16 = 499;

impl<'a, F: Fn() -> Facts<'a>> Unanswered<'a, F> {
    /// The facts are asked for only if the caller leaves.
    pub(super) fn new(proxy: &'a Proxy, facts: F) -> Self {
        Self { proxy, facts, is_answered: false }
    }

    pub(super) fn answered(mut self) {
        self.is_answered = true;
    }
}

impl<'a, F: Fn() -> Facts<'a>> Drop for Unanswered<'a, F> {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        let (shared, facts) = (&*self.proxy.shared, (self.facts)());
        let status = StatusCode::from_u16(CALLER_LEFT).expect("three digits are a status");
        let outcome = Outcome::Abandoned;
        shared.counters.of(facts.tenant, facts.label).count(status, outcome);
        if shared.books.log.is_on() {
            account::write(&shared.books, &Facts { status, outcome, ..facts }, 0, true);
        }
    }
}
