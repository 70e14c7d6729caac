//! skeleton
pub mod admission;
pub mod cache;
pub mod clock;
pub mod config;
pub mod emulator;
pub mod net;
pub mod oauth;
pub mod proxy;
pub mod routes;
pub mod rulebook;
pub mod server;
pub mod telemetry;
pub mod tenants;
pub mod upstream;
pub mod zoho;
