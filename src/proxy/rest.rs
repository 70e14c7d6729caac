//! What is left of a request's body when the request is refused.
//!
//! An answer before the end of a body closes the connection, and to a client that is still writing that is a
//! broken pipe in the place of an answer. So the rest is read first, and thrown away.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::refusal::Refusal;
use crate::net::body::{Body, BoxError};

/// How much is read of a refused request. The longest bodies that Zoho takes are the archives of bulk writes,
/// which may have 25 MB.
const MOST: u64 = 32 * 1024 * 1024;

/// What a refused request takes while the rest of its body is read: its answer, and what reads the body.
pub(super) const BYTES: usize = 2 * 1024;

/// Reads a body to its end and throws it away, as far as that is worth it. However it ends, the answer is the
/// same.
pub(super) async fn discard(mut body: Body) {
    let mut read = 0;
    while read <= MOST
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

/// Whether a refused request's body is to be read.
///
/// Not if it is known to be too long; not if the caller waits for leave to send it (RFC 9110 section 10.1.1),
/// since then nothing is on its way; not if the body has broken off already, or has used up its time; not of an
/// ambiguous request, of which nobody can be sure where it ends.
pub(super) fn is_worth_reading(body: &impl HttpBody, headers: &HeaderMap, refusal: &Refusal) -> bool {
    !body.is_end_stream()
        && body.size_hint().lower() <= MOST
        && !headers.contains_key(EXPECT)
        && !matches!(
            refusal,
            Refusal::Ambiguous(_)
                | Refusal::RequestBroken
                | Refusal::RequestStalled(_)
                | Refusal::TotalTimeout(_)
        )
}

/// Where a body comes back to when whoever sent it on has given it up.
#[derive(Clone, Default)]
pub(super) struct Rest(Arc<Mutex<Option<Body>>>);

impl Rest {
    /// The same body, whose rest comes back here when it is dropped before its end.
    pub(super) fn of(&self, body: Body) -> Body {
        Body::stream(Lent { body, rest: self.clone() })
    }

    /// What came back.
    pub(super) fn take(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body on its way to Zoho.
struct Lent {
    body: Body,
    rest: Rest,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            let body = std::mem::take(&mut self.body);
            *self.rest.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_given_up_before_its_end_comes_back() {
        let rest = Rest::default();
        drop(rest.of(Body::full("abc")));
        assert!(rest.take().is_some_and(|body| body.size_hint().exact() == Some(3)));
        assert!(rest.take().is_none());
    }

    #[tokio::test]
    async fn of_a_body_that_was_read_nothing_comes_back() {
        let rest = Rest::default();
        assert_eq!(rest.of(Body::full("abc")).collect().await.unwrap().to_bytes(), "abc");
        assert!(rest.take().is_none());
    }

    #[test]
    fn nobody_reads_what_may_never_come_or_never_end() {
        let (none, waits) =
            (HeaderMap::new(), HeaderMap::from_iter([(EXPECT, "100-continue".parse().unwrap())]));
        let body = Body::full("abc");
        assert!(is_worth_reading(&body, &none, &Refusal::Internal));
        assert!(!is_worth_reading(&body, &waits, &Refusal::Internal));
        assert!(!is_worth_reading(&body, &none, &Refusal::Ambiguous("")));
        assert!(!is_worth_reading(&body, &none, &Refusal::RequestBroken));
        assert!(!is_worth_reading(&Body::empty(), &none, &Refusal::Internal));
    }
}
