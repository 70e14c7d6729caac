//! The body of an answer, and that it is still under way.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::course::UnderWay;
use crate::net::body::{Body, BoxError};

/// A body that counts as under way for as long as hyper keeps it.
pub(super) struct Tracked {
    body: Body,
    _under_way: Option<UnderWay>,
}

impl Tracked {
    /// One that is all there.
    pub(super) fn whole(body: Body) -> Self {
        Self { body, _under_way: None }
    }

    /// One that comes bit by bit.
    pub(super) fn going_on(body: Body, under_way: UnderWay) -> Self {
        Self { body, _under_way: Some(under_way) }
    }
}

impl HttpBody for Tracked {
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
