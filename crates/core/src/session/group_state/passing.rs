//! Passing: while this session has the group's note, its requests wait inside and get the slots of its own released
//! leases, in order and without a call (R35, R36). When the note ends they join Redis's line (R33, R38).

use super::members::{Acquisition, State};
use super::sole::Interval;
use super::state::GroupState;
use crate::error::{Error, Loss};
use crate::lease::{LeaseId, Ticket};
use crate::moment::Moment;
use crate::protocol::{Picture, WaiterView};
use crate::session::calls::NoteTerms;
use crate::session::context::Context;
use crate::session::ids::AcquisitionId;
use crate::session::input::Request;
use crate::session::output::Event;

impl GroupState {
    /// A new request: it's asked with the next calls of the group, or waits inside.
    pub(in crate::session) fn submit(&mut self, cx: &mut Context, now: Moment, request: Request) {
        let acquisition = Acquisition::new(now, request);
        let asked = acquisition.note_terms();
        self.sole.expect(now, asked, !acquisition.keep.is_zero());
        if let Some(terms) = self.sole.terms() {
            let inside = self.members.inside_count();
            let waits = inside > 0 || self.busy() >= terms.limit as usize;
            if asked != Some(terms) {
                self.sole.is_given_up(now);
                let ended = self.sole.end(None);
                self.leave_inside(cx, now, ended);
            } else if self.members.idle_count() > inside && self.is_sole(cx, now) {
                return self.take_idle(cx, now, acquisition);
            } else if waits && self.is_sole(cx, now) {
                return self.wait_inside(cx, now, acquisition);
            }
        }
        self.add(cx, acquisition);
    }

    /// There is an idle slot for it. It waits inside if that has no token yet.
    fn take_idle(&mut self, cx: &mut Context, now: Moment, acquisition: Acquisition) {
        let id = self.add(cx, acquisition);
        self.members.set_state(id, State::Inside);
        self.serve_from_idle(cx, now);
        self.arm(cx, now, id);
    }

    /// Its place is inside, unless it has no time or there is no room for it.
    fn wait_inside(&mut self, cx: &mut Context, now: Moment, acquisition: Acquisition) {
        let (tries_once, max_waiting) = (acquisition.tries_once(), acquisition.terms.max_waiting);
        let waiting = (self.members.waiting_count() + self.members.inside_count()) as u64;
        let id = self.add(cx, acquisition);
        if tries_once {
            let error = self.limit_exceeded(now, id, self.fullness_inside(now));
            return self.answer_inside(cx, id, error);
        }
        if max_waiting.is_some_and(|most| waiting >= most) {
            let error = self.queue_full(id, waiting);
            return self.answer_inside(cx, id, error);
        }
        self.members.set_state(id, State::Inside);
        if let Some(acquisition) = self.members.get_mut(id) {
            acquisition.queued = true;
        }
        self.arm(cx, now, id);
    }

    fn answer_inside(&mut self, cx: &mut Context, id: AcquisitionId, error: Option<Error>) {
        if let Some(error) = error {
            self.refuse(cx, id, error);
        }
    }

    /// Slots that this session has or asks for, waits for in line included.
    fn busy(&self) -> usize {
        let held = self.members.held_count() + self.members.idle_count();
        held + self.members.asks_count() + self.members.waiting_count()
    }

    /// Ends a note that isn't good any more, and has no more wait inside than may (R35).
    pub(super) fn keep_inside(&mut self, cx: &mut Context, now: Moment) {
        let Some(terms) = self.sole.terms() else { return };
        if !self.is_sole(cx, now) {
            let ended = self.sole.end(None);
            return self.leave_inside(cx, now, ended);
        }
        self.serve_from_idle(cx, now);
        while self.busy() < terms.limit as usize
            && self.members.inside_count() > self.members.idle_count()
            && let Some(first) = self.members.first_inside()
        {
            self.members.set_state(first, State::Pending);
        }
    }

    /// Something inside or idle relies on the note, which is confirmed therefore.
    pub(super) fn uses_note(&self) -> bool {
        self.members.inside_count() + self.members.idle_count() > 0
    }

    /// The note has ended, if it says so: all that waits inside joins Redis's line, and idle slots go back.
    pub(super) fn leave_inside(&mut self, cx: &mut Context, now: Moment, ended: Option<Option<Interval>>) {
        let Some(interval) = ended else { return };
        self.recall_idle(cx, now);
        let inside = self.members.inside();
        if inside.is_empty() {
            return;
        }
        for id in &inside {
            self.members.set_state(*id, State::Pending);
            if let Some(acquisition) = self.members.get_mut(*id) {
                acquisition.was_inside = interval.is_some();
            }
        }
        if let Some(interval) = interval {
            self.sole.join_in(interval);
        }
    }

