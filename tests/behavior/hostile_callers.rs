//! Whatever callers do.
