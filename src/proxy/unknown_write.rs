//! Requests that could be any write: their effect is unknown, so all groups of their tenant are invalidated.

use http::{HeaderMap, HeaderName, Method};

use crate::upstream::outbound::overrides;
use crate::zoho::lenient::is_doubtful;

/// Why a request could be any write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnknownWrite {
    /// A header names another method or target.
    #[error("a header names another method or target")]
    Header(HeaderName),
    /// A query parameter names another method.
    #[error("a parameter names another method")]
    Parameter,
    /// Zoho's API does not have the method.
    #[error("its method is none of Zoho's API")]
    Method,
    /// Some servers take the path for another one.
    #[error("its path can be read in several ways")]
    Path,
    /// The calls in a composite request cannot be parsed reliably.
    #[error("it is a composite request whose calls cannot be read for certain")]
    Composite,
}

impl UnknownWrite {
    /// Checks the method and the path.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => None,
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {
                is_doubtful(path).then_some(Self::Path)
            }
            _ => Some(Self::Method),
        }
    }

    /// Names the header, or the parameter, that overrides the method or target of a request.
    pub(super) fn of_override(headers: &HeaderMap) -> Self {
        let header = headers.keys().find(|name| overrides(name).is_some());
        header.map_or(Self::Parameter, |name| Self::Header(name.clone()))
    }

    /// The header that makes it one.
    pub(super) fn header(&self) -> Option<&str> {
        match self {
            Self::Header(name) => Some(name.as_str()),
            _ => None,
        }
    }
}