    /// Those that waited inside get their places, after all that was asked before them. False when that isn't answered
    /// yet (R38).
    pub(super) fn find_places(&mut self) -> bool {
        let Some(Interval { number, begun, ended_by }) = self.sole.interval() else { return true };
        if self.members.asked_count() > 0 {
            return false;
        }
        let last_own = self.members.iter().filter_map(|(_, acquisition)| match acquisition.state() {
            State::InLine { ticket, .. } => Some(*ticket),
            _ => None,
        });
        let mut place = begun.max(last_own.max().unwrap_or_default());
        for id in self.members.pending() {
            let Some(acquisition) = self.members.get_mut(id) else { continue };
            if std::mem::take(&mut acquisition.was_inside) {
                place = Ticket(place.0 + 1);
                acquisition.place = (place < ended_by).then_some((number, place));
            }
        }
        self.sole.placed();
        true
    }

    /// Gives a held lease back: to the first that waits inside, or to those that come next, if that may be; else to
    /// Redis.
    pub(in crate::session) fn pass_or_give_back(
        &mut self,
        cx: &mut Context,
        now: Moment,
        id: AcquisitionId,
        answer_by: Option<Moment>,
    ) {
        let usable = self.usable(cx, now, id).filter(|_| answer_by.is_some());
        let kept_until = self.keep_until(cx, now, id);
        // Those whose requests are under way come before those that wait inside.
        let passes = self.members.inside_count() > 0 && self.members.asks_count() == 0;
        let stays = passes || (kept_until.is_some() && self.members.inside_count() == 0);
        let (Some(above), Some(acquisition)) = (usable.filter(|_| stays), self.members.get(id)) else {
            return self.give_back(id, answer_by);
        };
        cx.tell(Event::Released { client: acquisition.client, tag: acquisition.tag, was_held: true });
        if !self.sole.has_token(now, above) || !passes {
            return self.members.turn_idle(id, Some(kept_until.unwrap_or(now)));
        }
        if let Some(token) = self.sole.take_token(now, above) {
            self.pass(cx, now, id, token);
        }
    }

    /// Somebody else has released this lease (R36).
    pub(in crate::session) fn take_gone(&mut self, cx: &mut Context, now: Moment, id: LeaseId) {
        let number = AcquisitionId(id.number);
        match self.members.state(number).filter(|_| id.session == cx.settings.id) {
            Some(State::Held(_)) => self.lose(cx, now, number, Loss::Gone),
            Some(State::Idle { .. }) => self.give_back(number, None),
            _ => {}
        }
    }

    /// Redis's picture of the group, with what only this session knows: who waits inside, who has a slot by a pass, and
    /// which slots nobody holds.
    pub(in crate::session) fn show_inside(&self, cx: &Context, now: Moment, picture: &mut Picture) {
        let shown = picture.holders.len();
        let is_idle = |id: &LeaseId| {
            let state = self.members.state(AcquisitionId(id.number));
            id.session == cx.settings.id && matches!(state, Some(State::Idle { .. }))
        };
        picture.holders.retain(|shown| !is_idle(&shown.id));
        picture.held -= (shown - picture.holders.len()) as u64;
        for shown in picture.holders.iter_mut().filter(|shown| shown.id.session == cx.settings.id) {
            let acquisition = self.members.get(AcquisitionId(shown.id.number));
            if let Some((acquisition, held)) = acquisition.and_then(|it| Some((it, it.held()?))) {
                shown.token = held.token;
                shown.label.clone_from(&acquisition.terms.label);
            }
        }
        let now_us = picture.now_ms * 1_000;
        let view = |id: AcquisitionId| {
            let Acquisition { terms, asked_at, .. } = self.members.get(id)?;
            let waited = now.saturating_since(*asked_at).as_micros() as u64;
            Some(WaiterView {
                id: cx.lease_id(id),
                ticket: Ticket(now_us.saturating_sub(waited)),
                limit: terms.limit,
                weight: terms.weight,
                priority: terms.priority,
                holder: terms.holder.clone(),
                label: terms.label.clone(),
                identity: cx.settings.identity.clone(),
            })
        };
        picture.waiting += self.members.inside_count() as u64;
        picture.waiters.extend(self.members.inside().into_iter().filter_map(view));
    }

    /// The terms of the note that is to be asked for now (R32): of a request that waits while as many slots as its
    /// limit are held, or of those that are asked for and will be kept.
    pub(super) fn note_to_ask(&self, cx: &Context, now: Moment) -> Option<NoteTerms> {
        let may = cx.connection.ready(now) && cx.connection.listens() && !cx.settings.checked;
        if !may || !self.sole.may_ask(now) {
            return None;
        }
        let waited = self.members.any_waiter().and_then(Acquisition::note_terms);
        let full = |terms: &NoteTerms| self.members.held_count() >= terms.limit as usize;
        let kept = self.sole.keep_for().filter(|_| self.members.asks_count() > 0);
        waited.filter(full).or(kept)
    }
}
