//! The framing of HTTP/1 requests, read strictly: where each begins and ends, and what RFC 9112 forbids.
//!
//! A lenient reader and a strict one that stand behind each other can disagree about where a request ends, and
//! the second then takes bytes of a body for a request that nobody checked (request smuggling). hyper is such a
//! lenient reader in a few places: it takes bare line feeds, lets `Transfer-Encoding` win over a
//! `Content-Length` that comes with it, and merges equal lengths. Everything is looked at here before hyper
//! sees it, and passes unchanged or not at all.
//!
//! - [`head`]: the lines of a head
//! - [`request_line`]: method, target and version
//! - [`chunks`]: the chunked transfer coding
//! - `token`: which bytes belong to what
//! - [`fault`]: what can be wrong
//!
//! Pure: bytes in, verdict out. However the bytes are split into pieces, the verdict is the same.

pub mod chunks;
pub mod fault;
pub mod head;
pub mod request_line;
mod token;

use chunks::Chunks;
pub use fault::Fault;
use head::{Head, Limits};

/// What a client of HTTP/2 says first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A longer head is read again each time.
const MOST_KNOWN: usize = 2048;

/// Follows the bytes of one connection.
#[derive(Debug)]
pub struct Inspector {
    limits: Limits,
    heads: u64,
    state: State,
    /// The last head that passed and had no body after it. The same bytes are the same head: who asks the same again is
    /// not read again.
    known: Vec<u8>,
    /// Whether what was looked at last began within a body, whose bytes may look like a head.
    was_within_body: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing has come yet.
    Start,
    /// Nothing has come yet, and nothing but the preface of HTTP/2 may.
    Preface,
    /// Before or within a head.
    Head(Head),
    /// Within a body that has so many bytes left.
    Length(u64),
    /// Within a body in chunks.
    Chunked(Chunks),
    /// The connection speaks HTTP/2, whose frames leave no such doubts.
    Http2,
}

/// Which versions of HTTP a connection may speak. A protocol that ALPN has negotiated is binding (RFC 7301 section 3.2,
/// RFC 9113 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// Nothing was negotiated: HTTP/1, or HTTP/2 if its preface comes first.
    Any,
    /// HTTP/1 only: the preface of HTTP/2 is refused like any request of an unknown version.
    Http1,
    /// HTTP/2 only: what is not its preface is refused.
    Http2,
}

/// What is to be done with the bytes after those that pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There are none.
    Pass,
    /// They are the beginning of a head. They are shown again, in front of what comes next.
    Hold,
    /// They must not pass, and nothing after them.
    Broken(Fault),
}

