//! The calls that have been sent and not answered yet.

use std::collections::VecDeque;
use std::time::Duration;

use super::ids::{AcquisitionId, GroupIndex, QueryId};
use crate::moment::Moment;
use crate::protocol::{CallId, NoteAsk};

/// A call without an answer.
#[derive(Debug)]
pub(super) struct PendingCall {
    pub(super) id: CallId,
    pub(super) sent_at: Moment,
    pub(super) about: About,
}

#[derive(Debug)]
pub(super) enum About {
    Group(GroupIndex, Items),
    Query(QueryId),
}

/// What a call to a group asked, in the order of its items.
#[derive(Debug)]
pub(super) enum Items {
    Acquire(Vec<AcquisitionId>),
    Release(Vec<AcquisitionId>),
    /// Leases with the length asked for each; waiters; whether this is the group's safety poll.
    Renew {
        leases: Vec<(AcquisitionId, Duration)>,
        waiters: Vec<AcquisitionId>,
        poll: bool,
    },
    Leave(Vec<AcquisitionId>),
    /// Unclear ids, and the rank from which on the answer lists the session's own.
    Reconcile {
        ids: Vec<AcquisitionId>,
        own_from: Option<u64>,
    },
    Clean,
    /// The terms of the note, and what was asked of it.
    Note {
        terms: NoteTerms,
        asked: NoteAsk,
    },
}

/// What a note is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoteTerms {
    pub(super) limit: u32,
    pub(super) lease_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct PendingCalls {
    /// In the order in which they were sent.
    calls: VecDeque<PendingCall>,
    sent: u64,
}

impl PendingCalls {
    /// Adds a call that is sent now.
    pub(super) fn start(&mut self, now: Moment, about: About) -> CallId {
        self.sent += 1;
        let id = CallId(self.sent);
        self.calls.push_back(PendingCall { id, sent_at: now, about });
        id
    }

    /// Takes out a call that is answered; `None` when its connection was lost before.
    pub(super) fn finish(&mut self, id: CallId) -> Option<PendingCall> {
        let at = self.calls.iter().position(|call| call.id == id)?;
        self.calls.remove(at)
    }

    /// Takes out, in order, the calls whose answers will never come.
    pub(super) fn lose(&mut self, lost: impl Fn(&About) -> bool) -> Vec<About> {
        let (lost, kept): (Vec<_>, _) =
            std::mem::take(&mut self.calls).into_iter().partition(|call| lost(&call.about));
        self.calls = kept.into();
        lost.into_iter().map(|call| call.about).collect()
    }

    pub(super) fn oldest_sent_at(&self) -> Option<Moment> {
        self.calls.front().map(|call| call.sent_at)
    }

    /// The calls were sent longer ago than our clock says.
    pub(super) fn age(&mut self, length: Duration) {
        for call in &mut self.calls {
            call.sent_at = call.sent_at - length;
        }
    }

    /// How many calls were ever sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}
