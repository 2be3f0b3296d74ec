#![doc = include_str!("../README.md")]
//!
//! # Floors
//!
//! Lowest first; a module imports only from floors below its own, which `tests/floors.rs` holds:
//!
//! 0. `lease`, `moment`, `transport`, `sync`: the nouns, the local clock, what a client of the user's must do, locks
//! 1. `error`: what can go wrong
//! 2. `config`: the options
//! 3. `protocol`: what is asked of a group and answered
//! 4. `group` (who may hold), `session` (what a process must do about it): pure, without I/O or clock
//! 5. `fallback`: two sessions, for when Redis is out of reach; pure as well
//! 6. `store`: where groups live
//! 7. `store::memory`, `store::redis`: the two that there are
//! 8. `driver`: moves calls, replies, pushes and time between sessions and stores
//! 9. `limiter`: the async API
#![warn(missing_docs)]

pub mod config;
pub mod driver;
pub mod error;
pub mod fallback;
pub mod group;
pub mod lease;
pub mod limiter;
pub mod moment;
pub mod protocol;
pub mod session;
pub mod store;
mod sync;
pub mod transport;

pub use config::{LimitConfig, OnUnavailable, Options};
pub use error::{Error, Loss};
pub use limiter::{Lease, Limiter};
