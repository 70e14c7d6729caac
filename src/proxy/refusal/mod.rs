//! Every way a request ends badly by the sidecar's own word: status, stable code, and what to do about it.
//!
//! Callers already parse Zoho's error envelope, so a refusal comes in it; with
//! `Accept: application/problem+json` the same comes as an RFC 9457 document. `Proxy-Status` (RFC 9209) tells
//! it from an answer of Zoho's.

#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use http::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Response, StatusCode};
use serde_json::json;

use crate::admission::Crowded;
use crate::callers::policy::Excess;
use crate::net::body::{Body, BoxError};
use crate::net::headers::visible;
use crate::net::http1::Fault;
use crate::net::paced::BrokenOff;
use crate::net::transport::TransportError;
use crate::oauth::Unavailable;
use crate::supervisor::Panicked;
use crate::tenants::NoTenant;
use crate::upstream::CallError;

/// An answer that the sidecar makes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request could mean one thing to the sidecar and another to Zoho.
    Ambiguous(&'static str),
    /// The request is not framed as RFC 9112 wants it, so that nobody can tell where the next one begins.
    Malformed(Fault),
    /// The path and query are longer than this many bytes.
    UriTooLong(usize),
    /// The values of a header that enters cache keys are longer than a key may hold.
    HeaderTooLong(Box<HeaderTooLong>),
    /// A method that a proxy with credentials must not pass on.
    Method,
    /// The caller expects something else than to be told to continue.
    Expectation,
    /// A browser asks, or a page in one.
    Browser,
    /// The host that is asked for is none that is known to be the sidecar.
    ForeignHost,
    /// Callers are configured, and this one has shown itself to be none of them.
    CallerUnknown,
    /// A configured caller asks for more than it may.
    CallerForbidden(Box<Forbidden>),
    /// Several organisations, and none is named.
    TenantMissing(NoTenant),
    /// A path of Zoho's accounts server that the sidecar has no answer to.
    OfAccounts,
    /// The form in the body of a request for a token is longer than this many bytes.
    FormTooLong(usize),
    /// No such organisation.
    TenantUnknown(NoTenant),
    /// The request's body broke off.
    RequestBroken,
    /// The caller stopped sending the request's body, or as good as stopped.
    RequestStalled(BrokenOff),
    /// There is no living access token.
    TokenUnavailable(Box<Unavailable>),
    /// Zoho refuses a token that was just minted.
    TokenRejected(Duration),
    /// Zoho refuses on this route a token that it accepts on others.
    TokenRejectedHere(Duration),
    /// The token was refused, and the body is too long to be sent again.
    SendAgain,
    /// Too many calls of the organisation are under way.
    Crowded(Crowded),
    /// Zoho cannot be reached.
    Unreachable,
    /// Connecting to Zoho took too long.
    ConnectTimeout,
    /// There are as many connections to Zoho as the configuration allows, and none came free.
    TooManyConnections,
    /// The connection to Zoho broke before an answer came.
    UpstreamBroken,
    /// Zoho has not processed the request, and it could not be sent again.
    NotProcessed,
    /// The head of Zoho's answer goes beyond the limits.
    ResponseHeadTooLarge,
    /// Zoho has the request and does not answer.
    FirstByteTimeout(Duration),
    /// Zoho does not read the body of the request.
    UploadTimeout(Duration),
    /// Zoho's answer stopped coming.
    IdleTimeout(Duration),
    /// The call as a whole took too long.
    TotalTimeout(Duration),
    /// The caller does not want Zoho to be asked, and nothing is kept that would do.
    NotCached,
    /// A defect of the sidecar.
    Internal,
}

/// A header whose values are longer than a cache key may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderTooLong {
    /// Its name.
    pub name: HeaderName,
    /// How many bytes its values may have together.
    pub limit: usize,
}

/// What a caller may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// The caller's name.
    pub caller: String,
    /// By which rule.
    pub excess: Excess,
    /// Where it was found.
    pub place: Place,
}

