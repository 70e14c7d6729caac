//! File descriptors: as many as the system admits, and some kept back.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// With fewer nothing works: the runtimes, the log, a listener, and a connection on either side.
const LEAST: u64 = 64;

/// The system lets this process open too few files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may open only {0} files and needs {LEAST} or more: raise the limit (ulimit -n, LimitNOFILE)"
)]
pub struct TooFew(u64);

/// Raises the limit of open files as far as it may be raised, and checks that it suffices.
pub fn check() -> Result<(), TooFew> {
    match raised() {
        Some(most) if most < LEAST => Err(TooFew(most)),
        _ => Ok(()),
    }
}

/// How many files may be open; `None` for any number.
fn raised() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current }
}

/// For listeners, runtimes, the log, and files of state and secrets.
const KEPT_BACK: u64 = 64;

/// How many connections of callers may be open: as many as wanted, unless the descriptors would not suffice. The
/// process's soft limit is raised to the hard one, since the usual 1024 is meant for programs that use `select`.
pub(super) fn connections(wanted: usize) -> usize {
    let most = raised();
    let admitted = most.map_or(wanted, |most| wanted.min(affordable(most)));
    if admitted < wanted {
        tracing::warn!(
            descriptors = most,
            wanted,
            admitted,
            "the system's limit of open files leaves room for fewer connections than server.max_connections"
        );
    }
    admitted
}

/// How many connections the admin listener may have, where it is worth having more of them.
pub(crate) fn admin_connections() -> usize {
    raised().map_or(usize::MAX, admins_share)
}

/// An eighth of the descriptors, which suffices for probes and operators.
fn admins_share(descriptors: u64) -> usize {
    usize::try_from(descriptors / 8).unwrap_or(usize::MAX).clamp(8, 1000)
}

/// A call needs a connection on either side. If callers could take them all, nothing could be fetched for those
/// who are connected.
fn affordable(descriptors: u64) -> usize {
    let others = KEPT_BACK + admins_share(descriptors) as u64;
    let half = descriptors.saturating_sub(others) / 2;
    usize::try_from(half).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_every_connection_of_a_caller_there_is_room_for_one_to_zoho() {
        assert_eq!(affordable(1024), 416, "and for the admin listener's connections");
        assert_eq!(affordable(1_048_576), 523_756);
        assert_eq!(affordable(0), 1);
    }
}
