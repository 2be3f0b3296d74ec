//! What a session asks of a group and what the group answers: the verbs as values, without transport.
//!
//! No rule is decided and no byte is laid out here: `group` and the Lua scripts answer these calls in the same way,
//! `store` carries them. Lengths are whole milliseconds on the wire, hence the `_ms` names.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::lease::{Epoch, FencingToken, Identity, Key, LeaseId, SessionId, Slot, Ticket};

mod note;

pub use note::{Join, JoinAsk, News, NoteAsk, Noted, Passed};

/// Most slots or waiters that one call touches (R26); a single request of more weight goes alone.
pub const MAX_TOUCHED: usize = 200;

/// Most distinct limits that may wait in one group at a time (R4).
pub const MAX_WAITING_LIMITS: usize = 32;

/// Who calls, as every mutating call says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The session.
    pub session: SessionId,
    /// The number of its present connection; calls with a lower one than the group has stored are refused (R12).
    pub connection: u64,
    /// Whether the session has confirmed that pushes reach it (R18).
    pub listens: bool,
    /// Whether the server has only just started: nothing new is granted by this call, no hand-off either (R30).
    pub settling: bool,
    /// How long the session's waiters stay in line without another sign of life, in ms (R19).
    pub keep_alive_ms: u64,
}

/// One call: a verb for one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The group.
    pub key: Key,
    /// What is asked of it.
    pub verb: Verb,
    /// Who the session is, where it says so with this call.
    pub introduction: Option<Introduction>,
}

impl Call {
    /// A call that doesn't say who the session is.
    pub fn new(key: Key, verb: Verb) -> Self {
        Self { key, verb, introduction: None }
    }
}

/// Who a session is, as it says beside a call that is carried out (R40).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Which process.
    pub identity: Arc<Identity>,
    /// How long the group keeps that, in ms.
    pub keep_ms: u64,
}

/// The number that a session gives to what it sends; the answer has it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a session sends to its store: one type all the way from the session to the server's connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    /// A call to a group.
    Call {
        /// Comes back with the reply.
        id: CallId,
        /// Who calls.
        caller: Caller,
        /// What.
        call: Call,
    },
    /// The names of existing groups, one page.
    Keys {
        /// Comes back with the page.
        id: CallId,
        /// A glob over the users' keys, as in Redis' `KEYS`.
        pattern: String,
        /// `"0"` to begin with, then what the last page said.
        cursor: String,
    },
}

/// The verbs, each a batch for one group.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// Grant now, join the line, or refuse.
    Acquire(Vec<Ask>),
    /// Give back, then hand off.
    Release(Vec<Target>),
    /// Extend leases and keep the session's waiters in line; also the look (R21).
    Renew(Renew),
    /// Take waiters out of the line.
    Leave(Vec<LeaseId>),
    /// Reconcile the session's own ids after an unclear outcome, and store the caller's connection number (R12).
    Reconcile {
        /// The ids that the session knows of.
        items: Vec<ReconcileItem>,
        /// The rank from which on the answer lists what else the group has of the session; `None` when nobody asks.
        own_from: Option<u64>,
    },
    /// A read-only picture of the group, one page.
    Inspect(Page),
    /// Reap what has ended, whoever asks, and hand off.
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
    /// A lease by its id, whoever holds it. (Waiters are not touched by a release.)
    Lease(LeaseId),
    /// The same, if this is its token: not what somebody got by a pass since (R36).
    Grant(LeaseId, FencingToken),
    /// Whichever lease has this holder name now (R16).
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
    /// Who has it by passes since (R36); not with a name.
    pub passed: Option<Passed>,
}

/// One id of a reconcile call.
#[derive(Debug, Clone, PartialEq)]
pub enum ReconcileItem {
    /// The session believes that it holds this; it re-enters if the rules allow (R14, R30).
    Keep(Keep),
    /// The session wants this granted and doesn't know what became of it. With a ticket it was in line and re-enters
    /// with that ticket if the line has lost it; without one it's only looked for.
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
    /// How long it goes on from now, in ms; `None`, when the session doesn't renew it, leaves the end as it was stated.
    pub extend_ms: Option<u64>,
}

/// A page of `inspect`: where each list goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// Slots up to this one have been shown.
    pub after_slot: Slot,
    /// So many waiters have been shown.
    pub waiters_shown: u64,
}

