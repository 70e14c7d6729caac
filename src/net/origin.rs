//! Scheme, host and port of a server.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use rustls::pki_types::ServerName;

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
    /// The host is neither an IP address nor a DNS name.
    #[error("has a host that is neither a DNS name nor an IP address")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
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
        // A URI has none by its standard, and `http` drops it.
        if text.contains('#') {
            return Err(OriginError::MoreThanOrigin);
        }
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
        if !is_host(authority.host()) {
            return Err(OriginError::Host);
        }
        if !has_valid_port(&authority) {
            return Err(OriginError::Port);
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

/// Whether a TLS connection can be made to a host of this name: it is a DNS name, an IPv4 address, or an IPv6 address
/// in brackets. `http` alone admits much more (`[zz]`, `%41`, `a..b`), which only the connection would refuse.
pub(super) fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => ServerName::try_from(host).is_ok(),
    }
}

/// Whether an authority without user information has no port, or one that can be connected to. `http` reads a port
/// that it does not understand as none, and the connection would go to the scheme's own.
pub(super) fn has_valid_port(authority: &Authority) -> bool {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => true,
        Some(rest) => {
            rest.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).is_some_and(|port| port > 0)
        }
        None => false,
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

/// Whether a host names a machine by address, `localhost` included.
pub fn is_address(host: &str) -> bool {
    is_loopback(host) || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
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
        for more in ["https://h/crm", "https://h/?a=b", "https://user@h", "https://h/#f", "https://h#f"] {
            assert_eq!(more.parse::<Origin>(), Err(OriginError::MoreThanOrigin), "{more}");
        }
        for less in ["", "/crm", "www.zohoapis.com", "ftp://h", "https://"] {
            assert_eq!(less.parse::<Origin>(), Err(OriginError::Malformed), "{less}");
        }
    }

    #[test]
    fn a_host_that_no_connection_can_be_made_to_is_refused() {
        for fine in [
            "https://h",
            "https://a-b.example.com.",
            "https://192.0.2.1",
            "https://[2001:db8::1]",
            "https://a_b.example",
        ] {
            assert!(fine.parse::<Origin>().is_ok(), "{fine}");
        }
        let long = format!("https://{}.example", "a".repeat(64));
        for bad in [
            "https://[zz]",
            "https://[::1%25eth0]",
            "https://a..b",
            "https://1.2.3.4.5",
            "https://256.1.1.1",
            &long,
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(OriginError::Host), "{bad}");
        }
    }

    #[test]
    fn a_port_that_would_be_ignored_is_refused() {
        assert!("https://[::1]:8443".parse::<Origin>().is_ok());
        for bad in ["https://h:0", "https://h:65536", "https://h:443443", "https://h:", "https://[::1]:"] {
            assert_eq!(bad.parse::<Origin>(), Err(OriginError::Port), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_an_origin_makes_uris_and_server_names(text in "https?://[a-z0-9:.%\\[\\]@_~-]{0,20}/?") {
            let Ok(origin) = text.parse::<Origin>() else { return Ok(()) };
            let uri = origin.uri(PathAndQuery::from_static("/oauth/v2/token"));
            proptest::prop_assert_eq!(uri.host(), Some(origin.host()));
            proptest::prop_assert!(uri.port_u16().is_some() || uri.port().is_none());
            let bare = origin.host().trim_start_matches('[').trim_end_matches(']').to_owned();
            proptest::prop_assert!(ServerName::try_from(bare).is_ok());
            proptest::prop_assert_eq!(origin.to_string().parse::<Origin>(), Ok(origin));
        }
    }
}
