//! The admin listener's connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::{ServiceBuilder, service_fn};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::slots::{Slot, Slots, Source, TooMany};
use super::{Access, Admin, Page, guard, json_answer};
use crate::net::body::{Body, BoxError};
use crate::net::patient::Patient;
use crate::server::descriptors;
use crate::server::listener::{Listener, Stream};
use crate::supervisor::{Heartbeat, Supervisor, Thread, caught};

/// Longer than any page takes.
const TIMEOUT: Duration = Duration::from_secs(10);
/// No page takes a body.
const BODY_LIMIT: usize = 16 * 1024;
/// How much of its responses a connection may leave unread in the kernel, and as much again in the process. By default the
/// kernel holds megabytes: some hundred connections that read nothing could use up its memory for TCP, which slows down all
/// connections of the machine, probes too.
const SEND_BUFFER: usize = 64 * 1024;
/// How long accepting rests when the process has no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// The admin pages, served on a thread of their own.
pub struct Serving {
    stop: watch::Sender<()>,
    thread: Thread,
    heartbeat: Heartbeat,
    supervisor: Supervisor,
}

/// Serves the admin pages on a thread of their own: a worker or a main task that is stuck does not keep `/livez` from
/// saying so. After a panic the same socket is served again.
pub fn start(
    listener: Listener,
    admin: Arc<Admin>,
    access: Access,
    supervisor: &Supervisor,
) -> io::Result<Serving> {
    keep_serving(listener, supervisor, move |listener| serve(listener, admin.clone(), access.clone()))
}

/// Runs `serve` on the thread `admin`, and again after each panic, on a new runtime and with the same socket.
fn keep_serving<Fut: Future<Output = ()>>(
    listener: Listener,
    supervisor: &Supervisor,
    serve: impl Fn(Listener) -> Fut + Clone + Send + 'static,
) -> io::Result<Serving> {
    let (stop, stopped) = watch::channel(());
    let listener = Arc::new(listener);
    let (thread, heartbeat) = supervisor.runtime_thread("admin", move || {
        let (listener, mut stopped, serve) = (listener.clone(), stopped.clone(), serve.clone());
        async move {
            tokio::select! {
                () = async { serve(here(&listener).await).await } => {}
                _ = stopped.changed() => {}
            }
        }
    })?;
    Ok(Serving { stop, thread, heartbeat, supervisor: supervisor.clone() })
}

impl Serving {
    /// Closes the listener and all its connections, and waits for that.
    pub async fn end(self) {
        let Self { stop, thread, heartbeat, supervisor } = self;
        drop(stop);
        // The error case is a panic of the waiting, which has been logged.
        let _ = supervisor.blocking("admin-end", move || thread.join()).await;
        drop(heartbeat);
    }
}

/// The listener on this thread's runtime.
async fn here(listener: &Listener) -> Listener {
    loop {
        match listener.here() {
            Ok(listener) => return listener,
            Err(error) => refused(&error).await,
        }
    }
}

async fn refused(error: &io::Error) {
    tracing::warn!(error = error as &dyn std::error::Error, "an admin connection cannot be accepted");
    tokio::time::sleep(PAUSE).await;
}

async fn serve(listener: Listener, admin: Arc<Admin>, access: Access) {
    let (mut connections, slots) = (JoinSet::new(), Slots::of(descriptors::admin_connections()));
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok(stream) => {
                let slot = slots.open(Source::of(&stream));
                let answering = Box::pin(answer(stream, admin.clone(), access.clone(), slot));
                let supervisor = admin.supervisor.clone();
                connections.spawn(async move {
                    let ended = caught(answering).await;
                    let _ = ended.inspect_err(|panicked| supervisor.note_panic("admin-connection", panicked));
                });
                // A head that is there already is read before further newcomers could evict its connection.
                tokio::task::yield_now().await;
            }
            Err(error) => refused(&error).await,
        }
    }
}

