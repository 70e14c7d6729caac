//! skeleton
pub mod clock;
pub mod emulator;
pub mod net;
pub mod zoho;
