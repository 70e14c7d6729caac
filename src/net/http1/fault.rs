//! What can be wrong with the framing of a request.

use std::error::Error;
use std::io;

/// Why bytes are not passed on as a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line ends in LF alone. RFC 9112 section 2.2 lets a reader take that; the one behind it may not.
    #[error("a line ends in a bare line feed")]
    BareLineFeed,
    /// A request line that is not method, target and version with one space between them.
    #[error("its first line is not a method, a target and a version with one space between each")]
    RequestLine,
    /// A method that is longer than so many bytes.
    #[error("its method is longer than {0} bytes")]
    MethodTooLong(usize),
    /// A target that is no URI, as for a control byte, a quotation mark or a fragment's `#`.
    #[error("its target is no URI, or has a character that must be percent-encoded")]
    Target,
    /// A target that is longer than so many bytes.
    #[error("its target is longer than {0} bytes")]
    TargetTooLong(usize),
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("its version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// ALPN has negotiated HTTP/2, and the connection does not begin with its preface (RFC 9113 section 3.4).
    #[error("the connection has negotiated HTTP/2 and does not begin with its preface")]
    NoPreface,
    /// A line that continues the one before it (obs-fold, RFC 9112 section 5.2).
    #[error("a header is folded over several lines")]
    FoldedLine,
    /// White space between a header's name and its colon (RFC 9112 section 5.1).
    #[error("there is white space before the colon of a header")]
    SpaceBeforeColon,
    /// A header's name is empty, has bytes that belong in no name, or no colon follows it.
    #[error("a header's name is not a token")]
    Name,
    /// A control byte in a header's value: NUL, CR or another (RFC 9110 section 5.5).
    #[error("a header has a control character")]
    ControlByte,
    /// A `Content-Length` that is not one number.
    #[error("its Content-Length is not a number")]
    Length,
    /// More than one `Content-Length`, equal or not.
    #[error("it has several Content-Length headers")]
    SeveralLengths,
    /// `Content-Length` and `Transfer-Encoding` together (RFC 9112 section 6.3).
    #[error("it has both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// A `Transfer-Encoding` that is repeated, or sent by HTTP/1.0 (RFC 9112 section 6.1).
    #[error("its Transfer-Encoding is repeated, or of a version that has none")]
    Coding,
    /// A `Transfer-Encoding` that is empty or does not end in `chunked`, once, so that the body has no end (RFC 9112
    /// section 6.3).
    #[error("its Transfer-Encoding does not end in chunked")]
    NotChunked,
    /// A transfer coding under `chunked` (RFC 9112 section 6.1 names the status 501 for it).
    #[error("it has a transfer coding other than chunked")]
    UnknownCoding,
    /// The head is longer than so many bytes.
    #[error("its head is longer than {0} bytes")]
    HeadTooLong(usize),
    /// There are more headers than this.
    #[error("it has more than {0} headers")]
    TooManyHeaders(usize),
    /// A chunk's size that is not hexadecimal, or too large for any body.
    #[error("a chunk's size is not a hexadecimal number")]
    ChunkSize,
    /// What follows a chunk's size is no extension (RFC 9112 section 7.1.1), or too long for one.
    #[error("a chunk's extension is malformed or too long")]
    ChunkExtension,
    /// A chunk's bytes do not end where its size says.
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    /// The trailer section has a line that is no header, or is too long.
    #[error("its trailer section is malformed or too long")]
    Trailers,
}

impl Fault {
    /// The fault that an error of a connection comes from, if it comes from one.
    pub fn behind(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            // An `io::Error` is no cause of the error in it.
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(fault) = inner.and_then(|inner| inner.downcast_ref::<Self>()) {
                return Some(*fault);
            }
            cause = error.source();
        }
        None
    }
}
