#![doc = include_str!("../README.md")]
//!
//! # Floors
//!
//! Lowest first; a module imports only from floors below its own:
//!
//! 0. `lease`, `moment`, `carrier`
//! 1. `error`, then `config`
//! 2. `protocol`
//! 3. `group` (who may hold), `session` (what a process must do about it): pure, without I/O or clock
//! 4. `fallback`: two sessions, for when Redis is out of reach; pure as well
//! 5. `store`: where groups live
//! 6. `driver`: moves calls, replies, pushes and time between the two
//! 7. `limiter`: the async API
#![warn(missing_docs)]

pub mod carrier;
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

pub use config::{LimitConfig, OnUnavailable, Options};
pub use error::{Error, Loss};
pub use limiter::{Lease, Limiter};
