//! Durations and sizes as people write them: a number and a unit, nothing guessed.

use std::time::Duration;

/// What to write instead of a text that is not a duration.
pub(super) const DURATION_HINT: &str =
    "write a number with a unit, as in \"5m\" or \"1h30m\" (units: ms, s, m, h, d)";
/// What to write instead of a text that is not a size.
pub(super) const SIZE_HINT: &str = "write a number with a unit, as in \"64MiB\" (units: B, KiB, MiB, GiB)";

/// `"250ms"`, `"30s"`, `"5m"`, `"1h"`, `"7d"`, and sums of them from large to small: `"1h30m"`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let (mut rest, mut last_unit) = (text, u64::MAX);
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        if milliseconds >= last_unit {
            return None;
        }
        total = total.checked_add(Duration::from_millis(number.checked_mul(milliseconds)?))?;
        (rest, last_unit) = (after, milliseconds);
    }
    (!text.is_empty() && total <= LONGEST).then_some(total)
}

/// A hundred years: longer is a slip, and sums of longer ones would overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// `"512B"`, `"64KiB"`, `"64MiB"`, `"2GiB"`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// A size as it is written, in the largest unit that divides it.
pub(super) fn written(bytes: usize) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("0s", 0), ("30s", 30), ("5m", 300), ("1h30m", 5_400), ("7d", 604_800)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for bad in
            ["", "5", "5 m", "5 mins", "-5s", "1.5h", "m", "30m1h", "1m1m", "99999999999999999999s", "40000d"]
        {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("0B", 0), ("64KiB", 65_536), ("64MiB", 67_108_864), ("2GiB", 2_147_483_648)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "64", "64 MiB", "64MB", "64mib", "-1B", "1.5GiB", "99999999999GiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for text in ["0B", "100B", "8KiB", "1025B", "64MiB", "1GiB"] {
            let bytes = size(text).and_then(|bytes| usize::try_from(bytes).ok()).unwrap();
            assert_eq!(written(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_units_panic(text in "\\PC{0,30}") {
            let _ = (duration(&text), size(&text));
        }
    }
}
