//! Connections over a suspension of the machine: those from before it carry no further request.

use std::time::UNIX_EPOCH;

use super::server::{Server, answer};
use super::*;

/// Shorter than a connection may rest, so that only the suspension ends it.
const SUSPENDED: Duration = Duration::from_secs(10);

fn clock() -> Clock {
    Clock::simulated(UNIX_EPOCH + Duration::from_hours(24))
}

#[tokio::test(start_paused = true)]
async fn idle_http1_connections_from_before_a_suspension_are_closed_and_not_used() {
    let clock = clock();
    let mut street = Street::under(clock.clone(), LIMITS, false);
    let mut before = street.all_rested(2).await;
    clock.suspend(SUSPENDED);

    let asking = street.ask(HOST);
    let mut after = street.connection().await;
    after.answer(FINE).await;

    assert_eq!(asking.text().await, "{}");
    for wire in &mut before {
        assert!(!wire.hears().await);
        assert!(wire.has_ended().await);
    }
    assert_eq!(street.counts(), (1, 0));
    street.exchange_on(&mut after).await;
}

#[tokio::test(start_paused = true)]
async fn an_http2_connection_from_before_a_suspension_gets_no_further_request_and_ends_what_it_carries() {
    let clock = clock();
    let mut street = Street::under(clock.clone(), LIMITS, true);
    let under_way = street.ask(TLS_HOST);
    let mut before = Server::on(street.connection().await, 100).await;
    let mut asked = before.request().await;
    clock.suspend(SUSPENDED);

    let next = street.ask(TLS_HOST);
    let mut after = Server::on(street.connection().await, 100).await;
    after.answer().await;

    assert_eq!(next.text().await, "{}");
    assert!(before.is_asked_nothing().await);
    answer(&mut asked.1);
    assert_eq!(under_way.text().await, "{}");
    drop(asked);
    assert!(before.has_ended().await);
}

#[tokio::test(start_paused = true)]
async fn an_http1_exchange_over_a_suspension_ends_well_and_its_connection_is_not_kept() {
    let clock = clock();
    let mut street = Street::under(clock.clone(), LIMITS, false);
    let under_way = street.ask(HOST);
    let mut before = street.connection().await;
    assert!(before.hears().await);
    clock.suspend(SUSPENDED);
    let next = street.ask(HOST);
    let mut after = street.connection().await;
    after.answer(FINE).await;
    next.text().await;

    before.say(FINE).await;

    assert_eq!(under_way.text().await, "{}");
    assert!(before.has_ended().await);
    street.exchange_on(&mut after).await;
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_when_a_suspension_is_noticed_without_a_request() {
    let clock = clock();
    let watching = tokio::spawn({
        let clock = clock.clone();
        async move { clock.watch_suspensions(clock.moment()).await }
    });
    for is_http2 in [false, true] {
        let mut street = Street::under(clock.clone(), LIMITS, is_http2);
        let host = if is_http2 { TLS_HOST } else { HOST };
        let asking = street.ask(host);
        let mut wire = street.connection().await;
        let (_server, _wire) = if is_http2 {
            let mut server = Server::on(wire, 100).await;
            server.answer().await;
            (Some(server), None)
        } else {
            wire.answer(FINE).await;
            (None, Some(wire))
        };
        asking.text().await;
        settle().await;
        assert_eq!(street.counts(), (1, 0), "{host}");
        clock.suspend(SUSPENDED);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(street.counts(), (0, 0), "{host}");
    }
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn connections_stay_when_the_machine_was_not_suspended() {
    let clock = clock();
    let mut street = Street::under(clock.clone(), LIMITS, false);
    let mut wire = street.rested().await;
    tokio::time::sleep(LIMITS.idle_timeout / 2).await;
    clock.step_wall(7_200_000);
    street.exchange_on(&mut wire).await;
}
