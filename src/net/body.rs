//! Our body type, and reading one within a limit.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::buffers::Reservation;
use crate::supervisor::caught_now;

/// Any error a body can end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A boxed body of any kind.
pub type BoxBody = Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>;

/// The body of every request and response that the sidecar handles.
///
/// The two common cases, bytes in memory and bytes from a connection, need no allocation.
pub enum Body {
    /// Bytes in memory; `None` once they were handed out, and for a body that never had any.
    Full(Option<Bytes>),
    /// Bytes as they arrive on a connection. Trailers are left behind, as RFC 9110 section 6.5.1 lets whoever
    /// passes a message on do: a field that comes after the checks would go past them.
    Incoming(Incoming),
    /// Anything else.
    Stream(BoxBody),
}

impl Body {
    /// A body without bytes.
    pub fn empty() -> Self {
        Self::Full(None)
    }

    /// A body of these bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Full(if bytes.is_empty() { None } else { Some(bytes) })
    }

    /// A body that wraps another.
    pub fn stream<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::Stream(Box::pin(body.map_err(Into::into)))
    }

    /// A body that begins with these bytes and goes on with `rest`.
    pub fn continued(first: Bytes, rest: Self) -> Self {
        Self::stream(Rejoined { read: Some(first), rest })
    }

    /// Reads the body to its end if it has at most `limit` bytes; otherwise gives back what was read and
    /// the rest, so that nothing is lost.
    pub async fn read_up_to(mut self, limit: usize) -> Result<Prefix, BoxError> {
        if let Self::Full(bytes) = &mut self
            && bytes.as_ref().is_none_or(|bytes| bytes.len() <= limit)
        {
            return Ok(Prefix::Whole(bytes.take().unwrap_or_default()));
        }
        let mut read = Chunks::default();
        if self.read_while(&mut read, |read, _| read <= limit).await? {
            return Ok(Prefix::Whole(read.join()));
        }
        Ok(Prefix::Partial(Self::continued(read.join(), self)))
    }

    /// Reads the body to its end if it has at most `limit` bytes and the budget of memory has room for them. One that
    /// says that it is longer is read until `enough` of it is there.
    pub async fn read_within(
        mut self,
        limit: usize,
        enough: usize,
        mut reservation: Reservation,
    ) -> Result<Beginning, BoxError> {
        if let Self::Full(bytes) = &mut self
            && bytes.as_ref().is_none_or(|bytes| bytes.len() <= limit)
        {
            return Ok(Beginning { read: bytes.take().unwrap_or_default(), reservation, rest: None });
        }
        let told = usize::try_from(self.size_hint().lower()).unwrap_or(usize::MAX);
        let enough = if told > limit { enough } else { usize::MAX };
        // A buffer that grows leaves shorter ones behind, and is longer than what is in it.
        let mut read = Chunks { expected: told.min(enough).min(64 * 1024), ..Chunks::default() };
        let may_go_on = |read: usize, is_end: bool| {
            let has_room = reservation.try_set(read) || is_end;
            read <= limit && read < enough && has_room
        };
        if self.read_while(&mut read, may_go_on).await? {
            return Ok(Beginning { read: read.join(), reservation, rest: None });
        }
        reservation.set(read.len);
        Ok(Beginning { read: read.join(), reservation, rest: Some(self) })
    }

    /// Reads data, and leaves trailers behind, for as long as `may_go_on` says of the bytes that are read and of whether
    /// they are all. Says whether the body has ended.
    async fn read_while(
        &mut self,
        read: &mut Chunks,
        mut may_go_on: impl FnMut(usize, bool) -> bool,
    ) -> Result<bool, BoxError> {
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            read.push(data);
            if !may_go_on(read.len, self.is_end_stream()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What [`Body::read_within`] has read of a body.
pub struct Beginning {
    /// What is in memory.
    pub read: Bytes,
    /// The memory that it takes.
    pub reservation: Reservation,
    /// What comes after it; `None` if it is the whole body.
    pub rest: Option<Body>,
}

impl Beginning {
    /// The body, from its first byte. Whoever hands it on counts it anew.
    pub fn into_body(self) -> Body {
        match self.rest {
            Some(rest) => Body::continued(self.read, rest),
            None => Body::full(self.read),
        }
    }
}

/// What [`Body::read_up_to`] found.
pub enum Prefix {
    /// The whole body.
    Whole(Bytes),
    /// The body is longer than the limit; here it is again, whole.
    Partial(Body),
}

/// Collects chunks without copying the common single one.
#[derive(Default)]
struct Chunks {
    first: Option<Bytes>,
    more: Option<BytesMut>,
    len: usize,
    /// How many bytes will come at least.
    expected: usize,
}

impl Chunks {
    fn push(&mut self, data: Bytes) {
        self.len += data.len();
        match (&self.first, &mut self.more) {
            (None, None) => self.first = Some(data),
            (Some(first), None) => {
                let mut joined = BytesMut::with_capacity(((first.len() + data.len()) * 2).max(self.expected));
                joined.extend_from_slice(first);
                joined.extend_from_slice(&data);
                (self.first, self.more) = (None, Some(joined));
            }
            (_, Some(more)) => more.extend_from_slice(&data),
        }
    }

    fn join(self) -> Bytes {
        self.first.or_else(|| self.more.map(BytesMut::freeze)).unwrap_or_default()
    }
}

/// The size hint of a body that begins with so many bytes and continues with `rest`.
pub(super) fn after(bytes: usize, rest: &SizeHint) -> SizeHint {
    let bytes = bytes as u64;
    let mut hint = SizeHint::new();
    hint.set_lower(rest.lower().saturating_add(bytes));
    if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(bytes)) {
        hint.set_upper(upper);
    }
    hint
}

/// What was read of a body, then its rest.
struct Rejoined {
    read: Option<Bytes>,
    rest: Body,
}

impl HttpBody for Rejoined {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.read.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        after(self.read.as_ref().map_or(0, Bytes::len), &self.rest.size_hint())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match this {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Incoming(body) => match Pin::new(body).poll_frame(cx).map_err(Into::into) {
                Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => Poll::Ready(None),
                frame => frame,
            },
            Self::Stream(body) => {
                let polled = caught_now(|| body.as_mut().poll_frame(cx));
                polled.unwrap_or_else(|panicked| {
                    // Whoever reads it would go down with it: a connection, and all that shares it.
                    tracing::error!(panic = panicked.text(), "a body panicked and is broken off");
                    *this = Self::empty();
                    Poll::Ready(Some(Err(panicked.into())))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Incoming(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Incoming(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        Self::Incoming(body)
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for Body {
    /// Never the bytes: they may hold credentials or somebody's records.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Body::Full",
            Self::Incoming(_) => "Body::Incoming",
            Self::Stream(_) => "Body::Stream",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that arrives in the given pieces.
    fn in_pieces(pieces: &'static [&'static str]) -> Body {
        let mut body = Body::empty();
        for piece in pieces.iter().rev() {
            body = Body::stream(Rejoined { read: Some(Bytes::from_static(piece.as_bytes())), rest: body });
        }
        body
    }

    async fn whole(body: Body) -> Bytes {
        body.collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_body_within_the_limit_is_read_whole() {
        let read = in_pieces(&["ab", "cd", "ef"]).read_up_to(6).await.unwrap();
        assert!(matches!(read, Prefix::Whole(bytes) if bytes == "abcdef"));
    }

    #[tokio::test]
    async fn a_longer_body_loses_nothing() {
        let Prefix::Partial(body) = in_pieces(&["ab", "cd", "ef"]).read_up_to(3).await.unwrap() else {
            panic!("6 bytes fit into 3");
        };
        assert_eq!(whole(body).await, "abcdef");
    }

    #[tokio::test]
    async fn a_body_in_memory_over_the_limit_loses_nothing() {
        let Prefix::Partial(body) = Body::full("abcdef").read_up_to(5).await.unwrap() else {
            panic!("6 bytes fit into 5");
        };
        assert_eq!(whole(body).await, "abcdef");
    }

    #[tokio::test]
    async fn a_body_that_panics_ends_in_an_error() {
        struct Panics;
        impl HttpBody for Panics {
            type Data = Bytes;
            type Error = BoxError;

            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
                panic!("a defect, on purpose")
            }
        }
        let mut body = Body::stream(Rejoined { read: None, rest: Body::stream(Panics) });
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "it panicked: a defect, on purpose");
    }

    #[test]
    fn an_empty_body_is_known_to_have_ended() {
        assert!(Body::full("").is_end_stream());
        assert_eq!(Body::empty().size_hint().exact(), Some(0));
    }
}
