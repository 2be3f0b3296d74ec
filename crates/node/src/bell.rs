//! Wakes JS once for many completions, and never leaves one without.
//!
//! Knows neither the completions nor how JS is woken. The order is all: whoever has something to tell writes it first
//! and rings then; whoever was woken answers the bell first and reads then. So what is written after the reading rings
//! anew. `tests/border.rs` runs this file through every interleaving.

use crate::sync::{AtomicBool, Ordering};

/// Rung and not answered yet, or silent.
pub(crate) struct Bell {
    rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self { rung: AtomicBool::new(false) }
    }

    /// Something lies ready. Whether somebody has to be woken for it: not, if a wake is on its way.
    pub(crate) fn ring(&self) -> bool {
        !self.rung.swap(true, Ordering::SeqCst)
    }

    /// To be called before the reading.
    pub(crate) fn answer(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }
}
