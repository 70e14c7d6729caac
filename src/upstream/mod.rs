//! The call to Zoho: the request as Zoho must see it, and the limits of each phase.
//!
//! - [`outbound`]: which headers go out, and under whose name
//! - [`paced`]: watching a body on its way
//! - `via`: saying that a gateway is between
//!
//! Not here: which token is sent (`oauth`), and what is done about the answer (`proxy`).

pub mod outbound;
pub mod paced;
mod via;

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};

use crate::clock::{Clock, Instant};
use crate::net::body::Body;
use crate::net::buffers::Buffers;
use crate::net::http1::Fault;
use crate::net::metered::Metered;
use crate::net::paced::{BrokenOff, Pace, Paced};
use crate::net::transport::{BoxFuture, Transport, TransportError};
use paced::{BrokenBy, Progress, Stage};

/// The limits of a call.
#[derive(Debug, Clone)]
pub struct Settings {
    /// From the request's last byte to the answer's head.
    pub first_byte_timeout: Duration,
    /// Between two pieces of a body, in either direction.
    pub idle_timeout: Duration,
    /// How many bytes a second of a request's body must come, once it was waited for that long; 0 for any.
    pub min_body_rate: u64,
    /// For the whole call, from its start to the answer's last byte.
    pub total_timeout: Duration,
    /// Out of which memory bodies are buffered.
    pub buffers: Buffers,
}

/// How a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Zoho has the whole request and does not answer.
    #[error("no answer within {0:?} after the request was sent")]
    FirstByteTimeout(Duration),
    /// Zoho does not read the body of the request.
    #[error("nothing more of the request's body was taken for {0:?}")]
    UploadTimeout(Duration),
    /// The caller stopped sending the body of its request, or as good as stopped.
    #[error("the caller does not send its request")]
    CallerStalled(#[source] BrokenOff),
    /// The body of the caller's request broke off.
    #[error("the body of the caller's request broke off")]
    CallerBroke,
    /// What the caller sent as the body of its request is malformed.
    #[error("the body of the caller's request is malformed: {0}")]
    CallerMalformed(Fault),
    /// The call as a whole took too long.
    #[error("the call took longer than {0:?}")]
    TotalTimeout(Duration),
}

impl CallError {
    /// Whether Zoho may have acted on the request.
    pub fn may_have_happened(&self) -> bool {
        use TransportError::{Connect, ConnectTimeout, NotProcessed, TooManyConnections};
        !matches!(self, Self::Transport(Connect(_) | ConnectTimeout | NotProcessed(_) | TooManyConnections))
    }

    /// Whether the caller is why it failed.
    pub fn is_of_the_caller(&self) -> bool {
        matches!(self, Self::CallerStalled(_) | Self::CallerBroke | Self::CallerMalformed(_))
    }

    /// A word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Transport(TransportError::Connect(_)) => "connect",
            Self::Transport(TransportError::ConnectTimeout) => "connect_timeout",
            Self::Transport(TransportError::TooManyConnections) => "too_many_connections",
            Self::Transport(TransportError::NotProcessed(_)) => "not_processed",
            Self::Transport(TransportError::HeadTooLarge(_)) => "response_head_too_large",
            Self::Transport(TransportError::Stale(_)) => "stale_connection",
            Self::Transport(TransportError::Broken(_)) => "broken",
            Self::FirstByteTimeout(_) => "first_byte_timeout",
            Self::UploadTimeout(_) => "upload_timeout",
            Self::CallerStalled(_) => "caller_stalled",
            Self::CallerBroke => "caller_broke",
            Self::CallerMalformed(_) => "caller_malformed",
            Self::TotalTimeout(_) => "total_timeout",
        }
    }
}

/// Makes calls. Cheap to clone.
#[derive(Clone)]
pub struct Upstream(Arc<Calls>);

struct Calls {
    transport: Arc<dyn Transport>,
    settings: Settings,
    clock: Clock,
}

impl Upstream {
    /// Calls over a transport.
    pub fn new(transport: Arc<dyn Transport>, settings: Settings, clock: Clock) -> Self {
        Self(Arc::new(Calls { transport, settings, clock }))
    }

