//! Calls that came back as errors.
//!
//! What was surely not executed is asked again, and nobody hears of it (R29). Any other error ends the requests that
//! the call was about. Leases that it should have renewed stay held, and are renewed later (R28); what nobody wants is
//! asked to go until it has gone (R12). A connection that is lost without an answer is `recover`'s.

use std::time::Duration;

use super::members::State;
use super::state::GroupState;
use crate::error::{Error, Loss};
use crate::moment::Moment;
use crate::protocol::CallError;
use crate::session::calls::Items;
use crate::session::context::Context;
use crate::session::ids::AcquisitionId;

/// A renewal that the server refused is tried again after this long (R20), or a sixth of the lease if that's shorter.
const RENEW_AGAIN: Duration = Duration::from_millis(500);

impl GroupState {
    /// A call is answered with an error. What the error says of the whole server is the session's to see.
    pub(in crate::session) fn take_error(
        &mut self,
        cx: &mut Context,
        now: Moment,
        items: Items,
        error: CallError,
    ) {
        self.note_answered(&items);
        self.introduced.doubt();
        let protocol = |message| Error::Protocol { key: self.key.clone(), message };
        match error {
            CallError::NotExecutedThere { why, answered } => {
                let refusal = cx.settings.failure(why, true, answered);
                self.ask_all_again(cx, now, items, refusal);
            }
            CallError::NotExecuted(text) => {
                let refusal = cx.settings.refused(text);
                self.ask_all_again(cx, now, items, refusal);
            }
            CallError::OutOfMemory(text) | CallError::Denied(text) => {
                let refusal = cx.settings.refused(text);
                match items {
                    Items::Acquire(_) | Items::Renew { .. } => self.fail_asks(cx, now, items, &refusal),
                    // To forget what isn't cleared away would leave a waiter in line, or a lease held, that nobody
                    // knows of.
                    Items::Release(_)
                    | Items::Leave(_)
                    | Items::Reconcile { .. }
                    | Items::Clean
                    | Items::Note { .. } => {
                        self.ask_all_again(cx, now, items, refusal);
                    }
                }
            }
            CallError::Stale => {
                let failure = protocol("a newer connection of this session exists".into());
                self.fail_all(cx, now, items, &failure);
            }
            CallError::Unusable(message) => {
                let failure = protocol(message);
                self.fail_all(cx, now, items, &failure);
            }
            CallError::Garbage(message) => {
                let failure = protocol(message);
                self.fail_unclear(cx, now, items, &failure);
            }
        }
    }

    /// A pending call is answered.
    pub(super) fn note_answered(&mut self, items: &Items) {
        self.flow.answered(items);
        if let Items::Renew { poll: true, .. } = items {
            self.poll.answered();
        }
        if let Items::Note { .. } = items {
            self.sole.answered();
        }
    }

    /// Surely not executed (R29): everything goes back to where it came from, and is asked again a little later.
    fn ask_all_again(&mut self, cx: &mut Context, now: Moment, items: Items, refusal: Error) {
        self.flow.refused(now, refusal, &mut cx.jitter);
        match items {
            Items::Acquire(ids) => {
                for id in ids {
                    match self.members.get(id) {
                        Some(acquisition) if acquisition.wanted => self.ask_again(cx, now, id),
                        _ => self.remove(cx, id),
                    }
                }
            }
            Items::Release(ids) => {
                ids.iter().for_each(|id| self.arm(cx, now, *id));
                self.members.release(ids);
            }
            Items::Leave(ids) => self.members.leave_again(ids),
            Items::Reconcile { ids, own_from } => {
                self.members.reconcile(ids);
                self.flow.ask_for_own(own_from.or(self.flow.own_from()));
            }
            Items::Renew { leases, poll, .. } => {
                self.renew_later(now, leases);
                if poll {
                    self.poll.by(self.flow.not_before());
                }
            }
            Items::Clean => self.flow.want_clean(true),
            Items::Note { .. } => self.sole.refused(now),
        }
    }

    /// Surely not executed, and those who asked hear of it: new requests, and waiters whose poll was refused. Leases
    /// stay held, and are renewed later.
    fn fail_asks(&mut self, cx: &mut Context, now: Moment, items: Items, failure: &Error) {
        match items {
            Items::Acquire(ids) => ids.into_iter().for_each(|id| self.refuse(cx, id, failure.clone())),
            Items::Renew { leases, poll, .. } => {
                self.renew_later(now, leases);
                if poll {
                    self.refuse_waiters(cx, failure);
                }
            }
            Items::Release(_)
            | Items::Leave(_)
            | Items::Reconcile { .. }
            | Items::Clean
            | Items::Note { .. } => {}
        }
    }

    /// The group can't be used: nothing of what was asked is there.
    fn fail_all(&mut self, cx: &mut Context, now: Moment, items: Items, failure: &Error) {
        match items {
            Items::Leave(ids) => ids.into_iter().for_each(|id| self.refuse(cx, id, failure.clone())),
            Items::Release(ids) => ids.into_iter().for_each(|id| self.end_release(cx, id, false)),
            Items::Reconcile { ids, .. } => {
                ids.into_iter().for_each(|id| self.end_without(cx, now, id, failure));
            }
            Items::Clean => {}
            Items::Note { .. } => {
                let ended = self.sole.end(None);
                self.leave_inside(cx, now, ended);
            }
            items => self.fail_asks(cx, now, items, failure),
        }
    }

    /// Nobody knows what was carried out: those who asked hear of it, and what Redis has of it is cleared away (R12).
    fn fail_unclear(&mut self, cx: &mut Context, now: Moment, items: Items, failure: &Error) {
        match items {
            Items::Acquire(ids) | Items::Leave(ids) => {
                for id in ids {
                    self.members.set_state(id, State::Unclear);
                    if self.members.get(id).is_some_and(|acquisition| acquisition.wanted) {
                        self.fail(cx, id, failure.clone());
                    }
                }
            }
            Items::Release(ids) => {
                ids.iter().for_each(|id| self.arm(cx, now, *id));
                self.members.reconcile(ids);
            }
            items => self.fail_all(cx, now, items, failure),
        }
    }

    /// The group can't be used: what was to be reconciled there is lost or fails.
    fn end_without(&mut self, cx: &mut Context, now: Moment, id: AcquisitionId, failure: &Error) {
        match self.members.state(id) {
            Some(State::Held(_)) => self.lose(cx, now, id, Loss::Gone),
            Some(State::Releasing { .. }) => self.end_release(cx, id, false),
            Some(State::Lost) | None => {}
            Some(_) => self.refuse(cx, id, failure.clone()),
        }
    }

    /// Those in line hear that Redis refuses, and leave it.
    fn refuse_waiters(&mut self, cx: &mut Context, failure: &Error) {
        for id in self.members.waiters() {
            if self.members.get(id).is_some_and(|acquisition| acquisition.wanted) {
                self.fail(cx, id, failure.clone());
            }
        }
    }

    pub(super) fn renew_later(&mut self, now: Moment, leases: Vec<(AcquisitionId, Duration)>) {
        for (id, length) in leases {
            let Some(held) = self.members.get_mut(id).and_then(|acquisition| acquisition.slot_mut()) else {
                continue;
            };
            let at = now + RENEW_AGAIN.min(length / 6);
            held.renew_again(at);
            self.members.lease_due_by(at);
        }
    }
}
