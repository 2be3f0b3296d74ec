//! The rules of one key, as a pure data structure: who may hold, who waits, who is next.
//!
//! It has no clock, does no I/O and draws no random number: time, the epoch of a new state and the fate of a
//! publication are arguments. The embedded store uses it, and the Lua library is tested against it; the steps are those
//! of `docs/protocol.md`. What a client must do about an answer is in `session`.
//! Rules kept: R1–R6, R8, R9, R11–R20, R22, R23, R26, R28, R30, R32, R34, R36–R38, R40.

use crate::lease::{Epoch, LeaseId, SessionId};
use crate::protocol::{
    Answers, CallError, Caller, Extend, Introduction, Left, News, Renew, Renewed, Reply, Target, Verb,
    Waiting,
};

mod acquire;
mod by_text;
mod hand_off;
mod introductions;
mod leases;
mod line;
mod note;
mod picture;
mod reconcile;
mod sessions;
mod slots;
mod state;
#[cfg(test)]
mod tests;

pub use picture::{LeaseSnapshot, NoteSnapshot, SessionSnapshot, Snapshot, WaiterSnapshot};

use hand_off::Turn;
use state::{Now, State};

/// The outcome of a publication (R18, R22).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receivers {
    /// Nobody received it: the session is gone.
    Nobody,
    /// Somebody received it.
    Somebody,
    /// The receivers aren't known (cluster mode).
    Unknown,
    /// The publication was refused (ACL).
    Refused,
}

/// All state under one key; none to begin with.
#[derive(Debug, Clone, Default)]
pub struct Group {
    state: Option<Box<State>>,
}

impl Group {
    /// Carries out one call at `now_us` (Redis's clock, µs). `fresh` becomes the epoch if the call makes the state, or
    /// finds that it has gone back; a group without state answers with epoch 0. `publish` tells a session
    /// something that is so already.
    pub fn call(
        &mut self,
        now_us: u64,
        fresh: Epoch,
        caller: &Caller,
        verb: &Verb,
        publish: &mut dyn FnMut(SessionId, Epoch, News) -> Receivers,
    ) -> Result<Reply, CallError> {
        let now = Now::at_us(now_us);
        let turn = Turn::new(now, fresh, caller, publish);
        match (&mut self.state, verb) {
            (Some(state), _) => state.call(turn, verb),
            (none, verb) if verb.makes_state() => {
                none.insert(Box::new(State::new(fresh, now))).call(turn, verb)
            }
            (None, _) => State::new(Epoch(0), now).call(turn, verb),
        }
    }

    /// Keeps the introduction of a session whose call was carried out (R40). Nothing is kept without state.
    pub fn introduce(&mut self, now_us: u64, session: SessionId, said: &Introduction) {
        if let Some(state) = &mut self.state {
            state.introductions.add(Now::at_us(now_us).ms, session, said);
        }
    }

    /// When the state may be removed, in ms: nothing in it matters then (R8, R14). `None` without state.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.state.as_ref().map(|state| state.expires_at_ms())
    }

    /// All of the group's state at `now_us`, to compare it with another implementation.
    pub fn snapshot(&self, now_us: u64) -> Snapshot {
        self.state.as_ref().map_or_else(Snapshot::default, |state| state.snapshot(Now::at_us(now_us)))
    }
}

impl State {
    fn call(&mut self, mut turn: Turn<'_>, verb: &Verb) -> Result<Reply, CallError> {
        let anyone = matches!(verb, Verb::Inspect(_) | Verb::Clean);
        if !anyone && self.sessions.find_stale(turn.caller, turn.now.ms) {
            return Err(CallError::Stale);
        }
        let answers = match verb {
            Verb::Acquire(asks) => Answers::Acquire(self.acquire(&mut turn, asks)),
            Verb::Release(targets) => Answers::Release(self.release(&mut turn, targets)),
            Verb::Renew(renew) => self.renew(&mut turn, renew),
            Verb::Leave(ids) => self.leave_line(&mut turn, ids),
            Verb::Reconcile { items, own_from } => self.reconcile(&mut turn, items, *own_from),
            Verb::Inspect(page) => Answers::Inspect(self.inspect(turn.now, *page)),
            Verb::Clean => Answers::Clean(self.clean(&mut turn)),
            Verb::Note(ask) => Answers::Note(self.note(&turn, *ask)),
            Verb::Join(join) => Answers::Acquire(self.join_line(&mut turn, join)),
        };
        self.sessions.forget(turn.now.ms);
        let looks =
            matches!(verb, Verb::Acquire(_) | Verb::Join(_) | Verb::Renew(_) | Verb::Reconcile { .. });
        let waits = looks && self.sessions.count(turn.caller.session) > 0;
        Ok(Reply {
            now_ms: turn.now.ms,
            epoch: self.epoch,
            next_end_in_ms: if waits { self.next_end_in_ms(turn.now) } else { None },
            again: turn.again,
            push_refused: turn.push_refused,
            handed: turn.handed,
            answers,
        })
    }

