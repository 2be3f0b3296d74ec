//! Random histories of one group: sessions that listen, don't listen, die and come back; mixed limits, weights,
//! priorities and names; time that jumps; state that is lost. After each call the `claims` must hold.

#[path = "group_properties/claims.rs"]
mod claims;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use concurrency_limit::group::{Group, Receivers, Snapshot};
use concurrency_limit::lease::{Epoch, FencingToken, LeaseId, SessionId, Ticket};
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, Caller, Extend, Grant, Keep, Left, News, NoteAsk, Noted, ReconcileItem,
    Reconciled, Renew, Reply, Target, Terms, Verb, Waiting,
};
use proptest::prelude::*;

use claims::*;

const SESSIONS: u64 = 5;
const KEEP_ALIVE_MS: u64 = 4_000;
const CLAIM_MS: u64 = 1_000;
const NAMES: [&str; 2] = ["x", "y"];

/// A step in small numbers, so that a failing history shrinks well.
type Step = (u8, u8, Vec<(u8, u8, u8)>);

/// What a session remembers of a request.
#[derive(Clone)]
struct Known {
    terms: Arc<Terms>,
    grant: Option<(Epoch, Grant)>,
    ticket: Option<Ticket>,
}

struct History {
    group: Group,
    now_us: u64,
    epochs: u64,
    /// The state at some time before, which may come back.
    earlier: Group,
    made: u64,
    dead: HashSet<SessionId>,
    known: BTreeMap<LeaseId, Known>,
    published: Vec<Grant>,
    notes: HashMap<SessionId, FencingToken>,
}

impl History {
    fn new() -> Self {
        Self {
            group: Group::default(),
            now_us: 1_700_000_000_000_000,
            epochs: 1,
            earlier: Group::default(),
            made: 0,
            dead: HashSet::new(),
            known: BTreeMap::new(),
            published: Vec::new(),
            notes: HashMap::new(),
        }
    }

    fn now_ms(&self) -> u64 {
        self.now_us / 1_000
    }

    fn step(&mut self, (kind, who, items): &Step) {
        let session = SessionId(u64::from(*who) % SESSIONS);
        let settling = *who > 240;
        let own =
            |history: &Self| items.iter().filter_map(|item| history.pick(item.0, Some(session))).collect();
        let verb = match kind % 16 {
            0..=4 => Verb::Acquire(items.iter().map(|item| self.ask(session, *item)).collect()),
            5..=7 => Verb::Release(items.iter().map(|item| self.target(*item)).collect()),
            8 => Verb::Renew(self.renewal(own(self))),
            9 => Verb::Leave(own(self)),
            10 => self.reconciliation(session, items),
            11 => Verb::Clean,
            12 => {
                self.dead.insert(session);
                return;
            }
            13 => {
                self.dead.remove(&session);
                return;
            }
            14 => {
                self.now_us += [1, 700, 999_000, 3_000_000, 5_000_000, 30_000_000][items[0].0 as usize % 6];
                return;
            }
            _ if items[0].0 > 200 => {
                self.group = Group::default();
                // Tokens may run ahead of the clock by as many grants as one µs saw; a loss takes longer (R15).
                self.now_us += 1_000;
                return;
            }
            _ if items[0].0 > 150 => {
                self.earlier = self.group.clone();
                return;
            }
            _ if items[0].0 > 100 => {
                self.group = self.earlier.clone();
                self.now_us += 1_000;
                return;
            }
            _ if items[0].0 > 30 => Verb::Note(NoteAsk {
                limit: [2, 3, 5, 8][items[0].1 as usize % 4],
                number: self.notes.get(&session).copied().filter(|_| items[0].2 > 100),
                keeps: items[0].2 % 2 == 0,
            }),
            _ => Verb::Renew(Renew::default()),
        };
        self.call(session, settling, verb);
    }

    fn ask(&mut self, session: SessionId, (a, b, c): (u8, u8, u8)) -> Ask {
        let wait = !c.is_multiple_of(7);
        if let Some(id) = self.pick(c, Some(session)).filter(|_| a.is_multiple_of(4)) {
            return Ask { id, terms: self.known[&id].terms.clone(), wait };
        }
        let limit = [2, 3, 5, 8][a as usize % 4];
        let terms = Arc::new(Terms {
            limit,
            weight: [1, 1, 2, 3][b as usize % 4].min(limit),
            priority: [0, 0, 0, 3][a as usize / 4 % 4],
            lease_ms: [1_000, 10_000, 60_000][b as usize / 4 % 3],
            claim_ms: CLAIM_MS,
            max_waiting: c.is_multiple_of(8).then_some(3),
            holder: c.is_multiple_of(5).then(|| NAMES[c as usize / 5 % 2].into()),
            label: None,
        });
        self.made += 1;
        let id = LeaseId { session, number: self.made };
        self.known.insert(id, Known { terms: terms.clone(), grant: None, ticket: None });
        Ask { id, terms, wait }
    }

    /// Some known id, of this session or of any; a young one, for the old ones are mostly gone.
    fn pick(&self, number: u8, session: Option<SessionId>) -> Option<LeaseId> {
        let known = self.known.keys().filter(|id| session.is_none_or(|session| id.session == session));
        let mut ids: Vec<LeaseId> = known.copied().collect();
        ids.sort_by_key(|id| std::cmp::Reverse(id.number));
        ids.get(number as usize % ids.len().clamp(1, 12)).copied()
    }

