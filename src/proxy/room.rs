//! Room for a request that cannot be answered at once: out of what known callers have, or out of the small budget of those
//! who are not known.

use super::Proxy;
use crate::admission::unidentified::Unidentified;
use crate::admission::{Crowded, Permit};
use crate::callers::Identity;

/// What a request holds while it waits.
pub(super) enum Room {
    /// A known caller's.
    Known(#[expect(dead_code, reason = "held for its drop")] Permit),
    /// That of a caller that is not known, or not yet: so many bytes of a budget, taken when it has to wait.
    Unidentified(Unidentified, usize),
}

impl Proxy {
    /// Room for a request of this caller that takes so many bytes.
    pub(super) fn room(&self, caller: Identity, bytes: usize) -> Result<Room, Crowded> {
        self.room_in(self.shared.admission.unidentified(), caller, bytes)
    }

    /// Room for what is left of a request of this caller that is refused.
    pub(super) fn room_for_rest(&self, caller: Identity, bytes: usize) -> Result<Room, Crowded> {
        self.room_in(self.shared.admission.refused(), caller, bytes)
    }

    fn room_in(&self, budget: &Unidentified, caller: Identity, bytes: usize) -> Result<Room, Crowded> {
        match caller {
            Identity::Unknown => Ok(Room::Unidentified(budget.clone(), bytes)),
            Identity::Everybody | Identity::Caller(_) => self.shared.admission.admit().map(Room::Known),
        }
    }
}

impl Room {
    /// Lets `work` go on for as long as there is room for it.
    pub(super) async fn hold<T>(&self, work: impl Future<Output = T>) -> Result<T, Crowded> {
        match self {
            Self::Known(_) => Ok(work.await),
            Self::Unidentified(budget, bytes) => budget.hold(*bytes, work).await,
        }
    }
}
