//! Who sees the truth: order in line, one holder a slot, growing tokens, one answer a request, and nothing left at the
//! end.

use concurrency_limit::lease::LeaseId;
use concurrency_limit::session::Event;

use super::{Lease, Plan, Stage, World};

impl World {
    /// Who has joined, in order; who is granted out of it must have been the first (R4).
    pub(super) fn watch_line(&mut self) {
        let picture = self.group.snapshot(0);
        if self.faultless {
            let granted = |id: &LeaseId| picture.leases.iter().any(|lease| lease.id == *id);
            let waits = |id: &LeaseId| picture.waiters.iter().any(|waiter| waiter.id == *id);
            let first_waiting = self.line.iter().position(waits).unwrap_or(usize::MAX);
            let last_granted = self.line.iter().rposition(granted);
            assert!(last_granted.is_none_or(|at| at < first_waiting), "out of order: {picture:?}");
        }
        self.line.retain(|id| picture.waiters.iter().any(|waiter| waiter.id == *id));
        for waiter in &picture.waiters {
            if !self.line.contains(&waiter.id) {
                self.line.push(waiter.id);
            }
        }
    }

    pub(super) fn tell(&mut self, peer: usize, event: Event) {
        let now = self.now;
        let it = &mut self.peers[peer];
        match event {
            Event::Granted { lease, .. } => {
                assert!(!std::mem::replace(&mut it.answered, true), "a second answer");
                assert_ne!(it.stage, Stage::Done, "granted after it was cancelled");
                it.stage = Stage::Inside;
                self.inside.retain(|other| now < other.deadline);
                let shared = |slot| self.inside.iter().any(|other| other.slots.contains(slot));
                assert!(!lease.slots.iter().any(shared), "two have a slot: {lease:?} {:?}", self.inside);
                assert!(self.inside.len() < self.limit as usize, "too many inside: {:?}", self.inside);
                for slot in &lease.slots {
                    let last = std::mem::replace(&mut self.last[*slot as usize], lease.token);
                    assert!(lease.token > last, "a token that doesn't grow: {lease:?}");
                }
                self.inside.push(Lease { peer, slots: lease.slots, deadline: lease.deadline });
            }
            Event::Failed { error, .. } => {
                assert!(!std::mem::replace(&mut it.answered, true), "a second answer");
                let may = it.plan != Plan::Use && (error.is_some() == (it.plan == Plan::Hurry));
                assert!(may, "{:?} failed: {error:?}", it.plan);
                it.stage = Stage::Done;
            }
            Event::Lost { .. } => self.inside.retain(|lease| lease.peer != peer),
            Event::Renewed { deadline, .. } => {
                for lease in self.inside.iter_mut().filter(|lease| lease.peer == peer) {
                    lease.deadline = deadline;
                }
            }
            _ => {}
        }
    }

    pub(super) fn settle_accounts(&self) {
        let picture = self.group.snapshot(0);
        let lives =
            |id: &LeaseId| self.peers.iter().any(|peer| peer.alive && peer.session.id() == id.session);
        let holds = picture.leases.iter().find(|lease| lives(&lease.id));
        assert!(holds.is_none(), "a ghost holds: {holds:?}");
        let waits = picture.waiters.iter().find(|waiter| lives(&waiter.id));
        assert!(waits.is_none(), "a ghost waits: {waits:?}");
        assert!(self.peers.iter().all(|peer| !peer.alive || peer.answered), "somebody heard nothing");
    }
}
