//! What `alert` and `driver/outbox` are made of; their model (`tests/interleavings.rs`) puts others in their place.

pub(super) use std::sync::atomic::{AtomicU8, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard, PoisonError};
