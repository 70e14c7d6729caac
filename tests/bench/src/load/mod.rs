//! Those who ask: as lean as can be, so that the peer's core is busy before theirs is, and strict: an answer that
//! is not what was wanted ends the run.

pub(crate) mod bulk;
pub(crate) mod closed;
pub(crate) mod http2;
pub(crate) mod open;
pub(crate) mod plain;
pub(crate) mod poll;
pub(crate) mod wire;

use anyhow::{Result, ensure};
use memchr::memmem;

use crate::origin;

/// The read that is cached.
pub(crate) const COUNT: &str = "/crm/v8/settings/territories/actions/associated_users_count";
/// A read that is not.
pub(crate) const LEAD: &str = "/crm/v8/Leads/100000000000001";

/// A request, and what its answer must be.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) path: String,
    pub(crate) request: Vec<u8>,
    status: u16,
    length: Option<usize>,
    says: Option<&'static str>,
}

impl Want {
    /// A read as a service's HTTP library sends it.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        let path = path.into();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: python-requests/2.32\r\n\
             accept: application/json\r\naccept-encoding: gzip, deflate\r\n\r\n"
        );
        Self { path, request: request.into_bytes(), status: 200, length: None, says: None }
    }

    /// A write.
    pub(crate) fn post(path: impl Into<String>, body: &str) -> Self {
        let path = path.into();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nuser-agent: python-requests/2.32\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self { path, request: request.into_bytes(), status: 200, length: None, says: None }
    }

    /// The count.
    pub(crate) fn count() -> Self {
        Self::get(COUNT).long(origin::COUNT_BYTES)
    }

    /// A record.
    pub(crate) fn record() -> Self {
        Self::get(LEAD).long(origin::RECORD.len())
    }

    /// The same, asked under this id.
    pub(crate) fn under(&self, id: usize) -> Self {
        let end = self.request.len() - b"\r\n".len();
        let mut request = self.request[..end].to_vec();
        request.extend_from_slice(format!("x-request-id: made-up-{id:010}\r\n\r\n").as_bytes());
        Self { request, ..self.clone() }
    }

    /// The answer is as long as that.
    pub(crate) fn long(self, length: usize) -> Self {
        Self { length: Some(length), ..self }
    }

    /// The answer has this status.
    pub(crate) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The answer's head holds this.
    pub(crate) fn says(self, words: Option<&'static str>) -> Self {
        Self { says: words, ..self }
    }

    /// Complains about an answer that is another.
    pub(crate) fn check(&self, status: u16, length: usize, head: &[u8]) -> Result<()> {
        let Self { path, status: wanted, .. } = self;
        ensure!(status == *wanted, "{path} was answered with {status} instead of {wanted}: {}", shown(head));
        if let Some(wanted) = self.length {
            ensure!(
                length == wanted,
                "{path} was answered with {length} bytes instead of {wanted}: {}",
                shown(head)
            );
        }
        let says = self.says.is_none_or(|words| memmem::find(head, words.as_bytes()).is_some());
        ensure!(says, "{path} was answered without \"{}\": {}", self.says.unwrap_or_default(), shown(head));
        Ok(())
    }
}

fn shown(head: &[u8]) -> String {
    String::from_utf8_lossy(head).trim().replace("\r\n", " | ")
}
