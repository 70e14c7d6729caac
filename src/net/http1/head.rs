//! The head of a request: its first line and its headers, and how its body will be framed.

use memchr::memchr;

use super::Fault;
use super::request_line::{Version, request_line};
use super::token::{TOKEN, is_token};

/// How much of a head is read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes in all.
    pub bytes: usize,
    /// Headers.
    pub headers: usize,
}

/// Empty lines that may precede a request, as some old clients send one after a body (RFC 9112 section 2.2).
const MOST_EMPTY_LINES: usize = 2;

/// Reads one head, however it is cut into pieces.
#[derive(Debug)]
pub struct Head {
    limits: Limits,
    /// Where the line begins that is not whole yet.
    line_start: usize,
    /// Up to where there is no line feed.
    searched: usize,
    empty_lines: usize,
    headers: usize,
    version: Option<Version>,
    length: Option<u64>,
    is_chunked: bool,
}

/// How the body that follows is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its length; zero for none.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// A whole head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complete {
    /// How many bytes it has.
    pub length: usize,
    /// What follows it.
    pub framing: Framing,
}

impl Head {
    /// A head of which nothing has come.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            line_start: 0,
            searched: 0,
            empty_lines: 0,
            headers: 0,
            version: None,
            length: None,
            is_chunked: false,
        }
    }

    /// Whether nothing of it has come.
    pub fn is_untouched(&self) -> bool {
        self.searched == 0
    }

    /// Looks at the head's bytes, from its first one each time; `None` while it is not whole.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<Complete>, Fault> {
        while let Some(found) = memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + found;
            if end >= self.limits.bytes {
                return Err(Fault::HeadTooLong(self.limits.bytes));
            }
            let line = &bytes[self.line_start..end];
            let line = line.strip_suffix(b"\r").ok_or(Fault::BareLineFeed)?;
            (self.line_start, self.searched) = (end + 1, end + 1);
            if self.take(line)? {
                return Ok(Some(Complete { length: end + 1, framing: self.framing() }));
            }
        }
        self.searched = bytes.len();
        if bytes.len() >= self.limits.bytes {
            return Err(Fault::HeadTooLong(self.limits.bytes));
        }
        Ok(None)
    }

    /// Takes a line; says whether it was the last.
    fn take(&mut self, line: &[u8]) -> Result<bool, Fault> {
        let Some(version) = self.version else {
            if line.is_empty() && self.empty_lines < MOST_EMPTY_LINES {
                self.empty_lines += 1;
            } else {
                self.version = Some(request_line(line)?);
            }
            return Ok(false);
        };
        if line.is_empty() {
            return Ok(true);
        }
        self.headers += 1;
        if self.headers > self.limits.headers {
            return Err(Fault::TooManyHeaders(self.limits.headers));
        }
        let (name, value) = field(line)?;
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => self.take_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.take_coding(value, version)?,
            _ => {}
        }
        Ok(false)
    }

    fn take_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value).ok().filter(|_| is_number).and_then(|text| text.parse().ok());
        if self.length.is_some() {
            return Err(Fault::SeveralLengths);
        }
        self.length = Some(number.ok_or(Fault::Length)?);
        if self.is_chunked { Err(Fault::LengthAndCoding) } else { Ok(()) }
    }

    fn take_coding(&mut self, value: &[u8], version: Version) -> Result<(), Fault> {
        if self.is_chunked || version == Version::Http10 {
            return Err(Fault::Coding);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            // Only a body whose last coding is `chunked` has an end (RFC 9112 section 6.3).
            let is_framed = is_chunked_over_others(value);
            return Err(if is_framed { Fault::UnknownCoding } else { Fault::NotChunked });
        }
        self.is_chunked = true;
        if self.length.is_some() { Err(Fault::LengthAndCoding) } else { Ok(()) }
    }

    fn framing(&self) -> Framing {
        if self.is_chunked { Framing::Chunked } else { Framing::Length(self.length.unwrap_or(0)) }
    }
}

/// Whether a value of `Transfer-Encoding` is a list of other codings and then, once, `chunked`.
fn is_chunked_over_others(value: &[u8]) -> bool {
    let mut codings = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let name = |coding: &'_ [u8]| {
        coding.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_vec()
    };
    // A comma in quotes separates nothing; what has quotes is not taken apart.
    !value.contains(&b'"')
        && codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"))
        && codings.map(name).all(|name| is_token(&name) && !name.eq_ignore_ascii_case(b"chunked"))
}

