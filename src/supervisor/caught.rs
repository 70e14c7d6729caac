//! Panics as values.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Something panicked. The text is for the log only: callers are told that there was a defect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it panicked: {0}")]
pub struct Panicked(String);

impl Panicked {
    fn of(panic: &(dyn Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("without a message");
        Self(text.to_owned())
    }

    pub(super) fn cancelled() -> Self {
        Self("it was cancelled".to_owned())
    }

    /// What the panic said.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Calls a function, and turns its panic into an error.
///
/// Shared state of this program lies behind locks and atomics that stay usable after a panic (poisoning is ignored
/// on purpose), so that unwind safety is asserted here once.
pub fn caught_now<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panicked::of(&*panic))
}

/// Runs a future, and turns its panic into an error. A future that is not `Unpin` is pinned by the caller
/// (`caught(pin!(future))`), so that it is not held twice.
pub fn caught<F: Future + Unpin>(future: F) -> Caught<F> {
    Caught::new(future)
}

/// A future whose panic is an error. It must not be polled after its end.
#[derive(Debug)]
pub struct Caught<F>(F);

impl<F: Future + Unpin> Caught<F> {
    /// The same as [`caught`].
    pub fn new(future: F) -> Self {
        Self(future)
    }
}

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match caught_now(|| Pin::new(&mut self.0).poll(cx)) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_with_its_text() {
        let panics = |text: &'static str| async move {
            tokio::task::yield_now().await;
            assert!(text.is_empty(), "{text}");
            7
        };
        assert_eq!(caught(pin!(panics(""))).await, Ok(7));
        assert_eq!(caught(pin!(panics("broken"))).await.unwrap_err().text(), "broken");
        assert_eq!(caught_now(|| std::panic::panic_any(5)).unwrap_err().text(), "without a message");
    }
}
