//! The body of an answer on its way, and the one place where a request's story ends: its log line.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::account::Account;
use super::refusal::Refusal;
use crate::net::body::{Body, BoxError};
use crate::supervisor::Panicked;

/// A body whose end closes the request's account, however it ends.
pub(super) struct Delivery {
    body: Body,
    account: Account,
    bytes: u64,
    complete: bool,
}

impl Delivery {
    pub(super) fn new(body: Body, account: Account) -> Self {
        let complete = body.is_end_stream();
        Self { body, account, bytes: 0, complete }
    }
}

impl HttpBody for Delivery {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                this.complete = this.body.is_end_stream();
            }
            Poll::Ready(None) => this.complete = true,
            Poll::Ready(Some(Err(error))) if error.is::<Panicked>() => {
                // The head is out already: all that is left is to break off, and to say so in the log.
                this.account.refuse(Refusal::Internal.code());
            }
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.account.close(self.bytes, !self.complete);
    }
}
