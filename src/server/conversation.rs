//! A connection from its first byte to its last: between requests little more than a socket, with hyper around it
//! while there is something to answer that is not known yet.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::continues::Continues;
use super::course::{Course, UnderWay};
use super::limits::Limits;
use super::orders::{Order, Orders, Watch};
use super::repeats::Repeats;
use super::severable::Severed;
use super::shell::{Answering, Shell};
use super::strict::{Opening, Strict};
use super::{Handler, HeadBytes, Phase};
use crate::net::body::{Body, BoxError};
use crate::net::guarded::Guarded;
use crate::net::http1::Versions;
use crate::net::limited_reads::LimitedReads;
use crate::net::patient::Patient;
use crate::net::standing::Standing;

/// Serves a connection to its end.
pub(super) async fn serve<H: Handler>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handler: H,
    versions: Versions,
    standing: Standing,
    limits: Arc<Limits>,
    phases: watch::Receiver<Phase>,
    severed: Severed,
) -> Result<(), BoxError> {
    let course = Arc::new(Course::of(severed));
    let mut orders = Orders::new(Watch::over(course.clone(), limits.first_request, phases));
    let shell = Arc::new(Shell::around(handler));
    let io = Patient::new(LimitedReads::new(io, &limits.buffers), limits.write_timeout);
    let repeats = Repeats::by(shell.clone());
    let mut io = Strict::new(io, repeats, versions, standing, limits.head, course.clone());
    let mut service = Service { shell, course };
    loop {
        match next_request(&mut io, &mut orders, &service.course).await? {
            Some(Opening::Http1) => service.course.stir(),
            Some(Opening::Http2) => return converse_by_http2(io, service, &limits, orders).await,
            None => return Ok(io.shutdown().await?),
        }
        match converse(io, service, &limits, &mut orders).await? {
            Some(rested) => (io, service) = rested,
            None => return Ok(()),
        }
    }
}

/// Waits for a whole head that is not known, with nothing but the socket and what has come of it. `None` if there will be
/// none.
async fn next_request<T: AsyncRead + AsyncWrite + Unpin, H: Handler>(
    io: &mut Strict<T, H>,
    orders: &mut Orders,
    course: &Course,
) -> io::Result<Option<Opening>> {
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(opened) = io.poll_open(cx) {
                return Poll::Ready(opened);
            }
            match ready!(orders.poll(cx)) {
                Order::Rest => io.rest(),
                Order::WindDown => course.wind_down(),
                // Who has connected only to be ready made no error; nor has who was about to ask when the sidecar stops.
                Order::TimeUp
                    if !course.is_winding_down() && (course.begun() == 0 || !course.is_at_rest()) =>
                {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Order::TimeUp | Order::Cut => return Poll::Ready(Ok(None)),
            }
        }
    })
    .await
}

type Rested<T, H> = Option<(Strict<T, H>, Service<H>)>;

/// Answers requests of HTTP/1 until none comes for a while; `None` if the connection has ended.
async fn converse<T, H>(
    io: Strict<T, H>,
    service: Service<H>,
    limits: &Limits,
    orders: &mut Orders,
) -> Result<Rested<T, H>, BoxError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let course = service.course.clone();
    // Boxed, so that a connection at rest does not have room for it.
    let mut connection = Box::new(limits.http1.serve_connection(TokioIo::new(io), service));
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(Some(ended.map_err(BoxError::from)));
            }
            match ready!(orders.poll(cx)) {
                // Nothing may have come of a request since it was looked at.
                Order::Rest if course.is_at_rest() => return Poll::Ready(None),
                Order::Rest => course.stir(),
                Order::WindDown => course.wind_down(),
                Order::TimeUp if course.is_at_rest() => Pin::new(&mut *connection).graceful_shutdown(),
                Order::TimeUp => {
                    return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())));
                }
                Order::Cut => {
                    course.break_off();
                    return Poll::Ready(Some(Ok(())));
                }
            }
        }
    })
    .await;
    match ended {
        Some(Ok(())) => Ok(None),
        Some(Err(error)) => {
            course.break_off();
            Err(error)
        }
        None => {
            let http1::Parts { io, read_buf, service, .. } = connection.into_parts();
            let mut io = io.into_inner();
            if !read_buf.is_empty() || io.has_unread() {
                // All heads were read, so this is the rest of a body that nobody wanted. Read as a head it would be
                // somebody's request.
                io.shutdown().await?;
                return Ok(None);
            }
            io.rest();
            Ok(Some((io, service)))
        }
    }
}

/// Answers requests of HTTP/2 to the connection's end.
async fn converse_by_http2<T, H>(
    io: Strict<T, H>,
    service: Service<H>,
    limits: &Limits,
    mut orders: Orders,
) -> Result<(), BoxError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let (standing, is_winding_down) = (io.standing().clone(), service.course.is_winding_down());
    let io = TokioIo::new(Continues::around(io, standing, limits.bounds));
    let mut connection = Box::pin(limits.http2.serve_connection(io, service));
    if is_winding_down {
        // The order came before the preface: a caller that asks without pause would be cut in the end.
        connection.as_mut().graceful_shutdown();
    }
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended.map_err(BoxError::from));
            }
            match ready!(orders.poll(cx)) {
                Order::Rest => {}
                // It lives as long as it answers pings. Without a new request for so long it may end once those
                // under way have.
                Order::WindDown | Order::TimeUp => connection.as_mut().graceful_shutdown(),
                Order::Cut => return Poll::Ready(Ok(())),
            }
        }
    })
    .await
}

