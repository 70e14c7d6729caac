//! The exchange with Zoho: leave to call, a token, the answer, and once more with a new token if Zoho
//! withdrew the old one early.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, Method, Response, StatusCode, response};
use http_body::Body as HttpBody;

use super::Proxy;
use super::answer::Timing;
use super::call::Call;
use super::fate::Fate;
use super::refusal::Refusal;
use crate::admission::Permit;
use crate::clock::Instant;
use crate::net::body::{Body, Prefix};
use crate::net::transport::TransportError;
use crate::oauth::Token;
use crate::upstream::CallError;
use crate::zoho::fault::{ENVELOPE_LIMIT, Fault};

/// Zoho's answer, its body still on its way.
pub(super) struct Reply {
    pub(super) head: response::Parts,
    pub(super) body: Body,
    pub(super) timing: Timing,
    /// Whose token brought it.
    pub(super) identity: u64,
}

/// The body of a request on its way out.
enum Outgoing {
    /// Kept, so that it can be sent again.
    Kept(bytes::Bytes),
    /// Streams past; `None` once it is gone.
    Streaming(Option<Body>),
}

impl Outgoing {
    /// The body for the next attempt, if it can be had.
    fn next(&mut self) -> Option<Body> {
        match self {
            Self::Kept(bytes) => Some(Body::full(bytes.clone())),
            Self::Streaming(body) => body.take(),
        }
    }

