//! The steps that the calls share: reaping leases that have ended, and granting freed slots to waiters.
//!
//! Keeps R4, R9, R17, R18, R19, R20, R22 and the bound of R26. The caller publishes: this module calls it and uses the
//! number of receivers that it returns.

use std::sync::Arc;

use super::Receivers;
use super::leases::Lease;
use super::state::{Now, State};
use crate::lease::{Epoch, LeaseId, SessionId};
use crate::protocol::{Caller, Grant, MAX_TOUCHED, News, Terms};

/// Tells a session something.
pub(super) type Publish<'a> = &'a mut dyn FnMut(SessionId, Epoch, News) -> Receivers;

/// One call being carried out: what it may still touch, and what its reply says besides the answers.
pub(super) struct Turn<'a> {
    pub(super) now: Now,
    /// The epoch of a new state.
    pub(super) fresh: Epoch,
    pub(super) caller: &'a Caller,
    pub(super) handed: Vec<Grant>,
    pub(super) again: bool,
    pub(super) push_refused: bool,
    /// Whether dead waiters have been looked for (R6).
    pub(super) looked_through: bool,
    /// Whether room has been made for what re-enters (R14).
    pub(super) made_room: bool,
    /// Whether slots that another session keeps come back, once that was looked for (R39).
    pub(super) recalls: Option<bool>,
    publish: Publish<'a>,
    touched: usize,
}

/// A notification batch: a round's grants to one listening session, and the lease that each grant took over.
struct Batch {
    session: SessionId,
    grants: Vec<Grant>,
    formers: Vec<Option<(LeaseId, Lease)>>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(now: Now, fresh: Epoch, caller: &'a Caller, publish: Publish<'a>) -> Self {
        Self {
            now,
            fresh,
            caller,
            handed: Vec::new(),
            again: false,
            push_refused: false,
            looked_through: false,
            made_room: false,
            recalls: None,
            publish,
            touched: 0,
        }
    }

    /// Whether the call may touch no more; then another call has to continue.
    fn is_spent(&mut self) -> bool {
        let spent = self.touched >= MAX_TOUCHED;
        self.again |= spent;
        spent
    }
}

impl State {
    /// Removes ended leases, earliest first; how many.
    pub(super) fn reap(&mut self, turn: &mut Turn<'_>) -> u64 {
        let mut reaped = 0;
        while let Some((end_at_ms, id)) = self.leases.first_to_end()
            && end_at_ms <= turn.now.ms
            && !turn.is_spent()
        {
            turn.touched += self.leases.remove(id).map_or(0, |lease| lease.slots.weight() as usize);
            reaped += 1;
        }
        reaped
    }

    /// Grants to waiters in order, while the next one fits.
    pub(super) fn hand_off(&mut self, turn: &mut Turn<'_>) {
        if turn.caller.settling || self.line.is_empty() {
            return;
        }
        // What a gone session gives back goes to other waiters, so another round follows.
        loop {
            let batches = self.grant_in_order(turn);
            if !self.publish(turn, batches) {
                return;
            }
        }
    }

    fn grant_in_order(&mut self, turn: &mut Turn<'_>) -> Vec<Batch> {
        let mut batches = Vec::new();
        let mut floor = 0;
        while !turn.is_spent()
            && let Some((id, waiter)) = self.line.head_above(self.leases.held().max(floor))
        {
            let terms = waiter.terms.clone();
            let named = self.leases.named(terms.holder.as_ref());
            let former = named.map(|(former, lease)| (former, lease.may_go_to(&terms)));
            let mismatched = matches!(former, Some((_, false)));
            if mismatched || !self.is_live(turn.now, id.session) {
                self.leave(turn.now, id);
                turn.touched += 1;
            } else if former.is_some() || self.has_room(&terms) {
                turn.touched += terms.weight as usize;
                self.hand(turn, id, &terms, former.map(|(former, _)| former), &mut batches);
            } else {
                floor = u64::from(terms.limit);
            }
        }
        batches
    }

    /// Grants to the head of the line: in the reply if it is the caller's own, else under its claim window (R20).
    fn hand(
        &mut self,
        turn: &mut Turn<'_>,
        id: LeaseId,
        terms: &Arc<Terms>,
        former: Option<LeaseId>,
        batches: &mut Vec<Batch>,
    ) {
        let own = id.session == turn.caller.session;
        let listens = self.sessions.listens(id.session);
        let length_ms = if own { terms.lease_ms } else { terms.claim_ms };
        self.leave(turn.now, id);
        let taken = former.and_then(|former| {
            let (before, grant) = self.take_over(turn.now, former, id, terms, length_ms)?;
            Some((grant, Some((former, before))))
        });
        let (grant, former) = taken.unwrap_or_else(|| (self.grant(turn.now, id, terms, length_ms), None));
        if own {
            turn.handed.push(grant);
        } else if listens {
            add_to_batch(batches, id.session, grant, former);
        }
    }

    /// Publishes once to each session; whether one of them was found gone.
    fn publish(&mut self, turn: &mut Turn<'_>, batches: Vec<Batch>) -> bool {
        let mut found_gone = false;
        for batch in batches {
            if self.tell(turn, batch.session, News::Grants(batch.grants.clone())) == Receivers::Nobody {
                found_gone = true;
                self.sessions.lose(batch.session);
                self.take_back(batch);
            }
        }
        found_gone
    }

    /// One publication (R22).
    pub(super) fn tell(&self, turn: &mut Turn<'_>, session: SessionId, news: News) -> Receivers {
        let receivers = (turn.publish)(session, self.epoch, news);
        turn.push_refused |= receivers == Receivers::Refused;
        receivers
    }

    /// The last grant first, so that a name that was taken over more than once in the round returns to its first owner.
    fn take_back(&mut self, batch: Batch) {
        for (grant, former) in batch.grants.into_iter().zip(batch.formers).rev() {
            match former {
                Some((former, before)) => self.leases.give_again(grant.id, former, before),
                None => drop(self.leases.remove(grant.id)),
            }
        }
    }
}

fn add_to_batch(
    batches: &mut Vec<Batch>,
    session: SessionId,
    grant: Grant,
    former: Option<(LeaseId, Lease)>,
) {
    // Neighbours in line are often of one session, and a round has few sessions: searched from the back, no index.
    match batches.iter_mut().rfind(|batch| batch.session == session) {
        Some(batch) => {
            batch.grants.push(grant);
            batch.formers.push(former);
        }
        None => batches.push(Batch { session, grants: vec![grant], formers: vec![former] }),
    }
}
