//! Wakes JS once for many completions, and never leaves one without.
//!
//! Knows neither the completions nor how JS is woken. The order is all: whoever has something to tell writes it first
//! and sets the flag then; whoever was woken clears the flag first and reads then. So what is written after the reading
//! sets it anew. `tests/bridge.rs` runs this file through every interleaving.

use crate::sync::{AtomicBool, Ordering};

/// Set from when JS is to be woken until it reads.
pub(crate) struct WakeFlag {
    is_set: AtomicBool,
}

impl WakeFlag {
    pub(crate) fn new() -> Self {
        Self { is_set: AtomicBool::new(false) }
    }

    /// Something lies ready. Whether somebody has to be woken for it: not, if a wake is on its way.
    pub(crate) fn set(&self) -> bool {
        !self.is_set.swap(true, Ordering::SeqCst)
    }

    /// To be called before the reading.
    pub(crate) fn clear(&self) {
        self.is_set.store(false, Ordering::SeqCst);
    }
}
