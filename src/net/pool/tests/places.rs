//! Bounds, turns, and that no place is ever lost.

use proptest::prelude::*;

use super::*;
use crate::net::transport::TransportError::{Connect, ConnectTimeout, TooManyConnections};

const OTHER_HOST: &str = "http://127.0.0.1:9500";

#[tokio::test(start_paused = true)]
async fn there_are_never_more_connections_than_may_be_to_a_host_and_in_all() {
    for limits in [Limits { most_per_host: 2, ..LIMITS }, Limits { most: 2, ..LIMITS }] {
        let mut street = Street::of(limits);
        let _asking: Vec<_> = (0..5).map(|_| street.ask(HOST)).collect();
        let _wires = (street.connection().await, street.connection().await);
        assert!(street.nobody_knocks().await);
        assert_eq!(street.counts(), (2, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_in_turn() {
    let mut street = Street::of(Limits { most_per_host: 1, ..LIMITS });
    let ask = |n| street.send(Request::get(format!("{HOST}/{n}")).body(Body::empty()).unwrap());
    let asking: Vec<_> = (0..4).map(ask).collect();
    let mut wire = street.connection().await;
    for (n, asking) in asking.into_iter().enumerate() {
        let mut line = [0; 5];
        wire.0.read_exact(&mut line).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&line), "GET /");
        assert_eq!(wire.0.read_u8().await.unwrap(), b'0' + u8::try_from(n).unwrap());
        wire.answer(FINE).await;
        asking.text().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_gets_what_comes_first() {
    let mut street = Street::of(LIMITS);
    let first = street.ask(HOST);
    let mut wire = street.connection().await;
    let second = street.ask(HOST);
    let late = street.knock().await;
    // The first one comes free before the second is made.
    wire.answer(FINE).await;
    first.text().await;
    wire.answer(FINE).await;
    second.text().await;
    // And what was made in vain is kept.
    let mut spare = late.open();
    settle().await;
    let (third, fourth) = (street.ask(HOST), street.ask(HOST));
    spare.answer(FINE).await;
    wire.answer(FINE).await;
    third.text().await;
    fourth.text().await;
    assert!(street.nobody_knocks().await);
}

#[tokio::test(start_paused = true)]
async fn the_place_of_a_connection_that_ended_goes_to_who_waits() {
    let mut street = Street::of(Limits { most_per_host: 1, ..LIMITS });
    let (first, second) = (street.ask(HOST), street.ask(HOST));
    let mut wire = street.connection().await;
    assert!(wire.hears().await);
    drop(wire);
    first.error().await;
    street.connection().await.answer(FINE).await;
    assert_eq!(second.text().await, "{}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_rests_makes_place_for_another() {
    let mut street = Street::of(Limits { most: 1, ..LIMITS });
    let mut resting = street.rested().await;
    let other = street.ask(OTHER_HOST);
    let knock = street.knock().await;
    assert_eq!(knock.uri, format!("{OTHER_HOST}/").as_str());
    assert!(resting.has_ended().await);
    knock.open().answer(FINE).await;
    assert_eq!(other.text().await, "{}");
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_in_time_is_told_so_and_who_finds_no_server_of_that() {
    let mut street = Street::of(Limits { most_per_host: 1, ..LIMITS });
    let (first, second) = (street.ask(HOST), street.ask(HOST));
    let knock = street.knock().await;
    tokio::time::sleep(LIMITS.connect_timeout).await;
    for asking in [first, second] {
        let error = asking.error().await;
        assert!(matches!(error, ConnectTimeout), "{error:?}");
    }
    drop(knock);
    settle().await;

    let _first = street.ask(HOST);
    let _wire = street.connection().await;
    let second = street.ask(HOST);
    let began = crate::clock::Clock::system().now();
    let error = second.error().await;
    assert!(matches!(error, TooManyConnections), "{error:?}");
    assert_eq!(began.elapsed().as_secs(), LIMITS.connect_timeout.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_made_fails_the_one_it_was_for() {
    let mut street = Street::of(LIMITS);
    let (first, second) = (street.ask(HOST), street.ask(HOST));
    let (refused, open) = (street.knock().await, street.knock().await);
    drop(refused);
    let error = first.error().await;
    assert!(matches!(error, Connect(_)), "{error:?}");
    open.open().answer(FINE).await;
    assert_eq!(second.text().await, "{}");
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Ask(bool),
    Leave(usize),
    Open(usize),
    Refuse(usize),
    Answer(usize),
    Close(usize),
    Pass(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => any::<bool>().prop_map(Event::Ask),
        1 => (0..8_usize).prop_map(Event::Leave),
        3 => (0..8_usize).prop_map(Event::Open),
        1 => (0..8_usize).prop_map(Event::Refuse),
        3 => (0..8_usize).prop_map(Event::Answer),
        1 => (0..8_usize).prop_map(Event::Close),
        1 => (0..30_u64).prop_map(Event::Pass),
    ];
    proptest::collection::vec(event, 0..60)
}

/// What has gone through some events.
struct Story {
    street: Street,
    asking: Vec<Asking>,
    knocks: Vec<Knock>,
    wires: Vec<Wire>,
}

impl Story {
    async fn happens(&mut self, event: Event) {
        fn pick<T>(from: &mut Vec<T>, n: usize) -> Option<T> {
            if from.is_empty() { None } else { Some(from.swap_remove(n % from.len())) }
        }
        match event {
            Event::Ask(other) => self.asking.push(self.street.ask(if other { OTHER_HOST } else { HOST })),
            Event::Leave(n) => {
                if let Some(asking) = pick(&mut self.asking, n) {
                    asking.leave().await;
                }
            }
            Event::Open(n) => self.wires.extend(pick(&mut self.knocks, n).map(Knock::open)),
            Event::Refuse(n) => drop(pick(&mut self.knocks, n)),
            Event::Answer(n) => {
                if let Some(mut wire) = pick(&mut self.wires, n) {
                    if wire.hears().await {
                        // Who asked may have left.
                        let _ = wire.0.write_all(FINE.as_bytes()).await;
                    }
                    self.wires.push(wire);
                }
            }
            Event::Close(n) => drop(pick(&mut self.wires, n)),
            Event::Pass(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        }
        settle().await;
        while let Ok(knock) = self.street.knocks.try_recv() {
            self.knocks.push(knock);
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_bounds_hold_and_no_place_is_lost(events in events()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let street = Street::of(Limits { most: 4, most_per_host: 3, max_idle: 2, ..LIMITS });
            let mut story = Story { street, asking: Vec::new(), knocks: Vec::new(), wires: Vec::new() };
            for event in events {
                story.happens(event).await;
                prop_assert!(story.street.counts().0 <= 4);
            }
            // All hang up: nobody waits, nothing is open, and the next request is served.
            story.asking.drain(..).for_each(|asking| asking.0.abort());
            settle().await;
            story.happens(Event::Pass(0)).await;
            story.knocks.clear();
            story.wires.clear();
            settle().await;
            prop_assert_eq!(story.street.counts(), (0, 0));
            let asking = story.street.ask(HOST);
            story.street.connection().await.answer(FINE).await;
            prop_assert_eq!(asking.text().await, "{}");
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_makes_place_for_who_has_waited_at_another_host() {
    let mut street = Street::of(Limits { most: 1, ..LIMITS });
    let first = street.ask(HOST);
    let mut wire = street.connection().await;
    let other = street.ask(OTHER_HOST);
    assert!(street.nobody_knocks().await);
    wire.answer(FINE).await;
    first.text().await;
    street.connection().await.answer(FINE).await;
    other.text().await;
}

#[tokio::test(start_paused = true)]
async fn a_place_goes_to_who_has_waited_longest_at_whatever_host() {
    let mut street = Street::of(Limits { most: 1, ..LIMITS });
    let first = street.ask(HOST);
    let wire = street.connection().await;
    let other = street.ask(OTHER_HOST);
    settle().await;
    let _third = street.ask(HOST);
    settle().await;
    drop(wire);
    first.error().await;
    street.connection().await.answer(FINE).await;
    other.text().await;
}
