//! Connections of HTTP/2, which many share.

use super::server::{Server, answer};
use super::*;
use crate::net::transport::TransportError::{Connect, Stale};

#[tokio::test(start_paused = true)]
async fn while_the_protocol_is_unknown_one_connection_is_made_and_it_serves_all() {
    let mut street = Street::speaking(LIMITS, true);
    let asking: Vec<_> = (0..50).map(|_| street.ask(TLS_HOST)).collect();
    let wire = street.connection().await;
    assert!(street.nobody_knocks().await);
    let mut server = Server::on(wire, 100).await;
    for asking in asking {
        server.answer().await;
        assert_eq!(asking.text().await, "{}");
    }
    assert!(street.nobody_knocks().await);
    assert_eq!(street.counts(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn where_the_first_connection_turns_out_to_be_of_http1_the_others_are_made_at_once() {
    let mut street = Street::of(LIMITS);
    let asking: Vec<_> = (0..3).map(|_| street.ask(TLS_HOST)).collect();
    let mut wires = vec![street.connection().await];
    wires.push(street.connection().await);
    wires.push(street.connection().await);
    for (asking, mut wire) in asking.into_iter().zip(wires) {
        wire.answer(FINE).await;
        assert_eq!(asking.text().await, "{}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_connection_that_cannot_be_made_fails_all_who_wait_for_it() {
    let mut street = Street::speaking(LIMITS, true);
    let asking: Vec<_> = (0..3).map(|_| street.ask(TLS_HOST)).collect();
    drop(street.knock().await);
    for asking in asking {
        let error = asking.error().await;
        assert!(matches!(error, Connect(_)), "{error:?}");
    }
    assert!(street.nobody_knocks().await);
    assert_eq!(street.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_the_server_allows_at_once_have_another_connection_made() {
    let mut street = Street::speaking(LIMITS, true);
    let first = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 2).await;
    let second = street.ask(TLS_HOST);
    settle().await;
    let (mut one, mut two) = (server.request().await, server.request().await);
    let third = street.ask(TLS_HOST);
    let mut other = Server::on(street.connection().await, 2).await;
    assert!(server.is_asked_nothing().await);
    other.answer().await;
    third.text().await;
    answer(&mut one.1);
    answer(&mut two.1);
    first.text().await;
    second.text().await;
    assert_eq!(street.counts(), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_burst_on_a_fresh_connection_is_no_more_than_any_server_should_allow() {
    let mut street = Street::speaking(LIMITS, true);
    let _asking: Vec<_> = (0..150).map(|_| street.ask(TLS_HOST)).collect();
    let _silent = street.connection().await;
    let _other = street.knock().await;
    assert_eq!(street.counts(), (2, 50));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_gets_it_when_an_exchange_ends() {
    let mut street = Street::speaking(Limits { most_per_host: 1, ..LIMITS }, true);
    let first = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 1).await;
    server.answer().await;
    first.text().await;
    // The limit is known now.
    let (second, third) = (street.ask(TLS_HOST), street.ask(TLS_HOST));
    let mut under_way = server.request().await;
    assert!(server.is_asked_nothing().await);
    answer(&mut under_way.1);
    second.text().await;
    server.answer().await;
    assert_eq!(third.text().await, "{}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_away_is_asked_nothing_more_and_answers_what_it_was_asked() {
    let mut street = Street::speaking(LIMITS, true);
    let under_way = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 100).await;
    let mut asked = server.request().await;
    server.goes_away().await;
    let next = street.ask(TLS_HOST);
    let mut other = Server::on(street.connection().await, 100).await;
    other.answer().await;
    assert_eq!(next.text().await, "{}");
    answer(&mut asked.1);
    assert_eq!(under_way.text().await, "{}");
    drop(asked);
    assert!(server.has_ended().await);
    assert_eq!(street.counts(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_is_given_up_resets_its_stream_and_nothing_else() {
    for comes_to_the_body in [false, true] {
        let mut street = Street::speaking(LIMITS, true);
        let gone = street.ask(TLS_HOST);
        let mut server = Server::on(street.connection().await, 100).await;
        let (_, mut answering) = server.request().await;
        let mut body = None;
        if comes_to_the_body {
            body = Some(answering.send_response(Response::new(()), false).unwrap());
            drop(gone.head().await.unwrap());
        } else {
            gone.leave().await;
        }
        settle().await;
        let reset = std::future::poll_fn(|cx| match &mut body {
            Some(body) => body.poll_reset(cx),
            None => answering.poll_reset(cx),
        });
        assert_eq!(reset.await.unwrap(), h2::Reason::CANCEL);
        let next = street.ask(TLS_HOST);
        server.answer().await;
        assert_eq!(next.text().await, "{}", "{comes_to_the_body}");
        assert_eq!(street.counts(), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_uses_ends_and_one_that_is_used_does_not() {
    let mut street = Street::speaking(LIMITS, true);
    let asking = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 100).await;
    let mut asked = server.request().await;
    tokio::time::sleep(LIMITS.idle_timeout * 2).await;
    assert!(!server.has_ended().await);
    answer(&mut asked.1);
    asking.text().await;
    drop(asked);
    tokio::time::sleep(LIMITS.idle_timeout * 24 / 25).await;
    assert!(!server.has_ended().await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(server.has_ended().await);
    assert_eq!(street.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_gets_too_old_carries_no_further_request_and_ends_what_it_carries() {
    let mut street = Street::speaking(LIMITS, true);
    let under_way = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 100).await;
    let mut asked = server.request().await;
    tokio::time::sleep(LIMITS.max_age * 2).await;
    let _next = street.ask(TLS_HOST);
    let _other = Server::on(street.connection().await, 100).await;
    assert!(server.is_asked_nothing().await);
    answer(&mut asked.1);
    assert_eq!(under_way.text().await, "{}");
    drop(asked);
    assert!(server.has_ended().await);
}

#[tokio::test(start_paused = true)]
async fn a_proven_connection_that_breaks_is_stale() {
    let mut street = Street::speaking(LIMITS, true);
    let first = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 100).await;
    server.answer().await;
    first.text().await;
    let second = street.ask(TLS_HOST);
    let _asked = server.request().await;
    server.driving.abort();
    let error = second.error().await;
    assert!(matches!(error, Stale(_)), "{error:?}");
    settle().await;
    assert_eq!(street.counts(), (0, 0));
}
