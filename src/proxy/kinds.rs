//! Which kinds of headers a request has that decide how it is handled: found in one pass over the names, where looking
//! up each of them, absent as they mostly are, would cost more than all the checks together.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::net::browser::names_engine;
use crate::upstream::outbound::overrides;

/// Kinds of headers, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    /// None that decides anything.
    pub(super) const NONE: Self = Self(0);
    /// Those by which a request could mean one thing here and another to Zoho, or come from a browser.
    pub(super) const INSPECTED: Self = Self(1);
    /// A condition on the answer (RFC 9110 section 13.1).
    pub(super) const CONDITION: Self = Self(1 << 1);
    /// What a caller asks of the cache.
    pub(super) const WISH: Self = Self(1 << 2);
    /// An id for the request.
    pub(super) const ID: Self = Self(1 << 3);
    /// One that names another method or target, and that would go out.
    pub(super) const OVERRIDE: Self = Self(1 << 4);
    /// A `Connection` with more options than any client has.
    pub(super) const CONNECTION_TOO_LONG: Self = Self(1 << 5);
    /// A `Connection` that names a header which decides the answer.
    pub(super) const CONNECTION_TAKES_BACK: Self = Self(1 << 6);

    /// The kinds that these headers are of.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        headers.iter().fold(Self(0), |kinds, (name, value)| Self(kinds.0 | Self::of_one(name, value).0))
    }

    /// These and others.
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any header is of this kind.
    pub(super) fn have(self, kind: Self) -> bool {
        self.0 & kind.0 != 0
    }

    fn of_one(name: &HeaderName, value: &HeaderValue) -> Self {
        match name.as_str() {
            // What most clients send, and what says nothing.
            "connection" if value.as_bytes().eq_ignore_ascii_case(b"keep-alive") => Self(0),
            "user-agent" if names_engine(value.as_bytes()) => Self::INSPECTED,
            "connection" | "expect" | "origin" | "sec-fetch-dest" | "sec-fetch-site" | "sec-fetch-user"
            | "sec-purpose" | "transfer-encoding" | "upgrade" => Self::INSPECTED,
            "if-match" | "if-modified-since" | "if-none-match" | "if-unmodified-since" => Self::CONDITION,
            "cache-control" | "pragma" => Self::WISH,
            "x-request-id" => Self::ID,
            _ if overrides(name).is_some() => Self::OVERRIDE,
            _ => Self(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::headers::REQUEST_ID;

    fn kinds(headers: &[(&'static str, &'static str)]) -> Kinds {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Kinds::of(&headers.iter().map(pair).collect())
    }

    #[test]
    fn an_everyday_request_has_none() {
        let everyday = [
            ("host", "sidecar:8080"),
            ("user-agent", "python-requests/2.32"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip, deflate"),
            ("connection", "Keep-Alive"),
            ("authorization", "Zoho-oauthtoken made-up"),
            ("content-length", "0"),
        ];
        assert_eq!(kinds(&everyday), Kinds(0));
        // They never go out, so that what they say means nothing to Zoho.
        assert_eq!(kinds(&[("x-forwarded-uri", "/"), ("x-envoy-original-path", "/")]), Kinds(0));
    }

    #[test]
    fn every_header_that_decides_is_seen_among_others() {
        for (name, kind) in [
            ("connection", Kinds::INSPECTED),
            ("expect", Kinds::INSPECTED),
            ("origin", Kinds::INSPECTED),
            ("sec-fetch-dest", Kinds::INSPECTED),
            ("sec-fetch-site", Kinds::INSPECTED),
            ("sec-fetch-user", Kinds::INSPECTED),
            ("sec-purpose", Kinds::INSPECTED),
            ("transfer-encoding", Kinds::INSPECTED),
            ("upgrade", Kinds::INSPECTED),
            ("if-match", Kinds::CONDITION),
            ("if-modified-since", Kinds::CONDITION),
            ("if-none-match", Kinds::CONDITION),
            ("if-unmodified-since", Kinds::CONDITION),
            ("cache-control", Kinds::WISH),
            ("pragma", Kinds::WISH),
            ("x-request-id", Kinds::ID),
            ("x-http-method-override", Kinds::OVERRIDE),
            ("x_original.url", Kinds::OVERRIDE),
        ] {
            let found = kinds(&[("host", "a"), (name, "x"), ("accept", "*/*")]);
            assert_eq!(found, kind, "{name}");
            assert!(found.have(kind) && !found.have(Kinds(!kind.0)), "{name}");
        }
        let browser = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
        assert_eq!(kinds(&[("host", "a"), ("user-agent", browser)]), Kinds::INSPECTED);
        assert_eq!(REQUEST_ID, "x-request-id");
        assert_eq!(kinds(&[("pragma", "x"), ("origin", "x")]), Kinds(0b101));
    }
}
