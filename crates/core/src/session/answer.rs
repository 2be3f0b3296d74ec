//! What is heard: replies and pushes, and what they make of the requests.
//!
//! A reply is read against what the session wants *now*, not against what it wanted when it asked: whoever gave up in
//! between is cleared away, and any grant for an id that isn't wanted is given back at once (R12).

use std::time::Duration;

use super::acquisition::State;
use super::ask::{About, Items};
use super::failure::Fullness;
use super::{Event, Session};
use crate::error::{Error, Loss};
use crate::lease::{Epoch, LeaseId, Ticket};
use crate::moment::Moment;
use crate::protocol::{
    Acquired, Answers, CallError, CallId, Grant, Left, MAX_TOUCHED, MAX_WAITING_LIMITS, Push, Renewed, Reply,
    Settled, Waiting,
};

/// So many leases, and as many waiters, of a group are gone through for ids that the session doesn't know.
const MOST_OWN: u64 = 16 * MAX_TOUCHED as u64;

/// When a reply's call left, and which life of the group's state answered.
#[derive(Clone, Copy)]
struct Stated {
    sent_at: Moment,
    epoch: Epoch,
}

impl Session {
    /// A call is answered. A group's answers come in the order of its calls, and all of them nearly so.
    pub fn handle_reply(&mut self, now: Moment, id: CallId, result: Result<Reply, CallError>) {
        self.hear();
        let Some(at) = self.flights.iter().position(|flight| flight.id == id) else { return };
        let Some(flight) = self.flights.remove(at) else { return };
        let (line, items) = match flight.about {
            About::Question(question) => return self.handle_answer(now, flight.sent_at, question, result),
            About::Line { line, items } => (line, items),
        };
        let side = self.line_mut(line);
        side.flights -= 1;
        if items.counts() {
            side.under_way -= 1;
        }
        match &items {
            Items::Reconcile { numbers, .. } if !numbers.is_empty() => side.settling_calls -= 1,
            Items::Renew { look: true, .. } => side.looking = false,
            _ => {}
        }
        match result {
            Ok(reply) => self.take_reply(now, line, flight.sent_at, items, reply),
            Err(error) => self.take_error(now, line, items, error),
        }
        self.soil(line);
    }

    /// The session was told of grants.
    pub fn handle_push(&mut self, now: Moment, push: Push) {
        self.hear();
        for grant in push.grants {
            if grant.id.session != self.settings.id {
                continue;
            }
            let number = grant.id.number;
            match self.acquisitions.get(&number).map(|a| (&a.state, a.line)) {
                Some((State::InLine { since, .. }, line)) => {
                    let side = self.line(line);
                    let base = (*since).max(side.all_waiting_at);
                    // Made before a reply that came first: where pushes have a connection of their own, they may be
                    // late.
                    let late = grant.end_at_ms.saturating_sub(grant.ttl_ms) < side.heard_ms;
                    self.stats.handed_off += 1;
                    if late { self.doubt(number) } else { self.accept(now, grant, push.epoch, base) }
                }
                // The reply that is on its way says it again, for certain.
                Some(_) => {}
                None => {
                    let line = self.line_for(&push.key);
                    self.give_back_stray(line, number);
                }
            }
        }
    }

    fn take_reply(&mut self, now: Moment, line: usize, sent_at: Moment, items: Items, reply: Reply) {
        let side = self.line_mut(line);
        side.again |= reply.again;
        side.refusals = 0;
        side.refusal = None;
        side.heard_ms = reply.now_ms;
        if reply.push_refused {
            self.handle_push_lost(now);
        }
        let stated = Stated { sent_at, epoch: reply.epoch };
        // A waiter may be said to be in line again and be granted in the same reply, in this order. A look's count, on
        // the other hand, comes after all grants.
        if matches!(items, Items::Reconcile { .. }) {
            self.take_answers(now, line, stated, items, reply.answers);
            self.take_handed(now, line, reply.handed, reply.epoch, sent_at);
        } else {
            self.take_handed(now, line, reply.handed, reply.epoch, sent_at);
            self.take_answers(now, line, stated, items, reply.answers);
        }
        if let Some(next) = reply.next_end_in_ms
            && !self.line_mut(line).waiting.is_empty()
        {
            // A little later than the end, and not in step with the other processes that wait for the same one.
            let spread = self.jitter(Duration::from_millis(10));
            self.look_by(line, now + Duration::from_millis(next) + spread);
        }
    }

    /// Waiters of this session that the call's own hand-off granted.
    pub(super) fn take_handed(
        &mut self,
        now: Moment,
        line: usize,
        grants: Vec<Grant>,
        epoch: Epoch,
        sent_at: Moment,
    ) {
        for grant in grants {
            match self.acquisitions.get(&grant.id.number).map(|a| &a.state) {
                Some(State::InLine { .. }) => self.accept(now, grant, epoch, sent_at),
                // Its own call says it again.
                Some(_) => {}
                None => self.give_back_stray(line, grant.id.number),
            }
        }
    }

