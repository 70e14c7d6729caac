//! What must hold for all bytes that come from outside, whatever they are.
//!
//! Each property takes bytes and panics if it does not hold for them. They are used twice: the fuzzer looks
//! for bytes that break them (`tests/fuzz/run.sh`), and `tests/corpus.rs` holds them against all bytes that
//! were found worth keeping.

pub mod cache;
pub mod composite;
pub mod config;
pub mod framing;
pub mod headers;
pub mod paths;
pub mod replies;
pub mod requests;
pub mod serving;

/// A property.
pub type Property = fn(&[u8]);

/// All of them, each by the name of its target and of its folder of the corpus.
pub const ALL: [(&str, Property); 8] = [
    ("cache", cache::hold),
    ("composite", composite::hold),
    ("config", config::hold),
    ("framing", framing::hold),
    ("headers", headers::hold),
    ("paths", paths::hold),
    ("replies", replies::hold),
    ("requests", requests::hold),
];