/// Name and value of a header line, the value without the white space around it (RFC 9112 section 5).
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Fault::FoldedLine);
    }
    let end = line.iter().position(|byte| !TOKEN[usize::from(*byte)]).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let value = match rest.split_first() {
        Some((b':', value)) if !name.is_empty() => value,
        Some((b' ' | b'\t', _)) if rest.trim_ascii_start().starts_with(b":") => {
            return Err(Fault::SpaceBeforeColon);
        }
        _ => return Err(Fault::Name),
    };
    if !is_plain(value) && value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(Fault::ControlByte);
    }
    Ok((name, value.trim_ascii()))
}

/// Whether there is no control byte, looking at eight bytes at once: a third less for a usual head than one by one.
fn is_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    // A byte below n has its high bit set after n was taken off it, and did not have it before.
    let has_below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGH != 0;
    let (words, rest) = bytes.as_chunks();
    let is_plain = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        !has_below(word, 0x20) && !has_below(word ^ (ONES * 0x7f), 1)
    };
    words.iter().all(is_plain) && !rest.iter().any(u8::is_ascii_control)
}

#[cfg(test)]
mod tests {
    use super::super::request_line::MOST_TARGET_BYTES;
    use super::*;

    fn read(head: &str) -> Result<Option<Framing>, Fault> {
        let complete = Head::new(Limits { bytes: 200, headers: 3 }).advance(head.as_bytes())?;
        Ok(complete.map(|complete| complete.framing))
    }

    fn with(lines: &str) -> Result<Option<Framing>, Fault> {
        read(&format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n"))
    }

    #[test]
    fn control_bytes_are_found_wherever_they_are() {
        for length in 0..20 {
            let plain = vec![b'x'; length];
            assert!(is_plain(&plain));
            for (at, byte) in (0..length).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
                let mut bytes = plain.clone();
                bytes[at] = byte;
                assert_eq!(is_plain(&bytes), !byte.is_ascii_control(), "{byte} at {at} of {length}");
            }
        }
    }

    #[test]
    fn the_framing_of_the_body_is_told() {
        assert_eq!(with("x: y"), Ok(Some(Framing::Length(0))));
        assert_eq!(with("Content-Length:\t 12 "), Ok(Some(Framing::Length(12))));
        assert_eq!(with("transfer-Encoding: chunked"), Ok(Some(Framing::Chunked)));
        assert_eq!(read("POST / HTTP/1.0\r\ncontent-length: 3\r\n\r\n"), Ok(Some(Framing::Length(3))));
    }

