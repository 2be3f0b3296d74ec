//! One request: it comes, it's answered in time (R23), and it goes.

use std::time::Duration;

use super::members::{Acquisition, Brief, State};
use super::state::GroupState;
use crate::error::Error;
use crate::moment::Moment;
use crate::session::connection::{GRACE, said_before};
use crate::session::context::Context;
use crate::session::ids::AcquisitionId;
use crate::session::input::ClientId;
use crate::session::output::Event;
use crate::session::timers::Timer;

/// So many that have been sent are left among those without a timer before they are cleared out.
const SENT_WITHOUT_TIMER: usize = 64;

/// How full a group was.
#[derive(Clone, Copy)]
pub(super) struct Fullness {
    pub(super) held: u64,
    pub(super) waiting: u64,
    pub(super) next_end_in_ms: Option<u64>,
}

impl GroupState {
    pub(super) fn add(&mut self, cx: &mut Context, acquisition: Acquisition) -> AcquisitionId {
        let id = cx.registry.register(acquisition.client, acquisition.tag, self.index);
        self.members.insert(id, acquisition);
        id
    }

    /// The requester gets its answer (an error, or none for a cancellation) and Redis forgets the request.
    pub(in crate::session) fn unwant(&mut self, cx: &mut Context, id: AcquisitionId, error: Option<Error>) {
        self.disarm(cx, id);
        let Some(acquisition) = self.members.get_mut(id) else { return };
        acquisition.wanted = false;
        let (client, tag) = (acquisition.client, acquisition.tag);
        match acquisition.state() {
            State::Pending | State::Inside => self.remove(cx, id),
            State::InLine { .. } => self.members.set_state(id, State::Leaving),
            State::Held(_) => self.give_back(id, None),
            // What is pending or unclear is cleared away when it's answered or reconciled.
            _ => {}
        }
        cx.tell(Event::Failed { client, tag, error });
    }

    /// The request ends with an error that isn't about the group being full.
    pub(in crate::session) fn fail(&mut self, cx: &mut Context, id: AcquisitionId, error: Error) {
        cx.stats.refused += 1;
        self.unwant(cx, id, Some(error));
    }

    /// Gives a held or lost lease back to Redis. Until `answer_by`, if it is given, its holder waits for the answer.
    pub(in crate::session) fn give_back(&mut self, id: AcquisitionId, answer_by: Option<Moment>) {
        let Some(acquisition) = self.members.get_mut(id) else { return };
        acquisition.wanted = false;
        self.members.set_state(id, State::Releasing { answer_by });
        if answer_by.is_some() {
            self.members.needs_no_timer(id);
        }
    }

    /// What a request of an ending client has is given back, or left to its end without a word to Redis.
    pub(in crate::session) fn let_go(
        &mut self,
        cx: &mut Context,
        now: Moment,
        id: AcquisitionId,
        release: bool,
    ) {
        let Some(acquisition) = self.members.get(id) else { return };
        let idle = matches!(acquisition.state(), State::Idle { .. });
        if !idle && !matches!(acquisition.state(), State::Held(_) | State::Lost) {
            return;
        }
        if release || idle {
            return self.give_back(id, None);
        }
        cx.registry.leave_to_end(id, now + acquisition.lease());
        self.remove(cx, id);
    }

    /// The last trace of a request goes.
    pub(in crate::session) fn remove(&mut self, cx: &mut Context, id: AcquisitionId) {
        self.disarm(cx, id);
        let Some(acquisition) = self.members.remove(id) else { return };
        cx.registry.forget(acquisition.client, acquisition.tag, id);
        cx.clients.one_less(acquisition.client);
        for ended in cx.clients.take_ended(None) {
            cx.tell(Event::Closed { client: ended.client, tag: ended.tag });
        }
    }

    /// Nobody hears a client after its end: releases that weren't confirmed in time are answered now.
    pub(in crate::session) fn answer_releases_of(&mut self, cx: &mut Context, client: ClientId) {
        for acquisition in self.members.iter_mut().filter(|a| a.client == client) {
            if acquisition.take_answer_by() {
                cx.tell(Event::Released { client, tag: acquisition.tag, was_held: false });
            }
        }
    }

    /// The request fails and leaves nothing behind.
    pub(super) fn refuse(&mut self, cx: &mut Context, id: AcquisitionId, error: Error) {
        let Some(acquisition) = self.members.get(id) else { return };
        if acquisition.wanted {
            let (client, tag) = (acquisition.client, acquisition.tag);
            cx.stats.refused += 1;
            cx.tell(Event::Failed { client, tag, error: Some(error) });
        }
        self.remove(cx, id);
    }

    /// It has left the line: its requester, if it still waits, hears how full the group was.
    pub(super) fn time_out(&mut self, cx: &mut Context, now: Moment, id: AcquisitionId, fullness: Fullness) {
        let Some(acquisition) = self.members.get(id) else { return };
        if acquisition.wanted {
            let (client, tag, brief) = (acquisition.client, acquisition.tag, acquisition.brief);
            let counter = if brief.is_some() { &mut cx.stats.refused } else { &mut cx.stats.timed_out };
            *counter += 1;
            let error = match brief {
                Some(Brief::QueueFull { waiting }) => self.queue_full(id, waiting),
                Some(Brief::TriesOnce) | None => self.limit_exceeded(now, id, fullness),
            };
            cx.tell(Event::Failed { client, tag, error });
        }
        self.remove(cx, id);
    }

    pub(super) fn limit_exceeded(&self, now: Moment, id: AcquisitionId, fullness: Fullness) -> Option<Error> {
        let acquisition = self.members.get(id)?;
        Some(Error::LimitExceeded {
            key: self.key.clone(),
            limit: acquisition.terms.limit,
            waited: now.saturating_since(acquisition.asked_at),
            held: fullness.held,
            waiting: fullness.waiting,
            retry_after: fullness.next_end_in_ms.map(Duration::from_millis),
        })
    }

