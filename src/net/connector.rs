//! How a connection is made: through the egress proxy or not, with TLS or not, and never for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use super::body::BoxError;
use super::origin::is_loopback;
use super::patient::Patient;
use super::transport::BoxFuture;

/// Which proxy stands between this machine and Zoho.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressProxy {
    /// As `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    Environment,
    /// None, whatever the environment says.
    None,
    /// This one, for every host but loopback.
    Url(String),
}

impl EgressProxy {
    fn matcher(&self) -> Matcher {
        match self {
            Self::Environment => Matcher::from_env(),
            Self::None => Matcher::builder().build(),
            Self::Url(url) => Matcher::builder().all(url.clone()).build(),
        }
    }
}

/// Connects directly, or by `CONNECT` through the proxy that is configured for the destination.
#[derive(Clone)]
pub struct MaybeTunnel {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
}

impl MaybeTunnel {
    /// A connector that goes out as `proxy` says, with a part of `connect_timeout` for TCP.
    pub fn new(proxy: &EgressProxy, connect_timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared out over the addresses of a name, so that one that swallows packets leaves time for the next.
        tcp.set_connect_timeout(Some(connect_timeout * 2 / 3));
        // Notices a peer that vanished without a word while a connection idles in the pool.
        tcp.set_keepalive(Some(Duration::from_mins(1)));
        Self { tcp, proxies: Arc::new(proxy.matcher()) }
    }
}

impl Service<Uri> for MaybeTunnel {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = BoxFuture<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let direct = destination.host().is_some_and(is_loopback);
        match self.proxies.intercept(&destination).filter(|_| !direct) {
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp.clone());
                if let Some(credentials) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(credentials.clone());
                }
                Box::pin(async move { Ok(tunnel.call(destination).await?) })
            }
            None => {
                let connecting = self.tcp.call(destination);
                Box::pin(async move { Ok(connecting.await?) })
            }
        }
    }
}

/// One deadline over name look-up, TCP, `CONNECT` and TLS together: none of the parts has one for the
/// whole. And a bound for how many connections there are: a connection goes on being made when the request it was
/// for is gone, so that callers who come and go would make any number of them. Connections come out tagged with a
/// [`Use`], and are given up when the server takes nothing of what is written to it: hyper looks at a body's limits
/// only when there is room for more of it.
#[derive(Clone)]
pub struct Bounded<C> {
    inner: C,
    limit: Duration,
    write_timeout: Duration,
    places: Arc<Semaphore>,
}

/// The connection was not there in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub struct ConnectDeadline(pub Duration);

/// There were as many connections as may be all the time.
#[derive(Debug, thiserror::Error)]
#[error("no place for a connection within {0:?}")]
pub struct NoPlace(pub Duration);

impl<C> Bounded<C> {
    /// Bounds `inner`: each connection is made within `limit`, and there are never more than `most`, those that
    /// are kept or being made included. None waits longer than `write_timeout` for the server to take something.
    pub fn new(inner: C, limit: Duration, most: usize, write_timeout: Duration) -> Self {
        Self { inner, limit, write_timeout, places: Arc::new(Semaphore::new(most)) }
    }
}

impl<C> Service<Uri> for Bounded<C>
where
    C: Service<Uri> + Clone + Send + 'static,
    C::Error: Into<BoxError>,
    C::Future: Send,
    C::Response: Send,
{
    type Response = Tagged<C::Response>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let (limit, write_timeout, places) = (self.limit, self.write_timeout, self.places.clone());
        // The one that was asked whether it is ready goes, its copy stays.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let mut has_place = false;
            let connecting = async {
                let place = places.acquire_owned().await.expect("the semaphore is never closed");
                has_place = true;
                let io = inner.call(destination).await.map_err(Into::into)?;
                let io = TokioIo::new(Patient::new(TokioIo::new(io), write_timeout));
                Ok::<_, BoxError>(Tagged { io, uses: Use::default(), _place: place })
            };
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_) if has_place => Err(ConnectDeadline(limit).into()),
                Err(_) => Err(NoPlace(limit).into()),
            }
        })
    }
}

/// How many answers a connection has carried. Rides along in each response's extensions and in errors; it
/// tells a pooled connection that the other side had already closed from a fresh one that broke.
#[derive(Clone, Debug, Default)]
pub struct Use(Arc<AtomicU32>);

impl Use {
    /// Notes one more answer.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the connection has carried an answer before.
    pub fn is_reused(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// A connection with its [`Use`], and its place among all.
pub struct Tagged<T> {
    io: TokioIo<Patient<TokioIo<T>>>,
    uses: Use,
    _place: OwnedSemaphorePermit,
}

impl<T: Connection> Connection for Tagged<T> {
    fn connected(&self) -> Connected {
        self.io.inner().inner().inner().connected().extra(self.uses.clone())
    }
}

impl<T: Read + Unpin> Read for Tagged<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: Write + Unpin> Write for Tagged<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::Mutex;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    const LIMIT: Duration = Duration::from_secs(5);

    /// Connects once, to what it holds.
    #[derive(Clone)]
    struct OneStream(Arc<Mutex<Option<DuplexStream>>>);

    impl Service<Uri> for OneStream {
        type Response = TokioIo<DuplexStream>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Uri) -> Self::Future {
            std::future::ready(Ok(TokioIo::new(self.0.lock().unwrap().take().unwrap())))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_connections_than_may_be() {
        let connecting = tower::service_fn(|_: Uri| async { Ok::<_, Infallible>(()) });
        let mut bounded = Bounded::new(connecting, LIMIT, 2, LIMIT);
        let mut connect = || bounded.call(Uri::from_static("https://www.zohoapis.eu"));
        let (first, _second) = (connect().await.unwrap(), connect().await.unwrap());

        let too_late = connect().await.err().unwrap();
        assert!(too_late.is::<NoPlace>(), "{too_late}");

        let third = tokio::spawn(connect());
        tokio::time::sleep(LIMIT / 2).await;
        drop(first);
        assert!(third.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_place_and_no_connection_is_told_of_the_connection() {
        let never = tower::service_fn(|_: Uri| std::future::pending::<Result<(), Infallible>>());
        let mut bounded = Bounded::new(never, LIMIT, 1, LIMIT);
        let mut connect = || bounded.call(Uri::from_static("https://www.zohoapis.eu"));
        let (first, second) = tokio::join!(connect(), connect());
        assert!(first.err().unwrap().is::<ConnectDeadline>());
        assert!(second.err().unwrap().is::<NoPlace>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_nothing_is_given_up() {
        let (ours, _theirs) = duplex(16);
        let connecting = OneStream(Arc::new(Mutex::new(Some(ours))));
        let mut bounded = Bounded::new(connecting, LIMIT, 1, LIMIT);
        let connection = bounded.call(Uri::from_static("https://www.zohoapis.eu")).await.unwrap();

        let written = TokioIo::new(connection).write_all(&[0; 1024]).await;

        assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    }
}