    #[test]
    fn lengths_and_codings_that_two_readers_could_take_differently_are_faults() {
        for (lines, fault) in [
            ("content-length: 3\r\ncontent-length: 3", Fault::SeveralLengths),
            ("content-length: 3\r\nContent-Length: 4", Fault::SeveralLengths),
            ("content-length: 3, 3", Fault::Length),
            ("content-length: +3", Fault::Length),
            ("content-length: -1", Fault::Length),
            ("content-length: 0x3", Fault::Length),
            ("content-length: 3 3", Fault::Length),
            ("content-length:", Fault::Length),
            ("content-length: 18446744073709551616", Fault::Length),
            ("content-length: 3\r\ntransfer-encoding: chunked", Fault::LengthAndCoding),
            ("transfer-encoding: chunked\r\ncontent-length: 3", Fault::LengthAndCoding),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", Fault::Coding),
            ("transfer-encoding: chunked\r\ntransfer-encoding: identity", Fault::Coding),
            ("transfer-encoding: gzip, chunked", Fault::UnknownCoding),
            ("transfer-encoding: gzip;q=1 ,deflate,\tChunked", Fault::UnknownCoding),
            ("transfer-encoding: identity", Fault::NotChunked),
            ("transfer-encoding: gzip", Fault::NotChunked),
            ("transfer-encoding: chunked, gzip", Fault::NotChunked),
            ("transfer-encoding: chunked, chunked", Fault::NotChunked),
            ("transfer-encoding: chunked, gzip, chunked", Fault::NotChunked),
            ("transfer-encoding: chunked,", Fault::NotChunked),
            ("transfer-encoding: , chunked", Fault::NotChunked),
            ("transfer-encoding: gzip chunked", Fault::NotChunked),
            ("transfer-encoding: gzip;x=\"a, chunked", Fault::NotChunked),
            ("transfer-encoding: xchunked", Fault::NotChunked),
            ("transfer-encoding: \"chunked\"", Fault::NotChunked),
            ("transfer-encoding: chunked;q=1", Fault::NotChunked),
            ("transfer-encoding:", Fault::NotChunked),
        ] {
            assert_eq!(with(lines), Err(fault), "{lines:?}");
        }
        let old = read("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(old, Err(Fault::Coding));
    }

    #[test]
    fn lines_that_are_no_headers_are_faults() {
        for (lines, fault) in [
            (" x: y", Fault::FoldedLine),
            ("x: y\r\n\tz", Fault::FoldedLine),
            ("x : y", Fault::SpaceBeforeColon),
            ("x\t: y", Fault::SpaceBeforeColon),
            (": y", Fault::Name),
            ("x y", Fault::Name),
            ("x(y: z", Fault::Name),
            ("x\0: z", Fault::Name),
            ("ü: z", Fault::Name),
            ("x: a\0b", Fault::ControlByte),
            ("x: a\rb", Fault::ControlByte),
            ("x: a\r\r", Fault::ControlByte),
            ("x: a\u{7f}", Fault::ControlByte),
            ("x: a\nb: c", Fault::BareLineFeed),
        ] {
            assert_eq!(with(lines), Err(fault), "{lines:?}");
        }
        assert_eq!(with("x: tab\tand ü"), Ok(Some(Framing::Length(0))));
    }

    #[test]
    fn first_lines_of_another_form_are_faults() {
        for (line, fault) in [
            ("GET / HTTP/1.1 ", Fault::RequestLine),
            ("GET  / HTTP/1.1", Fault::RequestLine),
            (" GET / HTTP/1.1", Fault::RequestLine),
            ("GET /a b HTTP/1.1", Fault::RequestLine),
            ("GET\t/ HTTP/1.1", Fault::RequestLine),
            ("GET /", Fault::RequestLine),
            ("G(T / HTTP/1.1", Fault::RequestLine),
            ("GET / http/1.1", Fault::RequestLine),
            ("GET / HTTP/1.2", Fault::Version),
            ("GET / HTTP/2.0", Fault::Version),
            ("GET / HTTP/1.10", Fault::RequestLine),
            ("GET / HTTP/1", Fault::RequestLine),
            ("GET / HTTP/01.01", Fault::RequestLine),
            ("GET / HTTP/1.1.1", Fault::RequestLine),
            ("GET / HTTP/1,1", Fault::RequestLine),
            ("GET / HTTP/", Fault::RequestLine),
            ("GET /ü HTTP/1.1", Fault::Target),
            ("GET /a?b=ü HTTP/1.1", Fault::Target),
            ("GET /a?b={ HTTP/1.1", Fault::Target),
            ("GET /a?b=} HTTP/1.1", Fault::Target),
            ("GET /a?b=| HTTP/1.1", Fault::Target),
            ("GET /a?b=^ HTTP/1.1", Fault::Target),
            ("GET /a?b=` HTTP/1.1", Fault::Target),
            ("GET /a?b=> HTTP/1.1", Fault::Target),
            ("GET /a{b HTTP/1.1", Fault::Target),
            ("GET http://a/b|c HTTP/1.1", Fault::Target),
            ("MMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMMM / HTTP/1.1", Fault::MethodTooLong(32)),
            ("GET /a\rb HTTP/1.1", Fault::Target),
            ("GET /a\0b HTTP/1.1", Fault::Target),
            ("GET /a#b HTTP/1.1", Fault::Target),
            ("GET /a<b HTTP/1.1", Fault::Target),
            ("GET /a?b=\"c\" HTTP/1.1", Fault::Target),
            ("GET crm/users HTTP/1.1", Fault::Target),
        ] {
            assert_eq!(read(&format!("{line}\r\nhost: a\r\n\r\n")), Err(fault), "{line:?}");
        }
        for line in ["OPTIONS * HTTP/1.1", "M-SEARCH /a?b[c]=[d] HTTP/1.0", "\r\nGET / HTTP/1.1"] {
            assert_eq!(read(&format!("{line}\r\nhost: a\r\n\r\n")), Ok(Some(Framing::Length(0))), "{line:?}");
        }
        assert_eq!(read("\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n"), Err(Fault::RequestLine));
    }

    #[test]
    fn a_head_has_bounds_of_its_own() {
        let of_length = |length: usize| with(&format!("x: {}", "y".repeat(length - 33)));
        assert_eq!(of_length(200), Ok(Some(Framing::Length(0))));
        assert_eq!(of_length(201), Err(Fault::HeadTooLong(200)));
        assert_eq!(read(&"G".repeat(199)), Ok(None));
        assert_eq!(read(&"G".repeat(200)), Err(Fault::HeadTooLong(200)));
        let target = format!("GET /{} HTTP/1.1\r\n", "x".repeat(MOST_TARGET_BYTES));
        let read = Head::new(Limits { bytes: 1 << 20, headers: 3 }).advance(target.as_bytes());
        assert_eq!(read, Err(Fault::TargetTooLong(MOST_TARGET_BYTES)));
        assert_eq!(with("a: 1\r\nb: 2"), Ok(Some(Framing::Length(0))));
        assert_eq!(with("a: 1\r\nb: 2\r\nc: 3"), Err(Fault::TooManyHeaders(3)));
    }
}
