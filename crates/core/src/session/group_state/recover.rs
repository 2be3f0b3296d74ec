//! What a lost connection leaves behind, and a clock that had stopped: whatever Redis may know of this session is
//! reconciled before anything else is asked (R12).

use std::time::Duration;

use super::members::{Acquisition, State};
use super::state::GroupState;
use crate::moment::Moment;
use crate::session::calls::Items;
use crate::session::context::Context;

impl GroupState {
    /// The connection is lost: nothing that is pending will be answered.
    pub(in crate::session) fn lose_calls(&mut self, cx: &mut Context, now: Moment) {
        self.flow.lose_calls();
        self.introduced.doubt();
        self.poll.lose();
        self.members.forget_leaving();
        self.end_note(cx, now);
    }

    /// One of the calls that won't be answered.
    pub(in crate::session) fn lose_call(&mut self, items: Items) {
        match items {
            Items::Acquire(ids) => {
                for id in ids {
                    if matches!(self.members.state(id), Some(State::Asked)) {
                        self.members.set_state(id, State::Unclear);
                    }
                }
            }
            // An id without a request is a stray grant: it's given back again over the next connection.
            Items::Release(ids) | Items::Reconcile { ids, .. } => self.members.release(ids),
            Items::Renew { leases, .. } => {
                for (id, _) in leases {
                    if let Some(held) = self.members.get_mut(id).and_then(Acquisition::slot_mut) {
                        held.renewing = false;
                    }
                }
            }
            Items::Leave(_) | Items::Clean | Items::Note { .. } => {}
        }
    }

    /// What is passed and who waits inside is Redis's to say again (R33).
    fn end_note(&mut self, cx: &mut Context, now: Moment) {
        self.sole.lose();
        let ended = self.sole.end(None);
        self.leave_inside(cx, now, ended);
    }

    /// Everything that Redis may know of this session has to be reconciled, with `own` also what this session doesn't
    /// know of itself any more.
    pub(in crate::session) fn reconcile_all(&mut self, own: bool) {
        self.members.reconcile_all();
        self.flow.ask_for_own(own.then_some(0));
    }

    /// The clock had stopped for `length`: what is held counts only if Redis confirms it by `bound` (R10).
    pub(in crate::session) fn age(&mut self, cx: &mut Context, now: Moment, length: Duration, bound: Moment) {
        self.members.iter_mut().for_each(|acquisition| acquisition.age(length, bound));
        self.poll.age(length);
        self.end_note(cx, now);
        self.members.reconcile_held();
        self.members.lease_due_by(bound);
    }

    /// Pushes don't arrive any more: who waits is polled for now.
    pub(in crate::session) fn poll_now(&mut self, now: Moment) {
        if self.members.waiting_count() > 0 {
            self.poll.by(now);
        }
    }
}
