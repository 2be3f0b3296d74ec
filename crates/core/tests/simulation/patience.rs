//! What may last only so long while nothing is wrong: a lease that nobody has, and room that nobody is given.
//!
//! Looks at the groups and the processes now and then. The bounds are those of the looks, the claim windows and the
//! settling time together, with something to spare.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use concurrency_limit::group::{LeaseSnapshot, Snapshot};
use concurrency_limit::lease::{Key, LeaseId};
use concurrency_limit::moment::Moment;

use crate::faults::Fault;
use crate::process::Process;
use crate::world::World;

/// What a call may take, in ms.
const CALL: u64 = 50;

const PATIENCE: Duration = Duration::from_secs(5);

/// After this long without a sign of life a session's waiters are out of the line (R19).
const KEEP_ALIVE: Duration = Duration::from_millis(6_500);

#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// When a lease was first seen, and when last in somebody's hands.
    leases: HashMap<LeaseId, (Moment, Moment)>,
    /// The first in line of each key that has room for it, since when.
    heads: HashMap<Key, (LeaseId, Moment)>,
    left_to_end: HashSet<LeaseId>,
}

impl Patience {
    /// Its holder has gone without giving it back, on purpose.
    pub(crate) fn leave_to_end(&mut self, id: LeaseId) {
        self.left_to_end.insert(id);
    }
}

impl World {
    pub(crate) fn inspect(&mut self) {
        let now_us = self.server_us();
        let pictures: Vec<(Key, Snapshot)> =
            self.server.groups.iter().map(|(key, group)| (key.clone(), group.snapshot(now_us))).collect();
        for process in self.processes.iter().filter(|process| process.awake()) {
            process.must_have_answered(self.now);
        }
        let lives = |lease: &LeaseSnapshot| lease.end_at_ms > now_us / 1_000;
        let live = pictures.iter().flat_map(|(_, picture)| &picture.leases).filter(|lease| lives(lease));
        let live: HashSet<LeaseId> = live.map(|lease| lease.id).collect();
        self.patience.leases.retain(|id, _| live.contains(id));
        self.must_end_what_is_not_renewed(&pictures);
        self.judge_keeping();
        for (key, mut picture) in pictures {
            picture.leases.retain(lives);
            for lease in &picture.leases {
                self.must_have_a_holder(lease);
            }
            self.must_serve_the_first(key, &picture);
        }
    }

    fn process_of(&self, id: LeaseId) -> Option<&Process> {
        self.processes.iter().find(|process| process.id() == id.session)
    }

    fn steady(&self, process: &Process) -> bool {
        let since = process.steady_since.max(self.server.steady_since);
        process.awake() && process.link.is_there() && self.server.is_steady() && since + PATIENCE < self.now
    }

    /// No ghost holds: a lease of a living process is in somebody's hands there, and a dead one is granted nothing.
    fn must_have_a_holder(&mut self, lease: &LeaseSnapshot) {
        let (id, now) = (lease.id, self.now);
        let (seen, known) = *self.patience.leases.entry(id).or_insert((now, now));
        let Some(process) = self.process_of(id) else { return };
        if !process.alive {
            // A token is the server's clock at the grant; the lease may be seen only much later.
            let last = self.server_us_at(process.died_at + KEEP_ALIVE);
            let late = last < lease.token.0 && self.server.steady_since < process.died_at;
            assert!(!late, "{id} was granted to a process long dead, at {seen:?}: {:?}", process.died_at);
            return;
        }
        let accounted_for =
            self.patience.left_to_end.contains(&id) || process.held.values().any(|(_, held)| *held == id);
        if accounted_for {
            self.patience.leases.insert(id, (seen, now));
            return;
        }
        let ghost = known + PATIENCE < now && self.steady(process);
        assert!(!ghost, "a ghost holds: {id}, unknown since {known:?}, {:#?}", process.sessions);
    }

    /// What isn't renewed ends, by the server's clock, too; unless a call was held up for long on its way.
    fn must_end_what_is_not_renewed(&self, pictures: &[(Key, Snapshot)]) {
        if self.faults.has(Fault::Stalls)
            || self.faults.has(Fault::Suspends)
            || self.faults.has(Fault::PartCuts)
        {
            return;
        }
        for lease in pictures.iter().flat_map(|(_, picture)| &picture.leases) {
            let last_at = self.audit.last_at(lease.id);
            let late = last_at.filter(|last_at| self.server_us_at(*last_at) / 1_000 + CALL < lease.end_at_ms);
            assert!(late.is_none(), "extended beyond {late:?}: {lease:?}");
        }
    }

    /// No wake-up is lost: whoever is first and fits is served.
    fn must_serve_the_first(&mut self, key: Key, picture: &Snapshot) {
        let held: usize = picture.leases.iter().map(|lease| lease.slots.len()).sum();
        let with_room = picture.waiters.iter().filter(|waiter| waiter.limit as usize > held);
        let first = with_room.min_by_key(|waiter| (-waiter.priority, waiter.ticket));
        let first = first.filter(|waiter| held + waiter.weight as usize <= waiter.limit as usize);
        let Some(first) = first else {
            self.patience.heads.remove(&key);
            return;
        };
        let (id, since) = *self
            .patience
            .heads
            .entry(key)
            .and_modify(|head| {
                if head.0 != first.id {
                    *head = (first.id, self.now);
                }
            })
            .or_insert((first.id, self.now));
        if since + PATIENCE < self.now
            && let Some(process) = self.process_of(id)
        {
            assert!(
                !self.steady(process),
                "a lost wake-up: {id} fits since {since:?}, {picture:#?} {:#?}",
                process.sessions
            );
        }
    }
}
