//! Requests that could be any write: nobody can tell what they change, so all of their tenant's groups are invalidated.

use http::{HeaderMap, HeaderName, Method};

use crate::upstream::outbound::overrides;
use crate::zoho::lenient::is_doubtful;

/// Why a request could be any write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnknownWrite {
    /// This header does it.
    #[error("a header names another method or target")]
    Header(HeaderName),
    /// A parameter of its query does.
    #[error("a parameter names another method")]
    Parameter,
    /// It is a method with which Zoho's API has nothing to do, so that nothing is known of it.
    #[error("its method is none of Zoho's API")]
    Method,
    /// A second reader takes the path for another one.
    #[error("its path can be read in several ways")]
    Path,
    /// The calls in a composite request cannot be read.
    #[error("it is a composite request whose calls cannot be read for certain")]
    Composite,
}

impl UnknownWrite {
    /// Whether method and path leave a doubt.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS => None,
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {
                is_doubtful(path).then_some(Self::Path)
            }
            _ => Some(Self::Method),
        }
    }

    /// Of a request that names another method or target.
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
