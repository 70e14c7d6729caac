//! Answers to heads that are known: sent past hyper, while hyper waits for its next request.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Version;
use tokio::io::AsyncWrite;

use super::course::Course;
use super::shell::Shell;
use super::{Handler, Repeat};

/// What is sent past hyper on one connection.
pub(super) struct Repeats<H> {
    shell: Arc<Shell<H>>,
    /// What the caller had no room for yet.
    unsent: Vec<u8>,
    is_sending: bool,
}

impl<H: Handler> Repeats<H> {
    pub(super) fn by(shell: Arc<Shell<H>>) -> Self {
        Self { shell, unsent: Vec::new(), is_sending: false }
    }

    /// Answers a request by the bytes of its head, and sends what can be sent at once; whether it did. Nothing else
    /// may be under way on the connection.
    pub(super) fn answer<T: AsyncWrite + Unpin>(
        &mut self,
        head: &[u8],
        io: &mut T,
        course: &Course,
        cx: &mut Context<'_>,
    ) -> io::Result<bool> {
        thread_local! {
            static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        ANSWER.with_borrow_mut(|answer| {
            answer.clear();
            match self.shell.repeat(head, answer) {
                Repeat::Done => {}
                Repeat::Learn => {
                    course.show_head(Bytes::copy_from_slice(head));
                    return Ok(false);
                }
                Repeat::Unknown => return Ok(false),
            }
            course.begin(Version::HTTP_11);
            let sent = match Pin::new(io).poll_write(cx, answer) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => 0,
            };
            self.unsent.extend_from_slice(&answer[sent..]);
            self.is_sending = true;
            Ok(true)
        })
    }

    /// Whether some of an answer has perhaps not been sent yet.
    pub(super) fn are_under_way(&self) -> bool {
        self.is_sending
    }

    /// Sends what is left; until that is done no further request may be read.
    pub(super) fn poll_sent<T: AsyncWrite + Unpin>(
        &mut self,
        io: &mut T,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut *io).poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..sent);
        }
        ready!(Pin::new(io).poll_flush(cx))?;
        (self.unsent, self.is_sending) = (Vec::new(), false);
        Poll::Ready(Ok(()))
    }
}
