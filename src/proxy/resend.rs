//! The decision to send a failed call again.
//!
//! A request that Zoho's servers have not processed may be sent again whatever its method (RFC 9113 section 8.7, RFC 9110
//! section 15.5.20 for 421). One that they may have processed may only be sent again if repeating it does no harm.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::net::transport::TransportError;
use crate::upstream::CallError;

/// How often a request is sent again that was not processed. The second time it goes first on a new connection, so that
/// only a server which refuses everything can refuse it more often.
const MOST_UNPROCESSED: u32 = 5;

/// The pause before the third time, which doubles from then on: a server that refuses everything is overloaded.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How often a call was sent again so far, and why.
#[derive(Debug, Default)]
pub(super) struct Resends {
    unprocessed: u32,
    stale: bool,
    misdirected: bool,
}

/// How a call is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resend {
    /// How long to wait before.
    pub(super) pause: Duration,
    /// Whether it goes first on a new connection.
    pub(super) is_first: bool,
}

impl Resends {
    /// How a call with this method is sent again after this error, if it is.
    pub(super) fn after_error(&mut self, error: &CallError, method: &Method) -> Option<Resend> {
        match error {
            CallError::Transport(TransportError::NotProcessed(_)) => self.after_refusal(),
            CallError::Transport(TransportError::Stale(_)) => {
                let may_repeat = is_repeatable(method) && !std::mem::replace(&mut self.stale, true);
                may_repeat.then_some(Resend { pause: Duration::ZERO, is_first: false })
            }
            _ => None,
        }
    }

    /// How a call is sent again after this answer, if it is: once, where the server says that the connection is not one
    /// for such requests.
    pub(super) fn after_answer(&mut self, status: StatusCode) -> Option<Resend> {
        let may_repeat =
            status == StatusCode::MISDIRECTED_REQUEST && !std::mem::replace(&mut self.misdirected, true);
        may_repeat.then_some(Resend { pause: Duration::ZERO, is_first: true })
    }

    fn after_refusal(&mut self) -> Option<Resend> {
        if self.unprocessed == MOST_UNPROCESSED {
            return None;
        }
        self.unprocessed += 1;
        let pause = match self.unprocessed {
            0..=2 => Duration::ZERO,
            more => FIRST_PAUSE * (1 << (more - 3)),
        };
        Some(Resend { pause, is_first: self.unprocessed > 1 })
    }
}

/// Methods that may be sent twice (RFC 9110 section 9.2.2), and that Zoho treats so.
fn is_repeatable(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_processed() -> CallError {
        CallError::Transport(TransportError::NotProcessed("made up".into()))
    }

    #[test]
    fn a_request_that_was_not_processed_is_sent_again_whatever_its_method_but_not_for_ever() {
        for method in [Method::POST, Method::PATCH, Method::GET] {
            let mut resends = Resends::default();
            let sent: Vec<_> =
                std::iter::from_fn(|| resends.after_error(&not_processed(), &method)).take(100).collect();
            let pauses: Vec<_> = sent.iter().map(|resend| resend.pause.as_millis()).collect();
            assert_eq!(pauses, [0, 0, 100, 200, 400]);
            assert_eq!(
                sent.iter().map(|resend| resend.is_first).collect::<Vec<_>>(),
                [false, true, true, true, true]
            );
        }
    }

    #[test]
    fn a_request_that_may_have_been_processed_is_sent_again_once_if_that_does_no_harm() {
        let stale = CallError::Transport(TransportError::Stale("made up".into()));
        for (method, times) in [(Method::GET, 1), (Method::PUT, 1), (Method::POST, 0), (Method::PATCH, 0)] {
            let mut resends = Resends::default();
            let sent = std::iter::from_fn(|| resends.after_error(&stale, &method)).take(100).count();
            assert_eq!(sent, times, "{method}");
        }
    }

    #[test]
    fn no_other_failure_is_sent_again() {
        let mut resends = Resends::default();
        for error in [
            CallError::Transport(TransportError::Broken("made up".into())),
            CallError::Transport(TransportError::HeadTooLarge("made up".into())),
            CallError::Transport(TransportError::ConnectTimeout),
            CallError::FirstByteTimeout(Duration::from_secs(1)),
            CallError::CallerBroke,
        ] {
            assert_eq!(resends.after_error(&error, &Method::GET), None, "{error}");
        }
    }

    #[test]
    fn a_misdirected_request_is_sent_again_once_and_first_on_a_new_connection() {
        let mut resends = Resends::default();
        assert_eq!(resends.after_answer(StatusCode::BAD_REQUEST), None);
        let resend = resends.after_answer(StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(resend, Some(Resend { pause: Duration::ZERO, is_first: true }));
        assert_eq!(resends.after_answer(StatusCode::MISDIRECTED_REQUEST), None);
    }
}
