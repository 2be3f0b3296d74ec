//! Wakes a session's task for what an embedded store brings, but not while somebody who stands under the session's lock
//! is about to take it in anyway.
//!
//! The order is all: whoever stands there looks first and takes in then, so what comes after the look is noted, and
//! whoever leaves is told of it. `tests/interleavings.rs` runs this file through every interleaving.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::sync::{AtomicU8, Mutex, MutexGuard, Ordering, PoisonError};

/// Somebody stands under the lock.
const ATTENDED: u8 = 1;

/// Something came that nobody has taken in.
const NOTED: u8 = 2;

/// A waker that holds its tongue while it's attended.
pub(super) struct Alert {
    state: AtomicU8,
    task: Mutex<Waker>,
}

impl Alert {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(0), task: Mutex::new(Waker::noop().clone()) })
    }

    /// The task to be woken from now on.
    pub(super) fn serve(&self, task: &Waker) {
        let mut known = self.task();
        if !known.will_wake(task) {
            known.clone_from(task);
        }
    }

    /// Whoever calls this stands under the lock, and takes in all that came so far.
    pub(super) fn look(&self) {
        self.state.store(ATTENDED, Ordering::SeqCst);
    }

    /// Whoever calls this leaves; whether something came since the last look.
    #[must_use]
    pub(super) fn leave(&self) -> bool {
        self.state.swap(0, Ordering::SeqCst) & NOTED != 0
    }

    /// Wakes the task.
    pub(super) fn call(&self) {
        // Not under the lock: a waker may be anything.
        let task = self.task().clone();
        task.wake();
    }

    fn task(&self) -> MutexGuard<'_, Waker> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Alert {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(NOTED, Ordering::SeqCst) & ATTENDED == 0 {
            self.call();
        }
    }
}
