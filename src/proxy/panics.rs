//! A panic while a request is handled: a defect of the sidecar that only this request may suffer from.

use std::pin::Pin;

use http::Request;
use http_body::Body as HttpBody;

use super::refusal::Refusal;
use super::{Arrival, Handling, Proxy};
use crate::callers::Identity;
use crate::net::body::Body;
use crate::supervisor::{Panicked, caught, caught_now};

/// The name of the task that fetches for everybody who asks for the same.
pub(super) const SHARED_FETCH: &str = "shared-fetch";

/// Takes a request that has been looked at for the last time.
pub(super) fn take<B>(held: &mut Option<Request<B>>) -> Request<B> {
    held.take().expect("a request is taken once")
}

/// Awaits a future that handles a request, and turns its panic into a refusal. It is pinned where it is made, so that it is not
/// held twice.
pub(super) async fn refused_on_panic<T>(
    arrival: &Arrival,
    handling: Pin<&mut impl Future<Output = Result<T, Refusal>>>,
) -> Result<T, Refusal> {
    let ended = caught(handling).await;
    ended.unwrap_or_else(|panicked| Err(Refusal::of_panic(&arrival.request_id, &panicked)))
}

impl Proxy {
    /// Answers a request whose handling panicked before anything was sent on: counted and logged like any refusal.
    pub(super) fn refuse_panic<B>(
        &self,
        held: Option<Request<B>>,
        arrival: &Arrival,
        panicked: &Panicked,
    ) -> Handling
    where
        B: HttpBody + Into<Body>,
    {
        let refusal = Refusal::of_panic(&arrival.request_id, panicked);
        let request = held.expect("nothing that can panic comes after a request was taken");
        let answer = self.refuse_unread(&request, Identity::Everybody, arrival, &refusal);
        self.turn_away(request, Identity::Everybody, answer, &refusal)
    }

    /// Begins something beside a request that is answered already: its panic spoils no answer.
    pub(super) fn beside(&self, begin: impl FnOnce()) {
        if let Err(panicked) = caught_now(begin) {
            self.shared.supervisor.note_panic(SHARED_FETCH, &panicked);
        }
    }
}