/// The body of an answer, which counts as under way for as long as hyper keeps it.
type Tracked = Guarded<Option<UnderWay>>;

/// Answers the requests of a connection.
struct Service<H> {
    shell: Arc<Shell<H>>,
    course: Arc<Course>,
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Service<H> {
    type Response = Response<Tracked>;
    type Error = std::convert::Infallible;
    type Future = Serving<H>;

    fn call(&self, mut request: Request<Incoming>) -> Serving<H> {
        let (version, under_way) = (request.version(), UnderWay::on(&self.course));
        if let Some(fault) = self.course.begin(version) {
            request.extensions_mut().insert(fault);
        }
        if let Some(head) = self.course.shown_head() {
            request.extensions_mut().insert(HeadBytes(head));
        }
        Serving { answering: self.shell.answer(request), version, under_way: Some(under_way) }
    }
}

/// An answer being made.
struct Serving<H: Handler> {
    answering: Answering<H::Answering>,
    version: Version,
    under_way: Option<UnderWay>,
}

impl<H: Handler> Future for Serving<H> {
    type Output = Result<Response<Tracked>, std::convert::Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut response = ready!(pin!(&mut this.answering).poll(cx));
        let under_way = this.under_way.take().expect("a future is polled to its end once");
        if this.version < Version::HTTP_2 && under_way.course().is_winding_down() {
            // Its caller then sends no further request that nobody would answer (RFC 9112 section 9.6).
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.map(|body| match body {
            // It goes out with the head, as far as the caller takes it.
            Body::Full(_) => Tracked::new(body, None),
            body => Tracked::new(body, Some(under_way)),
        })))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use hyper::client::conn::http2 as client;
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::clock::Clock;
    use crate::net::buffers::Buffers;

    struct Greeter;

    impl Handler for Greeter {
        type Answering = std::future::Ready<Response<Body>>;

        fn handle(&self, _: Request<Incoming>) -> Self::Answering {
            std::future::ready(Response::new(Body::full("good day")))
        }
    }

    fn limits() -> Arc<Limits> {
        Arc::new(Limits::of(&super::super::Settings {
            listen: Vec::new(),
            tls: None,
            workers: 1,
            max_connections: 1,
            header_read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            max_headers: 100,
            max_header_bytes: 16 * 1024,
            max_concurrent_streams: 10,
            drain_timeout: Duration::from_secs(10),
            buffers: Buffers::new(1 << 20),
        }))
    }

    /// Answers at once, and holds on to the request without reading its body.
    struct Hoarder(Mutex<Vec<Request<Incoming>>>);

    impl Handler for Hoarder {
        type Answering = std::future::Ready<Response<Body>>;

        fn handle(&self, request: Request<Incoming>) -> Self::Answering {
            self.0.lock().unwrap().push(request);
            std::future::ready(Response::new(Body::full("good day")))
        }
    }

    /// Serves a connection on which any version is spoken, and that is never closed for others.
    async fn served<H: Handler>(
        near: tokio::io::DuplexStream,
        handler: H,
        phases: watch::Receiver<Phase>,
    ) -> Result<(), BoxError> {
        serve(near, handler, Versions::Any, Standing::default(), limits(), phases, Severed::default()).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_a_body_when_a_connection_comes_to_rest_is_never_read_as_a_request() {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let (_phase, phases) = watch::channel(Phase::Serving);
        let hoarder = Hoarder(Mutex::default());
        let serving = tokio::spawn(served(near, hoarder, phases));
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let body = "5\r\nhello\r\n".repeat(50) + "0\r\n\r\n";
        far.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        far.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("good day"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        serving.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_connected_and_asked_nothing_is_no_error_and_holds_nothing_up_when_the_sidecar_stops() {
        for sent in ["", "GET / HTTP/1.1\r\nho", "PRI * HTTP/2.0\r\n"] {
            let (near, mut far) = tokio::io::duplex(1024);
            let (phase, phases) = watch::channel(Phase::Serving);
            let serving = tokio::spawn(served(near, Greeter, phases));
            far.write_all(sent.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            phase.send_replace(Phase::Draining);
            let told = Clock::system().now();
            assert_eq!(far.read(&mut [0; 10]).await.unwrap(), 0, "it is closed");
            // It has not closed its own side yet.
            serving.await.unwrap().unwrap();
            let took = Clock::system().now() - told;
            assert!(took < Duration::from_secs(1), "{sent:?}: {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_begins_http2_while_the_sidecar_stops_is_answered_and_sent_away() {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (_phase, phases) = watch::channel(Phase::Draining);
        let serving = tokio::spawn(served(near, Greeter, phases));
        // The order to stop comes before the first byte.
        tokio::task::yield_now().await;

        let (mut sender, connection) =
            client::handshake(TokioExecutor::new(), TokioIo::new(far)).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut answered = 0;
        while sender.ready().await.is_ok() {
            let request = Request::get("http://localhost/").body(Body::empty()).unwrap();
            match sender.try_send_request(request).await {
                Ok(answer) => assert_eq!(answer.status(), 200),
                Err(mut unsent) => {
                    assert!(unsent.take_message().is_some(), "a request was lost: {}", unsent.error());
                    break;
                }
            }
            answered += 1;
            assert!(answered < 100, "nobody tells the caller to go");
        }
        connection.await.unwrap().unwrap();
        // Who is told to go may be gone before the last word.
        let _ = serving.await.unwrap();
    }
}
