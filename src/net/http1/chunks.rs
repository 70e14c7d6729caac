//! The chunked transfer coding (RFC 9112 section 7.1), byte by byte where it is framing, at once where it is data.

use super::Fault;
use super::head::field;
use super::token::is_token;

/// The longest line of a size with its extension. RFC 9112 section 7.1.1 asks for a bound; what would use
/// extensions is not known to exist.
const MOST_LINE_BYTES: usize = 256;
/// The longest trailer section.
const MOST_TRAILER_BYTES: usize = 8 * 1024;
/// More digits are a size that no body has.
const MOST_DIGITS: usize = 15;

/// Follows one body.
#[derive(Debug)]
pub struct Chunks {
    part: Part,
    /// The line of a size or of a trailer, as far as it has come.
    line: Vec<u8>,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Within the line of a chunk's size.
    Size,
    /// Within the bytes of a chunk, so many to come.
    Data(u64),
    /// Within the line end after a chunk's bytes; one byte of it has come or none.
    DataEnd(u8),
    /// Within a line of the trailer section.
    Trailer,
    /// After the last line.
    Ended,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunks {
    /// A body of which nothing has come.
    pub fn new() -> Self {
        Self { part: Part::Size, line: Vec::new(), trailer_bytes: 0 }
    }

    /// Whether the last line has come.
    pub fn have_ended(&self) -> bool {
        self.part == Part::Ended
    }

    /// Looks at bytes of the body: how many belong to it. With a fault come the bytes that were still fine.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, (usize, Fault)> {
        let mut at = 0;
        while at < bytes.len() && self.part != Part::Ended {
            at += match self.part {
                Part::Data(left) => self.skip(left, bytes.len() - at),
                Part::Size | Part::DataEnd(_) | Part::Trailer | Part::Ended => {
                    self.take(bytes[at]).map_err(|fault| (at, fault))?;
                    1
                }
            };
        }
        Ok(at)
    }

    fn skip(&mut self, left: u64, there: usize) -> usize {
        let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(there);
        let left = left - skipped as u64;
        self.part = if left == 0 { Part::DataEnd(0) } else { Part::Data(left) };
        skipped
    }

    /// Takes a byte of the framing.
    fn take(&mut self, byte: u8) -> Result<(), Fault> {
        match (self.part, byte) {
            (Part::DataEnd(0), b'\r') => self.part = Part::DataEnd(1),
            (Part::DataEnd(1), b'\n') => self.part = Part::Size,
            (Part::DataEnd(_), _) => return Err(Fault::ChunkEnd),
            (_, b'\n') => {
                let mut line = std::mem::take(&mut self.line);
                if line.pop() != Some(b'\r') {
                    return Err(Fault::BareLineFeed);
                }
                self.end_line(&line)?;
                // Kept for its allocation.
                line.clear();
                self.line = line;
            }
            _ => {
                self.check_byte(byte)?;
                self.line.push(byte);
                self.check_bounds()?;
            }
        }
        Ok(())
    }

    /// Checks what need not wait for the line's end: whoever reads the bytes that pass must not stumble first.
    fn check_byte(&self, byte: u8) -> Result<(), Fault> {
        let line = &self.line;
        // Looked at last: a line of a trailer may be long.
        let are_digits = || line.iter().all(u8::is_ascii_hexdigit);
        match self.part {
            Part::Trailer if line.last() == Some(&b'\r') => Err(Fault::Trailers),
            Part::Trailer => Ok(()),
            _ if line.last() == Some(&b'\r') => Err(Fault::ChunkExtension),
            _ if line.contains(&b';') => Ok(()),
            _ if byte.is_ascii_hexdigit() && line.len() < MOST_DIGITS && are_digits() => Ok(()),
            _ if !line.is_empty() && matches!(byte, b' ' | b'\t' | b';' | b'\r') => Ok(()),
            _ => Err(Fault::ChunkSize),
        }
    }

    fn end_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.part = match self.part {
            Part::Trailer if line.is_empty() => Part::Ended,
            Part::Trailer => {
                field(line).map_err(|_| Fault::Trailers)?;
                Part::Trailer
            }
            _ => match size(line)? {
                0 => Part::Trailer,
                size => Part::Data(size),
            },
        };
        Ok(())
    }

    fn check_bounds(&mut self) -> Result<(), Fault> {
        if self.part != Part::Trailer {
            return if self.line.len() > MOST_LINE_BYTES { Err(Fault::ChunkExtension) } else { Ok(()) };
        }
        self.trailer_bytes += 1;
        if self.trailer_bytes > MOST_TRAILER_BYTES { Err(Fault::Trailers) } else { Ok(()) }
    }
}

