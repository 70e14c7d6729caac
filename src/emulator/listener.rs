//! The emulator on a port, HTTP/1.1 and HTTP/2 in the clear.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::door::Door;
use super::world::World;
use crate::net::body::Body;

/// An emulator on a port. Dropping it closes the port and every connection.
pub struct Listening {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Listening {
    /// The address, with the port that was really taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

pub(super) async fn listen(world: Arc<World>, address: SocketAddr, door: Door) -> std::io::Result<Listening> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let accepting = tokio::spawn(accept(listener, world, Arc::new(door)));
    Ok(Listening { address, accepting })
}

async fn accept(listener: TcpListener, world: Arc<World>, door: Arc<Door>) {
    // Dropped together with this task, it ends the connections.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // For want of file descriptors; those of ended connections come back.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(stream, Arc::clone(&world), Arc::clone(&door)));
    }
}

async fn serve(stream: TcpStream, world: Arc<World>, door: Arc<Door>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let (world, door) = (Arc::clone(&world), Arc::clone(&door));
        async move { door.answer(&world, request.map(Body::from)).await }
    });
    // An error is a broken connection: the script's doing, or the caller's.
    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
