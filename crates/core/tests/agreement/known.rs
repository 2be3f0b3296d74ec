//! What the sessions of a history know, and the calls that its steps become by that.

use std::collections::BTreeMap;
use std::sync::Arc;

use concurrency_limit::lease::{Epoch, FencingToken, LeaseId, SessionId, Slot, Ticket};
use concurrency_limit::protocol::{
    Ask, Caller, Extend, Grant, Join, JoinAsk, Keep, NoteAsk, Page, Passed, ReconcileItem, Renew, Target,
    Terms, Verb,
};

use crate::history::{Item, JOIN, NOTE, Step};

/// What the sessions know, from which the next call is made.
#[derive(Debug, Default)]
pub(crate) struct Known {
    next_number: u64,
    asked: Vec<(LeaseId, Arc<Terms>)>,
    /// What they were last told of their leases, and under which epoch.
    pub(crate) grants: BTreeMap<LeaseId, (Epoch, Grant)>,
    pub(crate) tickets: BTreeMap<LeaseId, Ticket>,
    /// What is held now, by the rules.
    pub(crate) held: Vec<LeaseId>,
    pub(crate) now_ms: u64,
    /// The notes that sessions believe in: their numbers and limits.
    pub(crate) notes: BTreeMap<SessionId, (FencingToken, u32)>,
    /// The last ticket that ended one.
    pub(crate) wanted: Ticket,
    /// The epoch that was last stated.
    pub(crate) epoch: u64,
}

impl Known {
    pub(crate) fn caller(&self, step: &Step) -> Caller {
        Caller {
            session: SessionId(step.session),
            connection: step.connection,
            listens: step.listens,
            settling: step.settling,
            keep_alive_ms: 3_000,
        }
    }

    pub(crate) fn verb(&mut self, step: &Step) -> Verb {
        let items = &step.items;
        match step.verb {
            0 => Verb::Acquire(items.iter().map(|item| self.ask(step, item)).collect()),
            1 => Verb::Release(self.targets(items)),
            2 => Verb::Renew(self.renew(items)),
            3 => Verb::Leave(items.iter().map(|item| self.any(item)).collect()),
            4 => Verb::Reconcile {
                items: match items[0].kind {
                    0..16 => Vec::new(),
                    _ => items.iter().map(|item| self.reconcile_item(step, item)).collect(),
                },
                own_from: [Some(0), Some(1), Some(3), None][items[0].choice / 11 % 4],
            },
            5 => Verb::Inspect(Page::default()),
            NOTE => Verb::Note(self.note(step)),
            JOIN => Verb::Join(Join {
                number: self.note_of(step),
                items: items.iter().map(|item| self.join(step, item)).collect(),
            }),
            _ => Verb::Clean,
        }
    }

    fn note_of(&self, step: &Step) -> FencingToken {
        self.notes.get(&SessionId(step.session)).map_or(FencingToken(7), |(number, _)| *number)
    }

    /// Mostly of the note that the session has, on its limit.
    fn note(&self, step: &Step) -> NoteAsk {
        let (item, known) = (&step.items[0], self.notes.get(&SessionId(step.session)));
        let last = self.asked.last().map_or(3, |(_, terms)| terms.limit);
        let keeps = item.choice % 3 > 0;
        match known.filter(|_| item.kind % 8 > 1) {
            Some((number, limit)) => {
                let limit = if item.kind % 16 == 2 { last } else { *limit };
                NoteAsk { limit, number: Some(*number), keeps }
            }
            None => {
                let limit = if item.kind % 4 == 0 { item.terms.limit } else { last };
                NoteAsk { limit, number: None, keeps }
            }
        }
    }

    /// With a ticket around those that waited when the note ended.
    fn join(&mut self, step: &Step, item: &Item) -> JoinAsk {
        let Ask { id, terms, .. } = self.ask(step, item);
        JoinAsk { id, terms, ticket: Ticket((self.wanted.0 + 3).saturating_sub(u64::from(item.kind))) }
    }

    fn ask(&mut self, step: &Step, item: &Item) -> Ask {
        let own: Vec<_> = self.asked.iter().filter(|(id, _)| id.session.0 == step.session).cloned().collect();
        if !item.fresh && !own.is_empty() {
            let (id, terms) = own[item.choice % own.len()].clone();
            return Ask { id, terms, wait: item.wait };
        }
        self.next_number += 1;
        let id = LeaseId { session: SessionId(step.session), number: self.next_number };
        let terms = Arc::new(item.terms.clone());
        self.asked.push((id, terms.clone()));
        Ask { id, terms, wait: item.wait }
    }

