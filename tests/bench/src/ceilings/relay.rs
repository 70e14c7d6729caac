//! The least that a relay of hyper's two halves can be: a server that hands each request to one of its client connections,
//! and the answer back. No credential, no route, no limit, no header taken out, no retry.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self as client, SendRequest};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// Connections to the origin that wait for a request.
type Idle = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

/// hyper on both sides, on one thread.
pub(super) fn relay(listener: std::net::TcpListener, http2: bool, origin: &str) -> Result<()> {
    let origin: SocketAddr = origin.parse().context("the origin has an address and a port")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    listener.set_nonblocking(true)?;
    LocalSet::new().block_on(&runtime, async move {
        let (listener, idle) = (TcpListener::from_std(listener)?, Idle::default());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let idle = Rc::clone(&idle);
            let service = service_fn(move |request| pass_on(request, origin, Rc::clone(&idle)));
            spawn_local(async move {
                let io = TokioIo::new(stream);
                // How a connection ends is the business of whoever made it.
                let _ = if http2 {
                    http2::Builder::new(Local).serve_connection(io, service).await
                } else {
                    http1::Builder::new().serve_connection(io, service).await
                };
            });
        }
    })
}

async fn pass_on(
    mut request: Request<Incoming>,
    origin: SocketAddr,
    idle: Idle,
) -> Result<Response<Incoming>> {
    let known = idle.borrow_mut().pop();
    let mut connection = match known {
        Some(connection) if !connection.is_closed() => connection,
        _ => connect(origin).await?,
    };
    connection.ready().await?;
    // hyper writes no host of its own.
    let host = origin.to_string().try_into()?;
    request.headers_mut().entry(http::header::HOST).or_insert(host);
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = path.clone().into();
    }
    *request.version_mut() = http::Version::HTTP_11;
    let response = connection.send_request(request).await?;
    // A long answer may still be on its way: whoever takes this connection next waits for its end.
    idle.borrow_mut().insert(0, connection);
    Ok(response)
}

async fn connect(origin: SocketAddr) -> Result<SendRequest<Incoming>> {
    let stream = TcpStream::connect(origin).await?;
    stream.set_nodelay(true)?;
    let (connection, driver) = client::handshake(TokioIo::new(stream)).await?;
    spawn_local(async move {
        let _ = driver.await;
    });
    Ok(connection)
}

/// Runs what HTTP/2 needs besides on this thread.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