    fn can_be_sent_again(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

impl Proxy {
    /// Fetches. `noted` hears of every turn that decides whether a write happened.
    pub(super) async fn fetch(
        &self,
        call: &Call,
        body: Body,
        noted: &mut (dyn FnMut(Fate) + Send),
    ) -> Result<Reply, Refusal> {
        let clock = &self.shared.clock;
        let deadline = self.upstream.deadline();
        let mut body = self.keep_if_short(body, deadline).await?;

        let (permit, queue) = clock.timed(self.shared.admission.enter(call.tenant)).await;
        let permit = Arc::new(permit?);
        let tokens = &self.shared.tokens[call.tenant];
        let (token, waited) = clock.timed(tokens.current()).await;
        let token = token?;
        let mut timing = Timing { queue, token: waited, upstream: Duration::ZERO };

        let answer = self.attempt(call, &token, &mut body, deadline, &mut timing, noted).await?;
        let reply = self.reply(answer, &token, &permit, timing, deadline);
        if reply.head.status != StatusCode::UNAUTHORIZED {
            return Ok(reply.in_favour_of(&token));
        }
        // What is rare lies in a box, so that others need not be as long.
        let (reply, fault) = Box::pin(self.recognise(call, &token, reply, deadline)).await?;
        if fault != Fault::InvalidToken {
            return Ok(reply);
        }

        // Zoho refused the token, so it has not executed the call. Naming the refused token lets the first
        // of many callers renew it; the others find the new one.
        drop(reply);
        noted(Fate::DidNotHappen);
        let (token, waited) = clock.timed(tokens.replace(&token)).await;
        let token = token?;
        timing.token += waited;
        if !body.can_be_sent_again() {
            return Err(Refusal::SendAgain);
        }
        let answer = self.attempt(call, &token, &mut body, deadline, &mut timing, noted).await?;
        let reply = self.reply(answer, &token, &permit, timing, deadline);
        if reply.head.status != StatusCode::UNAUTHORIZED {
            return Ok(reply.in_favour_of(&token));
        }
        let (reply, fault) = Box::pin(self.recognise(call, &token, reply, deadline)).await?;
        if fault == Fault::InvalidToken {
            noted(Fate::DidNotHappen);
            tokens.reject(&token);
            let pause = tokens.state().next_attempt.map(|at| at.saturating_duration_since(clock.now()));
            return Err(Refusal::TokenRejected(pause.unwrap_or(Duration::from_secs(1))));
        }
        Ok(reply)
    }

    /// Looks into a 401: only `INVALID_TOKEN` is about the token. Everything else stays untouched.
    async fn recognise(
        &self,
        call: &Call,
        token: &Token,
        reply: Reply,
        deadline: Instant,
    ) -> Result<(Reply, Fault), Refusal> {
        if call.outbound.method() == Method::HEAD {
            // It has no body that could say why; the same question by GET has one.
            let asked = call.outbound.as_get(token.header());
            let asked = self.upstream.send(asked, self.shared.clock.now(), deadline).await;
            let answer = asked.map_err(|error| Refusal::from(&error))?;
            let why = self.reply(answer, token, &Arc::default(), Timing::default(), deadline);
            let fault = if why.head.status == StatusCode::UNAUTHORIZED {
                why.read_fault().await?.1
            } else {
                Fault::Other
            };
            return Ok((reply, fault));
        }
        reply.read_fault().await
    }

    /// Reads a body that is short enough to be kept; any other streams on.
    async fn keep_if_short(&self, body: Body, deadline: Instant) -> Result<Outgoing, Refusal> {
        let most = self.shared.settings.replay_max_bytes;
        if body.is_end_stream() {
            return Ok(Outgoing::Kept(bytes::Bytes::new()));
        }
        if body.size_hint().lower() > most as u64 {
            return Ok(Outgoing::Streaming(Some(self.upstream.paced_request(body, deadline))));
        }
        match self.upstream.paced_request(body, deadline).read_up_to(most).await {
            Ok(Prefix::Whole(bytes)) => Ok(Outgoing::Kept(bytes)),
            Ok(Prefix::Partial(body)) => Ok(Outgoing::Streaming(Some(body))),
            Err(error) => Err(Refusal::of_request_body(&error)),
        }
    }

    /// Sends the request once; and once more if a kept connection turned out to be closed already and
    /// repeating does no harm (RFC 9110 section 9.2.2).
    async fn attempt(
        &self,
        call: &Call,
        token: &Token,
        body: &mut Outgoing,
        deadline: Instant,
        timing: &mut Timing,
        noted: &mut (dyn FnMut(Fate) + Send),
    ) -> Result<Response<Body>, Refusal> {
        let clock = &self.shared.clock;
        let metrics = &self.shared.upstream_metrics[call.tenant];
        let mut may_repeat = is_repeatable(call.outbound.method());
        loop {
            let Some(outgoing) = body.next() else { return Err(Refusal::SendAgain) };
            noted(Fate::Unknown);
            let sent = clock.now();
            let request = call.outbound.request(token.header(), outgoing);
            let answer = self.upstream.send(request, sent, deadline).await;
            let took = clock.now() - sent;
            timing.upstream += took;
            let error = match answer {
                Ok(answer) => {
                    metrics.took(took);
                    noted(Fate::of(answer.status()));
                    return Ok(answer);
                }
                Err(error) => error,
            };
            metrics.failed(error.reason());
            noted(if error.may_have_happened() { Fate::Uncertain } else { Fate::DidNotHappen });
            let was_stale = matches!(error, CallError::Transport(TransportError::Stale(_)));
            if was_stale && may_repeat && body.can_be_sent_again() {
                may_repeat = false;
                continue;
            }
            let cause = &error as &dyn std::error::Error;
            tracing::warn!(
                tenant = self.shared.tokens[call.tenant].tenant(),
                request_id = call.request_id.to_str().unwrap_or_default(),
                error = cause,
                "a call to Zoho failed"
            );
            return Err(Refusal::from(&error));
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
        Reply { head, body, timing, identity: token.identity() }
    }
}

impl Reply {
    /// Takes it for a proof that the token which brought it is good, unless Zoho failed altogether.
    fn in_favour_of(self, token: &Token) -> Self {
        if !self.head.status.is_server_error() {
            token.prove();
        }
        self
    }

    /// Reads the code of an error answer, and leaves the answer as it was.
    async fn read_fault(self) -> Result<(Self, Fault), Refusal> {
        let Self { head, body, timing, identity } = self;
        let (body, fault) = match body.read_up_to(ENVELOPE_LIMIT).await {
            Ok(Prefix::Whole(bytes)) => {
                let fault = Fault::read(&plain(&head.headers, &bytes));
                (Body::full(bytes), fault)
            }
            Ok(Prefix::Partial(body)) => (body, Fault::Other),
            Err(error) => return Err(Refusal::of_answer_body(&error)),
        };
        Ok((Self { head, body, timing, identity }, fault))
    }
}

/// The bytes without gzip, as far as an error answer goes; only to look at, never to pass on.
fn plain<'a>(headers: &HeaderMap, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let is_gzip =
        headers.get(CONTENT_ENCODING).is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"));
    if !is_gzip {
        return Cow::Borrowed(bytes);
    }
    let mut inflated = Vec::new();
    // What cannot be inflated tells nothing, like any other body that is not understood.
    let _ = GzDecoder::new(bytes).take(ENVELOPE_LIMIT as u64).read_to_end(&mut inflated);
    Cow::Owned(inflated)
}

/// Methods that may be sent twice (RFC 9110 section 9.2.2), and that Zoho treats so.
fn is_repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}
