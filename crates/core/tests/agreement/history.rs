//! Random histories: steps as proptest draws and shrinks them, made into calls by what has happened before.

use std::collections::BTreeMap;
use std::sync::Arc;

use concurrency_limit::lease::{Epoch, FencingToken, Identity, LeaseId, SessionId, Slot, Ticket};
use concurrency_limit::protocol::{
    Ask, Caller, Extend, Grant, Introduction, Join, JoinAsk, Keep, NoteAsk, Page, Passed, ReconcileItem,
    Renew, Target, Terms, Verb,
};
use proptest::prelude::*;

pub(crate) const SESSIONS: u64 = 4;

/// One step. What the numbers stand for depends on what there is to choose from.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) verb: u8,
    pub(crate) session: u64,
    pub(crate) connection: u64,
    pub(crate) listens: bool,
    pub(crate) settling: bool,
    pub(crate) wait_us: u64,
    /// For how long the group keeps who the session is, where it says so, in ms.
    pub(crate) introduces: Option<u64>,
    pub(crate) fates: [u8; SESSIONS as usize],
    pub(crate) items: Vec<Item>,
}

impl Step {
    /// Whether it keeps the state, or goes back to what was kept.
    pub(crate) fn is_about_the_state(&self) -> bool {
        matches!(self.verb, SAVE | GO_BACK)
    }

    /// What the session says of itself beside a call of this verb.
    pub(crate) fn introduction(&self, session: SessionId, verb: &Verb) -> Option<Introduction> {
        let keep_ms = self.introduces.filter(|_| !matches!(verb, Verb::Inspect(_) | Verb::Clean))?;
        let program = ["", "a b", "é"].get(keep_ms as usize % 4).copied();
        let identity = Identity::new(program.map(|_| "host"), session.0 as u32, program);
        Some(Introduction { identity: Arc::new(identity), keep_ms })
    }

    /// The same, by this session.
    pub(crate) fn by(&self, session: SessionId) -> Self {
        Self { session: session.0, ..self.clone() }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) fresh: bool,
    pub(crate) choice: usize,
    pub(crate) kind: u8,
    pub(crate) terms: Terms,
    pub(crate) wait: bool,
}

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

/// The verb of a step that keeps the present state for later.
pub(crate) const SAVE: u8 = 7;

/// The verb of a step that goes back to the state that was kept, as a replica does that is promoted without the last
/// writes, and a server that loads an old snapshot.
pub(crate) const GO_BACK: u8 = 8;

/// The verbs of notes.
const NOTE: u8 = 9;
const JOIN: u8 = 10;

/// Steps of all kinds in a small group.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let items = prop_oneof![3 => prop::collection::vec(item(0.8, terms()), 1..2), 2 => prop::collection::vec(item(0.8, terms()), 1..6)];
    prop::collection::vec(step(any_verb(), items.boxed()), 1..120)
}

/// Mostly what most calls are, alone and in batches: one limit, weight 1, no name.
pub(crate) fn plain_steps() -> impl Strategy<Value = Vec<Step>> {
    prop::sample::select(vec![1u32, 2, 6, 40]).prop_flat_map(|limit| {
        let plain = terms().prop_map(move |terms| Terms {
            limit,
            weight: 1,
            priority: 0,
            lease_ms: terms.lease_ms * 10,
            holder: None,
            ..terms
        });
        let odd = terms().prop_map(move |terms| Terms { limit: limit.max(terms.limit), ..terms });
        let item = item(0.8, prop_oneof![60 => plain, 1 => odd]).boxed();
        let items = prop_oneof![
            3 => prop::collection::vec(item.clone(), 1..2),
            1 => prop::collection::vec(item, 1..30),
        ];
        prop::collection::vec(step(any_verb(), items.boxed()), 1..120)
    })
}

/// A crowd on the same terms in a full group: batches join the line, batches of what is held go on to the first in it.
pub(crate) fn crowded_steps() -> impl Strategy<Value = Vec<Step>> {
    (prop::sample::select(vec![1u32, 3, 10]), terms()).prop_flat_map(|(limit, terms)| {
        let terms = Terms {
            limit,
            weight: 1,
            lease_ms: 60_000,
            claim_ms: 5_000,
            max_waiting: terms.max_waiting.map(|max| 4 * max),
            holder: None,
            ..terms
        };
        let items = prop::collection::vec(item(0.97, Just(terms)), 1..12);
        let verb = prop_oneof![5 => Just(0u8), 6 => Just(1), 2 => 2u8..9];
        prop::collection::vec(step(verb.boxed(), items.boxed()), 1..60)
    })
}