/// What a group answers to a call that it carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Redis's clock, in ms.
    pub now_ms: u64,
    /// The group's present epoch.
    pub epoch: Epoch,
    /// How long until the earliest lease of the group ends, in ms; said when the caller's session has waiters (R9).
    pub next_end_in_ms: Option<u64>,
    /// The bounded step stopped half-way: call `clean` at once (R17).
    pub again: bool,
    /// A publication was refused: push isn't to be had (R22).
    pub push_refused: bool,
    /// Waiters of the caller's own session that were granted by this call's hand-off (R17).
    pub handed: Vec<Grant>,
    /// The answers, in the order of what was asked.
    pub answers: Answers,
}

/// The answers of one call, in the order of its items.
#[derive(Debug, Clone, PartialEq)]
pub enum Answers {
    /// To [`Verb::Acquire`] and [`Verb::Join`].
    Acquire(Vec<Acquired>),
    /// To [`Verb::Release`].
    Release(Vec<bool>),
    /// To [`Verb::Renew`].
    Renew {
        /// One per lease.
        leases: Vec<Renewed>,
        /// How many waiters of the caller's session are in line, after the call.
        in_line: u64,
        /// One per waiter that was named.
        waiters: Vec<Waiting>,
    },
    /// To [`Verb::Leave`]; the figures are those that the error of a time-out carries.
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
    /// To [`Verb::Reconcile`].
    Reconcile {
        /// One per item.
        reconciled: Vec<Reconciled>,
        /// The ids of the caller's session that the group has after the call: leases by end, then waiters by place,
        /// both of the ranks that were asked for.
        own: Vec<LeaseId>,
        /// From which rank on the next call looks; `None` after the last.
        own_next: Option<u64>,
    },
    /// To [`Verb::Inspect`].
    Inspect(Picture),
    /// To [`Verb::Clean`]: how many leases were reaped.
    Clean(u64),
    /// To [`Verb::Note`].
    Note(Noted),
}

/// A grant as Redis states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose.
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
    /// [`MAX_WAITING_LIMITS`] other limits already wait (R4).
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
    /// Not there. Whether that is a loss depends on the epoch: see [`ReconcileItem::Keep`].
    Gone,
    /// The holder name belongs to another lease now (R16).
    TakenOver,
}

/// What a look finds of one waiter.
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
    /// Held: as it was, restored, or granted meanwhile. The end is as [`Keep::extend_ms`] asks; what was wanted has its
    /// full length.
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

/// One page of a group's picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Picture {
    /// The limit last asked with; 0 if none was.
    pub limit: u32,
    /// Slots held by leases that haven't ended; if more than 200 have ended and aren't reaped yet, the rest of them
    /// count.
    pub held: u64,
    /// Requests in line.
    pub waiting: u64,
    /// Leases of this page that haven't ended, by their lowest slot.
    pub holders: Vec<HolderView>,
    /// Waiters of this page, by limit, then priority, then ticket.
    pub waiters: Vec<WaiterView>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Page>,
    /// Redis's clock when it was read, in ms; 0 in a single page, whose reply says it.
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
    /// Its process, where that was said.
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
    /// Its process, where that was said.
    pub identity: Option<Arc<Identity>>,
}

/// What a session is told through its push channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// The group.
    pub key: Key,
    /// Its epoch.
    pub epoch: Epoch,
    /// What.
    pub news: News,
}

/// Why a call was not carried out, or isn't known to have been. Each kind says what to do next (R29).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// Surely not executed, and worth asking again (NOSCRIPT, LOADING, READONLY, …).
    NotExecuted(String),
    /// Surely not executed by the one member of a cluster that has the group, which says nothing of the others; worth
    /// asking again.
    NotExecutedThere {
        /// The member's words, or why it has none.
        why: String,
        /// They are its words.
        answered: bool,
    },
    /// A later connection of this session has already reconciled (R12): the call came too late.
    Stale,
    /// Out of memory: surely not executed, release and renewal would have been (R25).
    OutOfMemory(String),
    /// A key of the group has another type, or its layout has another version (R24, R27).
    Unusable(String),
    /// Redis refuses the command itself (rights, unknown command): asking again won't help.
    Denied(String),
    /// The answer can't be understood.
    Garbage(String),
}
