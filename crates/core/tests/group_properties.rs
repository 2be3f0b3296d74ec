//! Random histories of one group: sessions that listen, don't listen, die and come back; mixed limits, weights,
//! priorities and names; time that jumps; state that is lost. After each call the claims below must hold.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use concurrency_limit::group::{Group, LeaseSnapshot, Receivers, Snapshot, WaiterSnapshot};
use concurrency_limit::lease::{Epoch, FencingToken, LeaseId, SessionId, Ticket};
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, Caller, Extend, Grant, Keep, Left, News, NoteAsk, Noted, ReconcileItem,
    Reconciled, Renew, Reply, Target, Terms, Verb, Waiting,
};
use proptest::prelude::*;

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

/// No slot twice, none above its lease's limit; held and counts right; one lease a name; nobody holds and waits.
fn state_is_sound(after: &Snapshot) {
    let (mut slots, mut names, mut tokens) = (HashSet::new(), HashSet::new(), HashSet::new());
    for lease in &after.leases {
        assert!(lease.slots.is_sorted_by(|a, b| a < b) && !lease.slots.is_empty());
        for slot in &lease.slots {
            assert!(slots.insert(*slot), "slot {slot} twice");
            assert!((1..=lease.limit).contains(slot), "slot {slot} of limit {}", lease.limit);
        }
        assert!(lease.holder.as_ref().is_none_or(|name| names.insert(name)), "a name twice");
        assert!(
            tokens.insert(lease.token) && lease.token <= after.token,
            "a token twice, or from the future"
        );
    }
    assert_eq!(after.held, slots.len() as u64);
    let mut counts: HashMap<SessionId, u64> = HashMap::new();
    for waiter in &after.waiters {
        *counts.entry(waiter.id.session).or_default() += 1;
        assert!(waiter.ticket <= after.ticket);
        assert!(after.leases.iter().all(|lease| lease.id != waiter.id), "{:?} holds and waits", waiter.id);
    }
    for session in &after.sessions {
        assert_eq!(counts.remove(&session.id).unwrap_or(0), session.count, "{:?}", session.id);
    }
    assert!(counts.is_empty(), "waiters without a session: {counts:?}");
}

/// As long as a note stands, nobody else waits, and nothing was granted that its session's limit doesn't count.
fn a_note_is_for_who_is_alone(after: &Snapshot) {
    let Some(note) = after.note.filter(|note| note.wanted.is_none()) else { return };
    for waiter in &after.waiters {
        assert!(
            waiter.id.session == note.session && waiter.limit == note.limit,
            "{waiter:?} beside {note:?}"
        );
    }
    assert_eq!(after.limit, note.limit, "{note:?}");
    assert!(after.held <= u64::from(note.limit), "{} held beside {note:?}", after.held);
    assert!(note.number <= after.token && note.begun <= after.ticket, "{note:?}");
}

/// The leases that a call granted, re-entered ones excepted.
fn granted<'a>(
    before: &'a Snapshot,
    after: &'a Snapshot,
    verb: &'a Verb,
) -> impl Iterator<Item = &'a LeaseSnapshot> {
    let leases =
        after.leases.iter().filter(|lease| lease.token > before.token && !before.leases.contains(lease));
    leases.filter(|lease| !re_enters(verb, lease.id))
}

/// Whether a session asks for its lease to come back as it knows it.
fn re_enters(verb: &Verb, id: LeaseId) -> bool {
    let Verb::Reconcile { items, .. } = verb else { return false };
    items.iter().any(|item| matches!(item, ReconcileItem::Keep(keep) if keep.id == id))
}

/// A lease that re-enters has the token that its session knows, also where a state that went back had granted its id
/// anew and nobody was told (R14).
fn numbers_grew(before: &Snapshot, after: &Snapshot, verb: &Verb) {
    assert!(after.token >= before.token && after.ticket >= before.ticket);
    for lease in after.leases.iter().filter(|lease| !re_enters(verb, lease.id)) {
        let was = before.leases.iter().find(|was| was.id == lease.id);
        assert!(was.is_none_or(|was| was.token <= lease.token), "{lease:?} went back");
    }
}

