//! Requests and completions as rows of numbers, as `lib/bridge/` writes and reads them.
//!
//! A request: `op, client, n, …`. A completion: `length of the row, kind, client, n, …`. `n` is the request's number,
//! chosen by JavaScript and unique in its environment. A number stands for each text, 0 for none. Lengths of time are
//! milliseconds, -1 is endless.

mod completions;
mod requests;

pub(crate) use completions::Completions;
pub(crate) use requests::{Request, Requests};
