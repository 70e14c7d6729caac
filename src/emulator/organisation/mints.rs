//! How many tokens may be minted within the window.

use std::collections::VecDeque;

use crate::clock::BootTime;
use crate::emulator::scenario::Limits;

/// When the mints of the window were.
#[derive(Default)]
pub(super) struct Mints(VecDeque<BootTime>);

/// Why no token was minted.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::emulator) enum Denied {
    /// The refresh token is unknown, revoked or pushed out.
    InvalidCode,
    /// As many mints as the window allows were made already.
    Throttled,
}

impl Mints {
    /// Adds one, unless the window is full. A denied attempt does not count.
    pub(super) fn add(&mut self, now: BootTime, limits: &Limits) -> Result<(), Denied> {
        while self.0.front().is_some_and(|&at| now - at >= limits.window) {
            self.0.pop_front();
        }
        if self.0.len() >= limits.mints_per_window {
            return Err(Denied::Throttled);
        }
        self.0.push_back(now);
        Ok(())
    }
}
