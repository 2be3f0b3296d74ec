//! The leases of a group: by id, by end, by lowest slot and by holder name, and the slots that they have.
//!
//! It keeps the four views and the free slots consistent, and decides nothing. An ended lease stays until it is removed
//! (R9), a name belongs to one lease (R16).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::by_text::ByText;
use super::slots::{FreeSlots, Taken};
use crate::lease::{FencingToken, LeaseId, Slot};
use crate::protocol::{Grant, MAX_TOUCHED, Passed, Terms};

/// One lease.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) end_at_ms: u64,
    pub(super) token: FencingToken,
    pub(super) slots: Taken,
    pub(super) terms: Arc<Terms>,
}

impl Lease {
    pub(super) fn has_ended(&self, now_ms: u64) -> bool {
        self.end_at_ms <= now_ms
    }

    /// Whether a request with these terms may take this lease over: same weight, no slot above its limit (R16).
    pub(super) fn may_go_to(&self, terms: &Terms) -> bool {
        self.slots.weight() == terms.weight && self.slots.highest() <= terms.limit
    }

    pub(super) fn as_grant(&self, id: LeaseId, now_ms: u64) -> Grant {
        Grant {
            id,
            slots: self.slots.as_slice().to_vec(),
            token: self.token,
            end_at_ms: self.end_at_ms,
            ttl_ms: self.end_at_ms.saturating_sub(now_ms),
        }
    }
}

/// All leases of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Leases {
    by_id: HashMap<LeaseId, Lease>,
    by_end: BTreeSet<(u64, ByText)>,
    by_lowest_slot: BTreeMap<Slot, LeaseId>,
    by_name: HashMap<Arc<str>, LeaseId>,
    free: FreeSlots,
    held: u64,
}

impl Leases {
    /// Slots held, ended leases included.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Slots held by leases that haven't ended. Only so many ended leases are looked at: more than that are counted
    /// too.
    pub(super) fn held_at(&self, now_ms: u64) -> u64 {
        let ended = self.by_end.iter().take_while(|(end_at_ms, _)| *end_at_ms <= now_ms).take(MAX_TOUCHED);
        let slots = |id: &ByText| self.by_id.get(&id.0).map_or(0, |lease| u64::from(lease.slots.weight()));
        self.held - ended.map(|(_, id)| slots(id)).sum::<u64>()
    }

