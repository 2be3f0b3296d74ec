//! Says when JavaScript has to be woken: once for many completions, and no completion is missed.
//!
//! It doesn't know the completions or how JavaScript is woken. The order matters: a writer writes first and then sets
//! the flag; the reader clears the flag first and then reads. So what is written after the reading sets the flag again.
//! `tests/bridge.rs` runs this file through every interleaving.

use crate::sync::{AtomicBool, Ordering};

/// Set from the wake of JavaScript until it reads.
pub(crate) struct WakeFlag {
    is_set: AtomicBool,
}

impl WakeFlag {
    pub(crate) fn new() -> Self {
        Self { is_set: AtomicBool::new(false) }
    }

    /// Something was written; true if JavaScript has to be woken, false if that is under way already.
    pub(crate) fn set(&self) -> bool {
        !self.is_set.swap(true, Ordering::SeqCst)
    }

    /// To be called before the reading.
    pub(crate) fn clear(&self) {
        self.is_set.store(false, Ordering::SeqCst);
    }
}
