//! Durations as text with a unit.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

/// Reads `250ms`, `30s`, `10m`, `1h` or `1d`.
pub(crate) fn parse(text: &str) -> Result<Duration, NotASpan> {
    let wrong = || NotASpan { text: text.to_owned() };
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs).ok_or_else(wrong);
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3_600),
        "d" => seconds(86_400),
        _ => Err(wrong()),
    }
}

/// A text that is no duration.
#[derive(Debug)]
pub(crate) struct NotASpan {
    text: String,
}

impl fmt::Display for NotASpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a duration; write it like \"250ms\", \"30s\", \"10m\", \"1h\"", self.text)
    }
}

/// For `#[serde(with = …)]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

/// For `#[serde(with = …)]`; always in milliseconds, which every duration here has.
pub(crate) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{}ms", span.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("1h", 3_600), ("2d", 172_800)] {
            assert_eq!(parse(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        assert_eq!(parse("250ms").unwrap(), Duration::from_millis(250));
    }

    #[test]
    fn a_number_without_a_unit_and_an_unknown_unit_are_refused() {
        for text in ["", "10", "ms", "5 mins", "-1s", "99999999999999999999s", "1.5h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
