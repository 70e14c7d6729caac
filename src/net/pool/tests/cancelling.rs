//! Callers who leave, at every point of an exchange.

use super::*;

#[tokio::test(start_paused = true)]
async fn who_leaves_while_waiting_leaves_its_turn_to_the_next() {
    let mut street = Street::of(Limits { most_per_host: 1, ..LIMITS });
    let first = street.ask(HOST);
    let mut wire = street.connection().await;
    let (gone, next) = (street.ask(HOST), street.ask(HOST));
    settle().await;
    assert_eq!(street.counts(), (1, 2));
    gone.leave().await;
    assert_eq!(street.counts(), (1, 1));
    wire.answer(FINE).await;
    first.text().await;
    wire.answer(FINE).await;
    assert_eq!(next.text().await, "{}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_made_for_one_who_left_is_kept_for_the_next() {
    for next_comes_early in [true, false] {
        let mut street = Street::of(LIMITS);
        let gone = street.ask(HOST);
        let knock = street.knock().await;
        gone.leave().await;
        let early = next_comes_early.then(|| street.ask(HOST));
        assert!(street.nobody_knocks().await, "one is being made, and nobody else wants it");
        let mut wire = knock.open();
        settle().await;
        let next = early.unwrap_or_else(|| street.ask(HOST));
        wire.answer(FINE).await;
        assert_eq!(next.text().await, "{}");
        assert!(street.nobody_knocks().await);
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_handed_a_connection_and_is_gone_before_taking_it_leaves_it_to_the_next() {
    let mut street = Street::of(LIMITS);
    let mut gone = exchange(&street.pool, Request::get(format!("{HOST}/")).body(Body::empty()).unwrap());
    let polled = std::future::poll_fn(|cx| Poll::Ready(gone.as_mut().poll(cx).is_pending()));
    assert!(polled.await);
    let mut wire = street.connection().await;
    settle().await;
    assert_eq!(street.counts(), (1, 0), "it is handed over");
    drop(gone);
    let next = street.ask(HOST);
    wire.answer(FINE).await;
    assert_eq!(next.text().await, "{}");
    assert!(street.nobody_knocks().await);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_the_answer_ends_the_connection() {
    let mut street = Street::of(LIMITS);
    let gone = street.ask(HOST);
    let mut wire = street.connection().await;
    assert!(wire.hears().await);
    gone.leave().await;
    assert!(wire.has_ended().await);
    assert_eq!(street.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_read_to_its_end_ends_the_connection() {
    for reads_some in [false, true] {
        let mut street = Street::of(LIMITS);
        let asking = street.ask(HOST);
        let mut wire = street.connection().await;
        wire.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        let mut answer = asking.head().await.unwrap();
        if reads_some {
            answer.body_mut().frame().await.unwrap().unwrap();
        }
        drop(answer);
        assert!(wire.has_ended().await, "{reads_some}");
        assert_eq!(street.counts(), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_holds_its_connection_and_no_other() {
    let mut street = Street::of(LIMITS);
    let asking = street.ask(HOST);
    let mut wire = street.connection().await;
    wire.answer("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await;
    let unread = asking.head().await.unwrap();
    let _other = street.ask(HOST);
    let _wire = street.connection().await;
    wire.say("half").await;
    assert_eq!(unread.into_body().collect().await.unwrap().to_bytes(), "halfhalf");
    street.exchange_on(&mut wire).await;
}
