//! What happens instead of what was asked.

use http::{HeaderName, StatusCode};

use super::Fault;
use crate::emulator::replies::{self, Reply};
use crate::net::transport::TransportError;

/// How long [`Fault::HugeBody`] is.
const HUGE: usize = 10_000_000;

/// What is answered instead.
pub(in crate::emulator) struct Replacement {
    pub(in crate::emulator) reply: Reply,
    /// Whether it comes from something before Zoho's servers, without their headers.
    pub(in crate::emulator) from_outside: bool,
}

/// Does what a fault says instead of what was asked; may never end.
pub(in crate::emulator) async fn instead(fault: &Fault) -> Result<Replacement, TransportError> {
    match fault {
        Fault::Drop => Err(broken()),
        Fault::Refuse => Err(refused()),
        Fault::Hang => std::future::pending().await,
        Fault::Html502 => Ok(bad_gateway()),
        Fault::Empty503 => {
            let reply = Reply::empty(StatusCode::SERVICE_UNAVAILABLE);
            Ok(Replacement { reply, from_outside: true })
        }
        other => Ok(Replacement { reply: reply(other), from_outside: false }),
    }
}

/// The connection broke.
pub(in crate::emulator) fn broken() -> TransportError {
    TransportError::Broken("the script broke the connection".into())
}

/// No connection was made.
pub(in crate::emulator) fn refused() -> TransportError {
    TransportError::Connect("the script refused the connection".into())
}

/// A load balancer that finds nothing behind it.
pub(in crate::emulator) fn bad_gateway() -> Replacement {
    Replacement { reply: Reply::html(StatusCode::BAD_GATEWAY, "502 Bad Gateway"), from_outside: true }
}

fn reply(fault: &Fault) -> Reply {
    match fault {
        Fault::Status { status, body, headers } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let reply = Reply::bytes(status, "application/json;charset=UTF-8", body.clone());
            headers.iter().fold(reply, |reply, (name, value)| match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => reply.with(name, value),
                Err(_) => reply,
            })
        }
        Fault::Throttle => replies::too_many_at_once(),
        Fault::CreditsExhausted => replies::credits_exhausted(),
        Fault::InvalidToken => replies::invalid_token(),
        Fault::Html200 => Reply::html(StatusCode::OK, "Zoho"),
        Fault::Html500 => Reply::html(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        Fault::Empty200 => Reply::empty(StatusCode::OK),
        Fault::Garbage => {
            Reply::bytes(StatusCode::OK, "application/json;charset=UTF-8", &b"\x00\xff\xfe{\"\x80"[..])
        }
        Fault::HugeBody => {
            let body = format!("{{\"data\":\"{}\"}}", "a".repeat(HUGE - 11));
            Reply::bytes(StatusCode::OK, "application/json;charset=UTF-8", body)
        }
        Fault::Redirect(location) => Reply::redirect(location),
        Fault::AccessDenied => replies::throttled(400, false),
        Fault::LocalisedThrottle => replies::throttled(400, true),
        Fault::OauthError(error) => Reply::oauth_error(error),
        _ => replies::internal_error(),
    }
}