    /// The limits.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// When what is only thrown away must have ended.
    pub fn short_deadline(&self) -> Instant {
        self.0.clock.now() + self.0.settings.idle_timeout
    }

    /// When a call that begins now must have ended.
    pub fn deadline(&self) -> Instant {
        self.0.clock.now() + self.0.settings.total_timeout
    }

    /// Holds an answer's body to the limits of a call that must end by `deadline`; `guard` is dropped with it.
    pub fn paced(&self, body: Body, deadline: Instant, guard: impl Unpin + Send + 'static) -> Body {
        Body::stream(Paced::new(body, self.pace(deadline, 0), self.0.clock.clone(), guard))
    }

    /// Holds a request's body to the limits of a call that must end by `deadline`. A caller holds a call, of which
    /// an organisation has few, for as long as it sends, and so must send at some rate.
    pub fn paced_request(&self, body: Body, deadline: Instant) -> Body {
        let pace = self.pace(deadline, self.0.settings.min_body_rate);
        Body::stream(Paced::new(body, pace, self.0.clock.clone(), ()))
    }

    fn pace(&self, deadline: Instant, least_rate: u64) -> Pace {
        let &Settings { idle_timeout: idle, total_timeout: total, .. } = &self.0.settings;
        Pace { idle, least_rate, total, deadline }
    }

    /// Sends a request, which it is `now` time for; what comes back waits for the head of its answer, until `deadline`
    /// at the latest. The request is not held by that future, nor by those that hold it.
    pub fn send(
        &self,
        mut request: Request<Body>,
        now: Instant,
        deadline: Instant,
    ) -> impl Future<Output = Result<Response<Body>, CallError>> + Send {
        let progress = Progress::of(request.body_mut(), now, &self.0.clock);
        if !matches!(request.body(), Body::Full(_)) {
            let body = std::mem::take(request.body_mut());
            *request.body_mut() = Body::stream(Metered::new(body, &self.0.settings.buffers));
        }
        let sending = self.0.transport.send(request);
        self.wait(sending, progress, deadline)
    }

    async fn wait(
        &self,
        mut sending: BoxFuture<Result<Response<Body>, TransportError>>,
        progress: Progress,
        deadline: Instant,
    ) -> Result<Response<Body>, CallError> {
        let Settings { first_byte_timeout, idle_timeout, total_timeout, .. } = self.0.settings;
        let mut now = self.0.clock.now();
        loop {
            // Nothing tells that the body has ended, so that it is looked for often enough to notice in time.
            let look_again = now + first_byte_timeout.min(idle_timeout);
            let (until, too_late) = match progress.stage() {
                Stage::Begin(since) => {
                    let limit = idle_timeout.max(first_byte_timeout);
                    (look_again, Some((since + limit, CallError::UploadTimeout(limit))))
                }
                // A caller that stalls breaks its body off, which ends the sending.
                Stage::Caller => (look_again, None),
                Stage::Upload(since) => {
                    let until = since + idle_timeout;
                    (until.min(look_again), Some((until, CallError::UploadTimeout(idle_timeout))))
                }
                // From the last byte sent, so that a long upload is no slow answer.
                Stage::Answer(since) => {
                    let until = since + first_byte_timeout;
                    (until, Some((until, CallError::FirstByteTimeout(first_byte_timeout))))
                }
            };
            if let Some((until, error)) = too_late
                && until <= now
            {
                return Err(error);
            }
            tokio::select! {
                biased;
                answer = &mut sending => return answer.map_err(|error| blame(error, &progress)),
                () = tokio::time::sleep_until(until.min(deadline)) => {}
            }
            now = self.0.clock.now();
            if now >= deadline {
                return Err(CallError::TotalTimeout(total_timeout));
            }
        }
    }
}

/// A connection to Zoho that broke because the caller's body did is the caller's doing.
fn blame(error: TransportError, progress: &Progress) -> CallError {
    match progress.broken() {
        Some(BrokenBy::Stalling(why)) => CallError::CallerStalled(why),
        Some(BrokenBy::Error) => CallError::CallerBroke,
        Some(BrokenBy::Fault(fault)) => CallError::CallerMalformed(fault),
        None => CallError::Transport(error),
    }
}