/// Where a request goes beyond what its caller may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the request itself.
    Request,
    /// In a call of a composite request.
    Composite,
}

/// Status, code and RFC 9209 error type of a refusal.
struct Kind(StatusCode, &'static str, &'static str);

impl Refusal {
    fn kind(&self) -> Kind {
        use StatusCode as S;
        match self {
            Self::Ambiguous(_) => Kind(S::BAD_REQUEST, "SIDECAR_AMBIGUOUS_REQUEST", "http_request_error"),
            Self::Malformed(fault) => of_fault(*fault),
            Self::UriTooLong(_) => Kind(S::URI_TOO_LONG, "SIDECAR_URI_TOO_LONG", "http_request_error"),
            Self::HeaderTooLong(_) => Kind(S::BAD_REQUEST, "SIDECAR_HEADER_TOO_LONG", "http_request_error"),
            Self::Method => Kind(S::BAD_REQUEST, "SIDECAR_METHOD_REFUSED", "http_request_denied"),
            Self::Expectation => {
                Kind(S::EXPECTATION_FAILED, "SIDECAR_EXPECTATION_FAILED", "http_request_error")
            }
            Self::Browser => Kind(S::FORBIDDEN, "SIDECAR_BROWSER_REFUSED", "http_request_denied"),
            Self::ForeignHost => Kind(S::MISDIRECTED_REQUEST, "SIDECAR_HOST_UNKNOWN", "http_request_denied"),
            Self::CallerUnknown => Kind(S::UNAUTHORIZED, "SIDECAR_CALLER_UNKNOWN", "http_request_denied"),
            Self::CallerForbidden(_) => Kind(S::FORBIDDEN, "SIDECAR_CALLER_FORBIDDEN", "http_request_denied"),
            Self::TenantMissing(_) => Kind(S::BAD_REQUEST, "SIDECAR_TENANT_MISSING", "http_request_error"),
            Self::TenantUnknown(_) => Kind(S::NOT_FOUND, "SIDECAR_TENANT_UNKNOWN", "http_request_error"),
            Self::OfAccounts => Kind(S::NOT_FOUND, "SIDECAR_OAUTH_UNKNOWN", "http_request_denied"),
            Self::FormTooLong(_) => Kind(S::PAYLOAD_TOO_LARGE, "SIDECAR_FORM_TOO_LONG", "http_request_error"),
            Self::RequestBroken => Kind(S::BAD_REQUEST, "SIDECAR_REQUEST_BROKEN", "http_request_error"),
            Self::RequestStalled(_) | Self::Crowded(Crowded::TooSlow(_)) => {
                Kind(S::REQUEST_TIMEOUT, "SIDECAR_REQUEST_STALLED", "http_request_error")
            }
            Self::TokenUnavailable(_) => {
                Kind(S::SERVICE_UNAVAILABLE, "SIDECAR_TOKEN_UNAVAILABLE", "proxy_configuration_error")
            }
            Self::TokenRejected(_) | Self::TokenRejectedHere(_) => {
                Kind(S::SERVICE_UNAVAILABLE, "SIDECAR_TOKEN_REJECTED", "proxy_configuration_error")
            }
            Self::SendAgain => Kind(S::SERVICE_UNAVAILABLE, "SIDECAR_SEND_AGAIN", "http_request_error"),
            Self::Crowded(_) => {
                Kind(S::TOO_MANY_REQUESTS, "SIDECAR_TOO_MANY_CALLS", "connection_limit_reached")
            }
            Self::Unreachable => Kind(S::BAD_GATEWAY, "SIDECAR_UNREACHABLE", "destination_unavailable"),
            Self::ConnectTimeout => Kind(S::GATEWAY_TIMEOUT, "SIDECAR_CONNECT_TIMEOUT", "connection_timeout"),
            Self::TooManyConnections => {
                Kind(S::SERVICE_UNAVAILABLE, "SIDECAR_TOO_MANY_CONNECTIONS", "connection_limit_reached")
            }
            Self::UpstreamBroken => {
                Kind(S::BAD_GATEWAY, "SIDECAR_CONNECTION_BROKEN", "connection_terminated")
            }
            Self::NotProcessed => Kind(S::BAD_GATEWAY, "SIDECAR_NOT_EXECUTED", "connection_terminated"),
            Self::ResponseHeadTooLarge => {
                Kind(S::BAD_GATEWAY, "SIDECAR_RESPONSE_HEAD_TOO_LARGE", "http_response_header_section_size")
            }
            Self::FirstByteTimeout(_) => {
                Kind(S::GATEWAY_TIMEOUT, "SIDECAR_FIRST_BYTE_TIMEOUT", "http_response_timeout")
            }
            Self::UploadTimeout(_) => {
                Kind(S::GATEWAY_TIMEOUT, "SIDECAR_UPLOAD_TIMEOUT", "connection_write_timeout")
            }
            Self::IdleTimeout(_) => {
                Kind(S::GATEWAY_TIMEOUT, "SIDECAR_IDLE_TIMEOUT", "connection_read_timeout")
            }
            Self::TotalTimeout(_) => {
                Kind(S::GATEWAY_TIMEOUT, "SIDECAR_TOTAL_TIMEOUT", "http_response_timeout")
            }
            Self::NotCached => Kind(S::GATEWAY_TIMEOUT, "SIDECAR_NOT_CACHED", "http_request_denied"),
            Self::Internal => Kind(S::INTERNAL_SERVER_ERROR, "SIDECAR_INTERNAL", "proxy_internal_error"),
        }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.kind().1
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.kind().0
    }

