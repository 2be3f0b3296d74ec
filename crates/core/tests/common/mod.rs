//! What the tests of a store share: servers of their own, and a session's end of a link.
//!
//! No rule is known here and no state is guessed: what a test waits for, it waits for with a bound.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

pub mod cluster;
pub mod gate;
pub mod load;
pub mod peer;
pub mod server;

use std::time::Duration;

/// The bound of every wait: far longer than anything takes, short enough for a stuck test to end.
pub const BOUND: Duration = Duration::from_secs(10);

/// Waits until `state` holds.
pub async fn until(what: &str, mut state: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(BOUND, async {
        while !state() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}: not within {BOUND:?}"));
}
