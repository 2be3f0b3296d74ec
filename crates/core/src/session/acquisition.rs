//! One request's life, from asking to its last trace.
//!
//! `wanted` says whether the requester still waits for an answer; `state` says what Redis may know of the request. They
//! part ways when a requester gives up before Redis has answered: then only the traces are cleared away (R12).

use std::time::Duration;

use std::sync::Arc;

use super::{ClientId, Event, Request, Session, Tag};
use crate::error::Error;
use crate::lease::{Epoch, FencingToken, Slot, Ticket};
use crate::moment::Moment;
use crate::protocol::Terms;

#[derive(Debug)]
pub(super) struct Acquisition {
    pub(super) client: ClientId,
    pub(super) tag: Tag,
    pub(super) line: usize,
    pub(super) terms: Arc<Terms>,
    pub(super) interval: Duration,
    pub(super) asked_at: Moment,
    /// The end of its time in line; `None` waits for ever.
    pub(super) give_up_at: Option<Moment>,
    pub(super) renew: bool,
    pub(super) hold: Option<Duration>,
    pub(super) timer: Option<Moment>,
    pub(super) wanted: bool,
    pub(super) queued: bool,
    /// For how long the process stood still when it began to leave the line, or before it read the answer.
    pub(super) left_late: Duration,
    /// How many grants came when they were nearly over, one after the other.
    pub(super) late_grants: u32,
    /// Why the last grant was given back before its requester heard of it.
    pub(super) returned: Option<String>,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// Redis surely knows nothing of it.
    Pending,
    /// An acquire call is under way.
    Asked,
    /// An acquire call was under way when the connection died.
    Unclear,
    /// In line; `since` is when the last call left that was answered "still waiting" for it.
    InLine { ticket: Ticket, since: Moment },
    /// Its time in line is over or it was cancelled, and Redis has to say whether it had just been granted.
    Leaving,
    /// Granted. Still wanted: its requester hears of it when enough replicas have it.
    Held(Held),
    /// The holder was told that it's lost and hasn't released it yet.
    Lost,
    /// Being given back; by `answer_by` the holder is told, whatever happens.
    Releasing { answer_by: Option<Moment> },
}

#[derive(Debug)]
pub(super) struct Held {
    /// When its holder was told.
    pub(super) since: Moment,
    pub(super) slots: Vec<Slot>,
    pub(super) token: FencingToken,
    pub(super) epoch: Epoch,
    pub(super) end_at_ms: u64,
    /// The local verdict: from here on it's lost (R10).
    pub(super) valid_until: Moment,
    pub(super) renew_at: Option<Moment>,
    /// A renew call is under way.
    pub(super) renewing: bool,
    /// Its claim window has been extended to the full length, or it never had one (R20).
    pub(super) confirmed: bool,
    /// When it ends at the latest, whatever is confirmed: the longest hold, or the one lease of who isn't renewed.
    pub(super) ends_by: Option<Moment>,
}

impl Acquisition {
    pub(super) fn new(now: Moment, line: usize, request: Request) -> Self {
        let mut terms = request.terms;
        if let Some(hold) = request.hold {
            terms.lease_ms = terms.lease_ms.min(hold.as_millis() as u64).max(1);
        }
        Self {
            client: request.client,
            tag: request.tag,
            line,
            terms: Arc::new(terms),
            interval: request.interval,
            asked_at: now,
            give_up_at: request.timeout.map(|timeout| now + timeout),
            renew: request.renew,
            hold: request.hold,
            timer: None,
            wanted: true,
            queued: false,
            left_late: Duration::ZERO,
            late_grants: 0,
            returned: None,
            state: State::Pending,
        }
    }

    /// The same request, to be asked anew under another lease id, since its grant is given back.
    pub(super) fn anew(&self, why: String) -> Self {
        Self {
            terms: Arc::clone(&self.terms),
            timer: None,
            wanted: true,
            queued: false,
            returned: Some(why),
            state: State::Pending,
            ..*self
        }
    }

    pub(super) fn tries_once(&self) -> bool {
        self.give_up_at == Some(self.asked_at)
    }

    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.terms.lease_ms)
    }

    /// The length of a renewal now.
    pub(super) fn length_from(&self, now: Moment, held: &Held) -> Duration {
        let rest = held.ends_by.map(|ends_by| ends_by.saturating_since(now));
        rest.map_or(self.lease(), |rest| rest.min(self.lease()))
    }
}

