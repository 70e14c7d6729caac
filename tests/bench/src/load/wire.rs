//! A connection that asks one thing after the other.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result, bail, ensure};
use memchr::{memchr_iter, memmem};

use super::Want;

/// A kept-alive connection. What has come of an answer is kept until all of it has.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    part: Vec<u8>,
}

/// Where an answer's head ends, and how long its body is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) bytes: usize,
    pub(crate) body: usize,
}

impl Connection {
    /// Connects; its reads do not wait.
    pub(crate) fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).context("the peer takes no connection")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, part: Vec::new() })
    }

    pub(crate) fn send(&mut self, want: &Want) -> Result<()> {
        self.stream
            .write_all(&want.request)
            .with_context(|| format!("a request for {} cannot be sent", want.path))
    }

    /// Reads what has come; whether the answer is whole, and what was wanted.
    pub(crate) fn receive(&mut self, scratch: &mut [u8], want: &Want) -> Result<bool> {
        let read = match self.stream.read(scratch) {
            Ok(0) => bail!("the peer closed the connection instead of answering {}", want.path),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("the answer for {} broke off", want.path));
            }
        };
        if self.part.is_empty() {
            let whole = is_whole(&scratch[..read], want)?;
            if !whole {
                self.part.extend_from_slice(&scratch[..read]);
            }
            return Ok(whole);
        }
        self.part.extend_from_slice(&scratch[..read]);
        let whole = is_whole(&self.part, want)?;
        if whole {
            self.part.clear();
        }
        Ok(whole)
    }
}

fn is_whole(bytes: &[u8], want: &Want) -> Result<bool> {
    let Some(head) = head(bytes)? else { return Ok(false) };
    let whole = head.bytes + head.body;
    ensure!(bytes.len() <= whole, "{} was answered with more than one answer", want.path);
    if bytes.len() == whole {
        want.check(head.status, head.body, &bytes[..head.bytes])?;
    }
    Ok(bytes.len() == whole)
}

/// Reads the head of an answer, if all of it is there.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<Head>> {
    const LENGTH: &[u8] = b"content-length:";
    let Some(end) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let text = || String::from_utf8_lossy(&bytes[..end]);
    let status = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let status = status.with_context(|| format!("this is no HTTP answer: {}", text()))?;
    for line in memchr_iter(b'\n', &bytes[..end]).map(|at| &bytes[at + 1..end]) {
        let Some((name, value)) = line.split_at_checked(LENGTH.len()) else { continue };
        if !name.eq_ignore_ascii_case(LENGTH) {
            continue;
        }
        let value = value.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let value = std::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok());
        let body = value.with_context(|| format!("the length of an answer is no number: {}", text()))?;
        return Ok(Some(Head { status, bytes: end + 4, body }));
    }
    bail!("an answer does not tell its length: {}", text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_there() {
        let bytes = b"HTTP/1.1 200 OK\r\nage: 1\r\nContent-Length: 12\r\nx: y\r\n\r\nhel";
        assert_eq!(head(bytes).unwrap(), Some(Head { status: 200, bytes: 53, body: 12 }));
        assert_eq!(head(&bytes[..40]).unwrap(), None);
    }

    #[test]
    fn an_answer_without_a_length_is_no_answer() {
        assert!(head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