    /// Redis granted something that this session doesn't know any more, for instance a waiter that only an old state
    /// still had in line: it's given back at once (R12).
    pub(super) fn give_back_stray(&mut self, line: usize, number: u64) {
        self.line_mut(line).releases.push(number);
        self.soil(line);
    }

    /// The group has these ids of this session: what it doesn't know is given back, lease or place in line (R12).
    fn take_own(&mut self, line: usize, own: Vec<LeaseId>, next: Option<u64>) {
        let (known, left) = (&self.acquisitions, &self.left_to_end);
        let unknown = |number: &u64| !known.contains_key(number) && !left.contains_key(number);
        let strays: Vec<u64> = own.into_iter().map(|id| id.number).filter(unknown).collect();
        let side = self.line_mut(line);
        side.unsettled.extend(strays);
        side.own_from = next.filter(|from| *from < MOST_OWN);
    }

    fn take_answers(&mut self, now: Moment, line: usize, stated: Stated, items: Items, answers: Answers) {
        match (items, answers) {
            (Items::Acquire(numbers), Answers::Acquire(answers)) => {
                for (number, answer) in numbers.into_iter().zip(answers) {
                    self.take_acquired(now, number, answer, stated);
                }
            }
            (Items::Release(numbers), Answers::Release(answers)) => {
                for (number, held) in numbers.into_iter().zip(answers) {
                    self.take_released(number, held);
                }
            }
            (
                Items::Renew { leases, waiters, look },
                Answers::Renew { leases: renewed, in_line, waiters: found },
            ) => {
                for ((number, length), answer) in leases.into_iter().zip(renewed) {
                    self.take_renewed(now, number, length, answer, stated);
                }
                for (number, answer) in waiters.into_iter().zip(found) {
                    self.take_waiting(now, number, answer, stated);
                }
                if look {
                    self.compare(now, line, in_line, stated.sent_at);
                }
            }
            (Items::Leave(numbers), Answers::Leave { left, held, waiting, next_end_in_ms }) => {
                // Whoever left isn't one of the others in line.
                let waiting = waiting.saturating_sub(1);
                for (number, answer) in numbers.into_iter().zip(left) {
                    self.take_left(now, number, answer, Fullness { held, waiting, next_end_in_ms }, stated);
                }
            }
            (Items::Reconcile { numbers, .. }, Answers::Reconcile { settled, own, own_next }) => {
                for (number, answer) in numbers.into_iter().zip(settled) {
                    self.take_settled(now, number, answer, stated);
                }
                self.take_own(line, own, own_next);
            }
            _ => {}
        }
    }

    fn take_acquired(&mut self, now: Moment, number: u64, answer: Acquired, stated: Stated) {
        let Some(acquisition) = self.acquisitions.get(&number) else { return };
        if !matches!(acquisition.state, State::Asked) {
            return;
        }
        let terms = &acquisition.terms;
        let error = match answer {
            Acquired::Granted(grant) => return self.accept(now, grant, stated.epoch, stated.sent_at),
            Acquired::Queued { ticket, .. } => {
                return self.stand_in_line(now, number, ticket, stated.sent_at);
            }
            Acquired::Full { held, waiting, next_end_in_ms } => {
                self.limit_exceeded(now, number, Fullness { held, waiting, next_end_in_ms })
            }
            Acquired::QueueFull { waiting } => {
                let max_waiting = terms.max_waiting.unwrap_or_default();
                Error::QueueFull { key: self.key_of(number), max_waiting, waiting }
            }
            Acquired::TooManyLimits => Error::Config {
                option: "limit",
                given: terms.limit.to_string(),
                expected: format!(
                    "at most {MAX_WAITING_LIMITS} distinct limits waiting for one key at a time"
                ),
            },
            Acquired::HolderMismatch { weight, highest } => Error::Config {
                option: "holder",
                given: format!("limit {}, weight {}", terms.limit, terms.weight),
                expected: format!("weight {weight} and a limit of at least {highest}, as the name is held"),
            },
        };
        self.refuse(number, error);
    }

    fn stand_in_line(&mut self, now: Moment, number: u64, ticket: Ticket, sent_at: Moment) {
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        let (line, interval, wanted) = (acquisition.line, acquisition.interval, acquisition.wanted);
        acquisition.queued = true;
        acquisition.state = if wanted { State::InLine { ticket, since: sent_at } } else { State::Leaving };
        let side = self.line_mut(line);
        side.waiting.insert(number);
        side.interval = Some(side.interval.map_or(interval, |shortest| shortest.min(interval)));
        if !wanted {
            return side.leaves.push(number);
        }
        self.arm(now, number);
        self.look_in_turn(now, line);
    }

    pub(super) fn take_released(&mut self, number: u64, was_held: bool) {
        let Some(acquisition) = self.acquisitions.get(&number) else { return };
        if let State::Releasing { answer_by: Some(_) } = acquisition.state {
            let (client, tag) = (acquisition.client, acquisition.tag);
            self.tell(Event::Released { client, tag, was_held });
        }
        self.remove(number);
    }

