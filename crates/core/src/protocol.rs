//! What a session asks of a group (`verb`, `note`), and what the group answers (`reply`, `picture`).
//!
//! These are values only. `group` and the Lua library answer the calls in the same way, `store` sends them. Lengths are
//! whole milliseconds on the wire, hence the names that end in `_ms`.

use std::fmt;
use std::sync::Arc;

use crate::lease::{Epoch, Identity, Key, SessionId};

mod note;
mod picture;
mod reply;
mod verb;

pub use note::{Join, JoinAsk, News, NoteAsk, Noted, Passed};
pub use picture::{HolderView, Page, Picture, WaiterView};
pub use reply::{Acquired, Answers, Grant, Left, Reconciled, Renewed, Reply, Waiting};
pub use verb::{Ask, Extend, Keep, ReconcileItem, Renew, Target, Terms, Verb};

/// Most slots or waiters that one call touches (R26); a single request of more weight goes alone.
pub const MAX_TOUCHED: usize = 200;

/// Most distinct limits that may wait in one group at a time (R4).
pub const MAX_WAITING_LIMITS: usize = 32;

/// Who calls: part of every call that changes something.
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
    /// Which process the session belongs to, if this call tells it.
    pub introduction: Option<Introduction>,
}

impl Call {
    /// A call without an introduction.
    pub fn new(key: Key, verb: Verb) -> Self {
        Self { key, verb, introduction: None }
    }
}

/// Tells the group which process a session belongs to, together with a call (R40).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Which process.
    pub identity: Arc<Identity>,
    /// How long the group keeps that, in ms.
    pub keep_ms: u64,
}

/// The number of what a session sends; its answer has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a session sends to its store.
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
    /// Surely not executed, by the one member of a cluster that has the group; other members may answer. Worth asking
    /// again.
    NotExecutedThere {
        /// The member's error, or why there was no answer.
        why: String,
        /// `why` is the member's error.
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
