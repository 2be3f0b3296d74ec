//! What the core costs by itself, without a server and without a network: `cargo bench -p concurrency-limit`, one part
//! with `-- group`.
//!
//! `group` is the rules of one key, `session` one process's side, `reply` reading what Redis says. Nothing is judged
//! here: that the answers are right, the tests hold.

mod group;
mod reply;
mod session;

use std::sync::Arc;

use concurrency_limit::lease::{LeaseId, SessionId};
use concurrency_limit::protocol::{Caller, Terms};

fn main() {
    divan::main();
}

fn id(session: u64, number: u64) -> LeaseId {
    LeaseId { session: SessionId(session), number }
}

/// One slot of `limit`, for a minute.
fn terms(limit: u32) -> Arc<Terms> {
    Arc::new(Terms {
        limit,
        weight: 1,
        priority: 0,
        lease_ms: 60_000,
        claim_ms: 5_000,
        max_waiting: None,
        holder: None,
        label: None,
    })
}

fn caller(session: u64) -> Caller {
    Caller {
        session: SessionId(session),
        connection: 1,
        listens: true,
        settling: false,
        keep_alive_ms: 600_000,
    }
}
