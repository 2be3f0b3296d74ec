//! The requests of one group, the sets that they are in by their states, and what is to be asked about them.
//!
//! A state changes in one place, [`Members::set_state`], which moves the request from set to set and lists what has to
//! be said to Redis. So the sets can't differ from the states.

mod acquisition;
mod batches;
mod held;

use std::collections::{BTreeSet, VecDeque};

pub(in crate::session) use self::acquisition::{Acquisition, Brief, State};
pub(in crate::session) use self::batches::BATCH;
pub(in crate::session) use self::held::{Held, margin};
use crate::moment::Moment;
use crate::session::ids::{AcquisitionId, IdMap, IdSet};

#[derive(Debug, Default)]
pub(in crate::session) struct Members {
    all: IdMap<AcquisitionId, Acquisition>,
    /// To be asked for, oldest first: `Pending`.
    pending: VecDeque<AcquisitionId>,
    /// Asked for, without an answer: `Asked`.
    asked: usize,
    /// Waiting in the process, oldest first: `Inside`.
    inside: BTreeSet<AcquisitionId>,
    /// In line as far as Redis knows: `InLine` and `Leaving`.
    waiting: IdSet<AcquisitionId>,
    /// `Held`.
    held: IdSet<AcquisitionId>,
    /// `Idle`.
    idle: BTreeSet<AcquisitionId>,
    /// The time of no idle slot is over before this, so that not all are looked at each time.
    idle_due_at: Option<Moment>,
    /// Lost, or being given back: `Lost` and `Releasing`.
    ending: usize,
    /// No held lease is due before this, so that not all are looked at each time.
    held_due_at: Option<Moment>,
    /// To be given back. An id without a request is a stray grant.
    to_release: Vec<AcquisitionId>,
    /// To leave the line.
    to_leave: Vec<AcquisitionId>,
    /// To be reconciled before anything else is asked (R12).
    unclear: Vec<AcquisitionId>,
    /// New requests and releases without a timer, some of which have been sent: their calls' own time-outs cover them.
    without_timer: Vec<AcquisitionId>,
}

impl Members {
    pub(super) fn get(&self, id: AcquisitionId) -> Option<&Acquisition> {
        self.all.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: AcquisitionId) -> Option<&mut Acquisition> {
        self.all.get_mut(&id)
    }

    pub(super) fn state(&self, id: AcquisitionId) -> Option<&State> {
        self.get(id).map(Acquisition::state)
    }

