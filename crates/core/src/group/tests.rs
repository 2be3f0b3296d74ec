//! The rules of a group, each as a claim. Random histories are in `tests/group_properties.rs`.

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::lease::{FencingToken, Slot, Ticket};
use crate::protocol::{
    Acquired, Ask, Grant, Keep, MAX_TOUCHED, MAX_WAITING_LIMITS, Page, Picture, ReconcileItem, Reconciled,
    Terms,
};

mod admission;
mod identity;
mod introductions;
mod notes;
mod time;
mod waiting;
mod went_back;

const START_US: u64 = 1_700_000_000_000_000;
const EPOCH: Epoch = Epoch(7);
const LEASE_MS: u64 = 60_000;
const CLAIM_MS: u64 = 5_000;
const KEEP_ALIVE_MS: u64 = 10_000;

/// One group, its clock, and the sessions around it.
struct World {
    group: Group,
    now_us: u64,
    fresh: Epoch,
    settling: bool,
    silent: HashSet<SessionId>,
    dead: HashSet<SessionId>,
    refuses_push: bool,
    pushed: Vec<(SessionId, Vec<Grant>)>,
    /// What sessions were told beside grants.
    told: Vec<(SessionId, News)>,
}

fn world() -> World {
    World {
        group: Group::default(),
        now_us: START_US,
        fresh: EPOCH,
        settling: false,
        silent: HashSet::new(),
        dead: HashSet::new(),
        refuses_push: false,
        pushed: Vec::new(),
        told: Vec::new(),
    }
}

fn session(number: u64) -> SessionId {
    SessionId(number)
}

fn id(session: u64, number: u64) -> LeaseId {
    LeaseId { session: SessionId(session), number }
}

fn terms(limit: u32) -> Terms {
    Terms {
        limit,
        weight: 1,
        priority: 0,
        lease_ms: LEASE_MS,
        claim_ms: CLAIM_MS,
        max_waiting: None,
        holder: None,
        label: None,
    }
}

fn named(limit: u32, name: &str) -> Terms {
    Terms { holder: Some(name.into()), ..terms(limit) }
}

fn heavy(limit: u32, weight: u32) -> Terms {
    Terms { weight, ..terms(limit) }
}

fn urgent(limit: u32, priority: i8) -> Terms {
    Terms { priority, ..terms(limit) }
}

fn ask(id: LeaseId, terms: Terms) -> Ask {
    Ask { id, terms: Arc::new(terms), wait: true }
}

fn grant_in(answer: &Acquired) -> &Grant {
    match answer {
        Acquired::Granted(grant) => grant,
        other => panic!("not granted: {other:?}"),
    }
}

fn ticket_in(answer: &Acquired) -> Ticket {
    match answer {
        Acquired::Queued { ticket, .. } => *ticket,
        other => panic!("not in line: {other:?}"),
    }
}

fn ids(grants: &[Grant]) -> Vec<LeaseId> {
    grants.iter().map(|grant| grant.id).collect()
}

impl World {
    fn caller(&self, number: u64) -> Caller {
        Caller {
            session: session(number),
            connection: 1,
            listens: !self.silent.contains(&session(number)),
            settling: self.settling,
            keep_alive_ms: KEEP_ALIVE_MS,
        }
    }

    fn try_call_as(&mut self, caller: &Caller, verb: Verb) -> Result<Reply, CallError> {
        let (dead, pushed, told) = (&self.dead, &mut self.pushed, &mut self.told);
        let refused = self.refuses_push;
        self.group.call(self.now_us, self.fresh, caller, &verb, &mut |session, _, news| {
            if refused {
                return Receivers::Refused;
            }
            if dead.contains(&session) {
                return Receivers::Nobody;
            }
            match news {
                News::Grants(grants) => pushed.push((session, grants)),
                news => told.push((session, news)),
            }
            Receivers::Somebody
        })
    }

    fn call(&mut self, number: u64, verb: Verb) -> Reply {
        let caller = self.caller(number);
        self.try_call_as(&caller, verb).expect("not stale")
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now_us += ms * 1_000;
    }

