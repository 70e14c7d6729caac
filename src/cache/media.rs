//! The content types that a rule stores.

use std::str::FromStr;

/// The content types that a rule stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentTypes(Vec<MediaRange>);

/// `type/subtype`, `type/*` or `*/*`, in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRange {
    kind: String,
    subtype: String,
}

/// Why a text is not a [`MediaRange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a media type without parameters")]
pub struct NoMediaRange;

impl ContentTypes {
    /// JSON in all its types.
    pub fn json() -> Self {
        Self(["application/json", "text/json"].iter().filter_map(|text| text.parse().ok()).collect())
    }

    /// These.
    pub fn of(ranges: Vec<MediaRange>) -> Self {
        Self(ranges)
    }

    /// Whether an answer of any type is stored.
    pub(super) fn covers_anything(&self) -> bool {
        self.0.iter().any(|range| range.kind == "*")
    }

    /// Whether an answer of this type is stored; one that names none is taken for JSON where that is.
    pub(super) fn allow(&self, essence: Option<&str>) -> bool {
        let is_json = essence.is_none_or(is_json);
        self.0.iter().any(|range| range.covers(essence) || is_json && range.is_json())
    }
}

impl MediaRange {
    fn covers(&self, essence: Option<&str>) -> bool {
        let (kind, subtype) = essence.and_then(|essence| essence.split_once('/')).unwrap_or_default();
        (self.kind == "*" || self.kind == kind) && (self.subtype == "*" || self.subtype == subtype)
    }

    fn is_json(&self) -> bool {
        self.kind == "application" && self.subtype == "json"
    }
}

impl FromStr for MediaRange {
    type Err = NoMediaRange;

    fn from_str(text: &str) -> Result<Self, NoMediaRange> {
        let lower = text.to_ascii_lowercase();
        let (kind, subtype) = lower.split_once('/').ok_or(NoMediaRange)?;
        let is_token = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
        };
        let is_range = match (kind, subtype) {
            ("*", subtype) => subtype == "*",
            (kind, "*") => is_token(kind),
            (kind, subtype) => is_token(kind) && is_token(subtype),
        };
        is_range.then(|| Self { kind: kind.to_owned(), subtype: subtype.to_owned() }).ok_or(NoMediaRange)
    }
}

/// Whether this is a type of JSON.
pub(super) fn is_json(essence: &str) -> bool {
    essence == "application/json"
        || essence == "text/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_range_is_a_type_without_parameters() {
        for range in ["text/csv", "Text/*", "*/*", "application/vnd.made-up+json"] {
            assert!(range.parse::<MediaRange>().is_ok(), "{range}");
        }
        for odd in ["", "json", "*/json", "text/", "/csv", "text/csv;charset=utf-8", "a b/c", "text/csv/x"] {
            assert!(odd.parse::<MediaRange>().is_err(), "{odd}");
        }
    }
}
