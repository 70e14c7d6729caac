//! The exchange with Zoho: leave to call, a token, the answer, and once more with a new token if Zoho
//! withdrew the old one early.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, HeaderValue};
use http::{Method, Response, StatusCode, response};
use http_body::Body as HttpBody;

use super::Proxy;
use super::answer::Timing;
use super::call::Call;
use super::fate::Fate;
use super::refusal::Refusal;
use super::resend::Resends;
use crate::admission::Permit;
use crate::clock::Instant;
use crate::net::body::{Body, Prefix};
use crate::net::buffers::Purpose;
use crate::net::coding::{decoded, is_understood};
use crate::net::replay::Replay;
use crate::net::transport::FirstOnConnection;
use crate::oauth::{Token, Unavailable};
use crate::upstream::CallError;
use crate::zoho::fault::{ENVELOPE_LIMIT, Fault};
use crate::zoho::scopes::needed;

/// How much of a long request's body is there before it takes a call to Zoho.
const BEGINNING: usize = 64 * 1024;

/// Zoho's answer, its body still on its way.
pub(super) struct Reply {
    pub(super) head: response::Parts,
    pub(super) body: Body,
    pub(super) timing: Timing,
    /// Whose token brought it.
    pub(super) identity: u64,
    pub(super) scopes: Scopes,
}

/// Whether the refresh token has the scopes that a call needs, as far as the answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scopes {
    Sufficient,
    /// Zoho says so by `OAUTH_SCOPE_MISMATCH`.
    Missing,
}

impl Proxy {
    /// Fetches until `deadline`, from the request's first byte to the answer's last. `noted` hears of every turn that
    /// decides whether a write happened.
    pub(super) async fn fetch(
        &self,
        call: &Call,
        body: Body,
        deadline: Instant,
        noted: &mut (dyn FnMut(Fate) + Send),
    ) -> Result<Reply, Refusal> {
        let clock = &self.shared.clock;
        let body = self.keep_if_short(body, deadline).await?;

        let (permit, queue) = clock.timed(self.shared.admission.enter(call.tenant)).await;
        let permit = Arc::new(permit?);
        let tokens = &self.shared.tokens[call.tenant];
        let (token, waited) = clock.timed(tokens.current_for(|| call.route_key())).await;
        let token = token?;
        let mut timing = Timing { queue, token: waited, upstream: Duration::ZERO };

        let answer = self.attempt(call, &token, &body, deadline, &mut timing, noted).await?;
        let reply = self.reply(answer, &token, &permit, timing, deadline);
        if reply.head.status != StatusCode::UNAUTHORIZED {
            return self.beyond_token(call, &token, reply).await;
        }
        // What is rare lies in a box, so that others need not be as long.
        if let Some(reply) = Box::pin(self.unless_token(call, &token, reply, deadline)).await? {
            return Ok(reply);
        }

        // Zoho refused the token, so it has not executed the call. Naming the refused token lets the first
        // of many callers renew it; the others find the new one.
        noted(Fate::DidNotHappen);
        let (token, waited) = clock.timed(tokens.replace(&token, call.route_key())).await;
        let token = token.map_err(|why| self.report_rejection(call, why))?;
        timing.token += waited;
        if !body.can_be_sent() {
            return Err(Refusal::SendAgain);
        }
        let answer = self.attempt(call, &token, &body, deadline, &mut timing, noted).await?;
        let reply = self.reply(answer, &token, &permit, timing, deadline);
        if reply.head.status != StatusCode::UNAUTHORIZED {
            return self.beyond_token(call, &token, reply).await;
        }
        if let Some(reply) = Box::pin(self.unless_token(call, &token, reply, deadline)).await? {
            return Ok(reply);
        }
        noted(Fate::DidNotHappen);
        if let Some(why) = tokens.reject_replay(&token, call.route_key()) {
            return Err(self.report_rejection(call, why));
        }
        let pause = tokens.state().next_attempt.map(|at| at.saturating_duration_since(clock.boot_time()));
        Err(Refusal::TokenRejected(pause.unwrap_or(Duration::from_secs(1))))
    }

    /// Takes an answer that is no 401 for a proof that the token is good, where it is one, and looks into a 403.
    async fn beyond_token(&self, call: &Call, token: &Token, reply: Reply) -> Result<Reply, Refusal> {
        if proves_token(reply.head.status) {
            self.accept(call, token);
        }
        if reply.head.status != StatusCode::FORBIDDEN {
            return Ok(reply);
        }
        Box::pin(self.look_into_403(call, reply)).await
    }

    fn accept(&self, call: &Call, token: &Token) {
        if token.prove(|| call.route_key()) {
            self.shared.tokens[call.tenant].accept(token, call.route_key());
        }
    }

