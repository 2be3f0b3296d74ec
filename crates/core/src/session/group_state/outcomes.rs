//! What one answer makes of one request or lease.
//!
//! It's read against what the session wants *now*, not against what it wanted when it asked (R12).

use std::time::Duration;

use super::members::State;
use super::requests::Fullness;
use super::state::GroupState;
use crate::error::{Error, Loss};
use crate::lease::{Epoch, Ticket};
use crate::moment::Moment;
use crate::protocol::{Acquired, Left, MAX_WAITING_LIMITS, Reconciled, Renewed, Waiting};
use crate::session::context::Context;
use crate::session::ids::AcquisitionId;

/// When a reply's call was sent, and which life of the group's state answered.
#[derive(Clone, Copy)]
pub(super) struct Stated {
    pub(super) sent_at: Moment,
    pub(super) epoch: Epoch,
}

impl GroupState {
    pub(super) fn take_acquired(
        &mut self,
        cx: &mut Context,
        now: Moment,
        id: AcquisitionId,
        answer: Acquired,
        stated: Stated,
    ) {
        let Some(acquisition) = self.members.get(id) else { return };
        if !matches!(acquisition.state(), State::Asked) {
            return;
        }
        let terms = &acquisition.terms;
        let error = match answer {
            Acquired::Granted(grant) => return self.accept(cx, now, grant, stated.epoch, stated.sent_at),
            Acquired::Queued { ticket, ahead } => {
                if let Some(acquisition) = self.members.get_mut(id) {
                    let latest = acquisition.asked_at + cx.settings.command_timeout;
                    acquisition.wait_briefly(now, stated.sent_at, latest, ahead);
                }
                return self.stand_in_line(cx, now, id, ticket, stated.sent_at);
            }
            Acquired::Full { held, waiting, next_end_in_ms } => {
                self.limit_exceeded(now, id, Fullness { held, waiting, next_end_in_ms })
            }
            Acquired::QueueFull { waiting } => self.queue_full(id, waiting),
            Acquired::TooManyLimits => Some(Error::Config {
                option: "limit",
                given: terms.limit.to_string(),
                expected: format!(
                    "at most {MAX_WAITING_LIMITS} distinct limits waiting for one key at a time"
                ),
            }),
            Acquired::HolderMismatch { weight, highest } => Some(Error::Config {
                option: "holder",
                given: format!("limit {}, weight {}", terms.limit, terms.weight),
                expected: format!("weight {weight} and a limit of at least {highest}, as the name is held"),
            }),
        };
        if let Some(error) = error {
            self.refuse(cx, id, error);
        }
    }

    fn stand_in_line(
        &mut self,
        cx: &mut Context,
        now: Moment,
        id: AcquisitionId,
        ticket: Ticket,
        sent_at: Moment,
    ) {
        let Some(acquisition) = self.members.get_mut(id) else { return };
        let (interval, wanted) = (acquisition.interval, acquisition.wanted);
        acquisition.queued = true;
        self.poll.joined(interval);
        if !wanted {
            return self.members.set_state(id, State::Leaving);
        }
        self.members.set_state(id, State::InLine { ticket, since: sent_at });
        self.arm(cx, now, id);
        self.poll_in_turn(cx, now);
    }

    fn poll_in_turn(&mut self, cx: &mut Context, now: Moment) {
        let anybody_waits = self.members.waiting_count() > 0;
        self.poll.in_turn(now, anybody_waits, cx.connection.listens(), &mut cx.jitter);
    }

    pub(super) fn take_renewed(
        &mut self,
        cx: &mut Context,
        now: Moment,
        id: AcquisitionId,
        length: Duration,
        answer: Renewed,
        stated: Stated,
    ) {
        match (self.members.state(id), answer) {
            (Some(State::Held(_) | State::Idle { .. }), Renewed::Extended { end_at_ms }) => {
                self.extend(cx, id, end_at_ms, length, (stated.sent_at, stated.epoch));
            }
            // Another life of the group's state, or an old one: it may re-enter (R14, R30).
            (Some(State::Held(held)), Renewed::Gone)
                if held.epoch != stated.epoch || cx.connection.settling(now) =>
            {
                self.members.reconcile([id]);
            }
            (Some(State::Held(_)), Renewed::Gone) => self.lose(cx, now, id, Loss::Gone),
            (Some(State::Held(_)), Renewed::TakenOver) => self.lose(cx, now, id, Loss::TakenOver),
            (Some(State::Idle { .. }), Renewed::Gone | Renewed::TakenOver) => self.give_back(id, None),
            // Extended although it was declared lost meanwhile: nobody wants it (R12).
            (Some(State::Lost), Renewed::Extended { .. }) => self.members.release([id]),
            _ => {}
        }
    }

