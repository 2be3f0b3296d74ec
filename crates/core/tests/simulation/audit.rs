//! The auditor: who is inside, by the truth of virtual time, and what must never be.
//!
//! It judges what holders believe, not what the server says: that is the ledger's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use concurrency_limit::lease::{FencingToken, Key, LeaseId, Slot};
use concurrency_limit::moment::Moment;
use concurrency_limit::session::Tag;

/// A process and one of its requests.
pub(crate) type Who = (usize, Tag);

/// How late the news of a loss may be on a process that is awake.
const NEWS: Duration = Duration::from_millis(2);

/// A lease in somebody's hands.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    pub(crate) id: LeaseId,
    pub(crate) key: Key,
    pub(crate) limit: u32,
    pub(crate) holder: Option<Arc<str>>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) token: FencingToken,
    /// Until when its holder believes in it.
    pub(crate) deadline: Moment,
    /// Until when at the latest it may last, where that is bounded.
    pub(crate) last_at: Option<Moment>,
    /// Granted by its process's fallback.
    pub(crate) stood_in: bool,
}

impl Inside {
    fn shares_with(&self, other: &Self) -> bool {
        self.key == other.key && self.slots.iter().any(|slot| other.slots.contains(slot))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Audit {
    inside: HashMap<Who, Inside>,
    tokens: HashMap<(Key, Slot), FencingToken>,
    /// Leases and names that an operator releases behind their holders' backs: that is the operator's to answer for.
    forced: HashSet<LeaseId>,
    forced_names: HashSet<Arc<str>>,
    /// When the server last became an earlier one, by its clock: what was granted before may be unknown to it. When
    /// leases were confirmed since.
    went_back_us: u64,
    confirmed: HashMap<LeaseId, u64>,
    /// Which token has a name.
    names: HashMap<(Key, Arc<str>), FencingToken>,
    pub(crate) granted: u64,
    pub(crate) granted_locally: u64,
}

impl Audit {
    /// A grant was delivered: nobody who still believes in a lease may have its slots, and there must have been room.
    pub(crate) fn enter(&mut self, now: Moment, who: Who, lease: Inside, awake: impl Fn(usize) -> bool) {
        assert!(now < lease.deadline, "delivered when it was over already: {lease:?} at {now:?}");
        if lease.stood_in {
            return self.enter_locally(now, who, lease);
        }
        // Released behind its process's back: it may pass the slot on until it hears of that.
        let is_released = self.forced.contains(&lease.id);
        if is_released || self.is_taken_over(&lease) || self.is_gone_by_force(&lease) {
            return;
        }
        if self.is_forgotten(&lease, u64::MAX) {
            self.inside.insert(who, lease);
            return;
        }
        for (other, untold) in self.inside.iter().filter(|(_, other)| other.deadline + NEWS < now) {
            let told = self.is_forgotten(untold, u64::MAX) || !awake(other.0) || !untold.shares_with(&lease);
            assert!(told, "{other:?} was never told that {untold:?} was lost, and {who:?} has {lease:?}");
        }
        self.inside.retain(|_, other| now < other.deadline);
        let mut before = lease.slots.len();
        for (holder, other) in self.inside.iter().filter(|(_, other)| other.key == lease.key) {
            if self.is_forced(other) || self.is_forgotten(other, lease.token.0) || other.stood_in {
                continue;
            }
            assert!(
                !other.shares_with(&lease),
                "a slot is held by {holder:?} and {who:?}: {other:?} / {lease:?}"
            );
            // Who was granted later, with a larger limit, isn't this request's concern (R1).
            before += if other.token < lease.token { other.slots.len() } else { 0 };
        }
        assert!(before <= lease.limit as usize, "{before} inside at limit {}: {lease:?}", lease.limit);
        assert!(lease.slots.iter().all(|slot| *slot <= lease.limit), "a slot above the limit: {lease:?}");
        for slot in &lease.slots {
            let last = self.tokens.entry((lease.key.clone(), *slot)).or_default();
            assert!(*last < lease.token, "token {:?} after {last:?}: {lease:?}", lease.token);
            *last = lease.token;
        }
        self.granted += 1;
        self.inside.insert(who, lease);
    }

    /// The name has gone to somebody else: the former owner hears of it with its next renewal (R16), and until then
    /// only believes in what isn't its own any more.
    pub(crate) fn take_over(&mut self, key: &Key, name: &Arc<str>, token: FencingToken) {
        let last = self.names.entry((key.clone(), Arc::clone(name))).or_default();
        *last = token.max(*last);
        let former =
            |lease: &Inside| lease.key == *key && lease.holder.as_ref() == Some(name) && lease.token < token;
        self.inside.retain(|_, lease| !former(lease));
    }

    /// A fallback's grant: in its process nobody is beside the limit, whoever granted. (Other processes count for
    /// themselves meanwhile, and those let in run on when the server is back.)
    fn enter_locally(&mut self, now: Moment, who: Who, lease: Inside) {
        let former =
            |other: &Inside| other.key == lease.key && other.holder.is_some() && other.holder == lease.holder;
        self.inside.retain(|other, inside| now < inside.deadline && !(other.0 == who.0 && former(inside)));
        let here = self.inside.iter().filter(|(other, inside)| other.0 == who.0 && inside.key == lease.key);
        // Who was granted later, with a larger limit, isn't this request's concern (R1).
        let earlier = |inside: &&Inside| !inside.stood_in || inside.token < lease.token;
        // The names of those inside may have been acquired since by requests that were given up.
        let is_its_own = |inside: &&Inside| inside.holder.is_none();
        let here: Vec<&Inside> = here.map(|(_, inside)| inside).filter(earlier).filter(is_its_own).collect();
        let all = lease.slots.len() + here.iter().map(|inside| inside.slots.len()).sum::<usize>();
        // A name may only have been taken over from somebody who let go of it.
        assert!(
            lease.holder.is_some() || all <= lease.limit as usize,
            "{all} in {who:?}'s process, {lease:?} beside {here:?}"
        );
        self.granted_locally += 1;
        self.inside.insert(who, lease);
    }

    fn is_taken_over(&self, lease: &Inside) -> bool {
        let name = lease.holder.as_ref();
        name.and_then(|name| self.names.get(&(lease.key.clone(), Arc::clone(name))))
            .is_some_and(|token| lease.token < *token)
    }

    /// An operator released it before its holder was told, and one of its slots was granted again.
    fn is_gone_by_force(&self, lease: &Inside) -> bool {
        let last = |slot: &Slot| self.tokens.get(&(lease.key.clone(), *slot));
        self.is_forced(lease) && lease.slots.iter().filter_map(last).any(|last| *last > lease.token)
    }

    /// The server may not have known of it at this moment, since it went back: until its holder asks, newcomers may get
    /// in beside it.
    fn is_forgotten(&self, lease: &Inside, at_us: u64) -> bool {
        let confirmed = self.confirmed.get(&lease.id).is_some_and(|confirmed_us| *confirmed_us < at_us);
        let before = lease.token.0 < self.went_back_us && !confirmed;
        // A waiter that only the old state still had may have taken a name over before it was given back.
        let name_went = lease.holder.is_some() && self.went_back_us > 0;
        !lease.stood_in && (before || name_went)
    }

    pub(crate) fn go_back(&mut self, now_us: u64) {
        self.went_back_us = now_us;
        self.confirmed.clear();
    }

    fn is_forced(&self, lease: &Inside) -> bool {
        self.forced.contains(&lease.id)
            || lease.holder.as_ref().is_some_and(|name| self.forced_names.contains(name))
    }

    /// A renewal was confirmed, over a connection that was made at the first of these moments.
    pub(crate) fn extend(
        &mut self,
        (linked_us, now_us): (u64, u64),
        process: usize,
        tag: Tag,
        deadline: Moment,
    ) {
        if let Some(lease) = self.inside.get_mut(&(process, tag)) {
            lease.deadline = deadline;
            // What comes over an older connection, the server said before it went back.
            if linked_us > self.went_back_us {
                self.confirmed.insert(lease.id, now_us);
            }
            let late = lease.last_at.filter(|last_at| deadline > *last_at);
            assert!(late.is_none(), "extended beyond {late:?}: {lease:?}");
        }
    }

    /// Its holder doesn't believe in it any more.
    pub(crate) fn leave(&mut self, process: usize, tag: Tag) {
        self.inside.remove(&(process, tag));
    }

    /// The process is no more.
    pub(crate) fn bury(&mut self, process: usize) {
        self.inside.retain(|(holder, _), _| *holder != process);
    }

    /// Until when this lease may last at the latest, if somebody has it and that is bounded.
    pub(crate) fn last_at(&self, id: LeaseId) -> Option<Moment> {
        self.inside.values().find(|lease| lease.id == id)?.last_at
    }

    /// One of those inside, for an operator to pick on.
    pub(crate) fn anybody(&self, chance: u64) -> Option<(Key, LeaseId)> {
        let mut all: Vec<_> = self.inside.values().map(|lease| (lease.key.clone(), lease.id)).collect();
        all.sort_unstable();
        let many = all.len() as u64;
        (many > 0).then(|| all.swap_remove((chance % many) as usize))
    }

    pub(crate) fn force(&mut self, id: LeaseId) {
        self.forced.insert(id);
    }

    pub(crate) fn force_name(&mut self, name: &Arc<str>) {
        self.forced_names.insert(Arc::clone(name));
    }
}
