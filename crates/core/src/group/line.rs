//! The line of a group: its waiters in order, and which of them a new request may not overtake (R3, R4).
//!
//! A class is the waiters of one limit, ordered by priority, then ticket. Leases, sessions and time aren't known here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::by_text::ByText;
use crate::lease::{LeaseId, Ticket};
use crate::protocol::{MAX_WAITING_LIMITS, Terms};

/// One request in line.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) terms: Arc<Terms>,
}

/// A place inside a class. The id orders equal tickets, which can occur after re-entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    priority: Reverse<i8>,
    ticket: Ticket,
    id: ByText,
}

impl Place {
    fn of(id: LeaseId, waiter: &Waiter) -> Self {
        Self { priority: Reverse(waiter.terms.priority), ticket: waiter.ticket, id: ByText(id) }
    }
}

/// All waiters.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    waiters: HashMap<LeaseId, Waiter>,
    classes: BTreeMap<u32, BTreeSet<Place>>,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.waiters.len() as u64
    }

    pub(super) fn get(&self, id: LeaseId) -> Option<&Waiter> {
        self.waiters.get(&id)
    }

    /// Whether a request of this limit may join: at most 32 distinct limits wait (R4).
    pub(super) fn takes(&self, limit: u32) -> bool {
        self.classes.len() < MAX_WAITING_LIMITS || self.classes.contains_key(&limit)
    }

    /// Whether nobody waits with another limit.
    pub(super) fn is_of(&self, limit: u32) -> bool {
        self.classes.keys().all(|class| *class == limit)
    }

    /// Whether a waiter exists that a request of this limit and priority may not overtake (R3).
    pub(super) fn stands_before(&self, limit: u32, priority: i8) -> bool {
        let mut heads = self.classes.range(limit..).filter_map(|(_, class)| class.first());
        heads.any(|head| head.priority.0 >= priority)
    }

    /// The best by (priority, ticket) among the heads of the classes whose limit is above `limit`.
    pub(super) fn head_above(&self, limit: u64) -> Option<(LeaseId, &Waiter)> {
        let from = u32::try_from(limit).ok()?.checked_add(1)?;
        let best = self.classes.range(from..).filter_map(|(_, class)| class.first()).min()?;
        self.waiters.get(&best.id.0).map(|waiter| (best.id.0, waiter))
    }

    /// Joins the line at the place of this ticket. The id must be new.
    pub(super) fn join(&mut self, id: LeaseId, waiter: Waiter) {
        self.classes.entry(waiter.terms.limit).or_default().insert(Place::of(id, &waiter));
        self.waiters.insert(id, waiter);
    }

    /// Leaves the line.
    pub(super) fn leave(&mut self, id: LeaseId) -> Option<Waiter> {
        let waiter = self.waiters.remove(&id)?;
        if let Some(class) = self.classes.get_mut(&waiter.terms.limit) {
            class.remove(&Place::of(id, &waiter));
            if class.is_empty() {
                self.classes.remove(&waiter.terms.limit);
            }
        }
        Some(waiter)
    }

    /// All, by limit, then priority, then ticket.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (LeaseId, &Waiter)> {
        let places = self.classes.values().flatten();
        places.filter_map(|place| self.waiters.get(&place.id.0).map(|waiter| (place.id.0, waiter)))
    }
}
