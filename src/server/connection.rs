//! One connection of a caller.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::conversation::serve;
use super::limits::Limits;
use super::listener::Stream;
use super::severable::{Severable, Severed};
use super::tls::{self, Tls};
use super::{Greet, Phase};
use crate::net::body::BoxError;
use crate::net::http1::Versions;
use crate::net::peer::Peer;
use crate::net::standing::Standing;
use crate::net::transport::BoxFuture;

/// How long a connection that has just come may take for its first request when the sidecar stops.
const GRACE: Duration = Duration::from_millis(250);

/// Serves a connection to its end, by the handler that `host` makes for who is at the other end. Each way of serving is
/// in a box of its own, so that a connection has only as much room as its own way needs: TLS needs several times what a
/// plain one at rest does.
pub(super) fn serve_stream<G: Greet>(
    stream: Stream,
    tls: Option<Arc<Tls>>,
    host: &G,
    standing: Standing,
    limits: Arc<Limits>,
    phases: watch::Receiver<Phase>,
) -> io::Result<BoxFuture<Result<(), BoxError>>> {
    let stream = match stream {
        Stream::Tcp(stream) => {
            // Answers are small and written whole; waiting for more to send would only delay them.
            stream.set_nodelay(true)?;
            tokio::net::TcpStream::from_std(stream)?
        }
        Stream::Unix(stream) => {
            let stream = tokio::net::UnixStream::from_std(stream)?;
            let peer = Peer { uid: Some(stream.peer_cred()?.uid()), ..Peer::default() };
            return Ok(Box::pin(serve(
                stream,
                host.greet(peer, standing.clone()),
                Versions::Any,
                standing,
                limits,
                phases,
                Severed::default(),
            )));
        }
    };
    let severed = Severed::default();
    let stream = Severable::new(stream, severed.clone());
    Ok(match tls {
        None => Box::pin(serve(
            stream,
            host.greet(Peer::default(), standing.clone()),
            Versions::Any,
            standing,
            limits,
            phases,
            severed,
        )),
        Some(tls) => Box::pin(serve_tls(stream, tls, host.clone(), standing, limits, phases, severed)),
    })
}

async fn serve_tls<G: Greet>(
    stream: Severable,
    tls: Arc<Tls>,
    host: G,
    standing: Standing,
    limits: Arc<Limits>,
    mut phases: watch::Receiver<Phase>,
    severed: Severed,
) -> Result<(), BoxError> {
    let handshake = Box::pin(tokio::time::timeout(limits.first_request, tls.acceptor().accept(stream)));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        () = stopping(&mut phases) => return Ok(()),
    };
    let Ok(Ok(stream)) = shaken else {
        // It has a counter of its own, and is no error of HTTP.
        tls.counts.failed.inc();
        return Ok(());
    };
    let (peer, versions) = (tls::peer(stream.get_ref().1), tls::versions(stream.get_ref().1));
    Box::pin(serve(stream, host.greet(peer, standing.clone()), versions, standing, limits, phases, severed))
        .await
}

/// Ends when the sidecar stops and a handshake that is under way has had its grace.
async fn stopping(phases: &mut watch::Receiver<Phase>) {
    let _ = phases.wait_for(|phase| *phase != Phase::Serving).await;
    tokio::time::sleep(GRACE).await;
}
