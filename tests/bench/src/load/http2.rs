//! The same over HTTP/2, without TLS and without asking first whether the peer speaks it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Want;
use super::closed::Tally;

/// Connections between which the requests are spread.
pub(crate) const CONNECTIONS: usize = 4;

/// Has this many requests under way for as long as that.
pub(crate) fn run(to: SocketAddr, streams: usize, want: &Want, span: Duration) -> Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) =
                h2::client::handshake(stream).await.context("the peer speaks no HTTP/2")?;
            // What ends a connection ends its requests, and they say so.
            tokio::spawn(async move { drop(connection.await) });
            for _ in 0..streams / CONNECTIONS {
                tasks.spawn(ask(sender.clone(), want.clone(), start + span));
            }
        }
        let mut answers = 0;
        while let Some(task) = tasks.join_next().await {
            answers += task.expect("whoever fails says so")?;
        }
        Ok(Tally { answers, took: start.elapsed() })
    })
}

async fn ask(mut sender: SendRequest<Bytes>, want: Want, end: Instant) -> Result<u64> {
    let uri: http::Uri = format!("http://localhost{}", want.path).parse()?;
    let request = Request::get(uri)
        .header("user-agent", "python-requests/2.32")
        .header("accept", "application/json")
        .header("accept-encoding", "gzip, deflate")
        .body(())?;
    let mut answers = 0;
    while Instant::now() < end {
        sender = sender.ready().await.context("the peer takes no more requests over HTTP/2")?;
        let (answer, _) = sender.send_request(request.clone(), true)?;
        let (head, mut body) = answer.await.context("a request over HTTP/2 was not answered")?.into_parts();
        let mut length = 0;
        while let Some(piece) = body.data().await {
            let piece = piece.context("an answer over HTTP/2 broke off")?;
            length += piece.len();
            body.flow_control().release_capacity(piece.len())?;
        }
        let status = head.headers.get("cache-status").map_or(&b""[..], |value| value.as_bytes());
        want.check(head.status.as_u16(), length, status)?;
        answers += 1;
    }
    Ok(answers)
}
