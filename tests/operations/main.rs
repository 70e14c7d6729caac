//! Every operation of Zoho CRM's API through the sidecar: what Zoho sees is what the caller sent, and what the
//! caller sees is what Zoho answered, byte by byte.
//!
//! - `table` reads `table.tsv`, which lists the operations, and makes a request and an answer of each line
//! - `exchange` compares what was sent with what arrived, and holds the only lists of headers that may differ
//! - `memory`: through the proxy to a recording transport; with caches on, too
//! - `sockets`: through the executable to a recording listener; `wire` writes and reads HTTP/1.1 by hand
//! - `sizes`: bodies from none to 50 MiB, with their length told and without

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise fails")]

mod exchange;
mod memory;
#[expect(dead_code, reason = "the tests of the executable need more of it")]
#[path = "../binary/patience.rs"]
mod patience;
mod sizes;
mod sockets;
mod table;
mod wire;
