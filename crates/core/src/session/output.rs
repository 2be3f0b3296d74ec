//! What a session gives out: what its driver is to do, what its clients are told, and what it has counted.
//!
//! Values only. When each is said is [`super::Session`]'s to know; exactly one event ends each request.

use std::time::Duration;

use super::histogram::Histogram;
use super::input::{ClientId, Tag};
use crate::error::{Error, Loss};
use crate::lease::{FencingToken, Key, LeaseId, Slot};
use crate::moment::Moment;
use crate::protocol::{Outgoing, Picture};

/// What there is to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Tell a client.
    Event(Event),
    /// Open a connection; answer with `handle_connected` or `handle_connect_failed`.
    Connect,
    /// Drop the connection; don't answer.
    Disconnect,
    /// Send this; answer with `handle_reply` or `handle_keys`.
    Send(Outgoing),
    /// Find out whether enough replicas have this grant; answer with `handle_checked`.
    Check(Check),
}

/// A grant that its client hears of only when enough replicas have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The lease.
    pub id: LeaseId,
    /// Which grant of it.
    pub token: FencingToken,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It has a lease.
    Granted {
        /// Who is told.
        client: ClientId,
        /// About which request.
        tag: Tag,
        /// The lease.
        lease: Granted,
    },
    /// The request is over without a lease.
    Failed {
        /// Who is told.
        client: ClientId,
        /// About which request.
        tag: Tag,
        /// Why; `None` when the client cancelled it.
        error: Option<Error>,
    },
    /// The lease is given back.
    Released {
        /// Who is told.
        client: ClientId,
        /// About which request.
        tag: Tag,
        /// Whether it was still held, by Redis's answer and by the local verdict.
        was_held: bool,
    },
    /// The lease is lost.
    Lost {
        /// Who is told.
        client: ClientId,
        /// About which request.
        tag: Tag,
        /// The group.
        key: Key,
        /// The lowest slot.
        slot: Slot,
        /// Why.
        why: Loss,
    },
    /// The lease was renewed.
    Renewed {
        /// Who is told.
        client: ClientId,
        /// About which request.
        tag: Tag,
        /// The new local deadline.
        deadline: Moment,
    },
    /// An admin query is answered.
    Answered {
        /// Who is told.
        client: ClientId,
        /// About which query.
        tag: Tag,
        /// The answer.
        answer: Result<AdminAnswer, Error>,
    },
    /// The client has ended: what it had is given back, as far as Redis confirmed it in time.
    Closed {
        /// Who is told.
        client: ClientId,
        /// About which close.
        tag: Tag,
    },
    /// An attempt to connect begins. Ends with one of the next three. For every client.
    Connecting,
    /// The first connection stands. For every client.
    Connected,
    /// The attempt to connect failed, and why. For every client.
    ConnectFailed(String),
    /// The connection is back. For every client.
    Reconnected,
    /// The connection was lost, and why. For every client.
    Disconnected(String),
    /// Something that an operator should know. For every client.
    Warning(String),
    /// Pushes don't arrive; waiters poll every `limitInterval`. For every client.
    PushUnavailable,
}

impl Event {
    /// Who is told; nobody in particular if it's for every client.
    pub fn client(&self) -> Option<ClientId> {
        match self {
            Self::Granted { client, .. }
            | Self::Failed { client, .. }
            | Self::Released { client, .. }
            | Self::Lost { client, .. }
            | Self::Renewed { client, .. }
            | Self::Answered { client, .. }
            | Self::Closed { client, .. } => Some(*client),
            Self::Connecting
            | Self::Connected
            | Self::ConnectFailed(_)
            | Self::Reconnected
            | Self::Disconnected(_)
            | Self::Warning(_)
            | Self::PushUnavailable => None,
        }
    }
}

/// A lease as its client gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    /// Its id.
    pub id: LeaseId,
    /// Its slots, ascending.
    pub slots: Vec<Slot>,
    /// Its fencing token.
    pub token: FencingToken,
    /// The local deadline; renewals move it.
    pub deadline: Moment,
    /// How long the request took.
    pub waited: Duration,
    /// Granted without Redis, which couldn't be reached.
    pub stood_in: bool,
}

/// The answer to an admin query.
#[derive(Debug, Clone, PartialEq)]
pub enum AdminAnswer {
    /// To [`super::AdminQuery::Status`].
    Status(Picture),
    /// To [`super::AdminQuery::Clean`].
    Cleaned(u64),
    /// To [`super::AdminQuery::Release`].
    Released(bool),
    /// To [`super::AdminQuery::Stats`].
    Stats(Box<Stats>),
    /// To [`super::AdminQuery::Keys`].
    Keys {
        /// This page.
        keys: Vec<Key>,
        /// Where the next begins; `"0"` after the last.
        cursor: String,
    },
}

/// What became of slots that were kept after their release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Kept now.
    pub now: u64,
    /// Taken by a later request of this process, without a call.
    pub reused: u64,
    /// Given back because they were wanted, or the session couldn't be sure of them any more.
    pub recalled: u64,
    /// Given back at the end of their time.
    pub unused: u64,
}

/// Counters since the session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Leases granted without waiting in line.
    pub granted_at_once: u64,
    /// Leases granted after waiting in line.
    pub granted_after_waiting: u64,
    /// Requests refused: full, queue full, or not available.
    pub refused: u64,
    /// Requests whose time in line was over.
    pub timed_out: u64,
    /// Requests that were cancelled.
    pub aborted: u64,
    /// Leases lost.
    pub lost: u64,
    /// Leases granted by a push.
    pub handed_off: u64,
    /// Leases passed from one request to the next in this process, without a call.
    pub passed: u64,
    /// What became of slots that were kept after their release.
    pub kept: Kept,
    /// Calls sent.
    pub calls: u64,
    /// Connections opened after the first.
    pub reconnects: u64,
    /// Leases held now.
    pub held: u64,
    /// Requests that wait now.
    pub waiting: u64,
    /// How long the leases that were granted had been waited for.
    pub waits: Histogram,
    /// How long the leases that were given back had been held.
    pub holds: Histogram,
}
