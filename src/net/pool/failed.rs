//! How an exchange on a connection fails.

use http::Request;

use crate::net::body::Body;

/// How an exchange failed.
pub(super) struct Failed {
    pub(super) error: hyper::Error,
    /// The request, if nothing of it was sent.
    pub(super) unsent: Option<Request<Body>>,
}
