//! Keeps the process's memory, which holds secrets, out of core dumps and from other processes of the same user.
//!
//! On Linux the process is made "not dumpable": no core is written, and its `/proc` files belong to root, so that no
//! debugger of the same user attaches. The soft limit of core files is 0 as well, for whatever looks at that alone. A
//! command that is executed is dumpable again by itself, and only the limit is inherited.

#[cfg(target_os = "linux")]
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior, setrlimit,
};

/// What there was before core dumps were forbidden.
#[cfg(target_os = "linux")]
pub(super) struct CoreDumps {
    dumpable: DumpableBehavior,
    limit: Rlimit,
    forbidden: rustix::io::Result<()>,
}

#[cfg(target_os = "linux")]
impl CoreDumps {
    /// Forbids them, before the first secret is read.
    pub(super) fn forbid() -> Self {
        let dumpable = dumpable_behavior().unwrap_or(DumpableBehavior::Dumpable);
        let limit = getrlimit(Resource::Core);
        Self { dumpable, limit, forbidden: forbid(limit) }
    }

    /// Allows them again where the configuration wants it; else reports that they could not be forbidden.
    pub(super) fn settle(self, are_allowed: bool) {
        if are_allowed {
            let allowed = set_dumpable_behavior(self.dumpable)
                .and_then(|()| set_soft_limit(self.limit.current, self.limit));
            tracing::warn!(
                error = allowed.err().map(tracing::field::display),
                "server.allow_core_dumps is true: a core dump of this process would hold secrets"
            );
        } else if let Err(error) = self.forbidden {
            tracing::warn!(%error, "core dumps of this process, which would hold secrets, could not be forbidden");
        }
    }
}

#[cfg(target_os = "linux")]
fn forbid(limit: Rlimit) -> rustix::io::Result<()> {
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    set_soft_limit(Some(0), limit).and(dumpable)
}

/// Does nothing where it would change nothing: a sandbox may forbid the call.
#[cfg(target_os = "linux")]
fn set_soft_limit(soft: Option<u64>, limit: Rlimit) -> rustix::io::Result<()> {
    if getrlimit(Resource::Core).current == soft {
        return Ok(());
    }
    setrlimit(Resource::Core, Rlimit { current: soft, maximum: limit.maximum })
}

/// Elsewhere it is left to the system's settings.
#[cfg(not(target_os = "linux"))]
pub(super) struct CoreDumps;

#[cfg(not(target_os = "linux"))]
impl CoreDumps {
    pub(super) fn forbid() -> Self {
        Self
    }

    pub(super) fn settle(self, _are_allowed: bool) {}
}
