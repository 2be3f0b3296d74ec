//! The reconcile call: a session finds out about its own ids after an unclear outcome (R12, R14, R30).
//!
//! Only this call lets a lease re-enter a group that has lost it, finds out that a group's state went back, and stores
//! and guards a connection number.

use std::sync::Arc;

use super::hand_off::Turn;
use super::leases::Lease;
use super::state::State;
use crate::lease::{LeaseId, SessionId, Ticket};
use crate::protocol::{Answers, Keep, MAX_TOUCHED, Passed, ReconcileItem, Reconciled, Terms};

impl State {
    pub(super) fn reconcile(
        &mut self,
        turn: &mut Turn<'_>,
        items: &[ReconcileItem],
        own_from: Option<u64>,
    ) -> Answers {
        let latest_ms = self.sessions.reconcile(turn.caller, turn.now.ms);
        self.outlive(latest_ms);
        let went_back = self.went_back(turn, items);
        if went_back {
            self.epoch = turn.fresh;
        }
        let reconciled: Vec<Reconciled> =
            items.iter().map(|item| self.reconcile_item(turn, item, went_back)).collect();
        if !self.line.is_empty() {
            self.reap(turn);
            self.hand_off(turn);
        }
        self.end_note_if_needed(turn, items, &reconciled);
        let (own, own_next) = own_from.map_or((Vec::new(), None), |from| self.own(turn.caller.session, from));
        Answers::Reconcile { reconciled, own, own_next }
    }

    /// The note may end: requests came back into the line, or leases on another limit.
    fn end_note_if_needed(
        &mut self,
        turn: &mut Turn<'_>,
        items: &[ReconcileItem],
        reconciled: &[Reconciled],
    ) {
        let tickets = reconciled.iter().filter_map(|answer| match answer {
            Reconciled::InLine { ticket } => Some(*ticket),
            _ => None,
        });
        let limits = items.iter().zip(reconciled).filter_map(|(item, answer)| match (item, answer) {
            (ReconcileItem::Keep(keep), Reconciled::Held(_)) => Some(keep.terms.limit),
            _ => None,
        });
        self.note_reconciled(turn, tickets.min(), &limits.collect::<Vec<_>>());
    }

    /// Whether the state went back to one from before one of these grants, as when a replica is promoted without the
    /// last writes: it has the same epoch, and doesn't know the grant, or shows its id as it was before.
    fn went_back(&self, turn: &Turn<'_>, items: &[ReconcileItem]) -> bool {
        items.iter().any(|item| {
            let ReconcileItem::Keep(keep) = item else { return false };
            let granted_otherwise = self.leases.get(keep.id).is_some_and(|lease| !is_that(lease, keep));
            let before =
                keep.current > self.last_token || granted_otherwise || self.line.get(keep.id).is_some();
            before && keep.epoch == self.epoch && keep.end_at_ms > turn.now.ms
        })
    }

    /// The session's ids that the group has, from this rank on, and the next rank.
    fn own(&self, session: SessionId, from: u64) -> (Vec<LeaseId>, Option<u64>) {
        let skipped = usize::try_from(from).unwrap_or(usize::MAX);
        let leases = self.leases.in_order().skip(skipped).take(MAX_TOUCHED);
        let waiters = self.line.in_order().map(|(id, _)| id).skip(skipped).take(MAX_TOUCHED);
        let own = leases.chain(waiters).filter(|id| id.session == session).collect();
        let next = from.saturating_add(MAX_TOUCHED as u64);
        (own, (next < self.leases.len().max(self.line.len())).then_some(next))
    }

    fn reconcile_item(&mut self, turn: &mut Turn<'_>, item: &ReconcileItem, went_back: bool) -> Reconciled {
        match item {
            ReconcileItem::Keep(keep) => self.keep(turn, keep, went_back),
            ReconcileItem::Want { id, terms, ticket } => self.want(turn, *id, terms, *ticket),
            ReconcileItem::Drop(id) => {
                let held = self.leases.remove(*id).is_some();
                if !held {
                    self.leave(turn.now, *id);
                }
                Reconciled::Dropped { held }
            }
        }
    }