    pub(super) fn queue_full(&self, id: AcquisitionId, waiting: u64) -> Option<Error> {
        let max_waiting = self.members.get(id)?.terms.max_waiting.unwrap_or_default();
        Some(Error::QueueFull { key: self.key.clone(), max_waiting, waiting })
    }

    /// How full the group is, as far as it's known here.
    pub(super) fn fullness_inside(&self, now: Moment) -> Fullness {
        let ends = self.members.held().map(|(_, _, held)| held.valid_until.saturating_since(now));
        Fullness {
            held: self.members.held_count() as u64,
            waiting: (self.members.waiting_count() + self.members.inside_count()) as u64,
            next_end_in_ms: ends.min().map(|left| left.as_millis() as u64),
        }
    }

    /// Redis doesn't know the request: it's asked again.
    pub(super) fn ask_again(&mut self, cx: &mut Context, now: Moment, id: AcquisitionId) {
        if self.members.contains(id) {
            self.members.set_state(id, State::Pending);
            self.arm(cx, now, id);
        }
    }

    /// Redis has carried out a release, or has nothing to release.
    pub(in crate::session) fn end_release(&mut self, cx: &mut Context, id: AcquisitionId, was_held: bool) {
        let Some(acquisition) = self.members.get_mut(id) else { return };
        if acquisition.take_answer_by() {
            let (client, tag) = (acquisition.client, acquisition.tag);
            cx.tell(Event::Released { client, tag, was_held });
        }
        self.remove(cx, id);
    }

    /// Requests and releases that couldn't be sent get a timer now. Those that only wait until earlier calls are
    /// answered need none: either they are, or the connection is found dead.
    pub(super) fn arm_unsent(&mut self, cx: &mut Context, now: Moment) {
        let (unsent, listed) = self.members.unsent();
        if unsent == 0 {
            return self.members.forget_without_timer();
        }
        let held_up = !cx.connection.ready(now) || self.is_held_up(now);
        if !held_up && listed <= 2 * unsent + SENT_WITHOUT_TIMER {
            return;
        }
        for id in self.members.take_without_timer() {
            if held_up { self.arm(cx, now, id) } else { self.members.needs_no_timer(id) }
        }
    }

    /// Nothing new is asked before something else has come to its end.
    fn is_held_up(&self, now: Moment) -> bool {
        self.members.has_unclear() || self.flow.reconciling() || self.flow.refused_until(now).is_some()
    }

    /// Sets the request's timer to what its state asks for. Requests that are sent at once over a living connection
    /// have none: their calls' own time-out covers them.
    pub(in crate::session) fn arm(&mut self, cx: &mut Context, now: Moment, id: AcquisitionId) {
        let ready = cx.connection.ready(now);
        let Some(acquisition) = self.members.get_mut(id) else { return };
        let due = acquisition.due_at(ready, cx.settings.command_timeout);
        cx.timers.set(Timer::Request(id, self.index), &mut acquisition.timer, due);
    }

    pub(super) fn disarm(&mut self, cx: &mut Context, id: AcquisitionId) {
        if let Some(acquisition) = self.members.get_mut(id) {
            cx.timers.set(Timer::Request(id, self.index), &mut acquisition.timer, None);
        }
    }

    /// The request's timer is due.
    pub(in crate::session) fn handle_request_timer(
        &mut self,
        cx: &mut Context,
        now: Moment,
        id: AcquisitionId,
    ) {
        let ready = cx.connection.ready(now);
        let Some(acquisition) = self.members.get_mut(id) else { return };
        acquisition.timer = None;
        match acquisition.due_at(ready, cx.settings.command_timeout) {
            // The answer may have arrived and not been read, in a process that was suspended.
            Some(due) if due + GRACE < now && acquisition.awaits_answer() => {
                acquisition.left_late = acquisition.left_late + now.saturating_since(due) + GRACE;
                return self.arm(cx, now, id);
            }
            Some(due) if due <= now => {}
            _ => return self.arm(cx, now, id),
        }
        if acquisition.take_answer_by() {
            let (client, tag) = (acquisition.client, acquisition.tag);
            return cx.tell(Event::Released { client, tag, was_held: false });
        }
        if let State::Inside = acquisition.state() {
            // Whoever has waited isn't one of the others.
            let Fullness { held, waiting, next_end_in_ms } = self.fullness_inside(now);
            let fullness = Fullness { held, waiting: waiting.saturating_sub(1), next_end_in_ms };
            return self.time_out(cx, now, id, fullness);
        }
        if let State::InLine { .. } = acquisition.state() {
            acquisition.excuse(now);
            self.members.set_state(id, State::Leaving);
            return self.arm(cx, now, id);
        }
        let error = self.out_of_time(cx, now, id);
        self.fail(cx, id, error);
    }

    /// The error of a request whose time is over.
    fn out_of_time(&self, cx: &Context, now: Moment, id: AcquisitionId) -> Error {
        let error = cx.connection.why_unavailable(now, &cx.settings);
        let refusal = self.flow.refusal();
        if !cx.connection.up() {
            return refusal.map_or(error.clone(), |refusal| said_before(error, refusal));
        }
        let returned = self.members.get(id).and_then(|acquisition| acquisition.returned.clone());
        match (returned, refusal) {
            _ if cx.connection.settling(now) => error,
            (Some(returned), _) => cx.settings.failure(returned, false, true),
            (None, Some(refusal)) => refusal.clone(),
            (None, None) => error,
        }
    }
}
