//! How large the head of an answer may be, in whichever version of HTTP it comes.

use http::HeaderMap;

/// Limits of an answer's head.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct HeadLimits {
    /// How many fields there may be.
    pub(in crate::net) fields: usize,
    /// How many bytes their names and values may have together, and four more for each, as HTTP/1.1 writes them.
    pub(in crate::net) bytes: usize,
}

/// The answer's head goes beyond the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer has more than {fields} header fields, or more than {bytes} bytes of them")]
pub(super) struct TooLarge {
    fields: usize,
    bytes: usize,
}

/// What separates a field from the next in HTTP/1.1.
const SEPARATORS: usize = ": \r\n".len();

/// A status line has a reason phrase of any length.
const STATUS_LINE: usize = 1024;

/// hyper has room for so many fields without an allocation for each answer.
const WITHOUT_ALLOCATION: usize = 100;

impl HeadLimits {
    /// Checks a head that was read.
    pub(super) fn check(self, head: &HeaderMap) -> Result<(), TooLarge> {
        let length: usize = head.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if head.len() <= self.fields && length + head.len() * SEPARATORS <= self.bytes {
            return Ok(());
        }
        Err(TooLarge { fields: self.fields, bytes: self.bytes })
    }

    /// The limit for hyper's parser of HTTP/1, which reads no more than this.
    pub(super) fn http1_bytes(self) -> usize {
        self.bytes.saturating_add(STATUS_LINE)
    }

    /// The number of fields for the same parser; `None` leaves hyper its own.
    pub(super) fn http1_fields(self) -> Option<usize> {
        (self.fields > WITHOUT_ALLOCATION).then_some(self.fields)
    }

    /// The limit for h2, which counts 32 bytes for each field (RFC 9113 section 6.5.2). h2 resets a stream with a larger
    /// head without saying why, so there is room for a head that is too large by as much again: [`Self::check`] says
    /// why.
    pub(super) fn http2_bytes(self) -> u32 {
        let list = self.bytes.saturating_add(self.fields.saturating_mul(32));
        u32::try_from(list.saturating_mul(2)).unwrap_or(u32::MAX)
    }
}
