//! Room for a request that cannot be answered at once: out of what known callers have, or out of the small budget of those
//! who are not known.

use super::Proxy;
use crate::admission::unidentified::Slot;
use crate::admission::{Crowded, Permit};
use crate::callers::Identity;

/// What a request holds while it waits.
pub(super) enum Room {
    /// A known caller's.
    Known(#[expect(dead_code, reason = "held for its drop")] Permit),
    /// That of a caller that is not known, or not yet.
    Unidentified(Slot),
}

impl Proxy {
    /// Room for a request of this caller that takes so many bytes.
    pub(super) fn room(&self, caller: Identity, bytes: usize) -> Result<Room, Crowded> {
        let admission = &self.shared.admission;
        match caller {
            Identity::Unknown => Ok(Room::Unidentified(admission.admit_unidentified(bytes))),
            Identity::Everybody | Identity::Caller(_) => admission.admit().map(Room::Known),
        }
    }
}

impl Room {
    /// Lets `work` go on for as long as there is room for it.
    pub(super) async fn hold<T>(&self, work: impl Future<Output = T>) -> Result<T, Crowded> {
        match self {
            Self::Known(_) => Ok(work.await),
            Self::Unidentified(slot) => slot.hold(work).await,
        }
    }
}
