//! What makes place where places are scarce: what has rested longest, and no more than is wanted.

use super::server::{Server, answer};
use super::*;

const OTHER_HOST: &str = "http://127.0.0.1:9500";
const OTHER_TLS_HOST: &str = "https://accounts.zoho.test";

async fn which_ended(wires: &mut [Wire]) -> Vec<bool> {
    let mut ended = Vec::new();
    for wire in wires {
        ended.push(wire.has_ended().await);
    }
    ended
}

#[tokio::test(start_paused = true)]
async fn as_many_lines_end_as_place_is_wanted_for_and_those_that_have_rested_longest() {
    let mut street = Street::of(Limits { most: 4, ..LIMITS });
    let mut wires = street.all_rested(4).await;
    let _asking = (street.ask(OTHER_HOST), street.ask(OTHER_HOST));
    let _knocks = (street.knock().await, street.knock().await);
    assert_eq!(which_ended(&mut wires).await, [true, true, false, false]);
    assert_eq!(street.counts(), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn of_the_lines_that_come_free_together_as_many_end_as_place_is_wanted_for() {
    let mut street = Street::of(Limits { most: 3, ..LIMITS });
    let asking: Vec<_> = (0..3).map(|_| street.ask(HOST)).collect();
    let mut wires = vec![street.connection().await, street.connection().await, street.connection().await];
    for wire in &mut wires {
        assert!(wire.hears().await);
    }
    let _other = street.ask(OTHER_HOST);
    settle().await;
    for wire in &mut wires {
        wire.say(FINE).await;
    }
    for asking in asking {
        asking.text().await;
    }
    street.knock().await;
    let ended = which_ended(&mut wires).await;
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 1, "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unused_connection_of_http2_makes_place_for_another_host() {
    let mut street = Street::speaking(Limits { most: 1, ..LIMITS }, true);
    let asking = street.ask(TLS_HOST);
    let mut server = Server::on(street.connection().await, 100).await;
    server.answer().await;
    asking.text().await;
    let other = street.ask(OTHER_TLS_HOST);
    let mut other_server = Server::on(street.connection().await, 100).await;
    assert!(server.has_ended().await);
    other_server.answer().await;
    assert_eq!(other.text().await, "{}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_http2_makes_place_once_all_it_carried_has_ended_and_not_before() {
    let mut street = Street::speaking(Limits { most: 1, ..LIMITS }, true);
    let (one, two) = (street.ask(TLS_HOST), street.ask(TLS_HOST));
    let mut server = Server::on(street.connection().await, 100).await;
    let mut last = server.request().await;
    server.answer().await;
    let other = street.ask(OTHER_TLS_HOST);
    assert!(street.nobody_knocks().await);
    two.text().await;
    assert!(street.nobody_knocks().await);
    answer(&mut last.1);
    one.text().await;
    drop(last);
    Server::on(street.connection().await, 100).await.answer().await;
    assert_eq!(other.text().await, "{}");
    assert!(server.has_ended().await);
}

#[tokio::test(start_paused = true)]
async fn lines_and_connections_of_http2_make_place_in_the_order_in_which_they_came_to_rest() {
    for line_is_first in [true, false] {
        let mut street = Street::speaking(Limits { most: 2, ..LIMITS }, true);
        let mut line = None;
        if line_is_first {
            line = Some(street.rested().await);
        }
        let asking = street.ask(TLS_HOST);
        let mut server = Server::on(street.connection().await, 100).await;
        server.answer().await;
        asking.text().await;
        let mut line = match line {
            Some(line) => line,
            None => street.rested().await,
        };
        let _other = street.ask(OTHER_HOST);
        street.knock().await;
        assert_eq!(line.has_ended().await, line_is_first);
        assert_eq!(server.has_ended().await, !line_is_first);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_connections_of_http2_rest_than_may() {
    for most in [2, 0] {
        let mut street = Street::speaking(Limits { max_idle: most, ..LIMITS }, true);
        let (mut asking, mut servers) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            asking.push(street.ask(TLS_HOST));
            let mut server = Server::on(street.connection().await, 1).await;
            servers.push((server.request().await, server));
        }
        assert_eq!(street.counts(), (4, 0));
        for (asked, _) in &mut servers {
            answer(&mut asked.1);
        }
        for asking in asking {
            asking.text().await;
        }
        settle().await;
        assert_eq!(street.counts(), (most, 0));
    }
}