/// One limit, mostly, and sessions that ask for its note, one after the other.
pub(crate) fn noted_steps() -> impl Strategy<Value = Vec<Step>> {
    let terms = terms().prop_map(|terms| Terms {
        limit: if terms.limit == 8 { 8 } else { 3 },
        weight: 1,
        priority: 0,
        lease_ms: 10_000 * terms.lease_ms,
        holder: None,
        ..terms
    });
    let items = prop::collection::vec(item(0.9, terms), 1..3);
    let verb = prop_oneof![
        6 => Just(0u8), 5 => Just(1), 2 => Just(2), 1 => Just(3), 1 => Just(4), 9 => Just(NOTE), 3 => Just(JOIN)
    ];
    prop::collection::vec(step(verb.boxed(), items.boxed()), 1..120)
}

/// A small group whose state goes back again and again, while sessions keep what they were told.
pub(crate) fn backward_steps() -> impl Strategy<Value = Vec<Step>> {
    let terms = terms().prop_map(|terms| Terms {
        limit: 3.max(terms.limit),
        weight: 1,
        priority: 0,
        lease_ms: 10_000 * terms.lease_ms,
        max_waiting: None,
        ..terms
    });
    let items = prop::collection::vec(item(0.7, terms), 1..4);
    let verb = prop_oneof![
        6 => Just(0u8), 6 => Just(1), 3 => Just(2), 8 => Just(4), 3 => Just(SAVE), 3 => Just(GO_BACK)
    ];
    prop::collection::vec(step(verb.boxed(), items.boxed()), 1..80)
}

/// Every verb.
fn any_verb() -> BoxedStrategy<u8> {
    prop_oneof![6 => Just(0u8), 4 => Just(1), 3 => Just(2), 1 => Just(3), 3 => Just(4), 1 => Just(5), 1 => Just(6), 1 => Just(SAVE), 1 => Just(GO_BACK), 1 => Just(NOTE), 1 => Just(JOIN)]
        .boxed()
}

fn step(verb: BoxedStrategy<u8>, items: BoxedStrategy<Vec<Item>>) -> impl Strategy<Value = Step> {
    let wait = prop_oneof![4 => Just(0u64), 4 => 1u64..3_000, 6 => 1_000u64..900_000, 2 => 900_000u64..4_000_000, 1 => Just(61_000_000)];
    let fate = || prop_oneof![8 => Just(0u8), 2 => Just(1), 1 => Just(2)];
    (
        verb,
        0..SESSIONS,
        prop_oneof![5 => Just(2u64), 1 => Just(1), 1 => Just(3)],
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.05),
        (wait, prop::option::weighted(0.2, 1u64..5_000)),
        [fate(), fate(), fate(), fate()],
        items,
    )
        .prop_map(
            |(verb, session, connection, listens, settling, (wait_us, introduces), fates, items)| Step {
                verb,
                session,
                connection,
                listens,
                settling,
                wait_us,
                introduces,
                fates,
                items,
            },
        )
}

/// `plain`: how probably it's a new request, and one that waits.
fn item(plain: f64, terms: impl Strategy<Value = Terms>) -> impl Strategy<Value = Item> {
    (prop::bool::weighted(plain), any::<usize>(), any::<u8>(), terms, prop::bool::weighted(plain))
        .prop_map(|(fresh, choice, kind, terms, wait)| Item { fresh, choice, kind, terms, wait })
}

fn terms() -> impl Strategy<Value = Terms> {
    let limit = prop_oneof![4 => Just(3u32), 1 => Just(1), 1 => Just(5), 1 => Just(8)];
    let holder = prop_oneof![6 => Just(None), 1 => Just(Some("a")), 1 => Just(Some(""))];
    let label = prop_oneof![3 => Just(None), 1 => Just(Some("é 1 2\0"))];
    let max = prop_oneof![4 => Just(None), 1 => (0u64..4).prop_map(Some)];
    (
        limit,
        1u32..4,
        prop_oneof![4 => Just(0i8), 1 => -10i8..=10],
        500u64..5_000,
        0u64..2_000,
        max,
        holder,
        label,
    )
        .prop_map(|(limit, weight, priority, lease_ms, claim_ms, max_waiting, holder, label)| Terms {
            limit,
            weight: if weight == 3 { limit.min(3) } else { 1 },
            priority,
            lease_ms,
            claim_ms: claim_ms.min(lease_ms),
            max_waiting,
            holder: holder.map(Arc::from),
            label: label.map(Arc::from),
        })
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
