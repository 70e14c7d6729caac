//! Scheme, host and port of a server.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// An origin in the sense of RFC 6454: where requests are sent, and nothing of what they ask for.
///
/// Plain `http` is admitted for loopback addresses only, so that a credential cannot cross a network in
/// the clear by a slip in a config file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    authority: Authority,
}

/// Why a text is not an [`Origin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Not of the form `https://host[:port]`.
    #[error("is not a URL of the form https://host[:port]")]
    Malformed,
    /// It has a path, a query, or user information.
    #[error("has more than scheme, host and port")]
    MoreThanOrigin,
    /// Plain http to something that is not a loopback address.
    #[error("plain http is only for loopback addresses")]
    PlainHttp,
}

impl Origin {
    /// Host without port.
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// Host, and port if it was given.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Whether connections to it are encrypted.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The absolute URI of a path on this origin; the path's bytes are kept.
    pub fn uri(&self, path_and_query: PathAndQuery) -> Uri {
        absolute(&self.scheme, &self.authority, path_and_query)
    }
}

/// The absolute URI of a path; the path's bytes are kept.
pub(super) fn absolute(scheme: &Scheme, authority: &Authority, path_and_query: PathAndQuery) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority.clone());
    parts.path_and_query = Some(path_and_query);
    Uri::from_parts(parts).expect("scheme, authority and path make a URI")
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let uri: Uri = text.parse().map_err(|_| OriginError::Malformed)?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(OriginError::Malformed);
        };
        if authority.host().is_empty() || (scheme != Scheme::HTTP && scheme != Scheme::HTTPS) {
            return Err(OriginError::Malformed);
        }
        if parts.path_and_query.is_some_and(|path| path != "/") || authority.as_str().contains('@') {
            return Err(OriginError::MoreThanOrigin);
        }
        if scheme == Scheme::HTTP && !is_loopback(authority.host()) {
            return Err(OriginError::PlainHttp);
        }
        let lower = authority.as_str().to_ascii_lowercase();
        let default_port = if scheme == Scheme::HTTPS { ":443" } else { ":80" };
        let bare = lower.strip_suffix(default_port).unwrap_or(&lower);
        Ok(Self { scheme, authority: bare.parse().map_err(|_| OriginError::Malformed)? })
    }
}

/// Whether a host is this machine: a loopback address, `localhost`, or a name under it (RFC 6761).
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().map_or_else(
        |_| bare.eq_ignore_ascii_case("localhost") || bare.to_ascii_lowercase().ends_with(".localhost"),
        |address| address.is_loopback(),
    )
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_without_case_default_port_and_final_slash() {
        let plain: Origin = "https://www.zohoapis.eu".parse().unwrap();
        for same in ["https://WWW.zohoapis.eu", "https://www.zohoapis.eu:443", "https://www.zohoapis.eu/"] {
            assert_eq!(same.parse::<Origin>().unwrap(), plain, "{same}");
        }
        assert_ne!("https://www.zohoapis.eu:8443".parse::<Origin>().unwrap(), plain);
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for fine in
            ["http://127.0.0.1:9400", "http://[::1]:9400", "http://localhost:1", "http://eu.localhost:1"]
        {
            assert!(fine.parse::<Origin>().is_ok(), "{fine}");
        }
        for bad in ["http://www.zohoapis.com", "http://10.0.0.1", "http://localhost.example.com"] {
            assert_eq!(bad.parse::<Origin>(), Err(OriginError::PlainHttp), "{bad}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        for more in ["https://h/crm", "https://h/?a=b", "https://user@h"] {
            assert_eq!(more.parse::<Origin>(), Err(OriginError::MoreThanOrigin), "{more}");
        }
        for less in ["", "/crm", "www.zohoapis.com", "ftp://h", "https://"] {
            assert_eq!(less.parse::<Origin>(), Err(OriginError::Malformed), "{less}");
        }
    }
}
