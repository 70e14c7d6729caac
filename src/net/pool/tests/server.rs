//! A server of HTTP/2 at the other end of a connection in memory.

use h2::server::{Builder, SendResponse};
use h2::{RecvStream, server};

use super::*;

pub(super) type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// A server's side of a connection, driven by a task; what it is asked comes out here.
pub(super) struct Server {
    pub(super) asked: UnboundedReceiver<Asked>,
    goes: Option<oneshot::Sender<()>>,
    pub(super) driving: JoinHandle<()>,
}

impl Server {
    /// A server that allows so many streams.
    pub(super) async fn on(wire: Wire, streams: u32) -> Self {
        let mut builder = Builder::new();
        builder.max_concurrent_streams(streams);
        let (asking, asked) = unbounded_channel();
        let (goes, mut going) = oneshot::channel();
        let driving = tokio::spawn(async move {
            let mut connection: server::Connection<_, Bytes> = builder.handshake(wire.0).await.unwrap();
            let mut stays = true;
            loop {
                tokio::select! {
                    _ = &mut going, if stays => {
                        stays = false;
                        connection.graceful_shutdown();
                    }
                    request = connection.accept() => match request {
                        Some(Ok(request)) => drop(asking.send(request)),
                        _ => return,
                    }
                }
            }
        });
        settle().await;
        Self { asked, goes: Some(goes), driving }
    }

    pub(super) async fn request(&mut self) -> Asked {
        settle().await;
        self.asked.try_recv().expect("a request comes")
    }

    pub(super) async fn answer(&mut self) {
        let (_, mut answering) = self.request().await;
        answer(&mut answering);
        settle().await;
    }

    pub(super) async fn is_asked_nothing(&mut self) -> bool {
        settle().await;
        self.asked.try_recv().is_err()
    }

    pub(super) async fn has_ended(&self) -> bool {
        settle().await;
        self.driving.is_finished()
    }

    /// Says that it takes no further request (GOAWAY).
    pub(super) async fn goes_away(&mut self) {
        self.goes.take().unwrap().send(()).unwrap();
        settle().await;
    }
}

pub(super) fn answer(answering: &mut SendResponse<Bytes>) {
    let mut body = answering.send_response(Response::new(()), false).unwrap();
    body.send_data(Bytes::from_static(b"{}"), true).unwrap();
}
