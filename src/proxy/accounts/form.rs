//! The form in the body of a request for a token, read into memory that is known beforehand.

use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use zeroize::Zeroizing;

use crate::net::body::{Body, BoxError};

/// How long the form of a request may be. Real ones have a few hundred bytes.
pub(super) const LIMIT: usize = 64 * 1024;

/// The same for who has not shown yet who it is.
pub(super) const LIMIT_OF_UNIDENTIFIED: usize = 16 * 1024;

/// How many bytes the form in a body may take in memory.
pub(super) fn bytes_of(body: &impl HttpBody, limit: usize) -> usize {
    let most = body.size_hint().upper().map_or(limit, |most| usize::try_from(most).unwrap_or(limit));
    most.min(limit)
}

/// What was read of a body.
pub(super) enum Form {
    /// All of it.
    Whole(Zeroizing<Vec<u8>>),
    /// It is longer than it may be; this is what follows.
    TooLong(Body),
}

/// Reads a body of at most `limit` bytes. They contain secrets of clients, so they are wiped from memory on drop. The pieces
/// are copied: each is a part of the buffer that it arrived in, and would keep all of that until the rest has arrived.
pub(super) async fn read(mut body: Body, limit: usize) -> Result<Form, BoxError> {
    let most = bytes_of(&body, limit);
    if body.size_hint().lower() > limit as u64 {
        return Ok(Form::TooLong(body));
    }
    let mut form = Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let length = form.len() + data.len();
        if length > limit {
            return Ok(Form::TooLong(body));
        }
        if length > form.capacity() {
            let capacity = length.max(form.capacity() * 2).min(most.max(length));
            // A buffer that grows by itself leaves a copy of the secrets in it behind.
            let mut longer = Zeroizing::new(Vec::with_capacity(capacity));
            longer.extend_from_slice(&form);
            form = longer;
        }
        form.extend_from_slice(&data);
    }
    Ok(Form::Whole(form))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body::Frame;

    use super::*;

    /// So many pieces of so many bytes, of which nobody says how many they will be.
    struct Pieces(usize, usize);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
            self.0 = left;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; self.1])))))
        }
    }

    #[tokio::test]
    async fn a_form_takes_no_more_memory_than_it_may() {
        for (pieces, length) in [(1, 10), (1000, 16), (16, 1024), (3, 5000)] {
            let read = read(Body::stream(Pieces(pieces, length)), 16 * 1024).await.unwrap();
            let Form::Whole(form) = read else { panic!("{pieces} of {length} fit") };
            assert_eq!(form.len(), pieces * length);
            assert!(form.capacity() <= 16 * 1024, "{}", form.capacity());
        }
    }

    #[tokio::test]
    async fn a_form_that_is_too_long_is_not_kept() {
        let piecemeal = read(Body::stream(Pieces(17, 1024)), 16 * 1024).await.unwrap();
        assert!(matches!(piecemeal, Form::TooLong(_)));
        assert!(matches!(read(Body::full(vec![0; 20]), 10).await.unwrap(), Form::TooLong(_)));
    }
}
