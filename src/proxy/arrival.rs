//! When a request came, and by what it is known.

use std::sync::OnceLock;

use http::Request;
use http::header::HeaderValue;

use super::kinds::Kinds;
use super::{inspect, request_id};
use crate::callers::policy::Excess;
use crate::clock::BootTime;

/// When a request came, and its id.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) at: BootTime,
    pub(super) request_id: HeaderValue,
    pub(super) kinds: Kinds,
    /// What it would be refused for if its caller were not in shadow mode.
    pub(super) would_refuse: OnceLock<Excess>,
}

impl Arrival {
    /// Removes from the request what its `Connection` says is not for Zoho, so that nothing of that decides anything.
    pub(super) fn of<B>(request: &mut Request<B>, at: BootTime) -> Self {
        let mut kinds = Kinds::of(request.headers());
        if kinds.have(Kinds::INSPECTED) && inspect::remove_connection_named(request.headers_mut()) {
            kinds = Kinds::of(request.headers());
        }
        let request_id = request_id::of(request.headers(), kinds);
        Self { at, request_id, kinds, would_refuse: OnceLock::new() }
    }
}
