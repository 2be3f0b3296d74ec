//! Random histories: steps as proptest draws and shrinks them.

use std::sync::Arc;

use concurrency_limit::lease::{Identity, SessionId};
use concurrency_limit::protocol::{Introduction, Terms, Verb};
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

/// The verb of a step that keeps the present state for later.
pub(crate) const SAVE: u8 = 7;

/// The verb of a step that goes back to the state that was kept, as a replica does that is promoted without the last
/// writes, and a server that loads an old snapshot.
pub(crate) const GO_BACK: u8 = 8;

/// The verbs of notes.
pub(crate) const NOTE: u8 = 9;
pub(crate) const JOIN: u8 = 10;

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
