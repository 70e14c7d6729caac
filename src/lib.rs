//! skeleton
pub mod cache;
pub mod clock;
pub mod net;
pub mod oauth;
pub mod telemetry;
pub mod zoho;
