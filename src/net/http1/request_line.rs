//! The first line of a request: its method, target and version.

use http::Uri;
use memchr::{memchr, memrchr};

use super::Fault;
use super::token::{is_token, table};

/// A longer target cannot be held by the type that the proxy keeps it in.
pub(super) const MOST_TARGET_BYTES: usize = 65_534;

/// A longer method is nobody's.
pub const LONGEST_METHOD: usize = 32;

/// The versions that have such a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http10,
    Http11,
}

/// What paths and queries are made of (RFC 3986 sections 3.3 and 3.4).
const USUAL_IN_TARGET: [bool; 256] =
    table(b"/?%:@!$&'()*+,;=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// Method, target and version with one space between each (RFC 9112 section 3).
pub(super) fn request_line(line: &[u8]) -> Result<Version, Fault> {
    let (Some(first), Some(last)) = (memchr(b' ', line), memrchr(b' ', line)) else {
        return Err(Fault::RequestLine);
    };
    let (method, version) = (&line[..first], &line[last + 1..]);
    if !is_token(method) {
        return Err(Fault::RequestLine);
    }
    if method.len() > LONGEST_METHOD {
        return Err(Fault::MethodTooLong(LONGEST_METHOD));
    }
    check_target(line.get(first + 1..last).unwrap_or_default())?;
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        // One digit on either side of the dot (RFC 9112 section 2.3).
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Fault::Version),
        _ => Err(Fault::RequestLine),
    }
}

/// A target that can be kept as a URI. What cannot would be refused later, without a word to anybody.
fn check_target(target: &[u8]) -> Result<(), Fault> {
    if target.len() > MOST_TARGET_BYTES {
        return Err(Fault::TargetTooLong(MOST_TARGET_BYTES));
    }
    if target.starts_with(b"/") && target.iter().all(|byte| USUAL_IN_TARGET[usize::from(*byte)]) {
        return Ok(());
    }
    if target.is_empty() || memchr(b' ', target).is_some() {
        return Err(Fault::RequestLine);
    }
    // A fragment is never sent (RFC 9112 section 3.2); taken for one, the rest of the query would be lost.
    // Backslashes are refused later, where it is seen which other path they hide.
    let mut parts = target.split(|byte| *byte == b'\\');
    if !parts.all(is_sendable) || Uri::try_from(target).is_err() {
        return Err(Fault::Target);
    }
    Ok(())
}

/// Whether a target has only characters that RFC 3986 lets stand in one, or brackets, which many clients leave as they are.
/// Servers differ in what they make of the others: `"`, `<`, `>`, `\`, `^`, `` ` ``, `{`, `|`, `}` and all beyond ASCII.
pub fn is_sendable(target: &[u8]) -> bool {
    target.iter().all(|byte| USUAL_IN_TARGET[usize::from(*byte)] || matches!(byte, b'[' | b']'))
}
