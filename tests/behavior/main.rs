//! What the sidecar promises, as a specification: the real proxy over the emulated Zoho, in memory, with
//! paused time. No port, no sleep, no other Zoho. Each file is a chapter.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test ends where its world does not hold")]

mod exchanges;
mod frames;
mod wire;
mod world;

mod admin;
mod admission;
mod browsers;
mod caching;
mod callers;
mod capacity;
mod data_centers;
mod decisions;
mod headers;
mod hostile_accounts;
mod hostile_callers;
mod hostile_http2;
mod hostile_zoho;
mod invalid_token;
mod invalidation;
mod known_heads;
mod late_invalidation;
mod mint_budget;
mod one_meaning;
mod origin;
mod outages;
mod panics;
mod pass_through;
mod presets;
mod promise;
mod purging;
mod refusals;
mod resending;
mod resting;
mod secrets;
mod single_flight;
mod state_files;
mod suspension;
mod tenants;
mod timeouts;
mod token_deaths;
mod token_endpoint;
mod tokens;
mod trailers;
mod unidentified;
mod unread_refusals;
mod valid_answers;
mod vary;
mod wishes;