    /// A lease that the group has as its session knows it. Without a length it ends when that was last stated, also if
    /// the state went back to one from before its renewal.
    fn kept(&mut self, turn: &Turn<'_>, keep: &Keep) -> Option<Reconciled> {
        let lease = self.leases.get(keep.id).filter(|lease| is_that(lease, keep))?;
        let extended = keep.extend_ms.map(|length_ms| turn.now.ms.saturating_add(length_ms));
        let end_at_ms = extended.unwrap_or(lease.end_at_ms.max(keep.end_at_ms));
        if self.leases.pass(keep.id, &passed(keep)) {
            self.last_token = self.last_token.max(keep.current);
        }
        let lease = self.end_at(keep.id, end_at_ms)?;
        Some(Reconciled::Held(lease.as_grant(keep.id, turn.now.ms)))
    }

    fn keep(&mut self, turn: &mut Turn<'_>, keep: &Keep, went_back: bool) -> Reconciled {
        if let Some(kept) = self.kept(turn, keep) {
            return kept;
        }
        // A state from before the grant has it still in line, or has granted it a second time.
        self.leases.remove(keep.id);
        self.leave(turn.now, keep.id);
        // Under the same epoch a missing lease was released or reaped, unless the state went back (R14) or is an old
        // snapshot that was just loaded (R30).
        let may_have_lost_it = keep.epoch != self.epoch || turn.caller.settling || went_back;
        let may_return = may_have_lost_it && keep.end_at_ms > turn.now.ms;
        if may_return {
            self.outdate(keep);
        }
        if self.leases.named(keep.terms.holder.as_ref()).is_some() {
            return Reconciled::TakenOver;
        }
        if may_return
            && !(self.has_room(&keep.terms) && self.leases.are_free(&keep.slots))
            && !std::mem::replace(&mut turn.made_room, true)
        {
            self.reap(turn);
        }
        if !may_return || !self.has_room(&keep.terms) {
            return Reconciled::Unknown;
        }
        let extended = keep.extend_ms.map(|length_ms| turn.now.ms.saturating_add(length_ms));
        let end_at_ms = extended.unwrap_or(keep.end_at_ms);
        let restored = self.leases.restore(keep.id, &keep.slots, keep.terms.clone(), keep.current, end_at_ms);
        let Some(grant) = restored.map(|lease| lease.as_grant(keep.id, turn.now.ms)) else {
            return Reconciled::Unknown;
        };
        self.outlive(end_at_ms);
        self.last_token = self.last_token.max(keep.current);
        Reconciled::Held(grant)
    }

    /// Slots and name were free, or taken over, when they were granted. So a lease that has them by an older grant had
    /// ended, and only an old snapshot still shows it.
    fn outdate(&mut self, keep: &Keep) {
        for older in self.leases.older(&keep.slots, keep.terms.holder.as_ref(), keep.token) {
            self.leases.remove(older);
        }
    }

    fn want(
        &mut self,
        turn: &Turn<'_>,
        id: LeaseId,
        terms: &Arc<Terms>,
        ticket: Option<Ticket>,
    ) -> Reconciled {
        if let Some(lease) = self.extend(turn.now, id, terms.lease_ms) {
            return Reconciled::Held(lease.as_grant(id, turn.now.ms));
        }
        if let Some(waiter) = self.line.get(id) {
            return Reconciled::InLine { ticket: waiter.ticket };
        }
        let name_free =
            self.leases.named(terms.holder.as_ref()).is_none_or(|(_, lease)| lease.may_go_to(terms));
        match ticket {
            Some(ticket) if name_free && self.line.takes(terms.limit) => {
                self.join_at(turn.now, turn.caller, id, terms, ticket);
                Reconciled::InLine { ticket }
            }
            _ => Reconciled::Unknown,
        }
    }
}

/// Whether the lease is the one that its session knows: by its grant, or by a later pass that a renewal reported (R36).
fn is_that(lease: &Lease, keep: &Keep) -> bool {
    keep.token <= lease.token && lease.token <= keep.current
}

fn passed(keep: &Keep) -> Passed {
    Passed { token: keep.current, label: keep.terms.label.clone() }
}