    fn take_renewed(&mut self, now: Moment, number: u64, length: Duration, answer: Renewed, stated: Stated) {
        let settling = self.settling(now);
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        let line = acquisition.line;
        match (&mut acquisition.state, answer) {
            (State::Held(held), Renewed::Extended { end_at_ms }) => {
                held.epoch = stated.epoch;
                self.extend(number, end_at_ms, length, stated.sent_at);
            }
            // Another life of the group's state, or an old one: it may re-enter (R14, R30).
            (State::Held(held), Renewed::Gone) if held.epoch != stated.epoch || settling => {
                self.line_mut(line).unsettled.push(number);
            }
            (State::Held(_), Renewed::Gone) => self.lose(now, number, Loss::Gone),
            (State::Held(_), Renewed::TakenOver) => self.lose(now, number, Loss::TakenOver),
            // Extended although it was declared lost meanwhile: nobody wants it (R12).
            (State::Lost, Renewed::Extended { .. }) => self.line_mut(line).releases.push(number),
            _ => {}
        }
    }

    fn take_waiting(&mut self, now: Moment, number: u64, answer: Waiting, stated: Stated) {
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        let line = acquisition.line;
        let State::InLine { since, .. } = &mut acquisition.state else { return };
        match answer {
            Waiting::InLine => *since = stated.sent_at,
            Waiting::Granted(grant) => self.accept(now, grant, stated.epoch, stated.sent_at),
            Waiting::Unknown => self.line_mut(line).unsettled.push(number),
        }
    }

    /// The look's count against what the session believes (R21). Whatever was granted or left before the look was
    /// executed has been heard of by now, since replies and pushes come in order; where they don't, asking one by one
    /// is all that a difference costs.
    fn compare(&mut self, now: Moment, line: usize, in_line: u64, sent_at: Moment) {
        let side = self.line_mut(line);
        let asked_one_by_one = std::mem::take(&mut side.doubted);
        if in_line == side.waiting.len() as u64 {
            side.all_waiting_at = sent_at;
            return self.look_in_turn(now, line);
        }
        side.doubtful = side.waiting.iter().copied().collect();
        side.doubtful.sort_unstable();
        // Asked about already: then the group has a waiter that the session doesn't know, and to ask at once would
        // never end.
        if asked_one_by_one {
            self.line_mut(line).own_from = Some(0);
            self.look_in_turn(now, line);
        } else {
            self.look_by(line, now);
        }
    }

    fn take_left(&mut self, now: Moment, number: u64, answer: Left, fullness: Fullness, stated: Stated) {
        let state = self.acquisitions.get(&number).map(|a| &a.state);
        if !matches!(state, Some(State::Leaving)) {
            return;
        }
        match answer {
            // Granted at the last moment: the requester's time is over, but its turn had come first (R23).
            Left::Granted(grant) => self.accept(now, grant, stated.epoch, stated.sent_at),
            Left::Left => self.time_out(now, number, fullness),
        }
    }

    fn take_settled(&mut self, now: Moment, number: u64, answer: Settled, stated: Stated) {
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        let line = acquisition.line;
        match (&mut acquisition.state, answer) {
            (State::Held(held), Settled::Held(grant)) if held.token == grant.token => {
                held.epoch = stated.epoch;
                let length = Duration::from_millis(grant.ttl_ms);
                self.extend(number, grant.end_at_ms, length, stated.sent_at);
            }
            // It was in line when it was asked about; a push that came another way has overtaken this answer.
            (State::Held(_), Settled::InLine { .. }) => {}
            (State::Held(_), Settled::TakenOver) => self.lose(now, number, Loss::TakenOver),
            (State::Held(_), _) => self.lose(now, number, Loss::Gone),
            (State::InLine { .. } | State::Unclear, Settled::Held(grant)) => {
                self.accept(now, grant, stated.epoch, stated.sent_at);
            }
            (State::InLine { .. } | State::Unclear, Settled::InLine { ticket }) => {
                self.stand_in_line(now, number, ticket, stated.sent_at);
            }
            (State::InLine { .. } | State::Unclear, _) if acquisition.wanted => self.ask_again(now, number),
            // Its requester gave up while the call was under way: what Redis has of it is cleared away next.
            (State::Leaving, Settled::Held(_) | Settled::InLine { .. }) => {
                let side = self.line_mut(line);
                side.waiting.insert(number);
                if !side.leaves.contains(&number) {
                    side.leaves.push(number);
                }
            }
            // How full the group was when its time was over, the dead connection has taken with it.
            (State::Leaving, _) => {
                let held = u64::from(acquisition.terms.limit);
                self.time_out(now, number, Fullness { held, waiting: 0, next_end_in_ms: None });
            }
            // The release that was under way when the connection died did it, or this call.
            (State::Releasing { .. }, Settled::Dropped { .. }) => self.take_released(number, true),
            (State::Lost, Settled::Held(_)) => self.line_mut(line).releases.push(number),
            (State::Releasing { .. } | State::Lost | State::Pending | State::Asked, _) => {}
            (State::InLine { .. } | State::Unclear, _) => self.remove(number),
        }
    }
}
