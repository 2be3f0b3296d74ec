//! The verbs: what is asked of one group.

use std::sync::Arc;

use super::{Join, NoteAsk, Page, Passed};
use crate::lease::{Epoch, FencingToken, LeaseId, Slot, Ticket};

/// The verbs, each a batch for one group.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// Grant now, join the line, or refuse.
    Acquire(Vec<Ask>),
    /// Give back, then hand off.
    Release(Vec<Target>),
    /// Extend leases and keep the session's waiters in line; also the safety poll (R21).
    Renew(Renew),
    /// Take waiters out of the line.
    Leave(Vec<LeaseId>),
    /// Reconcile the session's own ids after an unclear outcome, and store the caller's connection number (R12).
    Reconcile {
        /// The ids that the session knows of.
        items: Vec<ReconcileItem>,
        /// From which rank on the answer lists the other ids of the session that the group has; `None`: not at all.
        own_from: Option<u64>,
    },
    /// A read-only picture of the group, one page.
    Inspect(Page),
    /// Reap leases that have ended, and hand off.
    Clean,
    /// Ask for the group's note, or confirm it (R32, R33).
    Note(NoteAsk),
    /// Join the line with the tickets of requests that have waited in the process (R38).
    Join(Join),
}

impl Verb {
    /// Whether a group without state gets one by it.
    pub fn makes_state(&self) -> bool {
        match self {
            Self::Acquire(_) | Self::Join(_) => true,
            Self::Reconcile { items, .. } => !items.is_empty(),
            _ => false,
        }
    }

    /// How many requests, leases or waiters it names.
    pub fn items(&self) -> usize {
        match self {
            Self::Acquire(asks) => asks.len(),
            Self::Release(targets) => targets.len(),
            Self::Renew(renew) => renew.leases.len() + renew.waiters.len(),
            Self::Leave(ids) => ids.len(),
            Self::Reconcile { items, .. } => items.len(),
            Self::Join(join) => join.items.len(),
            Self::Inspect(_) | Self::Clean | Self::Note(_) => 0,
        }
    }

    /// Whether it asks for something new, as a full memory refuses it (R25).
    pub fn asks_for_more(&self) -> bool {
        matches!(self, Self::Acquire(_) | Self::Join(_))
    }
}

/// The terms of a request, the same for its whole life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Most slots that may be held, as this request sees it: 1…1,000,000.
    pub limit: u32,
    /// Slots taken in one grant: 1…min(limit, 1,000).
    pub weight: u32,
    /// −10…10, higher goes first.
    pub priority: i8,
    /// The lease, in ms.
    pub lease_ms: u64,
    /// The lease of a grant that isn't in the caller's reply, in ms; never more than `lease_ms` (R20).
    pub claim_ms: u64,
    /// Refuse when that many already wait (R6).
    pub max_waiting: Option<u64>,
    /// The holder's name (R16).
    pub holder: Option<Arc<str>>,
    /// Shown by `inspect`.
    pub label: Option<Arc<str>>,
}

/// One request of an acquire call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Its id; asking again with it is harmless (R11).
    pub id: LeaseId,
    /// What it asks for.
    pub terms: Arc<Terms>,
    /// Whether it joins the line when it can't be granted now.
    pub wait: bool,
}

/// What a release names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A lease by its id, of any session. (A release doesn't change waiters.)
    Lease(LeaseId),
    /// The same, if this is its token: so a later holder, who got the slot by a pass, keeps it (R36).
    Grant(LeaseId, FencingToken),
    /// The lease that has this holder name now (R16).
    Holder(Arc<str>),
}

/// A renew call.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Renew {
    /// Leases to extend to their full length from now.
    pub leases: Vec<Extend>,
    /// Waiters that the session wants to know about one by one, because the counts differed (R21).
    pub waiters: Vec<LeaseId>,
}

/// One lease of a renew call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extend {
    /// Which lease.
    pub id: LeaseId,
    /// Its full length from now, in ms.
    pub lease_ms: u64,
    /// Its holder name, so that a taken-over lease is told apart (R16).
    pub holder: Option<Arc<str>>,
    /// The present holder, if the slot was passed (R36); not with a name.
    pub passed: Option<Passed>,
}

/// One id of a reconcile call.
#[derive(Debug, Clone, PartialEq)]
pub enum ReconcileItem {
    /// The session believes that it holds this; it re-enters if the rules allow (R14, R30).
    Keep(Keep),
    /// The session wants this granted and doesn't know what became of it. With a ticket it was in line and re-enters
    /// with that ticket if the line has lost it; without a ticket the group is only searched for it.
    Want {
        /// The id.
        id: LeaseId,
        /// What it asked for.
        terms: Arc<Terms>,
        /// Its place, if it had one.
        ticket: Option<Ticket>,
    },
    /// The session doesn't want this: whatever the group has for it, lease or place in line, is given back.
    Drop(LeaseId),
}

/// A lease as its session knows it, complete enough to re-enter a group that has lost it.
#[derive(Debug, Clone, PartialEq)]
pub struct Keep {
    /// The id.
    pub id: LeaseId,
    /// What it asked for.
    pub terms: Arc<Terms>,
    /// The epoch of the group's state that last stated the lease.
    pub epoch: Epoch,
    /// The token of its grant by Redis.
    pub token: FencingToken,
    /// Its token now: the same, or a later one by a pass (R36).
    pub current: FencingToken,
    /// Its slots.
    pub slots: Vec<Slot>,
    /// The end that Redis last stated, in ms on Redis's clock.
    pub end_at_ms: u64,
    /// Its new length from now, in ms. `None`: the session doesn't renew it, and its end stays as stated.
    pub extend_ms: Option<u64>,
}
