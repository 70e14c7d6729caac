//! What makes place where places are scarce: what has rested longest, and no more than is wanted.

use super::*;

const OTHER_HOST: &str = "http://127.0.0.1:9500";

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
