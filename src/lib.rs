//! An OAuth-aware caching reverse proxy between internal services and the Zoho CRM API.
//!
//! ```text
//!   callers                                                              Zoho
//!      │                                                                   ▲
//!      ▼                                                                   │
//!   server ──► proxy ──► rulebook ──► cache ──► admission ──► oauth ──► upstream ──► net
//!   accept     THE STORY  whose is it,  fresh?    leave to     a token    the call,    sockets
//!              of a       which rule?   one       call         that       as Zoho
//!              request                  fetch                  lives      must see it
//!                                       for all
//!
//!   beside:  config (files → settings)   admin (health, metrics, status)   telemetry   clock
//!            cli (run, check, demo, emulator)   app (wires all of it)       emulator (a small Zoho)
//! ```
//!
//! # Reading order
//!
//! 1. [`proxy`]: the life of a request, told in the order in which it happens
//! 2. [`cache`] and [`oauth`]: the two rooms with most to say
//! 3. [`config`] and `config/defaults.toml`: what can be changed
//! 4. [`app`]: how it is put together
//!
//! # Rules that hold everywhere
//!
//! - Imports point down the floors: `cli`, `app`, `config`, `proxy`, `admin`, `rulebook`, `callers`, `routes`,
//!   then `cache`, `oauth`, `admission`, `upstream` (none knows another), then `tenants`, `server`,
//!   `emulator`, and the ground: `zoho`, `net`, `telemetry`, `supervisor`, `clock`, `files`. A test says so.
//! - Only [`clock`] reads a clock; all else receives `now` or sleeps on tokio's time. Ages and expiry are in boot time,
//!   which counts suspensions of the machine and has a type of its own; timers are monotonic.
//! - A room owns its `Settings` and its errors. [`proxy::refusal`] alone turns errors into answers.
//! - A secret has a type that prints as `[redacted]`, and goes to no host outside its tenant's row.
//! - No lock is held across an await; every queue has a bound and every wait a limit.

// Output goes through `cli::console` and `telemetry::log`: these panic, or wait, where it is closed, full or not read.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod admin;
pub mod admission;
pub mod app;
pub mod cache;
pub mod callers;
pub mod causes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod emulator;
pub mod files;
pub mod net;
pub mod oauth;
pub mod proxy;
pub mod routes;
pub mod rulebook;
pub mod server;
pub mod supervisor;
pub mod telemetry;
pub mod tenants;
pub mod upstream;
pub mod zoho;
