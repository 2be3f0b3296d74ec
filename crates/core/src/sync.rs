//! Locks and atomics. Those of `driver/alert` and `driver/outbox` come from here so that their model
//! (`tests/interleavings.rs`) can replace them.

pub(super) use std::sync::atomic::{AtomicU8, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks. After a panic elsewhere the values behind these locks are still valid: each call changes them as a whole.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
