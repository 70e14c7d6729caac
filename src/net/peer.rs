//! Who is at the other end of a connection, as far as the connection itself shows.

use std::fmt;
use std::str::FromStr;

/// What a connection shows of its other end. Found out once, when the connection begins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Whether it speaks TLS.
    pub is_tls: bool,
    /// The user that the process at the other end of a unix socket runs as.
    pub uid: Option<u32>,
    /// The names in the certificate it has shown, if an authority of ours signed it.
    pub names: Vec<SubjectName>,
}

/// A name in a certificate (a `subjectAltName` of RFC 5280 section 4.2.1.6). The common name is none: it says
/// nothing of what kind of name it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SubjectName {
    /// The name of a host, in lower case.
    Dns(String),
    /// A URI, as the `spiffe://…` of a workload.
    Uri(String),
}

/// Not a name that a certificate could hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("neither a URI, as spiffe://example.org/billing, nor the name of a host")]
pub struct NotASubjectName;

impl SubjectName {
    /// The name of a host; these are the same in any case.
    pub fn dns(name: &str) -> Self {
        Self::Dns(name.to_ascii_lowercase())
    }
}

impl FromStr for SubjectName {
    type Err = NotASubjectName;

    /// With a colon it is a URI: no host's name has one, and every URI does.
    fn from_str(text: &str) -> Result<Self, NotASubjectName> {
        let is_host_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'*');
        if text.is_empty() || text.bytes().any(|b| !b.is_ascii_graphic()) {
            Err(NotASubjectName)
        } else if text.contains(':') {
            Ok(Self::Uri(text.to_owned()))
        } else if text.bytes().all(is_host_byte) {
            Ok(Self::dns(text))
        } else {
            Err(NotASubjectName)
        }
    }
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_told_from_the_name_of_a_host() {
        let uri = SubjectName::Uri("spiffe://example.org/Billing".into());
        assert_eq!("spiffe://example.org/Billing".parse(), Ok(uri));
        assert_eq!("Billing.Example.org".parse(), Ok(SubjectName::Dns("billing.example.org".into())));
        for bad in ["", "a b", "a/b", "ä.example", "a@b"] {
            assert_eq!(bad.parse::<SubjectName>(), Err(NotASubjectName), "{bad}");
        }
    }
}