/// The size that a line gives, its extensions checked and left aside.
fn size(line: &[u8]) -> Result<u64, Fault> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let text = std::str::from_utf8(&line[..digits]).unwrap_or_default();
    let size = u64::from_str_radix(text, 16).map_err(|_| Fault::ChunkSize)?;
    let rest = &line[digits..];
    match rest.trim_ascii_start().first() {
        None if rest.is_empty() => Ok(size),
        Some(b';') if are_extensions(rest) => Ok(size),
        Some(b';') => Err(Fault::ChunkExtension),
        _ => Err(Fault::ChunkSize),
    }
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(extension) = rest.trim_ascii_start().strip_prefix(b";") else { return false };
        let (name, after) = split_token(extension.trim_ascii_start());
        if name.is_empty() {
            return false;
        }
        rest = match after.trim_ascii_start().strip_prefix(b"=") {
            None => after,
            Some(value) => match after_value(value.trim_ascii_start()) {
                Some(after) => after,
                None => return false,
            },
        };
    }
    true
}

fn split_token(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().take_while(|byte| is_token(std::slice::from_ref(byte))).count();
    text.split_at(end)
}

/// What follows a token or a quoted string (RFC 9110 section 5.6.4).
fn after_value(text: &[u8]) -> Option<&[u8]> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let (token, after) = split_token(text);
        return (!token.is_empty()).then_some(after);
    };
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(&quoted[at + 1..]),
            b'\\' => drop(bytes.next().filter(|(_, escaped)| !escaped.is_ascii_control())?),
            byte if byte.is_ascii_control() && *byte != b'\t' => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &str) -> Result<(usize, bool), (usize, Fault)> {
        let mut chunks = Chunks::new();
        let passed = chunks.advance(bytes.as_bytes())?;
        Ok((passed, chunks.have_ended()))
    }

    #[test]
    fn a_body_ends_with_its_trailer_section() {
        for body in [
            "0\r\n\r\n",
            "000\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A\r\n0123456789\r\n0;last\r\nx: y\r\n\r\n",
            "1;a=\"b c\";d\r\nx\r\n0\r\n\r\n",
            "1 ; a = b;c=\"d;\\\"e\"\r\nx\r\n0\r\n\r\n",
        ] {
            assert_eq!(read(body), Ok((body.len(), true)), "{body:?}");
            assert_eq!(read(&format!("{body}GET /")), Ok((body.len(), true)), "{body:?}");
            assert_eq!(read(&body[..body.len() - 1]), Ok((body.len() - 1, false)), "{body:?}");
        }
    }

    #[test]
    fn a_long_trailer_is_read_in_one_go() {
        // Were each byte looked at for each that follows, this would take minutes.
        let trailer = "a".repeat(MOST_TRAILER_BYTES - 100);
        let one = format!("0\r\n{trailer}: x\r\n\r\n");
        for _ in 0..200 {
            assert_eq!(read(&one), Ok((one.len(), true)));
        }
    }

    #[test]
    fn framing_that_two_readers_could_take_differently_is_a_fault() {
        for (body, fault) in [
            ("\r\n", Fault::ChunkSize),
            ("g\r\n", Fault::ChunkSize),
            ("0x5\r\n", Fault::ChunkSize),
            ("+5\r\n", Fault::ChunkSize),
            ("-5\r\n", Fault::ChunkSize),
            (" 5\r\n", Fault::ChunkSize),
            ("5 \r\n", Fault::ChunkSize),
            ("5 5\r\n", Fault::ChunkSize),
            ("5_0\r\n", Fault::ChunkSize),
            ("1234567890abcdef0\r\n", Fault::ChunkSize),
            ("ffffffffffffffff\r\n", Fault::ChunkSize),
            ("5\nhello\r\n", Fault::BareLineFeed),
            ("5;a\nhello\r\n", Fault::BareLineFeed),
            ("5;a\rb\r\n", Fault::ChunkExtension),
            ("5;\r\n", Fault::ChunkExtension),
            ("5;=b\r\n", Fault::ChunkExtension),
            ("5;a=\r\n", Fault::ChunkExtension),
            ("5;a=\"b\r\n", Fault::ChunkExtension),
            ("5;a b\r\n", Fault::ChunkExtension),
            ("5;a\0\r\n", Fault::ChunkExtension),
            ("5\r\nhelloworld\r\n", Fault::ChunkEnd),
            ("5\r\nhello\n0\r\n\r\n", Fault::ChunkEnd),
            ("5\r\nhello\r0\r\n\r\n", Fault::ChunkEnd),
            ("0\r\nx: y\n\r\n", Fault::BareLineFeed),
            ("0\r\nGET / HTTP/1.1\r\n\r\n", Fault::Trailers),
            ("0\r\n x: y\r\n\r\n", Fault::Trailers),
        ] {
            assert_eq!(read(body).map_err(|(_, fault)| fault), Err(fault), "{body:?}");
        }
        let long = format!("5;{}", "a".repeat(300));
        assert_eq!(read(&long).map_err(|(_, fault)| fault), Err(Fault::ChunkExtension));
        let trailers = format!("0\r\n{}", "x: y\r\n".repeat(2000));
        assert_eq!(read(&trailers).map_err(|(_, fault)| fault), Err(Fault::Trailers));
    }
}
