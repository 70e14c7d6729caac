//! HTTP mechanics that know nothing of Zoho.
//!
//! - [`body`]: our body type, and reading one within a limit
//! - [`browser`]: how a request shows that a browser sent it
//! - [`buffers`]: how much memory bodies may take together
//! - [`coding`]: undoing the content coding of a short body
//! - [`form`]: parameters in a form, a query, or a multipart body
//! - [`multipart`]: taking apart a multipart body
//! - [`guarded`]: bodies that hold on to something
//! - [`limited_reads`]: connections that are read in long pieces only while there is memory for them
//! - [`metered`]: bodies of which little waits to be written while memory is short
//! - [`read_ahead`]: bodies that are read ahead of whoever they are for
//! - [`headers`]: which headers belong to one hop only
//! - [`http1`]: the framing of HTTP/1 requests, read strictly
//! - [`origin`]: scheme, host and port of a server
//! - [`overrides`]: headers that name another method or target
//! - [`peer`]: who is at the other end of a connection
//! - [`patient`]: peers that do not read what is written to them
//! - [`paced`]: bodies held to time limits
//! - [`pieces`]: the pieces of a body that wait for their reader
//! - [`standing`]: whether a connection belongs to a known caller
//! - [`transport`]: the one seam to the network
//! - [`client`]: that seam over kept connections, hyper and rustls
//! - [`egress`]: which proxy is used for which destination
//! - [`connector`]: the way of a connection to its server: egress proxy or not
//! - `pool`: connections that are kept and shared out
//! - [`replay`]: bodies of requests that can be sent again
//! - [`resolver`]: looking up names
//! - [`tls`]: whom we trust
//! - [`unread`]: answers that their caller does not read
//! - [`waiting`]: who waits, and who has waited longest
//! - [`whole`]: bodies of HTTP/2 that come whole or not at all

pub mod body;
pub mod browser;
pub mod buffers;
pub mod client;
pub mod coding;
pub mod connector;
pub mod egress;
pub mod form;
pub mod guarded;
pub mod headers;
pub mod http1;
pub mod limited_reads;
pub mod metered;
pub mod multipart;
pub mod origin;
pub mod overrides;
pub mod paced;
pub mod patient;
pub mod peer;
pub mod pieces;
mod pool;
pub mod read_ahead;
pub mod replay;
pub mod resolver;
pub mod standing;
pub mod tls;
pub mod transport;
pub mod unread;
pub mod waiting;
pub mod whole;
