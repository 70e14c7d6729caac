//! Requests that the server says it has not processed, and what may be sent again where.

use h2::Reason;

use super::server::{Asked, Server, answer};
use super::*;
use crate::net::transport::FirstOnConnection;
use crate::net::transport::TransportError::{Broken, NotProcessed};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// The server's side of a connection of HTTP/2 on which a test writes frames by hand.
struct Frames(Wire);

impl Frames {
    async fn on(wire: Wire) -> Self {
        let mut frames = Self(wire);
        frames.say(SETTINGS, 0, &[]).await;
        let mut preface = [0; 24];
        frames.0.0.read_exact(&mut preface).await.unwrap();
        frames
    }

    async fn say(&mut self, kind: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat();
        self.0.0.write_all(&frame).await.unwrap();
    }

    /// Says that it goes away, and which stream is the last that it may process.
    async fn goes_away(&mut self, last: u32, reason: Reason) {
        self.say(GOAWAY, 0, &[last.to_be_bytes(), u32::from(reason).to_be_bytes()].concat()).await;
    }

    async fn resets(&mut self, stream: u32, reason: Reason) {
        self.say(RST_STREAM, stream, &u32::from(reason).to_be_bytes()).await;
    }

    /// The stream of the next request.
    async fn request(&mut self) -> u32 {
        loop {
            let mut head = [0; 9];
            self.0.0.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            self.0.0.read_exact(&mut vec![0; length]).await.unwrap();
            if head[3] == HEADERS {
                return u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            }
        }
    }
}

/// A request that wants to be first on a new connection.
fn first() -> Request<Body> {
    let mut request = Request::post(format!("{TLS_HOST}/")).body(Body::empty()).unwrap();
    request.extensions_mut().insert(FirstOnConnection);
    request
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_the_server_refuses_was_not_processed() {
    let mut street = Street::speaking(LIMITS, true);
    let asking = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 100).await;
    let (_, mut answering) = server.request().await;
    answering.send_reset(Reason::REFUSED_STREAM);
    let error = asking.error().await;
    assert!(matches!(error, NotProcessed(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_beyond_the_last_of_a_goaway_was_not_processed_whatever_its_reason() {
    for reason in [Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM, Reason::INTERNAL_ERROR] {
        let mut street = Street::speaking(LIMITS, true);
        let asking = street.ask(TLS_HOST);
        let mut server = Frames::on(street.connection().await).await;
        assert_eq!(server.request().await, 1);
        server.goes_away(0, reason).await;
        drop(server);
        let error = asking.error().await;
        assert!(matches!(error, NotProcessed(_)), "{reason:?}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_goaway_for_all_streams_and_then_one_for_those_that_are_processed_tells_them_apart() {
    let mut street = Street::speaking(LIMITS, true);
    let (processed, not_processed) = (street.ask(TLS_HOST), street.ask(TLS_HOST));
    let mut server = Frames::on(street.connection().await).await;
    server.request().await;
    server.request().await;
    server.goes_away(u32::MAX >> 1, Reason::NO_ERROR).await;
    server.goes_away(1, Reason::NO_ERROR).await;
    settle().await;
    drop(server);
    let error = not_processed.error().await;
    assert!(matches!(error, NotProcessed(_)), "{error:?}");
    let error = processed.error().await;
    assert!(matches!(error, Broken(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_reset_for_any_other_reason_may_have_been_processed() {
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM, Reason::STREAM_CLOSED] {
        let mut street = Street::speaking(LIMITS, true);
        let asking = street.ask(TLS_HOST);
        let mut server = Frames::on(street.connection().await).await;
        let stream = server.request().await;
        server.resets(stream, reason).await;
        let error = asking.error().await;
        assert!(matches!(error, Broken(_)), "{reason:?}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_before_any_request_costs_none() {
    let mut street = Street::speaking(LIMITS, true);
    let asking = street.send(Request::post(format!("{TLS_HOST}/")).body(Body::full("made up")).unwrap());
    let mut wire = street.connection().await;
    settle().await;
    wire.0.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await.unwrap();
    wire.0.write_all(&[0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
    drop(wire);
    let error = asking.error().await;
    assert!(matches!(error, NotProcessed(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_requires_http1_gets_it_on_the_next_connection() {
    let mut street = Street::speaking(LIMITS, true);
    let asking = street.ask(TLS_HOST);
    let mut server = Frames::on(street.connection().await).await;
    let stream = server.request().await;
    server.resets(stream, Reason::HTTP_1_1_REQUIRED).await;
    let error = asking.error().await;
    assert!(matches!(error, NotProcessed(_)), "{error:?}");

    let next = street.ask(TLS_HOST);
    street.connection().await.answer(FINE).await;

    assert_eq!(next.text().await, "{}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_a_request_was_misdirected_carries_no_other() {
    let mut street = Street::speaking(LIMITS, true);
    let asking = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 100).await;
    let (_, mut answering) = server.request().await;
    answering.send_response(Response::builder().status(421).body(()).unwrap(), true).unwrap();
    assert_eq!(asking.head().await.unwrap().status(), 421);

    let next = street.ask(TLS_HOST);
    Server::on(street.connection().await, 100).await.answer().await;

    assert_eq!(next.text().await, "{}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_wants_to_be_first_gets_a_new_connection_and_others_the_room_that_is_left() {
    let mut street = Street::speaking(LIMITS, true);
    let under_way = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 2).await;
    let _asked: Asked = server.request().await;

    let one = street.send(first());
    let other = street.send(first());
    let any = street.ask(TLS_HOST);
    let mut asked = server.request().await;
    answer(&mut asked.1);
    assert_eq!(any.text().await, "{}", "there was room for it");

    for asking in [one, other] {
        let mut server = Server::on(street.connection().await, 100).await;
        let (request, mut answering) = server.request().await;
        assert_eq!(request.method(), "POST");
        assert!(server.is_asked_nothing().await);
        answer(&mut answering);
        assert_eq!(asking.text().await, "{}");
    }
    under_way.leave().await;
}

#[tokio::test(start_paused = true)]
async fn where_no_new_connection_may_be_made_a_request_that_wants_to_be_first_takes_any() {
    let mut street = Street::speaking(Limits { most_per_host: 1, ..LIMITS }, true);
    let asking = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 2).await;
    server.answer().await;
    asking.text().await;
    let first = street.send(first());
    server.answer().await;
    assert_eq!(first.text().await, "{}");
}
