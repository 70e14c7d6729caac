//! What is to go wrong with one request, sorted by when it happens.

use std::time::Duration;

use super::Fault;

/// What is to go wrong with one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::emulator) struct Plan {
    /// How long to wait before anything is done.
    pub(in crate::emulator) delay: Duration,
    /// What happens instead of doing what was asked.
    pub(in crate::emulator) instead: Option<Fault>,
    /// What changes a mint's answer.
    pub(in crate::emulator) mint: Vec<Fault>,
    /// How long to withhold the answer.
    pub(in crate::emulator) delay_answer: Duration,
    /// Whether the connection breaks once the request is done.
    pub(in crate::emulator) drop_after: bool,
    /// What changes the answer on its way, in this order.
    pub(in crate::emulator) on_the_way: Vec<Fault>,
}

impl Plan {
    /// Adds a fault. The first of several that happen instead of an answer wins.
    pub(super) fn add(&mut self, fault: Fault) {
        match fault {
            Fault::Together(faults) => faults.into_iter().for_each(|fault| self.add(fault)),
            Fault::Delay(span) => self.delay += span,
            Fault::DelayAnswer(span) => self.delay_answer += span,
            Fault::DropAfter => self.drop_after = true,
            Fault::DelayBody(_)
            | Fault::Drip { .. }
            | Fault::Chunked
            | Fault::CutBody(_)
            | Fault::Gzip
            | Fault::Headers(_) => self.on_the_way.push(fault),
            Fault::MintAnswer { .. }
            | Fault::MissingAccessToken
            | Fault::MissingExpiresIn
            | Fault::LegacyExpiry
            | Fault::ExpiresIn(_)
            | Fault::WrongApiDomain(_) => self.mint.push(fault),
            instead => {
                self.instead.get_or_insert(instead);
            }
        }
    }
}