    /// Gives back and hands off. Nothing is reaped, so that the cost depends on what is given back (R13, R25).
    fn release(&mut self, turn: &mut Turn<'_>, targets: &[Target]) -> Vec<bool> {
        let released = targets.iter().map(|target| self.give_back(turn, target)).collect();
        self.hand_off(turn);
        released
    }

    /// The lease's session is told when another one released it (R36).
    fn give_back(&mut self, turn: &mut Turn<'_>, target: &Target) -> bool {
        let id = match target {
            Target::Lease(id) => Some(*id),
            Target::Grant(id, token) => {
                self.leases.get(*id).filter(|lease| lease.token == *token).map(|_| *id)
            }
            Target::Holder(name) => self.leases.named(Some(name)).map(|(id, _)| id),
        };
        let Some(id) = id.filter(|id| self.leases.remove(*id).is_some()) else { return false };
        if id.session != turn.caller.session {
            self.tell(turn, id.session, News::Gone(id));
        }
        true
    }

    /// Extends leases and keeps the caller's waiters in line; also the safety poll (R14, R19, R21, R28).
    fn renew(&mut self, turn: &mut Turn<'_>, renew: &Renew) -> Answers {
        let leases = renew.leases.iter().map(|lease| self.renew_one(turn, lease)).collect();
        let session = turn.caller.session;
        if self.sessions.count(session) > 0 || !renew.waiters.is_empty() {
            let deadline_ms = self.sessions.keep_alive(turn.caller, turn.now.ms);
            self.outlive(deadline_ms.unwrap_or(0));
        }
        let waiters = renew.waiters.iter().map(|id| self.look_at(turn, *id)).collect();
        if !self.line.is_empty() {
            self.reap(turn);
            self.hand_off(turn);
        }
        if self.sessions.count(session) > 0 {
            self.note_polled(turn);
        }
        Answers::Renew { leases, in_line: self.sessions.count(session), waiters }
    }

    fn renew_one(&mut self, turn: &Turn<'_>, renewed: &Extend) -> Renewed {
        if let Some(passed) = &renewed.passed
            && self.leases.pass(renewed.id, passed)
        {
            self.last_token = self.last_token.max(passed.token);
        }
        if let Some(lease) = self.extend(turn.now, renewed.id, renewed.lease_ms) {
            return Renewed::Extended { end_at_ms: lease.end_at_ms };
        }
        match self.leases.named(renewed.holder.as_ref()) {
            Some(_) => Renewed::TakenOver,
            None => Renewed::Gone,
        }
    }

    fn look_at(&self, turn: &Turn<'_>, id: LeaseId) -> Waiting {
        match self.leases.get(id) {
            _ if self.line.get(id).is_some() => Waiting::InLine,
            Some(lease) => Waiting::Granted(lease.as_grant(id, turn.now.ms)),
            None => Waiting::Unknown,
        }
    }

    /// Takes waiters out of the line. Those that had just been granted are in the answer, and stay granted (R23).
    fn leave_line(&mut self, turn: &mut Turn<'_>, ids: &[LeaseId]) -> Answers {
        let (held, waiting) = (self.leases.held(), self.line.len());
        let next_end_in_ms = self.next_end_in_ms(turn.now);
        let leave = |id: &LeaseId| {
            if self.leave(turn.now, *id) {
                return Left::Left;
            }
            let lease = self.leases.get(*id);
            lease.map_or(Left::Left, |lease| Left::Granted(lease.as_grant(*id, turn.now.ms)))
        };
        let left = ids.iter().map(leave).collect();
        self.hand_off(turn);
        Answers::Leave { left, held, waiting, next_end_in_ms }
    }

    /// Reaps; how many leases had ended.
    fn clean(&mut self, turn: &mut Turn<'_>) -> u64 {
        let reaped = self.reap(turn);
        self.hand_off(turn);
        reaped
    }
}
