//! Which connections make room, and for whom.

use super::*;
use crate::net::body::Body;

const FEW: usize = 100;

fn request(method: &str, path: &str, body: &'static str) -> Request<Body> {
    Request::builder().method(method).uri(path).body(Body::full(body)).unwrap()
}

fn is_evicted(slot: &Slot) -> bool {
    let mut evicted = std::pin::pin!(slot.evicted());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let is_evicted = evicted.as_mut().poll(&mut context).is_ready();
    // So that it can be asked again.
    if is_evicted {
        slot.connection.evicted.notify_one();
    }
    is_evicted
}

fn address(last: u8) -> Source {
    Source::of_address([10, 0, 0, last].into())
}

#[test]
fn the_connection_that_waits_longest_makes_room() {
    let slots = Slots::of(FEW);
    let open: Vec<Slot> = (0..FEW).map(|_| slots.open(Source::Local)).collect();
    open[0].begin(&request("GET", "/metrics", ""));
    open[1].begin(&request("GET", "/livez", ""));
    open[2].begin(&request("POST", "/purge", "{}"));
    open[2].end(false);
    let newcomers = [slots.open(Source::Local), slots.open(Source::Local)];
    let evicted: Vec<usize> = (0..open.len()).filter(|n| is_evicted(&open[*n])).collect();
    assert_eq!(evicted, [3, 4]);
    assert!(newcomers.iter().all(|slot| !is_evicted(slot)));
}

#[test]
fn requests_leave_slots_to_connections_that_wait() {
    let slots = Slots::of(FEW);
    let probe = slots.open(Source::Local);
    let busy: Vec<Slot> = (0..3 * FEW)
        .map(|_| {
            let slot = slots.open(Source::Local);
            slot.begin(&request("GET", "/metrics", ""));
            slot
        })
        .collect();
    assert!(!is_evicted(&probe), "requests evict requests");
    let evicted = busy.iter().filter(|slot| is_evicted(slot)).count();
    assert_eq!(evicted, busy.len() - slots.most_requests());
}

#[test]
fn connections_of_one_address_evict_none_of_another() {
    let slots = Slots::default();
    let probe = slots.open(address(1));
    let flood: Vec<Slot> = (0..10 * MOST_CONNECTIONS).map(|_| slots.open(address(2))).collect();
    assert!(!is_evicted(&probe), "whose head comes late");
    let few: Vec<Slot> = (3..23).map(|last| slots.open(address(last))).collect();
    assert!(!is_evicted(&probe) && few.iter().all(|slot| !is_evicted(slot)));
    assert!(flood.iter().filter(|slot| !is_evicted(slot)).count() <= MOST_CONNECTIONS);
}

#[test]
fn hundreds_of_connections_evict_none_of_their_own_address() {
    let slots = Slots::default();
    let probe = slots.open(address(1));
    let others: Vec<Slot> = (1..MOST_CONNECTIONS).map(|_| slots.open(address(1))).collect();
    assert!(!is_evicted(&probe));
    drop(others);
}

#[test]
fn a_trusted_request_that_is_handled_is_never_evicted_and_one_too_many_is_refused() {
    let slots = Slots::of(FEW);
    let handled: Vec<Slot> = (0..MOST_HANDLED).map(|_| slots.open(Source::Local)).collect();
    for slot in &handled {
        slot.begin(&request("POST", "/purge", "{}"));
        assert_eq!(slot.handle(), Ok(()));
    }
    let flood: Vec<Slot> = (0..5 * FEW)
        .map(|n| {
            let slot = slots.open(Source::Local);
            (n % 2 == 0).then(|| slot.begin(&request("POST", "/purge", "{}")));
            slot
        })
        .collect();
    assert!(handled.iter().all(|slot| !is_evicted(slot)));
    let last = flood.last().unwrap();
    assert_eq!(last.handle(), Err(TooMany));
    handled[0].end(false);
    assert_eq!(last.handle(), Ok(()));
}

#[test]
fn an_idle_connection_that_has_shown_the_token_makes_room_only_for_others_that_have() {
    let slots = Slots::of(FEW);
    let open = |count: usize| -> Vec<Slot> { (0..count).map(|_| slots.open(Source::Local)).collect() };
    let proven = open(MOST_PROVEN);
    for slot in &proven {
        slot.end(true);
    }
    let strangers = open(5 * FEW);
    assert!(proven.iter().all(|slot| !is_evicted(slot)));
    strangers.last().unwrap().end(true);
    let evicted: Vec<usize> = (0..MOST_PROVEN).filter(|n| is_evicted(&proven[*n])).collect();
    assert_eq!(evicted, [0]);
}

#[test]
fn a_connection_that_ends_gives_back_all_that_it_had() {
    let slots = Slots::of(FEW);
    for n in 0..4 {
        let slot = slots.open(address(1));
        (n > 0).then(|| slot.begin(&request("POST", "/purge", "{}")));
        (n > 1).then(|| slot.handle());
        (n > 2).then(|| slot.end(true));
    }
    let all = slots.lock();
    assert_eq!((all.heads.len(), all.requests.len(), all.proven.len(), all.handled), (0, 0, 0, 0));
    assert!(all.per_source.is_empty());
}

#[test]
fn a_host_has_one_address_of_ipv4_or_a_prefix_of_ipv6() {
    let of = |text: &str| Source::of_address(text.parse().unwrap());
    assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
}

#[test]
fn what_may_take_its_time_is_no_probe() {
    assert!(is_probe(&request("GET", "/livez", "")) && is_probe(&request("HEAD", "/readyz", "")));
    assert!(!is_probe(&request("GET", "/livez", "x")), "its body may never come");
    assert!(!is_probe(&request("POST", "/livez", "")) && !is_probe(&request("GET", "/metrics", "")));
}
