//! Who sees the truth: order in line, one holder a slot, growing tokens, one answer a request, and nothing left at the
//! end.

use concurrency_limit::lease::LeaseId;
use concurrency_limit::session::Event;

use super::{Lease, Plan, Stage, World};

impl World {
    /// Who is granted out of the line must have been the first in it (R4).
    pub(super) fn watch_line(&mut self) {
        let picture = self.group.snapshot(0);
        let waits = |id: &LeaseId| picture.waiters.iter().any(|waiter| waiter.id == *id);
        if self.faultless {
            let granted = |id: &LeaseId| picture.leases.iter().any(|lease| lease.id == *id);
            let first_waiting = self.line.iter().position(|(_, id)| waits(id)).unwrap_or(usize::MAX);
            let last_granted = self.line.iter().rposition(|(_, id)| granted(id));
            assert!(last_granted.is_none_or(|at| at < first_waiting), "out of order: {picture:?}");
        }
        self.line = picture.waiters.iter().map(|waiter| (waiter.ticket, waiter.id)).collect();
        self.line.sort_unstable();
    }

    pub(super) fn tell(&mut self, peer: usize, event: Event) {
        let now = self.now;
        let it = &mut self.peers[peer];
        match event {
            Event::Granted { tag, lease, .. } => {
                let at = tag as usize;
                assert!(!std::mem::replace(&mut it.answered[at], true), "a second answer");
                assert_ne!(it.stages[at], Stage::Done, "granted after it was cancelled");
                if self.faultless {
                    let earlier = it.stages[..at].iter().all(|stage| *stage != Stage::Asked);
                    assert!(
                        earlier,
                        "{tag} was served before an earlier one of its process: {:?}",
                        it.stages
                    );
                }
                it.stages[at] = Stage::Inside;
                self.inside.retain(|other| now < other.deadline);
                let shared = |slot| self.inside.iter().any(|other| other.slots.contains(slot));
                assert!(!lease.slots.iter().any(shared), "two have a slot: {lease:?} {:?}", self.inside);
                assert!(self.inside.len() < self.limit as usize, "too many inside: {:?}", self.inside);
                for slot in &lease.slots {
                    let last = std::mem::replace(&mut self.last[*slot as usize], lease.token);
                    assert!(lease.token > last, "a token that doesn't grow: {lease:?}");
                }
                self.inside.push(Lease { peer, tag, slots: lease.slots, deadline: lease.deadline });
            }
            Event::Failed { tag, error, .. } => {
                assert!(!std::mem::replace(&mut it.answered[tag as usize], true), "a second answer");
                let may = match it.plan {
                    Plan::Cancel => error.is_none(),
                    Plan::Hurry | Plan::Try => error.is_some(),
                    Plan::Use | Plan::Crowd | Plan::Keep => false,
                };
                assert!(may, "{:?} failed: {error:?}", it.plan);
                it.stages[tag as usize] = Stage::Done;
            }
            Event::Lost { tag, .. } => self.inside.retain(|lease| (lease.peer, lease.tag) != (peer, tag)),
            Event::Renewed { tag, deadline, .. } => {
                for lease in self.inside.iter_mut().filter(|lease| (lease.peer, lease.tag) == (peer, tag)) {
                    lease.deadline = deadline;
                }
            }
            _ => {}
        }
    }

    pub(super) fn check_end(&self) {
        let picture = self.group.snapshot(0);
        let lives =
            |id: &LeaseId| self.peers.iter().any(|peer| peer.alive && peer.session.id() == id.session);
        let holds = picture.leases.iter().find(|lease| lives(&lease.id));
        assert!(holds.is_none(), "a ghost holds: {holds:?}");
        let waits = picture.waiters.iter().find(|waiter| lives(&waiter.id));
        assert!(waits.is_none(), "a ghost waits: {waits:?}");
        let answered =
            self.peers.iter().all(|peer| !peer.alive || peer.answered.iter().all(|answered| *answered));
        assert!(answered, "somebody heard nothing");
    }
}