    pub(super) fn contains(&self, id: AcquisitionId) -> bool {
        self.all.contains_key(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AcquisitionId, &Acquisition)> {
        self.all.iter().map(|(id, acquisition)| (*id, acquisition))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Acquisition> {
        self.all.values_mut()
    }

    pub(super) fn held(&self) -> impl Iterator<Item = (AcquisitionId, &Acquisition, &Held)> {
        self.held.iter().filter_map(|id| {
            let acquisition = self.get(*id)?;
            Some((*id, acquisition, acquisition.held()?))
        })
    }

    /// Those in line, oldest first.
    pub(super) fn waiters(&self) -> Vec<AcquisitionId> {
        let mut waiters: Vec<AcquisitionId> = self.waiting.iter().copied().collect();
        waiters.sort_unstable();
        waiters
    }

    pub(super) fn held_count(&self) -> usize {
        self.held.len()
    }

    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// How many are asked for, or about to be.
    pub(super) fn asks_count(&self) -> usize {
        self.pending.len() + self.asked
    }

    pub(super) fn asked_count(&self) -> usize {
        self.asked
    }

    pub(super) fn inside_count(&self) -> usize {
        self.inside.len()
    }

    /// Slots that Redis has for this session, as far as it's known here.
    pub(super) fn in_redis_count(&self) -> usize {
        self.held.len() + self.idle.len() + self.ending
    }

    pub(super) fn idle_count(&self) -> usize {
        self.idle.len()
    }

    pub(super) fn first_idle(&self) -> Option<AcquisitionId> {
        self.idle.first().copied()
    }

    /// The idle slots, oldest request first.
    pub(super) fn idle(&self) -> Vec<(AcquisitionId, Moment)> {
        let until = |id: &AcquisitionId| match self.state(*id)? {
            State::Idle { until, .. } => Some((*id, *until)),
            _ => None,
        };
        self.idle.iter().filter_map(until).collect()
    }

    /// When the time of an idle slot that nobody inside waits for may be over.
    pub(super) fn idle_due_at(&self) -> Option<Moment> {
        self.idle_due_at.filter(|_| self.idle.len() > self.inside.len())
    }

    /// Computes again when the time of the next idle slot is over.
    pub(super) fn plan_idle(&mut self) {
        self.idle_due_at = self.idle().into_iter().map(|(_, until)| until).min();
    }

    /// The slot of a held lease stays with the session until then; without a time, one that has stayed is held again.
    pub(super) fn turn_idle(&mut self, id: AcquisitionId, until: Option<Moment>) {
        self.leave(id);
        if let Some(acquisition) = self.all.get_mut(&id) {
            let state = std::mem::replace(&mut acquisition.state, State::Lost);
            acquisition.state = match (state, until) {
                (State::Held(held), Some(until)) => State::Idle { held, until },
                (State::Idle { held, .. }, None) => State::Held(held),
                (state, _) => state,
            };
            self.enter(id);
        }
    }

    pub(super) fn first_inside(&self) -> Option<AcquisitionId> {
        self.inside.first().copied()
    }

    /// Those that wait inside, oldest first.
    pub(super) fn inside(&self) -> Vec<AcquisitionId> {
        self.inside.iter().copied().collect()
    }

    /// Those that are to be asked for, oldest first.
    pub(super) fn pending(&self) -> Vec<AcquisitionId> {
        self.pending.iter().copied().collect()
    }

    /// One of those in line.
    pub(super) fn any_waiter(&self) -> Option<&Acquisition> {
        self.waiting.iter().next().and_then(|id| self.get(*id))
    }

    pub(super) fn insert(&mut self, id: AcquisitionId, acquisition: Acquisition) {
        self.without_timer.push(id);
        self.all.insert(id, acquisition);
        self.enter(id);
    }

    pub(super) fn remove(&mut self, id: AcquisitionId) -> Option<Acquisition> {
        self.leave(id);
        self.all.remove(&id)
    }

    /// Changes the state of a request, the sets with it, and lists what follows for Redis.
    pub(super) fn set_state(&mut self, id: AcquisitionId, state: State) {
        self.leave(id);
        if let Some(acquisition) = self.all.get_mut(&id) {
            acquisition.state = state;
            self.enter(id);
        }
    }

    /// Takes a request out of the set of its state.
    fn leave(&mut self, id: AcquisitionId) {
        match self.state(id) {
            Some(State::Pending) => {
                if let Ok(at) = self.pending.binary_search(&id) {
                    self.pending.remove(at);
                }
            }
            Some(State::InLine { .. } | State::Leaving) => drop(self.waiting.remove(&id)),
            Some(State::Held(_)) => drop(self.held.remove(&id)),
            Some(State::Inside) => drop(self.inside.remove(&id)),
            Some(State::Idle { .. }) => drop(self.idle.remove(&id)),
            Some(State::Asked) => self.asked -= 1,
            Some(State::Lost | State::Releasing { .. }) => self.ending -= 1,
            Some(State::Unclear) | None => {}
        }
    }

    /// Puts a request into the set of its state, and lists what is to be asked.
    fn enter(&mut self, id: AcquisitionId) {
        match self.state(id) {
            Some(State::Pending) => {
                let at = self.pending.partition_point(|other| *other < id);
                self.pending.insert(at, id);
            }
            Some(State::InLine { .. }) => drop(self.waiting.insert(id)),
            Some(State::Leaving) => {
                self.waiting.insert(id);
                self.to_leave.push(id);
            }
            Some(State::Held(held)) => {
                let due_at = held.due_at();
                self.held.insert(id);
                self.lease_due_by(due_at);
            }
            Some(State::Unclear) => self.unclear.push(id),
            Some(State::Inside) => drop(self.inside.insert(id)),
            Some(State::Idle { until, .. }) => {
                let until = *until;
                self.idle.insert(id);
                self.idle_due_at = Some(self.idle_due_at.map_or(until, |planned| planned.min(until)));
            }
            Some(State::Releasing { .. }) => {
                self.ending += 1;
                self.to_release.push(id);
            }
            Some(State::Lost) => self.ending += 1,
            Some(State::Asked) => self.asked += 1,
            None => {}
        }
    }

    /// A held lease is due at `at`.
    pub(super) fn lease_due_by(&mut self, at: Moment) {
        self.held_due_at = Some(self.held_due_at.map_or(at, |planned| planned.min(at)));
    }

    pub(super) fn lease_due_at(&self) -> Option<Moment> {
        self.held_due_at
    }

    /// Computes again when the next held lease is due.
    pub(super) fn plan_leases(&mut self, up: bool) {
        self.held_due_at = self.held().map(|(_, _, held)| held.due_with(up)).min();
    }

    /// The request or release needs no timer as long as nothing stands in its way.
    pub(super) fn needs_no_timer(&mut self, id: AcquisitionId) {
        self.without_timer.push(id);
    }

    /// How many there are that haven't been sent, and how many are listed as without a timer.
    pub(super) fn unsent(&self) -> (usize, usize) {
        (self.pending.len() + self.to_release.len(), self.without_timer.len())
    }

    /// Takes out those that are listed as without a timer and haven't been sent.
    pub(super) fn take_without_timer(&mut self) -> Vec<AcquisitionId> {
        let mut listed = std::mem::take(&mut self.without_timer);
        listed.retain(|id| matches!(self.state(*id), Some(State::Pending | State::Releasing { .. })));
        listed
    }

    pub(super) fn forget_without_timer(&mut self) {
        self.without_timer.clear();
    }

    /// Nothing is left here, and nothing is to be asked.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.to_release.is_empty() && self.unclear.is_empty()
    }
}