async fn answer(stream: Stream, admin: Arc<Admin>, access: Access, slot: Slot) {
    // A connection that breaks is the asker's trouble.
    let _ = match stream {
        Stream::Tcp(stream) => match with_short_buffer(stream).and_then(tokio::net::TcpStream::from_std) {
            Ok(stream) => serve_in(slot, stream, admin, access).await,
            Err(error) => Err(error.into()),
        },
        Stream::Unix(stream) => match tokio::net::UnixStream::from_std(stream) {
            Ok(stream) => serve_in(slot, stream, admin, access).await,
            Err(error) => Err(error.into()),
        },
    };
}

fn with_short_buffer(stream: std::net::TcpStream) -> io::Result<std::net::TcpStream> {
    SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER)?;
    Ok(stream)
}

/// Serves one connection to its end.
pub async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    admin: Arc<Admin>,
    access: Access,
) -> Result<(), BoxError> {
    serve_in(Slots::default().open(Source::Local), stream, admin, access).await
}

/// Serves a connection that has this slot, to its end or until it has to make room for another.
async fn serve_in(
    slot: Slot,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    admin: Arc<Admin>,
    access: Access,
) -> Result<(), BoxError> {
    let slot = Arc::new(slot);
    let own = slot.clone();
    let header = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::overriding(HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let service = ServiceBuilder::new()
        .layer(SetResponseHeaderLayer::overriding(CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .layer(header("x-content-type-options", "nosniff"))
        .layer(header("content-security-policy", "default-src 'none'; frame-ancestors 'none'"))
        .layer(RequestBodyLimitLayer::new(BODY_LIMIT))
        .service(service_fn(move |request: Request<_>| {
            let (admin, access, slot) = (admin.clone(), access.clone(), slot.clone());
            async move {
                slot.begin(&request);
                // Each connection answers one request in its turn: pipelined ones would keep probes of others waiting.
                tokio::task::yield_now().await;
                let answer = answer_in(&slot, admin, access, request).await;
                Ok::<_, std::convert::Infallible>(answer)
            }
        }));
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIMEOUT)
        .max_buf_size(SEND_BUFFER)
        .serve_connection(
            TokioIo::new(Patient::new(stream, TIMEOUT)),
            TowerToHyperService::new(into_incoming(service)),
        );
    tokio::select! {
        biased;
        served = serving => Ok(served?),
        () = own.evicted() => Ok(()),
    }
}

/// Answers a request on the connection that has this slot.
async fn answer_in<B>(slot: &Slot, admin: Arc<Admin>, access: Access, request: Request<B>) -> Response<Body>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    let (head, body) = request.into_parts();
    let head = Request::from_parts(head, ());
    // Nobody evicts who has shown the token, not even while it is looked at, which may take a file's time.
    if guard::shows_last_token(&head, &access) && slot.handle().is_err() {
        discard(&admin, body);
        slot.end(true);
        return busy();
    }
    let page = match admin.page(&head, &access).await {
        Ok(page) => page,
        Err(refused) => {
            discard(&admin, body);
            slot.end(false);
            return refused;
        }
    };
    let answer = answer_page(slot, &admin, page, body).await;
    slot.end(access.token.is_some() && !page.is_public());
    answer
}

/// Reads the body where it matters, which the layers have bounded, and answers. A purge of many entries takes its time,
/// so that only the client's part has a limit.
async fn answer_page<B>(slot: &Slot, admin: &Arc<Admin>, page: Page, body: B) -> Response<Body>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    let body = if page == Page::Purge {
        match tokio::time::timeout(TIMEOUT, body.collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return empty(StatusCode::PAYLOAD_TOO_LARGE),
            Err(_) => return empty(StatusCode::REQUEST_TIMEOUT),
        }
    } else {
        discard(admin, body);
        Bytes::new()
    };
    // A purge takes long, and has a queue of its own.
    let turn = if page.is_public() || page == Page::Purge { None } else { slot.turn().await };
    if !page.is_public()
        && let Err(TooMany) = slot.handle()
    {
        return busy();
    }
    // A task of its own: a purge that was begun goes on to its end when its asker is gone.
    let (supervisor, admin) = (admin.supervisor.clone(), admin.clone());
    let answering = async move { admin.show(page, &body).await };
    let answered = supervisor.detached("admin-request", answering).await;
    drop(turn);
    answered.unwrap_or_else(|_| {
        let error = json!({ "error": "the sidecar met a defect of its own; the log has the details" });
        json_answer(StatusCode::INTERNAL_SERVER_ERROR, &error)
    })
}

