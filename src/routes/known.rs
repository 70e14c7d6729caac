//! Which routes a worker has lately found: most reads are for a path that was read before.

use std::cell::RefCell;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use super::RouteNumber;

/// How many paths a worker remembers, at most.
const PLACES: usize = 64;
/// A longer one is looked for each time.
const LONGEST: usize = 256;

/// Finds again what was found lately. It prints as nothing more than that: all in it is drawn anew for each.
pub(super) struct Known {
    /// Tells the paths of these routes from those of others in the same thread.
    routes: u64,
    hasher: RandomState,
}

struct Place {
    routes: u64,
    path: Box<str>,
    route: RouteNumber,
}

thread_local! {
    static PLACES_OF_THREAD: RefCell<Vec<Option<Place>>> = const { RefCell::new(Vec::new()) };
}

impl Default for Known {
    fn default() -> Self {
        static ROUTES: AtomicU64 = AtomicU64::new(0);
        Self { routes: ROUTES.fetch_add(1, Ordering::Relaxed), hasher: RandomState::default() }
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known")
    }
}

impl Known {
    /// The route of a read of this path; `find` finds it where it is not known.
    pub(super) fn route_of(
        &self,
        path: &str,
        find: impl FnOnce() -> Option<RouteNumber>,
    ) -> Option<RouteNumber> {
        if path.len() > LONGEST {
            return find();
        }
        let hash = self.hasher.hash_one(path.as_bytes());
        PLACES_OF_THREAD.with_borrow_mut(|places| {
            places.resize_with(PLACES, || None);
            let place = &mut places[usize::try_from(hash % PLACES as u64).expect("less than 64")];
            match place {
                Some(known) if known.routes == self.routes && *known.path == *path => Some(known.route),
                // A path that has none is one of many as a rule, with the number of a record in it.
                _ => find().inspect(|route| {
                    *place = Some(Place { routes: self.routes, path: path.into(), route: *route });
                }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_routes_are_told_apart_however_they_share_places() {
        let (one, other) = (Known::default(), Known::default());
        for _ in 0..3 {
            for n in 0..500 {
                let path = format!("/crm/v8/{n}");
                assert_eq!(one.route_of(&path, || Some(n)), Some(n));
                assert_eq!(other.route_of(&path, || None), None);
            }
        }
    }

    #[test]
    fn what_is_known_is_not_looked_for() {
        let (known, long) = (Known::default(), "/x".repeat(LONGEST));
        assert_eq!(known.route_of("/a", || Some(1)), Some(1));
        assert_eq!(known.route_of("/a", || unreachable!("it is known")), Some(1));
        assert_eq!(known.route_of(&long, || Some(1)), Some(1));
        assert_eq!(known.route_of(&long, || Some(2)), Some(2), "nobody keeps a long one");
    }
}
