//! How the emulator takes its locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock. What a panicking test left behind is still good enough to look at.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
