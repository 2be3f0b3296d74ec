//! What `inspect` shows of a group, for people.

use std::sync::Arc;
use std::time::Duration;

use crate::lease::{FencingToken, Identity, LeaseId, Slot, Ticket};

/// A page of `inspect`: where each list goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// Slots up to this one have been shown.
    pub after_slot: Slot,
    /// So many waiters have been shown.
    pub waiters_shown: u64,
}

/// One page of a group's picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Picture {
    /// The limit last asked with; 0 if none was.
    pub limit: u32,
    /// Slots held by leases that haven't ended. If more than 200 have ended and aren't reaped yet, those above 200 are
    /// counted too.
    pub held: u64,
    /// Requests in line.
    pub waiting: u64,
    /// Leases of this page that haven't ended, by their lowest slot.
    pub holders: Vec<HolderView>,
    /// Waiters of this page, by limit, then priority, then ticket.
    pub waiters: Vec<WaiterView>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Page>,
    /// Redis's clock when it was read, in ms; 0 in a single page, whose reply has the time.
    pub now_ms: u64,
}

impl Picture {
    /// How long ago this lease was granted. Tokens are the server's clock at the grant, in µs, or a little above (R15).
    pub fn held_for(&self, holder: &HolderView) -> Duration {
        self.since(holder.token.0)
    }

    /// How long this waiter has been in line: tickets are like tokens.
    pub fn waited(&self, waiter: &WaiterView) -> Duration {
        self.since(waiter.ticket.0)
    }

    fn since(&self, at_us: u64) -> Duration {
        Duration::from_micros((self.now_ms * 1_000).saturating_sub(at_us))
    }
}

/// A holder, for people. A lease of several slots may be spread over pages: merge by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolderView {
    /// The lease.
    pub id: LeaseId,
    /// All its slots.
    pub slots: Vec<Slot>,
    /// Its token.
    pub token: FencingToken,
    /// Until its end, in ms.
    pub ends_in_ms: u64,
    /// Its name.
    pub holder: Option<Arc<str>>,
    /// Its label.
    pub label: Option<Arc<str>>,
    /// Its process, if the session has told it.
    pub identity: Option<Arc<Identity>>,
}

/// A waiter, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaiterView {
    /// The request.
    pub id: LeaseId,
    /// Its place.
    pub ticket: Ticket,
    /// The limit it came with.
    pub limit: u32,
    /// Slots it wants.
    pub weight: u32,
    /// Its priority.
    pub priority: i8,
    /// Its name.
    pub holder: Option<Arc<str>>,
    /// Its label.
    pub label: Option<Arc<str>>,
    /// Its process, if the session has told it.
    pub identity: Option<Arc<Identity>>,
}