    fn target(&self, (a, b, _): (u8, u8, u8)) -> Target {
        match self.pick(a, None) {
            Some(id) if b > 20 => Target::Lease(id),
            _ => Target::Holder(NAMES[a as usize % 2].into()),
        }
    }

    fn renewal(&self, waiters: Vec<LeaseId>) -> Renew {
        let extend = |id: &LeaseId| {
            let terms = &self.known[id].terms;
            Extend { id: *id, lease_ms: terms.lease_ms, holder: terms.holder.clone(), passed: None }
        };
        Renew { leases: waiters.iter().map(extend).collect(), waiters }
    }

    fn unclear(&self, session: SessionId, (a, b, _): (u8, u8, u8)) -> Option<ReconcileItem> {
        let id = self.pick(a, Some(session))?;
        let Known { terms, grant, ticket } = self.known[&id].clone();
        Some(match (b % 5, grant) {
            (0, _) => ReconcileItem::Drop(id),
            (_, None) => ReconcileItem::Want { id, terms, ticket },
            (_, Some((epoch, Grant { slots, token, end_at_ms, .. }))) => {
                let extend_ms = (!b.is_multiple_of(3)).then_some(terms.lease_ms);
                ReconcileItem::Keep(Keep {
                    id,
                    terms,
                    epoch,
                    token,
                    current: token,
                    slots,
                    end_at_ms,
                    extend_ms,
                })
            }
        })
    }

    fn reconciliation(&self, session: SessionId, items: &[(u8, u8, u8)]) -> Verb {
        Verb::Reconcile {
            items: items.iter().filter_map(|item| self.unclear(session, *item)).collect(),
            own_from: items[0].2.is_multiple_of(2).then_some(0),
        }
    }

    fn call(&mut self, session: SessionId, settling: bool, verb: Verb) {
        let listens = session.0 % 2 == 1;
        let caller = Caller { session, connection: 1, listens, settling, keep_alive_ms: KEEP_ALIVE_MS };
        let before = self.group.snapshot(self.now_us);
        let (dead, published) = (&self.dead, &mut self.published);
        self.epochs += 1;
        let reply = self.group.call(self.now_us, Epoch(self.epochs), &caller, &verb, &mut |to, _, news| {
            let gone = matches!(news, News::Gone(_));
            assert!(to != session && (gone || to.0 % 2 == 1), "only others that listen are told");
            if dead.contains(&to) {
                return Receivers::Nobody;
            }
            published.extend_from_slice(news.grants());
            Receivers::Somebody
        });
        let reply = reply.expect("all calls have one connection number");
        let after = self.group.snapshot(self.now_us);
        state_is_sound(&after);
        a_note_is_for_who_is_alone(&after);
        if let Answers::Note(Noted::Sole { number, .. }) = reply.answers {
            self.notes.insert(session, number);
        }
        if before.epoch == after.epoch {
            numbers_grew(&before, &after, &verb);
            let granted: Vec<_> = granted(&before, &after, &verb).collect();
            admissions_kept_the_limits(&granted, &after);
            nobody_was_overtaken(&granted, &before, &after);
        }
        if !settling && !reply.again && !matches!(verb, Verb::Note(_)) {
            nobody_who_fits_was_left(&after, self.now_ms());
        }
        grants_are_told_where_they_belong(session, &reply, &self.published);
        self.learn(&before, &after, &verb, &reply);
        self.published.clear();
    }

    /// What the sessions learn from a call.
    fn learn(&mut self, before: &Snapshot, after: &Snapshot, verb: &Verb, reply: &Reply) {
        let mut grants = [&self.published[..], &reply.handed].concat();
        let mut tickets = Vec::new();
        match (verb, &reply.answers) {
            (Verb::Acquire(asks), Answers::Acquire(answers)) => {
                for (ask, answer) in asks.iter().zip(answers) {
                    asking_again_changes_nothing(before, ask, answer, self.now_ms());
                    match answer {
                        Acquired::Granted(grant) => grants.push(grant.clone()),
                        Acquired::Queued { ticket, .. } => tickets.push((ask.id, *ticket)),
                        _ => {}
                    }
                }
            }
            (_, Answers::Renew { waiters, .. }) => {
                grants.extend(waiters.iter().filter_map(|waiter| match waiter {
                    Waiting::Granted(grant) => Some(grant.clone()),
                    _ => None,
                }));
            }
            (_, Answers::Leave { left, .. }) => {
                grants.extend(left.iter().filter_map(|left| match left {
                    Left::Granted(grant) => Some(grant.clone()),
                    Left::Left => None,
                }));
            }
            (Verb::Reconcile { items, .. }, Answers::Reconcile { reconciled, .. }) => {
                for (item, reconciled) in items.iter().zip(reconciled) {
                    match (item, reconciled) {
                        (_, Reconciled::Held(grant)) => grants.push(grant.clone()),
                        (ReconcileItem::Want { id, .. }, Reconciled::InLine { ticket }) => {
                            tickets.push((*id, *ticket))
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        for (id, ticket) in tickets {
            self.known.get_mut(&id).expect("asked for").ticket = Some(ticket);
        }
        for grant in grants {
            let known = self.known.get_mut(&grant.id).expect("only what was asked for is granted");
            known.grant = after.epoch.map(|epoch| (epoch, grant));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_rules(
        steps in prop::collection::vec(
            (any::<u8>(), any::<u8>(), prop::collection::vec(any::<(u8, u8, u8)>(), 1..5)),
            1..300,
        )
    ) {
        let mut history = History::new();
        for step in &steps {
            history.step(step);
        }
    }
}
