//! A long body of which nothing need be kept.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

static PIECE: [u8; 256 << 10] = [b'0'; 256 << 10];

/// So many bytes.
pub(crate) struct Zeros(u64);

impl Zeros {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = usize::try_from(self.0).unwrap_or(usize::MAX);
        if left == 0 {
            return Poll::Ready(None);
        }
        let piece = &PIECE[..left.min(PIECE.len())];
        self.0 -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
