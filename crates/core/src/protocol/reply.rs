//! What a group answers to each verb.

use super::{Noted, Picture};
use crate::lease::{Epoch, FencingToken, LeaseId, Slot, Ticket};

/// What a group answers to a call that it carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Redis's clock, in ms.
    pub now_ms: u64,
    /// The group's present epoch.
    pub epoch: Epoch,
    /// How long until the earliest lease of the group ends, in ms; present when the caller's session has waiters (R9).
    pub next_end_in_ms: Option<u64>,
    /// The hand-off stopped at its bound: call `clean` at once (R17).
    pub again: bool,
    /// Redis refused a publication, so pushes don't arrive (R22).
    pub push_refused: bool,
    /// Waiters of the caller's own session that were granted by this call's hand-off (R17).
    pub handed: Vec<Grant>,
    /// The answers, in the order of what was asked.
    pub answers: Answers,
}

/// The answers of one call, in the order of its items.
#[derive(Debug, Clone, PartialEq)]
pub enum Answers {
    /// To [`Verb::Acquire`](super::Verb::Acquire) and [`Verb::Join`](super::Verb::Join).
    Acquire(Vec<Acquired>),
    /// To [`Verb::Release`](super::Verb::Release).
    Release(Vec<bool>),
    /// To [`Verb::Renew`](super::Verb::Renew).
    Renew {
        /// One per lease.
        leases: Vec<Renewed>,
        /// How many waiters of the caller's session are in line, after the call.
        in_line: u64,
        /// One per waiter that was named.
        waiters: Vec<Waiting>,
    },
    /// To [`Verb::Leave`](super::Verb::Leave); the figures are those that the error of a time-out carries.
    Leave {
        /// One per id.
        left: Vec<Left>,
        /// Slots held when the first of them left.
        held: u64,
        /// Requests in line then, those that left included.
        waiting: u64,
        /// How long until the earliest lease ended then, in ms.
        next_end_in_ms: Option<u64>,
    },
    /// To [`Verb::Reconcile`](super::Verb::Reconcile).
    Reconcile {
        /// One per item.
        reconciled: Vec<Reconciled>,
        /// The ids of the caller's session that the group has after the call: leases by end, then waiters by place,
        /// both of the ranks that were asked for.
        own: Vec<LeaseId>,
        /// From which rank on the next call looks; `None` after the last.
        own_next: Option<u64>,
    },
    /// To [`Verb::Inspect`](super::Verb::Inspect).
    Inspect(Picture),
    /// To [`Verb::Clean`](super::Verb::Clean): how many leases were reaped.
    Clean(u64),
    /// To [`Verb::Note`](super::Verb::Note).
    Note(Noted),
}

/// A grant as Redis states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The lease's id.
    pub id: LeaseId,
    /// The slots, ascending; as many as the weight.
    pub slots: Vec<Slot>,
    /// The fencing token.
    pub token: FencingToken,
    /// The end, in ms on Redis's clock.
    pub end_at_ms: u64,
    /// The length from when it was stated to that end, in ms.
    pub ttl_ms: u64,
}

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// Granted (now, or before under the same id).
    Granted(Grant),
    /// In line.
    Queued {
        /// Its place.
        ticket: Ticket,
        /// How many wait before it or beside it.
        ahead: u64,
    },
    /// Not granted, and it didn't want to wait.
    Full {
        /// Slots held now.
        held: u64,
        /// Requests in line now.
        waiting: u64,
        /// How long until the earliest lease ends, in ms.
        next_end_in_ms: Option<u64>,
    },
    /// `max_waiting` reached (R6).
    QueueFull {
        /// Requests in line now.
        waiting: u64,
    },
    /// [`MAX_WAITING_LIMITS`](super::MAX_WAITING_LIMITS) other limits already wait (R4).
    TooManyLimits,
    /// The name is held with another weight, or above this limit (R16).
    HolderMismatch {
        /// The weight that holds the name.
        weight: u32,
        /// The highest slot that it holds.
        highest: Slot,
    },
}

/// What became of one renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// Extended; the new end in ms on Redis's clock.
    Extended {
        /// The new end.
        end_at_ms: u64,
    },
    /// The group doesn't have it. Whether it is lost depends on the epoch: see
    /// [`ReconcileItem::Keep`](super::ReconcileItem::Keep).
    Gone,
    /// The holder name belongs to another lease now (R16).
    TakenOver,
}

/// What a safety poll finds about one waiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Still in line.
    InLine,
    /// Granted meanwhile.
    Granted(Grant),
    /// The group doesn't know it.
    Unknown,
}

/// What became of one waiter that left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// It was in line, or the group didn't know it.
    Left,
    /// It had just been granted, and still is (R23).
    Granted(Grant),
}

/// What became of one id of a reconcile call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reconciled {
    /// Held: as it was, restored, or granted meanwhile. The end is as [`Keep::extend_ms`](super::Keep::extend_ms) asks;
    /// what was wanted has its full length.
    Held(Grant),
    /// In line with this ticket.
    InLine {
        /// Its place.
        ticket: Ticket,
    },
    /// The group doesn't have it (any more), and a lease can't re-enter.
    Unknown,
    /// The holder name belongs to another lease now (R16).
    TakenOver,
    /// Given back; `held` says whether it was a lease.
    Dropped {
        /// Whether there was a lease to give back.
        held: bool,
    },
}
