//! The framing of HTTP/1 requests. The bytes are those of a connection, with `\r\n` where it has line ends.

use zoho_sidecar::net::http1::head::Limits;
use zoho_sidecar::net::http1::{Inspector, Verdict};

const LIMITS: Limits = Limits { bytes: 1024, headers: 10 };

pub fn hold(bytes: &[u8]) {
    let mut inspector = Inspector::new(LIMITS);
    let (passed, verdict) = inspector.advance(bytes);
    assert!(verdict != Verdict::Pass || passed == bytes.len());
    for size in [1, 2, 3, 7, 64, bytes.len() / 2 + 1] {
        assert_eq!(in_pieces(bytes, size), (passed, verdict), "by {size}");
    }
    if bytes.starts_with(b"PRI * HTTP/2.0\r\n") {
        return;
    }
    let (heads, is_within_body) = read(&bytes[..passed]);
    assert_eq!(heads, inspector.heads());
    assert!(!is_within_body || !inspector.is_between_requests());
}

/// The same as a connection brings it: what is held is shown again in front of what comes next.
fn in_pieces(bytes: &[u8], size: usize) -> (usize, Verdict) {
    let mut inspector = Inspector::new(LIMITS);
    let (mut passed, mut held, mut last) = (0, Vec::new(), Verdict::Pass);
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

/// Reads what has passed by the letter of RFC 9112, and panics where it does not allow what it finds. How many heads
/// there are, and whether the last body has not come whole.
fn read(mut bytes: &[u8]) -> (u64, bool) {
    let mut heads = 0;
    loop {
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            bytes = rest;
        }
        if bytes.is_empty() {
            return (heads, false);
        }
        let end = find(bytes, b"\r\n\r\n").expect("a head passes whole");
        let body = Framing::of(&bytes[..end]);
        heads += 1;
        bytes = &bytes[end + 4..];
        let rest = match body {
            Framing::Length(length) => bytes.get(length..),
            Framing::Chunked => after_chunks(bytes),
        };
        let Some(rest) = rest else { return (heads, true) };
        bytes = rest;
    }
}

enum Framing {
    Length(usize),
    Chunked,
}

impl Framing {
    fn of(head: &[u8]) -> Self {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        assert!(
            matches!(first[..], [method, target, "HTTP/1.0" | "HTTP/1.1"] if is_token(method) && !target.is_empty())
        );
        let (mut lengths, mut codings) = (Vec::new(), Vec::new());
        for line in lines {
            assert!(!line.contains(|c: char| c.is_ascii_control() && c != '\t'), "{line:?}");
            let (name, value) = line.split_once(':').expect("a header has a colon");
            assert!(is_token(name), "{name:?}");
            match name.to_ascii_lowercase().as_str() {
                "content-length" => lengths.push(value.trim()),
                "transfer-encoding" => codings.push(value.trim().to_ascii_lowercase()),
                _ => {}
            }
        }
        match (&lengths[..], &codings[..]) {
            ([], []) => Self::Length(0),
            ([length], []) => {
                assert!(length.bytes().all(|byte| byte.is_ascii_digit()), "{length:?}");
                let length = length.parse::<u64>().expect("a length is a number");
                Self::Length(usize::try_from(length).expect("this machine has 64 bits"))
            }
            ([], [coding]) if coding == "chunked" && first[2] == "HTTP/1.1" => Self::Chunked,
            others => panic!("two could read this in two ways: {others:?}"),
        }
    }
}

/// What comes after a body in chunks, if it has come whole.
fn after_chunks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let line = line(&mut bytes)?;
        let size = line.split(';').next().unwrap_or_default().trim_end();
        assert!(!size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line:?}");
        let size = usize::from_str_radix(size, 16).expect("no chunk is that long");
        if size == 0 {
            break;
        }
        bytes = bytes.get(size..)?;
        assert!(b"\r\n".starts_with(&bytes[..bytes.len().min(2)]), "a chunk ends with a line end");
        bytes = bytes.get(2..)?;
    }
    loop {
        let line = line(&mut bytes)?;
        if line.is_empty() {
            return Some(bytes);
        }
        assert!(line.split_once(':').is_some_and(|(name, _)| is_token(name)), "{line:?}");
    }
}

/// Takes a line off the front.
fn line(bytes: &mut &[u8]) -> Option<String> {
    let end = find(bytes, b"\r\n");
    let line = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned();
    // The last byte may be the first of a line end that has not come whole.
    let begun = line.strip_suffix('\r').filter(|_| end.is_none()).unwrap_or(&line);
    assert!(!begun.contains(['\r', '\n']), "{line:?}");
    *bytes = &bytes[end? + 2..];
    Some(line)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn is_token(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_token)
}
