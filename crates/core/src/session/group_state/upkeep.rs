//! What time does: leases are renewed or lost, and waiters are looked after.

use std::time::Duration;

use super::flow::LEAST_WAIT;
use super::members::{Acquisition, Held};
use super::state::GroupState;
use crate::error::Loss;
use crate::moment::Moment;
use crate::session::context::Context;
use crate::session::ids::AcquisitionId;
use crate::session::timers::{Timer, Timers};

impl GroupState {
    /// The group's timer is due: its leases and waiters are looked after, as far as they are due.
    pub(in crate::session) fn handle_timer(&mut self, cx: &mut Context, now: Moment) {
        self.timer = None;
        let due = self.members.lease_due_at().is_some_and(|at| at <= now);
        if due {
            self.lose_overdue(cx, now);
        }
        if cx.connection.up() && !self.flow.reconciling() {
            let leases = if due { self.take_due(cx, now) } else { Vec::new() };
            let anybody_waits = self.members.waiting_count() > 0;
            let poll = match self.members.has_unclear() {
                true => None,
                false => self.poll.begin(now, anybody_waits),
            };
            self.renew(cx, now, leases, poll);
        }
        if due {
            self.members.plan_leases(cx.connection.up());
        }
        if let Some(next) = self.next_due(cx, now) {
            self.wake(&mut cx.timers, next.max(now + LEAST_WAIT));
        }
    }

    /// Sets the group's timer, unless it is set to an earlier moment.
    pub(in crate::session) fn schedule(&mut self, cx: &mut Context, now: Moment) {
        if let Some(next) = self.next_due(cx, now) {
            self.wake(&mut cx.timers, next);
        }
    }

    /// The group is idle: it needs no timer.
    pub(in crate::session) fn stop_timer(&mut self, timers: &mut Timers) {
        timers.set(Timer::Group(self.index), &mut self.timer, None);
    }

    fn wake(&mut self, timers: &mut Timers, at: Moment) {
        if self.timer.is_none_or(|planned| at < planned) {
            timers.set(Timer::Group(self.index), &mut self.timer, Some(at));
        }
    }

    fn next_due(&self, cx: &Context, now: Moment) -> Option<Moment> {
        let may_poll = cx.connection.up() && !self.flow.reconciling() && !self.members.has_unclear();
        let poll = self.poll.next_at().filter(|_| may_poll);
        let note = self.sole.due_at(self.uses_note()).filter(|_| cx.connection.up());
        let note = note.map(|at| at.max(self.flow.not_before()));
        let (lease, idle) = (self.members.lease_due_at(), self.members.idle_due_at());
        [lease, idle, poll, self.flow.refused_until(now), note].into_iter().flatten().min()
    }

    fn lose_overdue(&mut self, cx: &mut Context, now: Moment) {
        let overdue = self.members.held().filter(|(_, _, held)| held.valid_until <= now);
        let mut lost: Vec<_> = overdue.map(|(id, a, held)| (id, loss_of(cx, now, a, held))).collect();
        lost.sort_unstable_by_key(|(id, _)| *id);
        lost.into_iter().for_each(|(id, why)| self.lose(cx, now, id, why));
    }

    /// The leases to renew: when one is due, those that soon will be come along, so that one call does for all (R28).
    fn take_due(&mut self, cx: &Context, now: Moment) -> Vec<(AcquisitionId, Duration)> {
        let (mut due, mut stalled) = (Vec::new(), Vec::new());
        let mut any = false;
        for (id, acquisition, held) in self.members.held() {
            let Some(renew_at) = held.renew_by().filter(|_| !held.renewing) else { continue };
            let company = (acquisition.lease() / 6).min(Duration::from_secs(5));
            if renew_at > now + company {
                continue;
            }
            let length = acquisition.length_from(now, held).max(Duration::from_millis(1));
            if cx.clients.stalled(now, acquisition.client) {
                stalled.push((id, length));
            } else {
                any |= renew_at <= now;
                due.push((id, length));
            }
        }
        self.renew_later(now, stalled);
        if !any {
            return Vec::new();
        }
        due.sort_unstable();
        for (id, _) in &due {
            if let Some(held) = self.members.get_mut(*id).and_then(Acquisition::held_mut) {
                held.renewing = true;
            }
        }
        due
    }
}

fn loss_of(cx: &Context, now: Moment, acquisition: &Acquisition, held: &Held) -> Loss {
    // The last renewal asked for no more than was left of the longest hold; what is missing is the margin.
    let near_enough = held.valid_until + acquisition.lease() / 10;
    if acquisition.hold.is_some_and(|hold| near_enough >= held.since + hold) {
        Loss::HeldTooLong
    } else if !acquisition.renew {
        Loss::NotRenewed
    } else if cx.clients.stalled(now, acquisition.client) {
        Loss::Stalled
    } else {
        Loss::Expired
    }
}