impl Inspector {
    /// An inspector for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self::speaking(Versions::Any, limits)
    }

    /// The same for a connection that may speak only these versions.
    pub fn speaking(versions: Versions, limits: Limits) -> Self {
        let state = match versions {
            Versions::Any => State::Start,
            Versions::Http1 => State::Head(Head::new(limits)),
            Versions::Http2 => State::Preface,
        };
        Self { limits, heads: 0, state, known: Vec::new(), was_within_body: false }
    }

    /// Looks at what came next: how many bytes of it pass, and what about the rest.
    pub fn advance(&mut self, bytes: &[u8]) -> (usize, Verdict) {
        self.was_within_body = self.is_within_body();
        let mut at = 0;
        while at < bytes.len() {
            match self.step(&bytes[at..]) {
                Ok(0) => return (at, Verdict::Hold),
                Ok(passed) => at += passed,
                Err((passed, fault)) => return (at + passed, Verdict::Broken(fault)),
            }
        }
        (at, Verdict::Pass)
    }

    /// Forgets what only saves work.
    pub fn forget(&mut self) {
        self.known = Vec::new();
    }

    /// Whether these bytes, the last that were looked at, are one whole head without a body.
    pub fn is_one_head(&self, bytes: &[u8]) -> bool {
        !self.was_within_body && !bytes.is_empty() && *bytes == *self.known && self.is_between_requests()
    }

    /// How many heads have passed.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the connection speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self.state, State::Http2)
    }

    /// Whether the last request has come whole; `false` also within a head.
    pub fn is_between_requests(&self) -> bool {
        match &self.state {
            State::Start | State::Preface | State::Http2 => true,
            State::Head(head) => head.is_untouched(),
            State::Length(_) | State::Chunked(_) => false,
        }
    }

    /// Whether what comes next belongs to a body.
    pub fn is_within_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_))
    }

    /// Looks at bytes as far as one state goes. `Ok(0)` waits for more of a head.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, (usize, Fault)> {
        match &mut self.state {
            State::Start | State::Preface if bytes.starts_with(PREFACE) => self.state = State::Http2,
            State::Start | State::Preface if PREFACE.starts_with(bytes) => return Ok(0),
            State::Preface => return Err((0, Fault::NoPreface)),
            State::Start => self.state = State::Head(Head::new(self.limits)),
            State::Http2 => return Ok(bytes.len()),
            State::Head(head)
                if !self.known.is_empty() && head.is_untouched() && bytes.starts_with(&self.known) =>
            {
                self.heads += 1;
                return Ok(self.known.len());
            }
            State::Head(head) => {
                let Some(complete) = head.advance(bytes).map_err(|fault| (0, fault))? else { return Ok(0) };
                self.heads += 1;
                self.state = match complete.framing {
                    head::Framing::Length(0) if complete.length <= MOST_KNOWN => {
                        self.known.clear();
                        self.known.extend_from_slice(&bytes[..complete.length]);
                        State::Head(Head::new(self.limits))
                    }
                    head::Framing::Length(0) => State::Head(Head::new(self.limits)),
                    head::Framing::Length(length) => State::Length(length),
                    head::Framing::Chunked => State::Chunked(Chunks::new()),
                };
                return Ok(complete.length);
            }
            State::Length(left) => {
                let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= passed as u64;
                if *left == 0 {
                    self.state = State::Head(Head::new(self.limits));
                }
                return Ok(passed);
            }
            State::Chunked(chunks) => {
                let passed = chunks.advance(bytes)?;
                if chunks.have_ended() {
                    self.state = State::Head(Head::new(self.limits));
                }
                return Ok(passed);
            }
        }
        self.step(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes: 1024, headers: 10 };

    fn verdict(bytes: &[u8]) -> (usize, Verdict) {
        Inspector::new(LIMITS).advance(bytes)
    }

    /// The same in pieces of `size`, as a connection brings them.
    fn in_pieces(bytes: &[u8], size: usize) -> (usize, Verdict) {
        let mut inspector = Inspector::new(LIMITS);
        let (mut passed, mut held) = (0, Vec::new());
        let mut last = Verdict::Pass;
        for piece in bytes.chunks(size) {
            held.extend_from_slice(piece);
            let (more, verdict) = inspector.advance(&held);
            held.drain(..more);
            (passed, last) = (passed + more, verdict);
            if matches!(last, Verdict::Broken(_)) {
                break;
            }
        }
        (passed, last)
    }

    const GET: &str = "GET /crm/v8/users HTTP/1.1\r\nHost: sidecar\r\n\r\n";
    const POST: &str = "POST /crm HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    const CHUNKED: &str = "POST /crm HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n\
                           5;name=\"v\"\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n";

    #[test]
    fn requests_that_follow_each_other_pass_whole() {
        let all = [GET, POST, CHUNKED, GET, "\r\n", GET].concat();
        let mut inspector = Inspector::new(LIMITS);
        assert_eq!(inspector.advance(all.as_bytes()), (all.len(), Verdict::Pass));
        assert_eq!(inspector.heads(), 5);
        assert!(inspector.is_between_requests());
    }

    #[test]
    fn the_verdict_does_not_depend_on_how_the_bytes_come() {
        let smuggled = [POST, "GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n"].concat();
        let cut = &CHUNKED[..CHUNKED.len() - 30];
        let not_http2 = "PRI * HTTP/2.0\r\n\r\nXX";
        for bytes in [GET, POST, CHUNKED, &smuggled, cut, not_http2, &[CHUNKED, GET].concat()] {
            let whole = verdict(bytes.as_bytes());
            for size in 1..bytes.len() {
                assert_eq!(in_pieces(bytes.as_bytes(), size), whole, "{bytes:?} by {size}");
            }
        }
    }

    #[test]
    fn a_head_is_held_until_it_is_whole() {
        assert_eq!(verdict(&GET.as_bytes()[..20]), (0, Verdict::Hold));
        let begun = [GET, "GET /"].concat();
        assert_eq!(verdict(begun.as_bytes()), (GET.len(), Verdict::Hold));
    }

    #[test]
    fn what_follows_a_fault_does_not_pass() {
        let bytes = [GET, "GET / HTTP/1.1\nhost: a\n\n", GET].concat();
        assert_eq!(verdict(bytes.as_bytes()), (GET.len(), Verdict::Broken(Fault::BareLineFeed)));
    }

    #[test]
    fn the_bytes_of_a_body_are_nobodys_request() {
        let body = "GET / HTTP/1.1\nevil";
        let bytes = format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert_eq!(verdict(bytes.as_bytes()), (bytes.len(), Verdict::Pass));
    }

    #[test]
    fn http2_passes_after_its_preface() {
        let bytes = [PREFACE, b"\0\0\0\x04\0\0\0\0\0\n\n"].concat();
        assert_eq!(verdict(&bytes), (bytes.len(), Verdict::Pass));
        assert_eq!(in_pieces(&bytes, 3), (bytes.len(), Verdict::Pass));
        assert_eq!(verdict(&PREFACE[..10]), (0, Verdict::Hold));
    }

    #[test]
    fn the_preface_of_http2_comes_first_or_not_at_all() {
        let late = [GET.as_bytes(), PREFACE].concat();
        assert_eq!(verdict(&late), (GET.len(), Verdict::Broken(Fault::Version)));
    }

    #[test]
    fn a_negotiated_version_is_the_only_one_that_passes() {
        let look = |versions, bytes: &[u8]| Inspector::speaking(versions, LIMITS).advance(bytes);
        let get = GET.as_bytes();
        assert_eq!(look(Versions::Http1, get), (get.len(), Verdict::Pass));
        assert_eq!(look(Versions::Http1, PREFACE), (0, Verdict::Broken(Fault::Version)));
        assert_eq!(look(Versions::Http2, PREFACE), (PREFACE.len(), Verdict::Pass));
        assert_eq!(look(Versions::Http2, &PREFACE[..5]), (0, Verdict::Hold));
        for bytes in [get, b"P", b"PRI * HTTP/1.1\r\n", b"\r\n"] {
            let expected =
                if PREFACE.starts_with(bytes) { Verdict::Hold } else { Verdict::Broken(Fault::NoPreface) };
            assert_eq!(look(Versions::Http2, bytes), (0, expected), "{bytes:?}");
        }
    }

    #[test]
    fn a_body_that_looks_like_a_head_is_none() {
        let mut inspector = Inspector::new(LIMITS);
        let head = GET.as_bytes();
        assert_eq!(inspector.advance(head), (head.len(), Verdict::Pass));
        assert!(inspector.is_one_head(head));
        let post = format!("POST /crm HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", head.len());
        inspector.advance(post.as_bytes());
        assert!(!inspector.is_one_head(post.as_bytes()));
        assert_eq!(inspector.advance(head), (head.len(), Verdict::Pass));
        assert!(inspector.is_between_requests() && !inspector.is_one_head(head));
        inspector.advance(head);
        assert!(inspector.is_one_head(head));
        assert!(!inspector.is_one_head(&[GET, GET].concat().into_bytes()));
    }
}