    fn acquire_all(&mut self, asks: Vec<Ask>) -> Vec<Acquired> {
        match self.call(asks[0].id.session.0, Verb::Acquire(asks)).answers {
            Answers::Acquire(answers) => answers,
            other => panic!("{other:?}"),
        }
    }

    fn acquire(&mut self, id: LeaseId, terms: Terms) -> Acquired {
        self.acquire_all(vec![ask(id, terms)]).remove(0)
    }

    fn try_acquire(&mut self, id: LeaseId, terms: Terms) -> Acquired {
        self.acquire_all(vec![Ask { wait: false, ..ask(id, terms) }]).remove(0)
    }

    /// As many leases of session 1 as the limit says, numbered from 1.
    fn fill(&mut self, limit: u32) -> Vec<Grant> {
        let asks = (1..=u64::from(limit)).map(|number| ask(id(1, number), terms(limit)));
        let answers = self.acquire_all(asks.collect());
        answers.iter().map(|answer| grant_in(answer).clone()).collect()
    }

    fn release(&mut self, by: u64, target: LeaseId) -> (bool, Reply) {
        let reply = self.call(by, Verb::Release(vec![Target::Lease(target)]));
        match &reply.answers {
            Answers::Release(released) => (released[0], reply),
            other => panic!("{other:?}"),
        }
    }

    fn renew(&mut self, extended: LeaseId, holder: Option<&str>) -> Renewed {
        let lease = Extend { id: extended, lease_ms: LEASE_MS, holder: holder.map(Into::into), passed: None };
        let renew = Renew { leases: vec![lease], waiters: Vec::new() };
        match self.call(extended.session.0, Verb::Renew(renew)).answers {
            Answers::Renew { mut leases, .. } => leases.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// A renewal that extends nothing: the look. The session's count in line, and the reply.
    fn look(&mut self, by: u64, waiters: Vec<LeaseId>) -> (u64, Vec<Waiting>, Reply) {
        let mut reply = self.call(by, Verb::Renew(Renew { leases: Vec::new(), waiters }));
        match std::mem::replace(&mut reply.answers, Answers::Clean(0)) {
            Answers::Renew { in_line, waiters, .. } => (in_line, waiters, reply),
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, waiter: LeaseId) -> Left {
        match self.call(waiter.session.0, Verb::Leave(vec![waiter])).answers {
            Answers::Leave { mut left, .. } => left.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn reconcile_one(&mut self, by: u64, item: ReconcileItem) -> Reconciled {
        match self.reconcile(by, vec![item]).answers {
            Answers::Reconcile { mut reconciled, .. } => reconciled.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn reconcile(&mut self, by: u64, items: Vec<ReconcileItem>) -> Reply {
        self.call(by, Verb::Reconcile { items, own_from: None })
    }

    fn clean(&mut self) -> (u64, Reply) {
        let reply = self.call(99, Verb::Clean);
        match reply.answers {
            Answers::Clean(reaped) => (reaped, reply),
            other => panic!("{other:?}"),
        }
    }

    fn inspect(&mut self, page: Page) -> Picture {
        match self.call(99, Verb::Inspect(page)).answers {
            Answers::Inspect(picture) => picture,
            other => panic!("{other:?}"),
        }
    }

    fn snapshot(&self) -> Snapshot {
        self.group.snapshot(self.now_us)
    }

    fn in_line(&self) -> Vec<LeaseId> {
        self.snapshot().waiters.iter().map(|waiter| waiter.id).collect()
    }

    fn slots_of(&self, lease: LeaseId) -> Vec<Slot> {
        let leases = self.snapshot().leases;
        leases.into_iter().find(|held| held.id == lease).map(|held| held.slots).unwrap_or_default()
    }

    /// Every grant pushed so far, in order; forgets them.
    fn take_pushed(&mut self) -> Vec<LeaseId> {
        self.pushed.drain(..).flat_map(|(_, grants)| ids(&grants)).collect()
    }
}
