//! How many exchanges a server of HTTP/2 allows, and that it may change its mind.

use super::server::{Server, answer};
use super::*;
use crate::net::transport::TransportError::{Connect, NotProcessed};

/// A frame of SETTINGS that allows so many streams.
fn allowing(streams: u8) -> Vec<u8> {
    vec![0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams]
}

/// The head of an answer to the first request, which is all of it.
const ANSWER: [u8; 10] = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];

impl Wire {
    async fn say_bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_sent_to_a_server_that_allows_nothing_is_told_so_and_its_connections_end() {
    let mut street = Street::speaking(Limits { most_per_host: 1, ..LIMITS }, true);
    let asking: Vec<_> = (0..3).map(|_| street.ask(TLS_HOST)).collect();
    for _ in 0..2 {
        let mut wire = street.connection().await;
        wire.say_bytes(&allowing(0)).await;
        assert!(wire.has_ended().await);
    }
    for asking in asking {
        let error = asking.error().await;
        let Connect(why) = error else { panic!("{error:?}") };
        assert_eq!(why.to_string(), "the server allows no request on its connections");
    }
    assert_eq!(street.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_server_does_not_allow_goes_to_its_next_connection_as_it_was() {
    let mut street = Street::speaking(LIMITS, true);
    let asking = street.send(Request::put(format!("{TLS_HOST}/")).body(Body::full("body")).unwrap());
    street.connection().await.say_bytes(&allowing(0)).await;
    let mut server = Server::on(street.connection().await, 1).await;
    let (request, mut answering) = server.request().await;
    let mut body = request.into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "body");
    answer(&mut answering);
    assert_eq!(asking.text().await, "{}");
    drop((body, answering));
    // No room is taken by what was not sent, nor twice by what was.
    tokio::time::sleep(LIMITS.idle_timeout + Duration::from_secs(1)).await;
    assert!(server.has_ended().await);
    assert_eq!(street.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_allows_nothing_and_was_asked_says_so_itself() {
    let mut street = Street::speaking(LIMITS, true);
    let asking = street.ask(TLS_HOST);
    let wire = street.connection().await;
    settle().await;
    let server = Server::on(wire, 0).await;
    let error = asking.error().await;
    assert!(matches!(error, NotProcessed(_)), "{error:?}");
    assert!(server.has_ended().await);
    assert_eq!(street.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn where_a_server_allows_nothing_more_another_connection_is_made_and_the_first_ends_with_what_it_carries()
 {
    let mut street = Street::speaking(LIMITS, true);
    let first = street.ask(TLS_HOST);
    let mut wire = street.connection().await;
    settle().await;
    wire.say_bytes(&allowing(100)).await;
    wire.say_bytes(&allowing(0)).await;
    let second = street.ask(TLS_HOST);
    Server::on(street.connection().await, 100).await.answer().await;
    assert_eq!(second.text().await, "{}");
    assert!(!wire.has_ended().await);
    wire.say_bytes(&ANSWER).await;
    assert_eq!(first.head().await.unwrap().status(), 200);
    assert!(wire.has_ended().await);
    assert_eq!(street.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_is_allowed_any_more_ends_though_nobody_asks() {
    let mut street = Street::speaking(LIMITS, true);
    let asking = street.ask(TLS_HOST);
    let mut wire = street.connection().await;
    settle().await;
    wire.say_bytes(&allowing(100)).await;
    wire.say_bytes(&ANSWER).await;
    asking.head().await.unwrap();
    assert!(!wire.has_ended().await);
    wire.say_bytes(&allowing(0)).await;
    assert!(wire.has_ended().await);
    assert_eq!(street.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_server_allows_is_known_with_the_first_request() {
    let mut street = Street::speaking(LIMITS, true);
    let _first = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 1).await;
    let _under_way = server.request().await;
    let _second = street.ask(TLS_HOST);
    street.knock().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_as_soon_as_the_server_allows_more() {
    let mut street = Street::speaking(Limits { most_per_host: 1, ..LIMITS }, true);
    let _asking: Vec<_> = (0..3).map(|_| street.ask(TLS_HOST)).collect();
    let mut wire = street.connection().await;
    wire.say_bytes(&allowing(3)).await;
    let _late = (street.ask(TLS_HOST), street.ask(TLS_HOST));
    settle().await;
    assert_eq!(street.counts(), (1, 2));
    wire.say_bytes(&allowing(4)).await;
    assert_eq!(street.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_sent_goes_on_though_the_server_allows_no_other_meanwhile() {
    let mut street = Street::speaking(LIMITS, true);
    let asking = street.ask(TLS_HOST);
    let mut wire = street.connection().await;
    wire.say_bytes(&allowing(1)).await;
    let mut heard = [0; 4096];
    while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(1), wire.0.read(&mut heard)).await {}
    wire.say_bytes(&ANSWER).await;
    asking.head().await.unwrap();

    // In a task, it says so before anything else happens.
    let serving = tokio::spawn(async move {
        assert_ne!(wire.0.read(&mut heard).await.unwrap(), 0);
        wire.0.write_all(&allowing(0)).await.unwrap();
        wire
    });
    let asking = street.ask(TLS_HOST);
    let mut wire = serving.await.unwrap();
    settle().await;
    let mut answer = ANSWER;
    answer[8] = 3;
    wire.say_bytes(&answer).await;

    assert_eq!(asking.head().await.unwrap().status(), 200);
    assert!(wire.has_ended().await);
}