    pub(super) fn take_waiting(
        &mut self,
        cx: &mut Context,
        now: Moment,
        id: AcquisitionId,
        answer: Waiting,
        stated: Stated,
    ) {
        let Some(acquisition) = self.members.get_mut(id) else { return };
        if !matches!(acquisition.state(), State::InLine { .. }) {
            return;
        }
        match answer {
            Waiting::InLine => acquisition.is_still_in_line(stated.sent_at),
            Waiting::Granted(grant) => self.accept(cx, now, grant, stated.epoch, stated.sent_at),
            Waiting::Unknown => self.members.reconcile([id]),
        }
    }

    /// The poll's count against what the session believes (R21). Whatever was granted or left before the poll was
    /// executed has been heard of by now, since replies and pushes come in order. Where they don't, asking one by one
    /// is all that a difference costs.
    pub(super) fn compare(&mut self, cx: &mut Context, now: Moment, in_line: u64, sent_at: Moment) {
        if in_line == self.members.waiting_count() as u64 {
            self.poll.all_wait(sent_at);
            return self.poll_in_turn(cx, now);
        }
        let asked_one_by_one = self.poll.doubt(self.members.waiters());
        // Asked about already: then the group has a waiter that the session doesn't know, and to ask at once would
        // never end.
        if asked_one_by_one {
            self.flow.ask_for_own(Some(0));
            self.poll_in_turn(cx, now);
        } else {
            self.poll.by(now);
        }
    }

    pub(super) fn take_left(
        &mut self,
        cx: &mut Context,
        now: Moment,
        id: AcquisitionId,
        answer: Left,
        fullness: Fullness,
        stated: Stated,
    ) {
        if !matches!(self.members.state(id), Some(State::Leaving)) {
            return;
        }
        match answer {
            // Granted at the last moment: the requester's time is over, but its turn had come first (R23).
            Left::Granted(grant) => self.accept(cx, now, grant, stated.epoch, stated.sent_at),
            Left::Left => self.time_out(cx, now, id, fullness),
        }
    }

    pub(super) fn take_reconciled(
        &mut self,
        cx: &mut Context,
        now: Moment,
        id: AcquisitionId,
        answer: Reconciled,
        stated: Stated,
    ) {
        let Some(acquisition) = self.members.get(id) else { return };
        match (acquisition.state(), answer) {
            (State::Held(held), Reconciled::Held(grant)) if held.token == grant.token => {
                let length = Duration::from_millis(grant.ttl_ms);
                self.extend(cx, id, grant.end_at_ms, length, (stated.sent_at, stated.epoch));
            }
            // It was in line when it was asked about; a push that came another way has overtaken this answer.
            (State::Held(_), Reconciled::InLine { .. }) => {}
            (State::Held(_), Reconciled::TakenOver) => self.lose(cx, now, id, Loss::TakenOver),
            (State::Held(_), _) => self.lose(cx, now, id, Loss::Gone),
            (State::InLine { .. } | State::Unclear, Reconciled::Held(grant)) => {
                self.accept(cx, now, grant, stated.epoch, stated.sent_at);
            }
            (State::InLine { .. } | State::Unclear, Reconciled::InLine { ticket }) => {
                self.stand_in_line(cx, now, id, ticket, stated.sent_at);
            }
            (State::InLine { .. } | State::Unclear, _) if acquisition.wanted => self.ask_again(cx, now, id),
            // Its requester gave up while the call was pending: what Redis has of it is cleared away next.
            (State::Leaving, Reconciled::Held(_) | Reconciled::InLine { .. }) => {
                self.members.leave_if_not_listed(id);
            }
            // How full the group was when its time was over went with the lost connection.
            (State::Leaving, _) => {
                let held = u64::from(acquisition.terms.limit);
                self.time_out(cx, now, id, Fullness { held, waiting: 0, next_end_in_ms: None });
            }
            // The release that was pending when the connection was lost did it, or this call.
            (State::Releasing { .. }, Reconciled::Dropped { .. }) => self.end_release(cx, id, true),
            (State::Lost, Reconciled::Held(_)) => self.members.release([id]),
            (
                State::Releasing { .. }
                | State::Lost
                | State::Pending
                | State::Inside
                | State::Asked
                | State::Idle { .. },
                _,
            ) => {}
            (State::InLine { .. } | State::Unclear, _) => self.remove(cx, id),
        }
    }
}