impl Session {
    /// A new request: it's asked with the next calls of its group.
    pub(super) fn enlist(&mut self, acquisition: Acquisition) {
        let number = self.next_number;
        self.next_number += 1;
        let line = acquisition.line;
        self.by_tag.insert((acquisition.client, acquisition.tag), number);
        self.acquisitions.insert(number, acquisition);
        let side = self.line_mut(line);
        side.members += 1;
        side.pending.insert(number);
        side.unarmed.push(number);
        self.soil(line);
    }

    /// The requester gets its answer (an error, or none for a cancellation) and Redis forgets the request.
    pub(super) fn unwant(&mut self, number: u64, error: Option<Error>) {
        self.disarm(number);
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        acquisition.wanted = false;
        let (client, tag, line) = (acquisition.client, acquisition.tag, acquisition.line);
        match acquisition.state {
            State::Pending => {
                self.line_mut(line).pending.remove(&number);
                self.remove(number);
            }
            State::InLine { .. } => {
                acquisition.state = State::Leaving;
                self.line_mut(line).leaves.push(number);
                self.soil(line);
            }
            State::Held(_) => self.give_back(number, None),
            // What is under way, or unclear, is cleared away when it's answered or settled.
            _ => {}
        }
        self.tell(Event::Failed { client, tag, error });
    }

    /// Gives a held or lost lease back to Redis.
    pub(super) fn give_back(&mut self, number: u64, answer_by: Option<Moment>) {
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        acquisition.wanted = false;
        acquisition.state = State::Releasing { answer_by };
        let line = acquisition.line;
        let side = self.line_mut(line);
        side.held.remove(&number);
        side.waiting.remove(&number);
        side.releases.push(number);
        self.soil(line);
    }

    /// Stops knowing a lease, without a word to Redis: it ends by itself.
    fn leave_to_end(&mut self, now: Moment, number: u64) {
        if let Some(acquisition) = self.acquisitions.get(&number) {
            self.left_to_end.insert(number, now + acquisition.lease());
            let line = acquisition.line;
            self.line_mut(line).held.remove(&number);
            self.soil(line);
        }
        self.remove(number);
    }

    /// What the client of a request that was told has is given back, or left to its end.
    pub(super) fn let_go(&mut self, now: Moment, number: u64, release: bool) {
        let state = self.acquisitions.get(&number).map(|a| &a.state);
        if matches!(state, Some(State::Held(_) | State::Lost)) {
            if release { self.give_back(number, None) } else { self.leave_to_end(now, number) }
        }
    }

    /// The last trace of a request goes.
    pub(super) fn remove(&mut self, number: u64) {
        self.disarm(number);
        let Some(acquisition) = self.acquisitions.remove(&number) else { return };
        // The tag may be a later request's by now.
        let name = (acquisition.client, acquisition.tag);
        if self.by_tag.get(&name) == Some(&number) {
            self.by_tag.remove(&name);
        }
        let side = self.line_mut(acquisition.line);
        side.waiting.remove(&number);
        side.members -= 1;
        if side.members == 0 {
            self.soil(acquisition.line);
        }
        for closing in &mut self.closings {
            if closing.client == acquisition.client {
                closing.left -= 1;
            }
        }
        self.finish_closings(None);
    }

    /// Nobody hears a client after its end: releases that weren't confirmed in time are answered now.
    fn answer_releases_of(&mut self, client: super::ClientId) {
        let mut unanswered = Vec::new();
        for acquisition in self.acquisitions.values_mut().filter(|a| a.client == client) {
            if let State::Releasing { answer_by } = &mut acquisition.state
                && answer_by.take().is_some()
            {
                unanswered.push(acquisition.tag);
            }
        }
        for tag in unanswered {
            self.tell(Event::Released { client, tag, was_held: false });
        }
    }

    /// Tells the closings that are complete, and at `now` those whose time is over.
    pub(super) fn finish_closings(&mut self, now: Option<Moment>) {
        let done =
            |closing: &super::Closing| closing.left == 0 || now.is_some_and(|now| closing.until <= now);
        let (done, open) = std::mem::take(&mut self.closings).into_iter().partition(done);
        self.closings = open;
        for closing in done {
            let super::Closing { client, tag, .. } = closing;
            self.answer_releases_of(client);
            self.closed.push(client);
            self.tell(Event::Closed { client, tag });
        }
    }
}