    /// Looks into a 401, and gives it back if it is not about the token but about what the token is for. Callers
    /// hold no credential of Zoho's, so that any other is none of their business, whatever its body looks like.
    async fn unless_token(
        &self,
        call: &Call,
        token: &Token,
        reply: Reply,
        deadline: Instant,
    ) -> Result<Option<Reply>, Refusal> {
        let misses_scope = if call.outbound.method() == Method::HEAD {
            self.misses_scope(call, token, deadline).await?.then_some(reply)
        } else {
            reply.if_scope_mismatch().await
        };
        if let Some(reply) = misses_scope {
            self.accept(call, token);
            self.report_scopes(call);
            return Ok(Some(Reply { scopes: Scopes::Missing, ..reply }));
        }
        self.shared.metrics.count_unauthorized(self.tenant_name(call), self.route_name(call), "token");
        Ok(None)
    }

    /// Looks into a 403, which some of Zoho's routes use for missing scopes. Any other 403 is about the user's rights.
    async fn look_into_403(&self, call: &Call, reply: Reply) -> Result<Reply, Refusal> {
        let (reply, fault) = reply.read_fault().await?;
        if fault != Fault::ScopeMismatch {
            return Ok(reply);
        }
        self.report_scopes(call);
        Ok(Reply { scopes: Scopes::Missing, ..reply })
    }

    fn tenant_name(&self, call: &Call) -> &str {
        self.shared.tokens[call.tenant].tenant()
    }

    fn route_name(&self, call: &Call) -> &str {
        self.shared.books.route_name(call.label)
    }

    /// Counts and reports which scopes a call would have needed.
    fn report_scopes(&self, call: &Call) {
        let (tenant, route) = (self.tenant_name(call), self.route_name(call));
        let scopes = needed(&call.method, call.target.path()).unwrap_or("unknown");
        self.shared.metrics.count_unauthorized(tenant, route, "scope_mismatch");
        self.shared.metrics.count_scope_mismatch(tenant, route, scopes);
        if self.shared.tokens[call.tenant].is_news(call.route_key()) {
            tracing::warn!(
                tenant,
                route,
                method = call.method.as_str(),
                path = call.target.path(),
                scopes,
                "the refresh token lacks scopes for a call; make a new one that has these too"
            );
        }
    }

    /// Reports that a route alone is refused.
    fn report_rejection(&self, call: &Call, why: Unavailable) -> Refusal {
        if why.is_only_here && self.shared.tokens[call.tenant].is_news(call.route_key()) {
            tracing::warn!(
                tenant = self.tenant_name(call),
                route = self.route_name(call),
                method = call.method.as_str(),
                path = call.target.path(),
                "Zoho refuses on this route an access token that it accepts on others; the token stays in use"
            );
        }
        why.into()
    }

    /// Finds out why a HEAD was refused: it has no body that could say so, but the same question by GET has one. Where
    /// that is not answered either, the token is taken to be the reason, as for any other refusal without a reason.
    async fn misses_scope(&self, call: &Call, token: &Token, deadline: Instant) -> Result<bool, Refusal> {
        let mut asked = call.outbound.as_get(token.header());
        asked.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let Ok(answer) = self.upstream.send(asked, self.shared.clock.now(), deadline).await else {
            return Ok(false);
        };
        let why = self.reply(answer, token, &Arc::default(), Timing::default(), deadline);
        if why.head.status == StatusCode::UNAUTHORIZED {
            return Ok(why.if_scope_mismatch().await.is_some());
        }
        if !proves_token(why.head.status) {
            return Ok(false);
        }
        // The token is good, and the method is to blame.
        self.accept(call, token);
        Err(Refusal::TokenRejectedHere(Duration::from_mins(10)))
    }

    /// Reads a body that is short enough to be held; any other streams on once its beginning is there, and what was sent
    /// of it is held up to the same limit. A caller that sends slowly takes no call before that, unless memory is short.
    async fn keep_if_short(&self, body: Body, deadline: Instant) -> Result<Replay, Refusal> {
        let most = self.shared.settings.replay_max_bytes;
        if body.is_end_stream() {
            return Ok(Replay::Whole(bytes::Bytes::new()));
        }
        let body = self.upstream.paced_request(body, deadline);
        let buffers = &self.upstream.settings().buffers;
        let read = body.read_within(most.max(BEGINNING), BEGINNING, buffers.reservation(Purpose::Stream));
        let beginning = read.await.map_err(|error| Refusal::of_request_body(&error))?;
        if beginning.rest.is_none() && beginning.read.len() <= most {
            return Ok(Replay::Whole(beginning.reservation.hold(beginning.read)));
        }
        Ok(Replay::streamed(beginning, most))
    }

