//! Wakes a task when something arrives, but not while another thread does the task's work and would handle it anyway.
//!
//! That thread has the lock of the state that the task works on. It calls `look` before it handles what has arrived, so
//! that later arrivals are noted; `leave` reports them. `tests/interleavings.rs` runs this file through every
//! interleaving.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::sync::{AtomicU8, Mutex, MutexGuard, Ordering, PoisonError};

/// Another thread does the task's work.
const ATTENDED: u8 = 1;

/// Something arrived that isn't handled yet.
const NOTED: u8 = 2;

/// A waker of the task that doesn't wake it while it's attended.
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

    /// To be called with the lock, before handling all that has arrived.
    pub(super) fn look(&self) {
        self.state.store(ATTENDED, Ordering::SeqCst);
    }

    /// To be called before releasing the lock; whether something arrived since the last `look`.
    #[must_use]
    pub(super) fn leave(&self) -> bool {
        self.state.swap(0, Ordering::SeqCst) & NOTED != 0
    }

    /// Wakes the task.
    pub(super) fn call(&self) {
        // Without the lock: a waker may run any code.
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
