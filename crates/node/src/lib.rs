//! The Node.js binding: converts, nothing else.
//!
//! `port` is the bridge of one JavaScript environment; `rows` is the form of requests and completions in buffers of
//! numbers, `codes` the numbers' meanings, `lengths` the units of time; `wake_flag` says when JavaScript has to be
//! woken; `json` writes status, keys and stats; `transport` gives commands to clients of the user's, `questions` calls
//! functions of the user's. It makes no promise, object or error, and keeps no rule: `lib/bridge.js` is the other side.

use napi_derive::napi;

mod codes;
mod json;
mod lengths;
mod options;
mod port;
mod questions;
mod rows;
mod tally;
mod transport;
mod wake_flag;

/// The version of this binary. JavaScript accepts only its own version: the rows are an interface within one version.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Atomics, which the test of `wake_flag` replaces, and locks.
mod sync {
    pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// After a panic elsewhere the locked values are still valid: each call changes them as a whole.
    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
