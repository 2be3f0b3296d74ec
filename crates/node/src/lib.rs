//! The Node.js binding: converts, nothing else.
//!
//! `port` is the bridge that one JS environment sees; `rows` says how requests and completions lie in buffers of
//! numbers, `codes` which numbers stand for what, `lengths` in which unit times are; `wake_flag` says when JS is to be
//! woken; `json` writes what people read; `transport` gives commands to clients of the user's, `questions` asks
//! functions that it brings. No promise, object or error of JS is made here, and no rule is kept here:
//! `lib/bridge.js` is the other side.

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

/// The version of this binary. JS takes none but its own: the rows are an interface of one version with itself.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// What `wake_flag` is made of; its test puts others in their place.
mod sync {
    pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
}
