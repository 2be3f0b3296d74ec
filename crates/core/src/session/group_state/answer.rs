//! What is heard: replies and pushes, each taken apart into answers to requests.
//!
//! Any grant for an id that isn't wanted is given back at once (R12).

use std::time::Duration;

use super::members::State;
use super::outcomes::Stated;
use super::requests::Fullness;
use super::state::GroupState;
use crate::lease::{Epoch, LeaseId};
use crate::moment::Moment;
use crate::protocol::{Answers, Grant, MAX_TOUCHED, News, Push, Reply};
use crate::session::calls::Items;
use crate::session::context::Context;
use crate::session::ids::AcquisitionId;

/// So many leases, and as many waiters, of a group are gone through for ids that the session doesn't know.
const MOST_OWN: u64 = 16 * MAX_TOUCHED as u64;

impl GroupState {
    /// A call is answered. A group's answers come in the order of its calls, and all of them nearly so.
    pub(in crate::session) fn take_reply(
        &mut self,
        cx: &mut Context,
        now: Moment,
        sent_at: Moment,
        items: Items,
        reply: Reply,
    ) {
        self.note_answered(&items);
        self.flow.accepted();
        self.introduced.heard(reply.epoch);
        self.flow.want_clean(reply.again);
        self.heard_ms = reply.now_ms;
        let stated = Stated { sent_at, epoch: reply.epoch };
        // A waiter may be said to be in line again and be granted in the same reply, in this order. A poll's count, on
        // the other hand, comes after all grants.
        if matches!(items, Items::Reconcile { .. }) {
            self.take_answers(cx, now, stated, items, reply.answers);
            self.take_handed(cx, now, reply.handed, reply.epoch, sent_at);
        } else {
            self.take_handed(cx, now, reply.handed, reply.epoch, sent_at);
            self.take_answers(cx, now, stated, items, reply.answers);
        }
        if let Some(next) = reply.next_end_in_ms
            && self.members.waiting_count() > 0
        {
            // A little later than the end, and not in step with the other processes that wait for the same one.
            let spread = cx.jitter.around(Duration::from_millis(10));
            self.poll.by(now + Duration::from_millis(next) + spread);
        }
    }

    /// The session was told something of this group.
    pub(in crate::session) fn take_push(&mut self, cx: &mut Context, now: Moment, push: Push) {
        let grants = match push.news {
            News::Grants(grants) => grants,
            News::Wanted { number, ticket } => {
                let ended = self.sole.want(number, ticket);
                return self.leave_inside(cx, now, ended);
            }
            News::Gone(id) => return self.take_gone(cx, now, id),
        };
        for grant in grants {
            let id = AcquisitionId(grant.id.number);
            if grant.id.session != cx.settings.id {
                continue;
            }
            match self.members.state(id) {
                Some(State::InLine { since, .. }) => {
                    let base = (*since).max(self.poll.all_waiting_at());
                    // Made before a reply that came first: where pushes have a connection of their own, they may be
                    // late.
                    let late = grant.end_at_ms.saturating_sub(grant.ttl_ms) < self.heard_ms;
                    cx.stats.handed_off += 1;
                    if late { self.doubt(id) } else { self.accept(cx, now, grant, push.epoch, base) }
                }
                // The reply that is on its way says it again, for certain.
                Some(_) => {}
                None => self.members.release([id]),
            }
        }
    }

    /// An admin query to this group was carried out: it may have made room for this session's own waiters, or have left
    /// more to hand off.
    pub(in crate::session) fn take_side_effects(
        &mut self,
        cx: &mut Context,
        now: Moment,
        sent_at: Moment,
        (again, epoch, handed): (bool, Epoch, Vec<Grant>),
    ) {
        self.flow.want_clean(again);
        self.take_handed(cx, now, handed, epoch, sent_at);
    }

    /// Waiters of this session that the call's own hand-off granted. What the session doesn't know any more, for
    /// instance a waiter that only an old state still had in line, is given back at once (R12).
    fn take_handed(
        &mut self,
        cx: &mut Context,
        now: Moment,
        grants: Vec<Grant>,
        epoch: Epoch,
        sent_at: Moment,
    ) {
        for grant in grants {
            let id = AcquisitionId(grant.id.number);
            match self.members.state(id) {
                Some(State::InLine { .. }) => self.accept(cx, now, grant, epoch, sent_at),
                // Its own call says it again.
                Some(_) => {}
                None => self.members.release([id]),
            }
        }
    }

    /// The group has these ids of this session: what it doesn't know is given back, lease or place in line (R12).
    fn take_own(&mut self, cx: &Context, own: Vec<LeaseId>, next: Option<u64>) {
        let mut strays: Vec<_> = own.into_iter().map(|id| AcquisitionId(id.number)).collect();
        strays.retain(|id| !self.members.contains(*id) && !cx.registry.is_left_to_end(*id));
        self.members.reconcile(strays);
        self.flow.ask_for_own(next.filter(|from| *from < MOST_OWN));
    }

    fn take_answers(
        &mut self,
        cx: &mut Context,
        now: Moment,
        stated: Stated,
        items: Items,
        answers: Answers,
    ) {
        match (items, answers) {
            (Items::Acquire(ids), Answers::Acquire(answers)) => {
                for (id, answer) in ids.into_iter().zip(answers) {
                    self.take_acquired(cx, now, id, answer, stated);
                }
            }
            (Items::Release(ids), Answers::Release(answers)) => {
                for (id, held) in ids.into_iter().zip(answers) {
                    self.end_release(cx, id, held);
                }
            }
            (
                Items::Renew { leases, waiters, poll },
                Answers::Renew { leases: renewed, in_line, waiters: found },
            ) => {
                for ((id, length), answer) in leases.into_iter().zip(renewed) {
                    self.take_renewed(cx, now, id, length, answer, stated);
                }
                for (id, answer) in waiters.into_iter().zip(found) {
                    self.take_waiting(cx, now, id, answer, stated);
                }
                if poll {
                    self.compare(cx, now, in_line, stated.sent_at);
                }
            }
            (Items::Leave(ids), Answers::Leave { left, held, waiting, next_end_in_ms }) => {
                // Whoever left isn't one of the others in line.
                let fullness = Fullness { held, waiting: waiting.saturating_sub(1), next_end_in_ms };
                for (id, answer) in ids.into_iter().zip(left) {
                    self.take_left(cx, now, id, answer, fullness, stated);
                }
            }
            (Items::Reconcile { ids, .. }, Answers::Reconcile { reconciled, own, own_next }) => {
                for (id, answer) in ids.into_iter().zip(reconciled) {
                    self.take_reconciled(cx, now, id, answer, stated);
                }
                self.take_own(cx, own, own_next);
            }
            (Items::Note { terms, asked }, Answers::Note(noted)) => {
                let ended = self.sole.take(now, stated.sent_at, stated.epoch, (terms, asked), noted);
                self.leave_inside(cx, now, ended);
            }
            _ => {}
        }
    }
}
