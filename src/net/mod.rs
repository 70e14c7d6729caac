//! HTTP mechanics that know nothing of Zoho.
//!
//! - [`body`]: our body type, and reading one within a limit
//! - [`headers`]: which headers belong to one hop only
//! - [`origin`]: scheme, host and port of a server
//! - [`paced`]: bodies held to time limits
//! - [`transport`]: the one seam to the network
//! - [`client`]: that seam over hyper's pooled client and rustls
//! - [`connector`]: how a connection is made: egress proxy, deadline
//! - [`tls`]: whom we trust
//! - [`unread`]: answers that their caller does not read
//! - [`whole`]: bodies of HTTP/2 that come whole or not at all

pub mod body;
pub mod client;
pub mod connector;
pub mod headers;
pub mod origin;
pub mod paced;
pub mod tls;
pub mod transport;
pub mod unread;
pub mod whole;