/// What was granted before a lease and is still held counted against its limit when it was granted (R1). A take-over
/// needs no room and no turn, so names are left out here and below.
fn admissions_kept_the_limits(granted: &[&LeaseSnapshot], after: &Snapshot) {
    for lease in granted.iter().filter(|lease| lease.holder.is_none()) {
        let earlier = after.leases.iter().filter(|other| other.token <= lease.token);
        let held: usize = earlier.map(|other| other.slots.len()).sum();
        assert!(held <= lease.limit as usize, "{lease:?} with {held} held");
    }
}

fn place(waiter: &WaiterSnapshot) -> (i8, Ticket, LeaseId) {
    (-waiter.priority, waiter.ticket, waiter.id)
}

/// Whoever was granted from the line has nobody of its class left there who stood before it (R4).
fn nobody_was_overtaken(granted: &[&LeaseSnapshot], before: &Snapshot, after: &Snapshot) {
    for lease in granted.iter().filter(|lease| lease.holder.is_none()) {
        let Some(was) = before.waiters.iter().find(|waiter| waiter.id == lease.id) else { continue };
        let ahead = |other: &&WaiterSnapshot| other.limit == was.limit && place(other) < place(was);
        let left = after.waiters.iter().filter(|other| before.waiters.contains(other));
        assert_eq!({ left }.find(ahead), None, "{was:?} was granted");
    }
}

/// The head of the line doesn't fit, and nobody beyond it does who needn't wait behind it (R17). The name that a head
/// waits for may have gone to somebody else in this very call, once the head had been passed: the next call settles it.
fn nobody_who_fits_was_left(after: &Snapshot, now_ms: u64) {
    let mut floor = after.held;
    loop {
        let candidates = after.waiters.iter().filter(|waiter| u64::from(waiter.limit) > floor);
        let Some(head) = candidates.min_by_key(|waiter| place(waiter)) else { return };
        let live = after.sessions.iter().any(|one| one.id == head.id.session && one.deadline_ms > now_ms);
        let named = head.holder.is_some() && after.leases.iter().any(|lease| lease.holder == head.holder);
        let fits = after.held + u64::from(head.weight) <= u64::from(head.limit);
        if named {
            return;
        }
        assert!(live && !fits, "{head:?} was left: live {live}, held {}", after.held);
        floor = u64::from(head.limit);
    }
}

/// Grants in the reply are the caller's own; pushed ones are others', under their claim window (R17, R20).
fn grants_are_told_where_they_belong(session: SessionId, reply: &Reply, published: &[Grant]) {
    assert!(reply.handed.iter().all(|grant| grant.id.session == session));
    assert!(published.iter().all(|grant| grant.id.session != session && grant.ttl_ms == CLAIM_MS));
}

/// A request that is asked again gets the answer that it had (R11), unless its name or its turn came up meanwhile.
fn asking_again_changes_nothing(before: &Snapshot, ask: &Ask, answer: &Acquired, now_ms: u64) {
    let lease = before.leases.iter().find(|lease| lease.id == ask.id && lease.end_at_ms > now_ms);
    if let Some(lease) = lease.filter(|lease| lease.holder.is_none()) {
        let Acquired::Granted(grant) = answer else { panic!("{lease:?} was answered {answer:?}") };
        assert_eq!((grant.token, &grant.slots), (lease.token, &lease.slots));
    }
    let waiter = before.waiters.iter().find(|waiter| waiter.id == ask.id);
    let live = before.sessions.iter().any(|one| one.id == ask.id.session && one.deadline_ms > now_ms);
    if let (Some(waiter), true, Acquired::Queued { ticket, .. }) =
        (waiter, live && ask.terms.holder.is_none(), answer)
    {
        assert_eq!(*ticket, waiter.ticket);
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
