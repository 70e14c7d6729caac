//! Connections of HTTP/1: which is taken, how long one is kept, and what an error is called.

use super::*;
use crate::net::transport::TransportError::{Broken, NotProcessed, Stale};

#[tokio::test(start_paused = true)]
async fn the_line_that_rested_last_is_taken_first() {
    let mut street = Street::of(LIMITS);
    let (one, other) = (street.ask(HOST), street.ask(HOST));
    let (mut first, mut second) = (street.connection().await, street.connection().await);
    second.answer(FINE).await;
    first.answer(FINE).await;
    one.text().await;
    other.text().await;
    settle().await;

    for _ in 0..3 {
        street.exchange_on(&mut first).await;
    }

    assert!(!second.hears().await);
}

#[tokio::test(start_paused = true)]
async fn a_line_rests_for_as_long_as_it_may_and_no_longer() {
    let mut street = Street::of(LIMITS);
    let mut wire = street.rested().await;
    tokio::time::sleep(LIMITS.idle_timeout * 24 / 25).await;
    street.exchange_on(&mut wire).await;
    tokio::time::sleep(LIMITS.idle_timeout * 24 / 25).await;
    assert!(!wire.has_ended().await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(wire.has_ended().await);
    assert_eq!(street.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_more_lines_rest_than_may_and_none_where_none_may() {
    for most in [2, 0] {
        let mut street = Street::of(Limits { max_idle: most, ..LIMITS });
        let _wires = street.all_rested(5).await;
        assert_eq!(street.counts(), (most, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn lines_that_were_made_together_end_at_their_age_and_not_together() {
    let mut street = Street::of(Limits { idle_timeout: LIMITS.max_age * 2, max_idle: 8, ..LIMITS });
    let _wires = street.all_rested(8).await;
    let mut left = Vec::new();
    for _ in 0..4 {
        tokio::time::sleep(LIMITS.max_age / 16).await;
        left.push(street.counts().0);
    }
    assert_eq!(left, [8; 4], "within half of its age none ends");
    tokio::time::sleep(LIMITS.max_age * 5 / 8).await;
    let most = street.counts().0;
    assert!((1..8).contains(&most), "seven eighths: some have ended, some have not: {most}");
    tokio::time::sleep(LIMITS.max_age / 8).await;
    assert_eq!(street.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_line_that_gets_too_old_under_an_exchange_is_not_broken_off_and_not_kept() {
    let mut street = Street::of(LIMITS);
    let asking = street.ask(HOST);
    let mut wire = street.connection().await;
    assert!(wire.hears().await);
    tokio::time::sleep(LIMITS.max_age * 2).await;
    wire.say(FINE).await;
    assert_eq!(asking.text().await, "{}");
    assert!(wire.has_ended().await);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_the_server_has_ended_is_not_taken() {
    for settles in [true, false] {
        let mut street = Street::of(LIMITS);
        let wire = street.rested().await;
        drop(wire);
        if settles {
            settle().await;
        }
        // Even if nobody has looked yet, nothing of the request was sent there.
        let asking = street.ask(HOST);
        street.connection().await.answer(FINE).await;
        assert_eq!(asking.text().await, "{}", "{settles}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_not_sent_goes_out_on_another_line_as_it_was() {
    let mut street = Street::of(LIMITS);
    drop(street.rested().await);
    let request = Request::post(format!("{HOST}/crm?a=%2F")).body(Body::full("body")).unwrap();
    let asking = street.send(request);
    let mut wire = street.connection().await;
    settle().await;
    let mut heard = [0; 200];
    let length = wire.0.read(&mut heard).await.unwrap();
    let heard = String::from_utf8_lossy(&heard[..length]).into_owned();
    assert!(heard.starts_with("POST /crm?a=%2F HTTP/1.1\r\n") && heard.ends_with("\r\n\r\nbody"), "{heard}");
    assert_eq!(heard.matches("host: 127.0.0.1:9400\r\n").count(), 1, "{heard}");
    wire.say(FINE).await;
    assert_eq!(asking.text().await, "{}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_connection_at_once_is_tried_twice() {
    let mut street = Street::of(LIMITS);
    let asking = street.ask(HOST);
    drop(street.connection().await);
    drop(street.connection().await);
    let error = asking.error().await;
    assert!(matches!(error, NotProcessed(_)), "{error:?}");
    assert!(street.nobody_knocks().await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_so_ends_its_line_with_the_answer() {
    for said in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    ] {
        let mut street = Street::of(LIMITS);
        let asking = street.ask(HOST);
        let mut wire = street.connection().await;
        wire.answer(said).await;
        assert_eq!(asking.text().await, "{}");
        assert!(wire.has_ended().await, "{said}");
        let _next = street.ask(HOST);
        street.connection().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_only_stops_speaking_has_given_its_answer() {
    let mut street = Street::of(LIMITS);
    let asking = street.ask(HOST);
    let mut wire = street.connection().await;
    wire.answer("HTTP/1.1 200 OK\r\n\r\n{}").await;
    wire.0.shutdown().await.unwrap();
    assert_eq!(asking.text().await, "{}");
    assert!(wire.has_ended().await);
}

#[tokio::test(start_paused = true)]
async fn interim_answers_are_none() {
    let mut street = Street::of(LIMITS);
    let asking = street.ask(HOST);
    let mut wire = street.connection().await;
    wire.answer("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n").await;
    wire.say(FINE).await;
    assert_eq!(asking.text().await, "{}");
    street.exchange_on(&mut wire).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_before_the_request_was_sent_is_the_answer_and_the_line_is_not_taken_meanwhile()
{
    let mut street = Street::of(LIMITS);
    let asking = street.send(Request::put(format!("{HOST}/")).body(Body::stream(NeverComes)).unwrap());
    let mut wire = street.connection().await;
    wire.answer("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}").await;
    let answer = asking.head().await.unwrap();
    assert_eq!(answer.status(), 413);
    answer.into_body().collect().await.unwrap();

    let _other = street.ask(HOST);

    street.connection().await;
}

/// A body of which nothing comes, and which has not ended.
struct NeverComes;

impl http_body::Body for NeverComes {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_kept_line_that_breaks_without_an_answer_is_stale() {
    let mut street = Street::of(LIMITS);
    let fresh = street.ask(HOST);
    let mut wire = street.connection().await;
    assert!(wire.hears().await);
    drop(wire);
    let error = fresh.error().await;
    assert!(matches!(error, Broken(_)), "{error:?}");

    let mut wire = street.rested().await;
    let kept = street.ask(HOST);
    assert!(wire.hears().await);
    drop(wire);
    let error = kept.error().await;
    assert!(matches!(error, Stale(_)), "{error:?}");

    let mut wire = street.rested().await;
    let answered = street.ask(HOST);
    wire.answer("220 mail.example ESMTP\r\n\r\n").await;
    let error = answered.error().await;
    assert!(matches!(error, Broken(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_nothing_is_given_up() {
    let mut street = Street::of(LIMITS);
    let long = Request::put(format!("{HOST}/")).body(Body::full(vec![b'x'; 1 << 20])).unwrap();
    let asking = street.send(long);
    let _wire = street.connection().await;
    tokio::time::sleep(LIMITS.write_timeout).await;
    let error = asking.error().await;
    assert!(matches!(error, Broken(_)), "{error:?}");
    assert_eq!(street.counts(), (0, 0));
}