    pub(super) fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.by_id.get(&id)
    }

    /// The lease that has this name.
    pub(super) fn named(&self, name: Option<&Arc<str>>) -> Option<(LeaseId, &Lease)> {
        let id = *self.by_name.get(name?)?;
        self.by_id.get(&id).map(|lease| (id, lease))
    }

    /// Leases that have one of these slots, or this name, by a grant before `token`.
    pub(super) fn older(&self, slots: &[Slot], name: Option<&Arc<str>>, token: FencingToken) -> Vec<LeaseId> {
        let clashes = |id: &LeaseId, lease: &Lease| {
            let named = name.is_some() && self.named(name).is_some_and(|(owner, _)| owner == *id);
            named || lease.slots.as_slice().iter().any(|slot| slots.contains(slot))
        };
        let older = self.by_id.iter().filter(|(id, lease)| lease.token < token && clashes(id, lease));
        older.map(|(id, _)| *id).collect()
    }

    pub(super) fn len(&self) -> u64 {
        self.by_id.len() as u64
    }

    /// All of them, by (end, id as text).
    pub(super) fn in_order(&self) -> impl Iterator<Item = LeaseId> {
        self.by_end.iter().map(|(_, id)| id.0)
    }

    /// The lease that ends first, by (end, id as text).
    pub(super) fn first_to_end(&self) -> Option<(u64, LeaseId)> {
        self.by_end.first().map(|(end, id)| (*end, id.0))
    }

    /// Leases whose lowest slot lies above `slot`, by that slot.
    pub(super) fn above(&self, slot: Slot) -> impl Iterator<Item = (LeaseId, &Lease)> {
        let ids = self.by_lowest_slot.range(slot.saturating_add(1)..).map(|(_, id)| *id);
        ids.filter_map(|id| self.by_id.get(&id).map(|lease| (id, lease)))
    }

    /// A new lease on the smallest free slots (R2). The id must be new.
    pub(super) fn add(
        &mut self,
        id: LeaseId,
        terms: Arc<Terms>,
        token: FencingToken,
        end_at_ms: u64,
    ) -> &Lease {
        let slots = self.free.take(terms.weight);
        self.held += u64::from(slots.weight());
        self.attach(id, Lease { end_at_ms, token, slots, terms })
    }

    /// Whether all of these slots are free.
    pub(super) fn are_free(&self, slots: &[Slot]) -> bool {
        slots.iter().all(|slot| self.free.is_free(*slot))
    }

    /// A lease on exactly these slots, if all of them are free (R14). The id must be new.
    pub(super) fn restore(
        &mut self,
        id: LeaseId,
        slots: &[Slot],
        terms: Arc<Terms>,
        token: FencingToken,
        end_at_ms: u64,
    ) -> Option<&Lease> {
        let slots = self.free.take_just(slots)?;
        self.held += u64::from(slots.weight());
        Some(self.attach(id, Lease { end_at_ms, token, slots, terms }))
    }

    /// Removes a lease and frees its slots and name.
    pub(super) fn remove(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.detach(id)?;
        self.free.give_back(&lease.slots);
        self.held -= u64::from(lease.slots.weight());
        Some(lease)
    }

    /// The slots and the name of `former` go to `id`. The former lease is returned, for [`Leases::give_again`].
    pub(super) fn take_over(
        &mut self,
        former: LeaseId,
        id: LeaseId,
        terms: Arc<Terms>,
        token: FencingToken,
        end_at_ms: u64,
    ) -> Option<(Lease, &Lease)> {
        let before = self.detach(former)?;
        let slots = before.slots.clone();
        Some((before, self.attach(id, Lease { end_at_ms, token, slots, terms })))
    }

    /// Undoes a take-over by `id`, unless another lease has taken it over since.
    pub(super) fn give_again(&mut self, id: LeaseId, former: LeaseId, before: Lease) {
        if self.detach(id).is_some() {
            self.attach(former, before);
        }
    }

    /// Moves the end of a lease; `None` if it isn't there.
    pub(super) fn extend(&mut self, id: LeaseId, end_at_ms: u64) -> Option<&Lease> {
        let lease = self.by_id.get_mut(&id)?;
        if lease.end_at_ms != end_at_ms {
            self.by_end.remove(&(lease.end_at_ms, ByText(id)));
            self.by_end.insert((end_at_ms, ByText(id)));
            lease.end_at_ms = end_at_ms;
        }
        Some(lease)
    }

    /// Records who has the lease by a pass, unless that is known already.
    pub(super) fn pass(&mut self, id: LeaseId, passed: &Passed) -> bool {
        let Some(lease) = self.by_id.get_mut(&id).filter(|lease| lease.token < passed.token) else {
            return false;
        };
        lease.token = passed.token;
        Arc::make_mut(&mut lease.terms).label.clone_from(&passed.label);
        true
    }

    fn attach(&mut self, id: LeaseId, lease: Lease) -> &Lease {
        self.by_end.insert((lease.end_at_ms, ByText(id)));
        self.by_lowest_slot.insert(lease.slots.lowest(), id);
        if let Some(name) = &lease.terms.holder {
            self.by_name.insert(name.clone(), id);
        }
        self.by_id.entry(id).insert_entry(lease).into_mut()
    }

    fn detach(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.by_id.remove(&id)?;
        self.by_end.remove(&(lease.end_at_ms, ByText(id)));
        self.by_lowest_slot.remove(&lease.slots.lowest());
        if let Some(name) = &lease.terms.holder {
            self.by_name.remove(name);
        }
        Some(lease)
    }
}