    /// When it is worth trying again.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TokenUnavailable(why) => Some(why.retry_after),
            Self::SendAgain => Some(Duration::ZERO),
            Self::TokenRejected(pause) | Self::TokenRejectedHere(pause) => Some(*pause),
            Self::Crowded(_)
            | Self::Unreachable
            | Self::ConnectTimeout
            | Self::TooManyConnections
            | Self::NotProcessed => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The refusal as an answer, in the form the caller takes. Who asks for a token reads `error` and nothing
    /// else, so all that people need is in there too. The body has no line feed: Zoho's PHP SDK takes what follows
    /// the last one of the whole response for the JSON.
    pub fn response(
        &self,
        request_id: &HeaderValue,
        callers: &HeaderMap,
        asks_token: bool,
    ) -> Response<Body> {
        let Kind(status, code, error_type) = self.kind();
        let request_id_text = request_id.to_str().unwrap_or_default();
        let wants_problem = wants_problem(callers);
        let mut body = if wants_problem {
            json!({
                "type": format!("urn:zoho-sidecar:{}", code.to_ascii_lowercase()),
                "title": self.message(), "status": status.as_u16(), "code": code,
                "request_id": request_id_text, "remedy": self.remedy(),
            })
        } else {
            json!({
                "code": code,
                "details": { "request_id": request_id_text, "remedy": self.remedy() },
                "message": self.message(),
                "status": "error",
            })
        };
        if asks_token {
            body["error"] = json!(format!("{code}: {}. Remedy: {}", self.message(), self.remedy()));
        }
        let mut response = Response::new(Body::full(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let content_type =
            if wants_problem { "application/problem+json" } else { "application/json;charset=UTF-8" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert("proxy-status", visible(&format!("zoho-sidecar; error={error_type}")));
        headers.insert("x-request-id", request_id.clone());
        headers.insert("cache-control", HeaderValue::from_static("no-store"));
        if matches!(self, Self::Malformed(_) | Self::Ambiguous(_) | Self::Method) {
            // What follows cannot be told from what was refused, or is meant for somebody else.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Self::CallerUnknown) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after() {
            // Rounded up: a second too early is a try too many.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn of_fault(fault: Fault) -> Kind {
    use StatusCode as S;
    let (status, code) = match fault {
        Fault::Version => (S::HTTP_VERSION_NOT_SUPPORTED, "SIDECAR_HTTP_VERSION"),
        Fault::TargetTooLong(_) => (S::URI_TOO_LONG, "SIDECAR_URI_TOO_LONG"),
        Fault::UnknownCoding => (S::NOT_IMPLEMENTED, "SIDECAR_TRANSFER_CODING"),
        Fault::HeadTooLong(_) | Fault::TooManyHeaders(_) => {
            (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "SIDECAR_HEAD_TOO_LARGE")
        }
        _ => (S::BAD_REQUEST, "SIDECAR_MALFORMED_REQUEST"),
    };
    Kind(status, code, "http_request_error")
}

fn wants_problem(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("application/problem+json"))
}

impl Refusal {
    /// What a request gets whose handling panicked. The panic's text goes to the log only.
    pub(super) fn of_panic(request_id: &HeaderValue, panicked: &Panicked) -> Self {
        let request_id = request_id.to_str().unwrap_or_default();
        tracing::error!(request_id, panic = panicked.text(), "handling a request panicked");
        Self::Internal
    }

    /// What a request's body that did not come whole means.
    pub(super) fn of_request_body(error: &BoxError) -> Self {
        if error.is::<Panicked>() {
            return Self::Internal;
        }
        match error.downcast_ref::<BrokenOff>() {
            Some(why) => Self::RequestStalled(*why),
            None => Fault::behind(&**error).map_or(Self::RequestBroken, Self::Malformed),
        }
    }
}

impl Refusal {
    /// What an answer's body that did not come whole means.
    pub(super) fn of_answer_body(error: &BoxError) -> Self {
        if error.is::<Panicked>() {
            return Self::Internal;
        }
        match error.downcast_ref::<BrokenOff>() {
            Some(BrokenOff::Idle(limit)) => Self::IdleTimeout(*limit),
            Some(BrokenOff::Total(limit)) => Self::TotalTimeout(*limit),
            // No rate is asked of answers.
            Some(BrokenOff::Slow(_)) | None => Self::UpstreamBroken,
        }
    }
}

impl From<NoTenant> for Refusal {
    fn from(why: NoTenant) -> Self {
        match why {
            NoTenant::Unknown(_) => Self::TenantUnknown(why),
            NoTenant::Missing(_) | NoTenant::Contradiction(..) => Self::TenantMissing(why),
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(why: Unavailable) -> Self {
        match why.health {
            _ if why.is_only_here => Self::TokenRejectedHere(why.retry_after),
            crate::oauth::Health::TokenRejected => Self::TokenRejected(why.retry_after),
            _ => Self::TokenUnavailable(Box::new(why)),
        }
    }
}

impl From<Crowded> for Refusal {
    fn from(why: Crowded) -> Self {
        Self::Crowded(why)
    }
}

impl From<&CallError> for Refusal {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Transport(TransportError::Connect(_)) => Self::Unreachable,
            CallError::Transport(TransportError::ConnectTimeout) => Self::ConnectTimeout,
            CallError::Transport(TransportError::TooManyConnections) => Self::TooManyConnections,
            CallError::Transport(TransportError::NotProcessed(_)) => Self::NotProcessed,
            CallError::Transport(TransportError::HeadTooLarge(_)) => Self::ResponseHeadTooLarge,
            CallError::Transport(TransportError::Stale(_) | TransportError::Broken(_)) => {
                Self::UpstreamBroken
            }
            CallError::FirstByteTimeout(limit) => Self::FirstByteTimeout(*limit),
            CallError::UploadTimeout(limit) => Self::UploadTimeout(*limit),
            CallError::CallerStalled(why) => Self::RequestStalled(*why),
            CallError::CallerBroke => Self::RequestBroken,
            CallError::CallerMalformed(fault) => Self::Malformed(*fault),
            CallError::TotalTimeout(limit) => Self::TotalTimeout(*limit),
        }
    }
}
