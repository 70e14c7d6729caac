//! Header values that answers have said lately: within a second most hits on an entry say the same age and the same
//! rest of its life, and what is remembered need not be written again.

use std::cell::RefCell;

use http::header::HeaderValue;

/// How many are remembered, by the last digits of the number they say.
const PLACES: usize = 32;

type Lately = RefCell<[Option<(u64, HeaderValue)>; PLACES]>;

thread_local! {
    static AGES: Lately = const { RefCell::new([const { None }; PLACES]) };
    static HITS: Lately = const { RefCell::new([const { None }; PLACES]) };
}

/// An `Age`.
pub(super) fn age(seconds: u64) -> HeaderValue {
    AGES.with_borrow_mut(|ages| value(ages, seconds, || HeaderValue::from(seconds)))
}

/// The `Cache-Status` of a hit on an entry that is fresh for so many seconds more.
pub(super) fn hit(seconds: u64, write: impl FnOnce() -> HeaderValue) -> HeaderValue {
    HITS.with_borrow_mut(|hits| value(hits, seconds, write))
}

fn value(
    places: &mut [Option<(u64, HeaderValue)>; PLACES],
    number: u64,
    write: impl FnOnce() -> HeaderValue,
) -> HeaderValue {
    let place = &mut places[usize::try_from(number % PLACES as u64).expect("less than 32")];
    match place {
        Some((said, value)) if *said == number => value.clone(),
        _ => place.insert((number, write())).1.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_own_value_however_often_and_in_whatever_order() {
        for seconds in [0, 1, 32, 0, 64, 1, u64::MAX, 31, 32] {
            assert_eq!(age(seconds), seconds.to_string());
            assert_eq!(age(seconds), seconds.to_string());
        }
        assert_eq!(hit(5, || HeaderValue::from_static("five")), "five");
        assert_eq!(hit(5, || unreachable!("it was said lately")), "five");
    }
}
