//! The reconcile call: a session settles its own ids after an unclear outcome (R12, R14, R30).
//!
//! Only here does a lease come back into a group that has lost it, and only here is a connection number guarded.

use std::sync::Arc;

use super::hand_off::Turn;
use super::state::State;
use crate::lease::{LeaseId, Ticket};
use crate::protocol::{Keep, Settle, Settled, Terms};

impl State {
    pub(super) fn reconcile(&mut self, turn: &mut Turn<'_>, items: &[Settle]) -> Vec<Settled> {
        let latest_ms = self.sessions.reconcile(turn.caller, turn.now.ms);
        self.outlive(latest_ms);
        let answers = items.iter().map(|item| self.settle(turn, item)).collect();
        if !self.line.is_empty() {
            self.reap(turn);
            self.hand_off(turn);
        }
        answers
    }

    fn settle(&mut self, turn: &mut Turn<'_>, item: &Settle) -> Settled {
        match item {
            Settle::Keep(keep) => self.keep(turn, keep),
            Settle::Want { id, terms, ticket } => self.want(turn, *id, terms, *ticket),
            Settle::Drop(id) => {
                let held = self.leases.remove(*id).is_some();
                if !held {
                    self.leave(turn.now, *id);
                }
                Settled::Dropped { held }
            }
        }
    }

    fn held(&mut self, turn: &Turn<'_>, id: LeaseId, terms: &Terms) -> Option<Settled> {
        let lease = self.extend(turn.now, id, terms.lease_ms)?;
        Some(Settled::Held(lease.as_grant(id, turn.now.ms)))
    }

    fn keep(&mut self, turn: &mut Turn<'_>, keep: &Keep) -> Settled {
        if let Some(held) = self.held(turn, keep.id, &keep.terms) {
            return held;
        }
        // A state from before the grant still has it in line, and would grant it a second time.
        self.leave(turn.now, keep.id);
        // Under the same epoch a missing lease was released or reaped: only an old snapshot that was just loaded
        // can have lost it (R30).
        let may_return = (keep.epoch != self.epoch || turn.caller.settling) && keep.end_at_ms > turn.now.ms;
        if may_return {
            self.outdate(keep);
        }
        if self.leases.named(keep.terms.holder.as_ref()).is_some() {
            return Settled::TakenOver;
        }
        if may_return && !(self.has_room(&keep.terms) && self.leases.are_free(&keep.slots)) {
            self.reap(turn);
        }
        if !may_return || !self.has_room(&keep.terms) {
            return Settled::Unknown;
        }
        let end_at_ms = turn.now.ms.saturating_add(keep.terms.lease_ms);
        let restored = self.leases.restore(keep.id, &keep.slots, keep.terms.clone(), keep.token, end_at_ms);
        let Some(grant) = restored.map(|lease| lease.as_grant(keep.id, turn.now.ms)) else {
            return Settled::Unknown;
        };
        // The same id can't also wait: what it waits for is what it holds.
        self.leave(turn.now, keep.id);
        self.outlive(end_at_ms);
        self.last_token = self.last_token.max(keep.token);
        Settled::Held(grant)
    }

    /// Slots and name were free, or taken over, when they were granted: whoever has them by an older grant has ended since,
    /// and only an old snapshot still shows it.
    fn outdate(&mut self, keep: &Keep) {
        for older in self.leases.older(&keep.slots, keep.terms.holder.as_ref(), keep.token) {
            self.leases.remove(older);
        }
    }

    fn want(&mut self, turn: &Turn<'_>, id: LeaseId, terms: &Arc<Terms>, ticket: Option<Ticket>) -> Settled {
        if let Some(held) = self.held(turn, id, terms) {
            return held;
        }
        if let Some(waiter) = self.line.get(id) {
            return Settled::InLine { ticket: waiter.ticket };
        }
        let name_free =
            self.leases.named(terms.holder.as_ref()).is_none_or(|(_, lease)| lease.may_go_to(terms));
        match ticket {
            Some(ticket) if name_free && self.line.takes(terms.limit) => {
                self.join_at(turn.now, turn.caller, id, terms, ticket);
                Settled::InLine { ticket }
            }
            _ => Settled::Unknown,
        }
    }
}
