//! How requests are handled.

use std::time::Duration;

/// How requests are handled.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A request body of at most this many bytes is kept until Zoho has answered, so that it can be sent
    /// again with a new token.
    pub replay_max_bytes: usize,
    /// A longer path with its query is refused.
    pub max_uri_bytes: usize,
    /// Names by which the sidecar is called, in small letters, beside those that no page of a browser can have.
    pub hosts: Vec<String>,
    /// Whether requests are served that browsers send.
    pub allow_browsers: bool,
    /// How long a caller may leave one of several answers on its connection unread.
    pub unread_timeout: Duration,
}