    /// Sends the request until it is answered, as often as [`Resends`] allows.
    async fn attempt(
        &self,
        call: &Call,
        token: &Token,
        body: &Replay,
        deadline: Instant,
        timing: &mut Timing,
        noted: &mut (dyn FnMut(Fate) + Send),
    ) -> Result<Response<Body>, Refusal> {
        let clock = &self.shared.clock;
        let metrics = &self.shared.upstream_metrics[call.tenant];
        let (mut resends, mut is_first) = (Resends::default(), false);
        let mut is_plain = false;
        loop {
            let Some(outgoing) = body.attempt() else { return Err(Refusal::SendAgain) };
            noted(Fate::Unknown);
            let sent = clock.now();
            let mut request = call.outbound.request(token.header(), outgoing);
            if is_first {
                request.extensions_mut().insert(FirstOnConnection);
            }
            if is_plain {
                request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            let answer = self.upstream.send(request, sent, deadline).await;
            let took = clock.now() - sent;
            timing.upstream += took;
            let resend = match answer {
                Ok(answer) => {
                    noted(Fate::of(answer.status()));
                    if !is_plain && is_unreadable_refusal(call, &answer) && body.can_be_sent() {
                        // Whether a new token is needed depends on what it says.
                        is_plain = true;
                        continue;
                    }
                    let resend = resends.after_answer(answer.status()).filter(|_| body.can_be_sent());
                    let Some(resend) = resend else {
                        metrics.took(took);
                        return Ok(answer);
                    };
                    metrics.failed("misdirected");
                    resend
                }
                Err(error) => {
                    metrics.failed(error.reason());
                    noted(if error.may_have_happened() { Fate::Uncertain } else { Fate::DidNotHappen });
                    let resend = resends.after_error(&error, call.outbound.method());
                    let Some(resend) = resend.filter(|_| body.can_be_sent()) else {
                        self.log_failure(call, &error);
                        return Err(Refusal::from(&error));
                    };
                    resend
                }
            };
            is_first = resend.is_first;
            if !resend.pause.is_zero() {
                tokio::time::sleep(resend.pause).await;
            }
        }
    }

    fn log_failure(&self, call: &Call, error: &CallError) {
        let cause = error as &dyn std::error::Error;
        let tenant = self.shared.tokens[call.tenant].tenant();
        let request_id = call.request_id.to_str().unwrap_or_default();
        if error.is_of_the_caller() {
            // An event of its own, since events are limited by their kind: a caller that resets its uploads without end does
            // not hide that Zoho fails.
            tracing::warn!(tenant, request_id, error = cause, "a caller did not send its request to the end");
        } else {
            tracing::warn!(tenant, request_id, error = cause, "a call to Zoho failed");
        }
    }

    fn reply(
        &self,
        answer: Response<Body>,
        token: &Token,
        permit: &Arc<Permit>,
        timing: Timing,
        deadline: Instant,
    ) -> Reply {
        let (head, body) = answer.into_parts();
        let body = self.upstream.paced(body, deadline, permit.clone());
        Reply { head, body, timing, identity: token.identity(), scopes: Scopes::Sufficient }
    }
}

/// How long the body of a 401 may take. It is short, and a refusal whose reason does not come is a refusal all the same.
const REASON_LIMIT: Duration = Duration::from_secs(5);

impl Reply {
    /// Reads the code of an error answer, and leaves the answer as it was.
    async fn read_fault(self) -> Result<(Self, Fault), Refusal> {
        let Self { head, body, .. } = self;
        let (body, fault) = match body.read_up_to(ENVELOPE_LIMIT).await {
            Ok(Prefix::Whole(bytes)) => {
                let fault = Fault::read(&decoded(&head.headers, &bytes, ENVELOPE_LIMIT).bytes);
                (Body::full(bytes), fault)
            }
            Ok(Prefix::Partial(body)) => (body, Fault::Other),
            Err(error) => return Err(Refusal::of_answer_body(&error)),
        };
        Ok((Self { head, body, ..self }, fault))
    }

    /// Gives a 401 back, as it was, if its body says `OAUTH_SCOPE_MISMATCH`. One that breaks off, does not come in time or
    /// is long says nothing of the kind.
    async fn if_scope_mismatch(self) -> Option<Self> {
        let (reply, fault) = tokio::time::timeout(REASON_LIMIT, self.read_fault()).await.ok()?.ok()?;
        (fault == Fault::ScopeMismatch).then_some(reply)
    }
}

/// Whether an answer is a 401 whose body is in a content coding that is not understood here. Callers may ask for any.
fn is_unreadable_refusal(call: &Call, answer: &Response<Body>) -> bool {
    answer.status() == StatusCode::UNAUTHORIZED
        && call.outbound.method() != Method::HEAD
        && !is_understood(answer.headers())
}

/// Whether an answer with this status shows that Zoho has looked at the token and accepted it. A server in trouble may
/// answer before it looks.
fn proves_token(status: StatusCode) -> bool {
    let says_nothing = [
        StatusCode::UNAUTHORIZED,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::MISDIRECTED_REQUEST,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    !status.is_server_error() && !says_nothing.contains(&status)
}
