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
