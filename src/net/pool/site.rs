//! Where connections lead: what a server is called, in URIs and to itself.

use http::Uri;
use http::header::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::net::origin::absolute;

/// Scheme, host and port of a server.
#[derive(Clone)]
pub(super) struct Site {
    scheme: Scheme,
    authority: Authority,
    /// How requests of HTTP/1 call it.
    pub(super) name: HeaderValue,
}

impl Site {
    /// That of a URI; `None` if it names none.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let (scheme, authority) = (uri.scheme()?.clone(), uri.authority()?.clone());
        // A server's own port goes without saying (RFC 9110 section 7.2).
        let is_default = uri.port_u16() == Some(if scheme == Scheme::HTTPS { 443 } else { 80 });
        let name = match uri.port() {
            Some(port) if !is_default => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        };
        Some(Self { name: HeaderValue::from_str(&name).ok()?, scheme, authority })
    }

    /// Whether connections to it are encrypted.
    pub(super) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Whether it is that of this URI.
    pub(super) fn is_of(&self, uri: &Uri) -> bool {
        let is_same = |authority: &Authority| {
            authority.as_str() == self.authority.as_str() || *authority == self.authority
        };
        uri.scheme() == Some(&self.scheme) && uri.authority().is_some_and(is_same)
    }

    /// The absolute URI of a path; of the root, if there is none.
    pub(super) fn uri(&self, path_and_query: Option<PathAndQuery>) -> Uri {
        let path_and_query = path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        absolute(&self.scheme, &self.authority, path_and_query)
    }
}
