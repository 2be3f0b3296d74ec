//! What a session says and hears of the note of a group, by which it serves its own requests (R32–R39).

use std::sync::Arc;

use super::{Grant, Terms};
use crate::lease::{FencingToken, LeaseId, Ticket};

/// A session asks for the note, or confirms it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteAsk {
    /// The limit of its terms.
    pub limit: u32,
    /// The number of the note that it has; `None` asks for a new one.
    pub number: Option<FencingToken>,
    /// Whether the session keeps slots that nobody holds (R39).
    pub keeps: bool,
}

/// Whether the session has the note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It has.
    Sole {
        /// Its number.
        number: FencingToken,
        /// The last ticket when it was written.
        begun: Ticket,
        /// The tokens after this one, up to `last`, are the session's to give (R37).
        after: FencingToken,
        /// The last of them.
        last: FencingToken,
    },
    /// Not any more: somebody else has asked, with this ticket or before it.
    Wanted {
        /// The ticket.
        ticket: Ticket,
    },
    /// It hasn't. Before this is over it needn't ask again, in ms.
    No {
        /// How long.
        again_in_ms: u64,
    },
}

/// Requests that have waited in the process join the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The number of the note under which they waited.
    pub number: FencingToken,
    /// They, in order of arrival.
    pub items: Vec<JoinAsk>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAsk {
    /// Its id.
    pub id: LeaseId,
    /// What it asks for.
    pub terms: Arc<Terms>,
    /// Its place, between the note's beginning and the request that ended it.
    pub ticket: Ticket,
}

/// Who has a slot by passes, as a renewal says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The token.
    pub token: FencingToken,
    /// Shown by `inspect`.
    pub label: Option<Arc<str>>,
}

/// What a push tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The session's waiters that were granted.
    Grants(Vec<Grant>),
    /// Somebody else asks: the note of this number, and all before it, have ended (R34).
    Wanted {
        /// The number.
        number: FencingToken,
        /// The ticket of the request that ended it, or the next one.
        ticket: Ticket,
    },
    /// Somebody else has released this lease (R36).
    Gone(LeaseId),
}

impl News {
    /// The grants; none when it's something else.
    pub fn grants(&self) -> &[Grant] {
        if let Self::Grants(grants) = self { grants } else { &[] }
    }
}
