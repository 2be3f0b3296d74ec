//! A distributed concurrency limiter: how many may run at once, across all processes, with Redis in the middle.
//!
//! ```
//! use concurrency_limit::config::LimitConfig;
//! use concurrency_limit::limiter::Limiter;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), concurrency_limit::error::Error> {
//! let limiter = Limiter::new("memory:")?; // or redis://…
//! let lease = limiter.acquire(&LimitConfig::new("payments", 10)).await?;
//! assert_eq!(lease.slot(), 1); // 1 to 10, unique among those who hold now
//! lease.release().await;
//! # Ok(())
//! # }
//! ```
//!
//! Floors, lowest first; a module imports only from floors below its own:
//!
//! 0. `lease`, `moment`, `carrier`
//! 1. `error`, then `config`
//! 2. `protocol`
//! 3. `group` (who may hold), `session` (what a process must do about it): pure, without I/O or clock
//! 4. `store`: where groups live
//! 5. `driver`: moves calls, replies, pushes and time between the two
//! 6. `limiter`: the async API
#![warn(missing_docs)]

pub mod carrier;
pub mod config;
pub mod driver;
pub mod error;
pub mod group;
pub mod lease;
pub mod limiter;
pub mod moment;
pub mod protocol;
pub mod session;
pub mod store;
