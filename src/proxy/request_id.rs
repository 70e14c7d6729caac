//! The id under which a request is known to caller, log and Zoho.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, RandomState};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::HeaderValue;

use super::kinds::Kinds;
use crate::net::headers::REQUEST_ID;

/// Longer ids are replaced: they would fill logs.
const LONGEST: usize = 128;

/// The length of a new id.
const DIGITS: usize = 16;
/// How many ids are written at once, into one piece of memory.
const AT_ONCE: usize = 32;

/// The caller's own id, if it is sane, else a new one.
pub(super) fn of(headers: &HeaderMap, kinds: Kinds) -> HeaderValue {
    let own = if kinds.have(Kinds::ID) { headers.get(REQUEST_ID) } else { None };
    match own {
        Some(id) if is_sane(id.as_bytes()) => id.clone(),
        _ => new(),
    }
}

/// The same from the value as it came, if one did.
pub(super) fn of_value(own: Option<&[u8]>) -> HeaderValue {
    let own = own.filter(|id| is_sane(id)).and_then(|id| HeaderValue::from_bytes(id).ok());
    own.unwrap_or_else(new)
}

fn is_sane(id: &[u8]) -> bool {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(b);
    !id.is_empty() && id.len() <= LONGEST && id.iter().all(is_plain)
}

/// Sixteen hexadecimal digits that do not repeat in practice.
pub(super) fn new() -> HeaderValue {
    thread_local! {
        static WRITTEN: RefCell<Bytes> = const { RefCell::new(Bytes::new()) };
    }
    let id = WRITTEN.with_borrow_mut(|written| {
        if written.is_empty() {
            *written = (0..AT_ONCE).flat_map(|_| hex(next_number())).collect::<BytesMut>().freeze();
        }
        written.split_to(DIGITS)
    });
    HeaderValue::from_maybe_shared(id).expect("hexadecimal digits are a header value")
}

/// A random start per thread, then a walk through all 64-bit numbers in an order that looks random (`SplitMix64`).
fn next_number() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one("request ids"));
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn hex(number: u64) -> [u8; DIGITS] {
    let bytes = number.to_be_bytes();
    std::array::from_fn(|place| {
        let nibble = bytes[place / 2] >> (4 * (1 - place % 2)) & 15;
        b"0123456789abcdef"[usize::from(nibble)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_headers(value: &'static str) -> HeaderValue {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static(value));
        of(&headers, Kinds::of(&headers))
    }

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        let sane = "4bf92f35-77b3_a:1";
        assert_eq!(
            (of_headers(sane), of_value(Some(sane.as_bytes()))),
            (sane.parse().unwrap(), sane.parse().unwrap())
        );
        for odd in ["", "a b", "<script>", "\"", "a\tb"] {
            for id in [of_headers(odd), of_value(Some(odd.as_bytes())), of_value(None)] {
                assert_eq!(id.len(), 16, "{odd} became {id:?}");
            }
        }
    }

    #[test]
    fn new_ids_do_not_repeat() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| new()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