    /// Mostly one of the latest, where something may be going on.
    fn one(&self, item: &Item) -> Option<(LeaseId, Arc<Terms>)> {
        let most = if item.kind.is_multiple_of(8) { self.asked.len() } else { self.asked.len().min(12) };
        let recent = &self.asked[self.asked.len() - most..];
        (!recent.is_empty()).then(|| recent[item.choice % recent.len()].clone())
    }

    fn any(&self, item: &Item) -> LeaseId {
        self.one(item).map_or(LeaseId { session: SessionId(9), number: 1 }, |(id, _)| id)
    }

    /// Some of what is held, or whatever.
    fn targets(&self, items: &[Item]) -> Vec<Target> {
        let Some(first) = items.first().filter(|item| item.kind % 4 > 0 && !self.held.is_empty()) else {
            return items.iter().map(|item| self.target(item)).collect();
        };
        let held = self.held.iter().cycle().skip(first.choice % self.held.len());
        held.take(items.len().min(self.held.len())).map(|id| Target::Lease(*id)).collect()
    }

    fn target(&self, item: &Item) -> Target {
        match &item.terms.holder {
            Some(name) if item.kind.is_multiple_of(2) => Target::Holder(name.clone()),
            _ if item.kind % 16 == 5 => {
                let id = self.any(item);
                let token = self.grants.get(&id).map_or(FencingToken(9), |(_, grant)| grant.token);
                Target::Grant(id, token)
            }
            _ => Target::Lease(self.any(item)),
        }
    }

    fn renew(&self, items: &[Item]) -> Renew {
        let mut renew = Renew::default();
        for item in items {
            match (item.kind % 4, self.one(item)) {
                (0, _) => renew.waiters.push(self.any(item)),
                (_, Some((id, terms))) => {
                    let token = self.grants.get(&id).map_or(1, |(_, grant)| grant.token.0);
                    let passes = terms.holder.is_none() && item.kind % 8 > 5;
                    let passed = passes.then(|| Passed {
                        token: FencingToken(token + u64::from(item.kind) / 8),
                        label: item.terms.label.clone(),
                    });
                    let (lease_ms, holder) = (terms.lease_ms, terms.holder.clone());
                    renew.leases.push(Extend { id, lease_ms, holder, passed });
                }
                _ => {}
            }
        }
        renew
    }

    fn reconcile_item(&self, step: &Step, item: &Item) -> ReconcileItem {
        let own = |of: &dyn Fn(&LeaseId) -> bool| -> Vec<_> {
            self.asked.iter().filter(|(id, _)| id.session.0 == step.session && of(id)).cloned().collect()
        };
        let (asked, granted) = (own(&|_| true), own(&|id| self.grants.contains_key(id)));
        let recent = &granted[granted.len().saturating_sub(6)..];
        match (asked.get(item.choice % asked.len().max(1)).cloned(), item.kind % 8) {
            (None, _) => ReconcileItem::Drop(self.any(item)),
            (Some((id, _)), 0) => ReconcileItem::Drop(id),
            (Some((id, terms)), 1) => ReconcileItem::Want { id, terms, ticket: None },
            (Some((id, terms)), 2) => {
                ReconcileItem::Want { id, terms, ticket: self.tickets.get(&id).copied() }
            }
            (Some((id, terms)), 3) => self.keep(item, id, terms),
            (Some(any), _) => {
                let (id, terms) = recent.get(item.choice % recent.len().max(1)).cloned().unwrap_or(any);
                self.keep(item, id, terms)
            }
        }
    }

    fn keep(&self, item: &Item, id: LeaseId, terms: Arc<Terms>) -> ReconcileItem {
        let (known, lease_ms) = (self.grants.get(&id), terms.lease_ms);
        let first = (item.choice / 7 % 12) as Slot + 1;
        let slots = match known {
            Some((_, grant)) => grant.slots.clone(),
            None => (first..first + terms.weight).collect(),
        };
        // One that no state shows was granted before all others, or after them.
        let last = self.grants.values().map(|(_, grant)| grant.token.0).max().unwrap_or_default();
        let unknown = FencingToken(if item.choice.is_multiple_of(2) { 5 } else { last + 1 });
        let token = known.map_or(unknown, |(_, grant)| grant.token);
        let current = FencingToken(token.0 + [0, 0, 0, 2, 40][item.choice / 5 % 5]);
        let epoch = known.map_or(Epoch(self.epoch), |(epoch, _)| *epoch);
        ReconcileItem::Keep(Keep {
            id,
            terms,
            epoch: if (item.kind / 8).is_multiple_of(4) { Epoch(77) } else { epoch },
            token,
            current,
            slots,
            end_at_ms: known.map_or(self.now_ms + 2_000, |(_, grant)| grant.end_at_ms),
            extend_ms: item.wait.then_some(lease_ms),
        })
    }
}
