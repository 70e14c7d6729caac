//! Answers of HTTP/2 that come while the request is still being sent.

use super::server::{Asked, Server, answer};
use super::*;

/// A body that ends, without a byte, when it is told so.
struct Until(oneshot::Receiver<()>);

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = oneshot::error::RecvError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll(cx).map(|told| told.err().map(Err))
    }
}

impl Street {
    fn upload(&self) -> (Asking, oneshot::Sender<()>) {
        let (ends, end) = oneshot::channel();
        let request = Request::put(format!("{TLS_HOST}/")).body(Body::stream(Until(end))).unwrap();
        (self.send(request), ends)
    }

    /// A connection with room for one exchange, and an upload on it that has its answer and goes on.
    async fn answered_early(&mut self) -> (Server, Asked, oneshot::Sender<()>) {
        let first = self.ask(TLS_HOST);
        let mut server = Server::on(self.connection().await, 1).await;
        server.answer().await;
        first.text().await;
        let (asking, ends) = self.upload();
        let mut asked = server.request().await;
        answer(&mut asked.1);
        assert_eq!(asking.text().await, "{}");
        settle().await;
        (server, asked, ends)
    }

    /// Whether the next request goes to this server.
    async fn asks(&mut self, server: &mut Server) -> bool {
        let asking = self.ask(TLS_HOST);
        settle().await;
        let asked = server.asked.try_recv();
        if let Ok((_, mut answering)) = asked {
            answer(&mut answering);
            asking.text().await;
            return true;
        }
        asking.leave().await;
        false
    }
}

#[tokio::test(start_paused = true)]
async fn an_exchange_whose_answer_came_early_takes_room_until_the_request_is_sent() {
    let mut street = Street::speaking(LIMITS, true);
    let (mut server, _asked, ends) = street.answered_early().await;
    assert!(!street.asks(&mut server).await);
    street.knock().await;
    ends.send(()).unwrap();
    settle().await;
    assert!(street.asks(&mut server).await);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_rest_the_server_does_not_want_takes_no_room_any_more() {
    let mut street = Street::speaking(LIMITS, true);
    let (mut server, mut asked, mut ends) = street.answered_early().await;
    asked.1.send_reset(h2::Reason::NO_ERROR);
    settle().await;
    assert!(ends.is_closed());
    ends.closed().await;
    assert!(street.asks(&mut server).await);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_breaks_off_takes_no_room_any_more() {
    let mut street = Street::speaking(LIMITS, true);
    let (mut server, _asked, ends) = street.answered_early().await;
    drop(ends);
    settle().await;
    assert!(street.asks(&mut server).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_rests_once_the_request_is_sent_and_not_with_the_answer() {
    let mut street = Street::speaking(LIMITS, true);
    let (server, asked, ends) = street.answered_early().await;
    tokio::time::sleep(LIMITS.idle_timeout * 2).await;
    assert!(!server.has_ended().await);
    ends.send(()).unwrap();
    drop(asked);
    tokio::time::sleep(LIMITS.idle_timeout * 24 / 25).await;
    assert!(!server.has_ended().await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(server.has_ended().await);
}
