//! The acquire call: grant now, join the line, or refuse (R1, R3, R5, R6, R11, R16), and the join call (R38).
//!
//! Only the hand-off considers settling: a settling session doesn't acquire (R30).

use std::collections::HashMap;

use super::hand_off::Turn;
use super::state::State;
use crate::lease::LeaseId;
use crate::protocol::{Acquired, Ask, Join, JoinAsk, MAX_TOUCHED, Terms};

impl State {
    pub(super) fn acquire(&mut self, turn: &mut Turn<'_>, asks: &[Ask]) -> Vec<Acquired> {
        if !self.line.is_empty() || self.lacks_room_for(asks) {
            self.reap(turn);
            self.hand_off(turn);
        }
        let mut joined = HashMap::new();
        let mut answers = Vec::with_capacity(asks.len());
        for ask in asks {
            let (answer, joins) = self.acquire_one(turn, ask);
            if joins {
                joined.insert(ask.id, answers.len());
            }
            answers.push(answer);
        }
        self.hand_off_to(turn, &joined, &mut answers);
        self.note_asked(turn, asks, &answers);
        answers
    }

    /// Requests that have waited in the caller's process join the line in their order there (R38).
    pub(super) fn join_line(&mut self, turn: &mut Turn<'_>, join: &Join) -> Vec<Acquired> {
        let mut joined = HashMap::new();
        let mut answers = Vec::with_capacity(join.items.len());
        for ask in &join.items {
            self.limit_seen = ask.terms.limit;
            let answer = self.known(turn, ask.id).unwrap_or_else(|| {
                if !self.line.takes(ask.terms.limit) {
                    return Acquired::TooManyLimits;
                }
                joined.insert(ask.id, answers.len());
                let (ahead, ticket) = (self.line.len(), self.place_of(turn, join.number, ask));
                self.join_at(turn.now, turn.caller, ask.id, &ask.terms, ticket);
                Acquired::Queued { ticket, ahead }
            });
            answers.push(answer);
        }
        self.note_heard(turn, join.number);
        if !joined.is_empty() {
            self.reap(turn);
        }
        self.hand_off_to(turn, &joined, &mut answers);
        let ask = |ask: &JoinAsk| Ask { id: ask.id, terms: ask.terms.clone(), wait: true };
        let asks: Vec<Ask> = join.items.iter().map(ask).collect();
        self.note_asked(turn, &asks, &answers);
        answers
    }

    /// Requests that joined the line and were granted by the hand-off are answered as granted.
    fn hand_off_to(
        &mut self,
        turn: &mut Turn<'_>,
        joined: &HashMap<LeaseId, usize>,
        answers: &mut [Acquired],
    ) {
        if joined.is_empty() {
            return;
        }
        let handed_before = turn.handed.len();
        self.hand_off(turn);
        for grant in turn.handed.split_off(handed_before) {
            match joined.get(&grant.id) {
                Some(place) => answers[*place] = Acquired::Granted(grant),
                None => turn.handed.push(grant),
            }
        }
    }

    fn lacks_room_for(&self, asks: &[Ask]) -> bool {
        let weights: u64 = asks.iter().map(|ask| u64::from(ask.terms.weight)).sum();
        let lowest = asks.iter().map(|ask| u64::from(ask.terms.limit)).min();
        lowest.is_some_and(|limit| self.leases.held() + weights > limit)
    }

    /// The answer to one request, and whether it has just joined the line.
    fn acquire_one(&mut self, turn: &mut Turn<'_>, ask: &Ask) -> (Acquired, bool) {
        let (now, terms) = (turn.now, &ask.terms);
        self.limit_seen = terms.limit;
        if let Some(answer) = self.known(turn, ask.id).or_else(|| self.by_name(turn, ask)) {
            return (answer, false);
        }
        if self.has_room(terms) && !self.line.stands_before(terms.limit, terms.priority) {
            return (Acquired::Granted(self.grant(now, ask.id, terms, terms.lease_ms)), false);
        }
        let refused = !ask.wait || self.line_is_full(turn, terms);
        if refused && !(self.line.takes(terms.limit) && self.recalls(turn)) {
            let (held, waiting) = (self.leases.held(), self.line.len());
            let full = Acquired::Full { held, waiting, next_end_in_ms: self.next_end_in_ms(now) };
            return (if ask.wait { Acquired::QueueFull { waiting } } else { full }, false);
        }
        if !self.line.takes(terms.limit) {
            return (Acquired::TooManyLimits, false);
        }
        let ahead = self.line.len();
        let ticket = self.join(now, turn.caller, ask.id, terms);
        (Acquired::Queued { ticket, ahead }, true)
    }

    /// The same request again gets the same answer (R11).
    fn known(&mut self, turn: &Turn<'_>, id: LeaseId) -> Option<Acquired> {
        if let Some(lease) = self.leases.get(id) {
            if !lease.has_ended(turn.now.ms) {
                return Some(Acquired::Granted(lease.as_grant(id, turn.now.ms)));
            }
            self.leases.remove(id);
        }
        let ticket = self.line.get(id)?.ticket;
        Some(Acquired::Queued { ticket, ahead: self.line.len() - 1 })
    }

    /// The lease of a held name is taken over by the request (R16).
    fn by_name(&mut self, turn: &Turn<'_>, ask: &Ask) -> Option<Acquired> {
        let (now, terms) = (turn.now, &ask.terms);
        let (former, lease) = self.leases.named(terms.holder.as_ref())?;
        if lease.has_ended(now.ms) {
            self.leases.remove(former);
            return None;
        }
        if !lease.may_go_to(terms) {
            let (weight, highest) = (lease.slots.weight(), lease.slots.highest());
            return Some(Acquired::HolderMismatch { weight, highest });
        }
        let (_, grant) = self.take_over(now, former, ask.id, terms, terms.lease_ms)?;
        Some(Acquired::Granted(grant))
    }

    /// Whether as many wait as the request allows. Before that, waiters of dead sessions leave the line: once a call
    /// (R6).
    fn line_is_full(&mut self, turn: &mut Turn<'_>, terms: &Terms) -> bool {
        let Some(most) = terms.max_waiting else { return false };
        if self.line.len() >= most && !std::mem::replace(&mut turn.looked_through, true) {
            let first = self.line.in_order().take(MAX_TOUCHED).map(|(id, _)| id);
            let dead: Vec<LeaseId> = first.filter(|id| !self.is_live(turn.now, id.session)).collect();
            for id in dead {
                self.leave(turn.now, id);
            }
        }
        self.line.len() >= most
    }
}