/// Reads what is left of a body beside the answer, which does not wait for it. If it were left unread, closing the
/// connection could take the answer from the client.
fn discard<B>(admin: &Admin, body: B)
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    if body.is_end_stream() {
        return;
    }
    admin.supervisor.once("admin-body", async move {
        let mut body = Box::pin(body);
        let reading = async { while let Some(Ok(_)) = body.frame().await {} };
        let _ = tokio::time::timeout(TIMEOUT, reading).await;
    });
}

fn busy() -> Response<Body> {
    let error = json!({ "error": "too many requests are being handled; try again in a moment" });
    let mut answer = json_answer(StatusCode::SERVICE_UNAVAILABLE, &error);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// Says which requests the service is for; the compiler cannot find it out through the layers.
fn into_incoming<S: tower::Service<Request<Incoming>>>(service: S) -> S {
    service
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clock::Clock;
    use crate::server::address::Address;
    use crate::supervisor::TaskMetrics;

    /// Sends the number of the run to a connection.
    async fn send_number(listener: &Listener, run: usize) {
        match listener.accept().await.unwrap() {
            Stream::Tcp(mut stream) => write!(stream, "{run}").unwrap(),
            Stream::Unix(mut stream) => write!(stream, "{run}").unwrap(),
        }
    }

    fn number_from(address: &Address) -> String {
        let mut read = String::new();
        match address {
            Address::Tcp(tcp) => std::net::TcpStream::connect(tcp).unwrap().read_to_string(&mut read),
            Address::Unix(path) => {
                std::os::unix::net::UnixStream::connect(path).unwrap().read_to_string(&mut read)
            }
            Address::Tls(_) => unreachable!("the admin listener speaks no TLS"),
        }
        .unwrap();
        read
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn after_a_panic_the_same_socket_is_served_on_a_new_runtime() {
        let directory = tempfile::tempdir().unwrap();
        let unix = Address::Unix(directory.path().join("admin"));
        for address in ["127.0.0.1:0".parse().unwrap(), unix] {
            let metrics = TaskMetrics::default();
            let supervisor = Supervisor::new(Clock::system(), metrics.clone());
            let listener = Listener::bind(&address).unwrap_or_else(|error| panic!("{error}"));
            let address = listener.address();
            let runs = Arc::new(AtomicUsize::new(0));
            let serving = keep_serving(listener, &supervisor, move |listener| {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                async move {
                    send_number(&listener, run).await;
                    assert!(run > 0, "a defect, on purpose");
                    send_number(&listener, run).await;
                    std::future::pending::<()>().await;
                }
            });
            let serving = serving.unwrap();
            // The second connects while nothing accepts, and is served after the restart.
            let asked = address.clone();
            let asking = move || [number_from(&asked), number_from(&asked), number_from(&asked)];
            let asking = tokio::task::spawn_blocking(asking);
            let numbers = tokio::time::timeout(Duration::from_secs(60), asking).await.unwrap().unwrap();
            assert_eq!(numbers, ["0", "1", "1"], "{address}");
            assert_eq!((metrics.panics("admin"), metrics.restarts("admin")), (1, 1));
            serving.end().await;
            if let Address::Unix(path) = address {
                assert!(!path.exists(), "the socket's file goes with the original");
            }
        }
    }
}
