//! Whether a write happened, as far as it can be known.

use http::StatusCode;

/// Whether a write happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Zoho has not seen it.
    NotSent,
    /// It is on its way, or was when the connection broke.
    Unknown,
    /// An attempt ended without an answer. A later one may hear that there is nothing left to do, which is no
    /// proof that nothing was done.
    Uncertain,
    /// Zoho did it, or a part of it.
    Happened,
    /// Zoho refused it.
    DidNotHappen,
}

impl Fate {
    /// Any 2xx may hold items that succeeded. A server error may come after the deed.
    pub(super) fn of(status: StatusCode) -> Self {
        if status.is_success() {
            Self::Happened
        } else if status.is_server_error() {
            Self::Unknown
        } else {
            Self::DidNotHappen
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_succeeded_in_part_has_happened() {
        let fate = |status| Fate::of(StatusCode::from_u16(status).unwrap());
        for status in [200, 201, 202, 204, 207] {
            assert_eq!(fate(status), Fate::Happened, "{status}");
        }
        for status in [500, 502, 503, 504] {
            assert_eq!(fate(status), Fate::Unknown, "{status}");
        }
        for status in [304, 400, 401, 403, 404, 429] {
            assert_eq!(fate(status), Fate::DidNotHappen, "{status}");
        }
    }
}
