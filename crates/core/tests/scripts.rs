//! What only a real redis-server can show of the scripts: keys that vanish alone, keys of another type, a full memory,
//! a replica, time to live, and what a call costs (R8, R24–R27).

#[path = "agreement/cost.rs"]
mod cost;
#[path = "agreement/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use concurrency_limit::lease::{Epoch, Key, LeaseId, SessionId, Slot, Ticket};
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, Call, CallError, Caller, Extend, Grant, Keep, Page, Renew, Renewed, Reply,
    Settle, Settled, Target, Terms, Verb,
};
use concurrency_limit::store::redis::{keys::GroupKeys, reply, scripts};

use server::Server;

struct Rig {
    server: Server,
    key: Key,
    keys: GroupKeys,
    now_us: u64,
    fresh: u64,
}

fn id(session: u64, number: u64) -> LeaseId {
    LeaseId { session: SessionId(session), number }
}

fn terms(limit: u32) -> Terms {
    Terms {
        limit,
        weight: 1,
        priority: 0,
        lease_ms: 10_000,
        claim_ms: 5_000,
        max_waiting: None,
        holder: None,
        label: None,
    }
}

impl Rig {
    fn start() -> Self {
        let key = Key::new("k").expect("a key");
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_micros() as u64;
        let keys = GroupKeys::new("cl", &key);
        Self { server: Server::start(), key, keys, now_us, fresh: 1 }
    }

    fn try_call(&mut self, session: u64, verb: Verb) -> Result<Reply, CallError> {
        let caller = Caller {
            session: SessionId(session),
            connection: 1,
            listens: true,
            settling: false,
            keep_alive_ms: 30_000,
        };
        let call = Call { key: self.key.clone(), verb };
        let layout = scripts::Layout { prefix: "cl".to_owned(), cluster: false };
        let cmd = scripts::rehearsal(&layout, &caller, &call, Epoch(self.fresh), self.now_us, &[]);
        match cmd.query(&mut self.server.connection) {
            Ok(value) => reply::parse(&call.verb, value),
            Err(error) => Err(reply::call_error(&error)),
        }
    }

    fn call(&mut self, session: u64, verb: Verb) -> Reply {
        self.try_call(session, verb).expect("a reply")
    }

    fn try_acquire(&mut self, id: LeaseId, limit: u32, wait: bool) -> Result<Acquired, CallError> {
        let ask = Ask { id, terms: Arc::new(terms(limit)), wait };
        let Answers::Acquire(mut all) = self.try_call(id.session.0, Verb::Acquire(vec![ask]))?.answers else {
            panic!("another verb's answer");
        };
        Ok(all.remove(0))
    }

    fn acquire(&mut self, id: LeaseId, limit: u32) -> Grant {
        match self.try_acquire(id, limit, false) {
            Ok(Acquired::Granted(grant)) => grant,
            other => panic!("{other:?}"),
        }
    }

    fn wait(&mut self, id: LeaseId, limit: u32) -> Ticket {
        match self.try_acquire(id, limit, true) {
            Ok(Acquired::Queued { ticket, .. }) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn hold(&mut self, count: u64, limit: u32) {
        let terms = Arc::new(terms(limit));
        for from in (1..=count).step_by(200) {
            let asks = (from..=count.min(from + 199)).map(|n| Ask {
                id: id(1, n),
                terms: terms.clone(),
                wait: false,
            });
            let reply = self.call(1, Verb::Acquire(asks.collect()));
            let Answers::Acquire(all) = reply.answers else { panic!("another verb's answer") };
            assert!(all.iter().all(|one| matches!(one, Acquired::Granted(_))));
        }
    }

    fn release(&mut self, id: LeaseId) -> Reply {
        self.call(id.session.0, Verb::Release(vec![Target::Lease(id)]))
    }

    fn lose(&mut self, key: &str) {
        assert_eq!(self.server.ask::<u64>(&["DEL", key]), 1, "{key} was there");
    }

    fn pass(&mut self, ms: u64) {
        self.now_us += ms * 1_000;
    }

    fn clean_through(&mut self) {
        for _ in 0..10_000 {
            if !self.call(9, Verb::Clean).again {
                return;
            }
        }
        panic!("clean doesn't come to an end");
    }

    fn held(&mut self) -> u64 {
        let Answers::Inspect(picture) = self.call(9, Verb::Inspect(Page::default())).answers else {
            panic!("another verb's answer")
        };
        picture.held
    }
}

#[test]
fn lost_ends_are_built_anew_when_room_is_needed() {
    let mut rig = Rig::start();
    let ends = rig.keys.ends.clone();
    rig.hold(3, 3);
    rig.lose(&ends);
    rig.pass(10_000);
    assert_eq!(rig.acquire(id(2, 1), 3).slots, [1]);
    assert_eq!(rig.held(), 1);
    assert!(rig.server.ask::<i64>(&["PTTL", &ends]) > 0);
}

#[test]
fn lost_gaps_are_built_anew_when_one_is_missed() {
    let mut rig = Rig::start();
    let gaps = rig.keys.gaps.clone();
    rig.hold(5, 5);
    rig.release(id(1, 2));
    rig.release(id(1, 4));
    rig.lose(&gaps);
    assert_eq!(rig.acquire(id(2, 1), 5).slots, [2]);
    assert_eq!(rig.acquire(id(2, 2), 5).slots, [4]);
    assert!(matches!(rig.try_acquire(id(2, 3), 5, false), Ok(Acquired::Full { .. })));
}

#[test]
fn a_gap_above_the_limit_shows_that_gaps_were_lost() {
    let mut rig = Rig::start();
    let gaps = rig.keys.gaps.clone();
    rig.hold(6, 6);
    rig.release(id(1, 2));
    rig.release(id(1, 3));
    rig.lose(&gaps);
    rig.release(id(1, 5));
    rig.release(id(1, 4));
    assert_eq!(rig.acquire(id(2, 1), 3).slots, [2]);
}

#[test]
fn a_large_group_is_mended_in_bounded_steps() {
    let mut rig = Rig::start();
    let (ends, gaps) = (rig.keys.ends.clone(), rig.keys.gaps.clone());
    rig.hold(6_000, 6_000);
    rig.release(id(1, 5_000));
    rig.release(id(1, 5_500));
    rig.lose(&ends);
    rig.lose(&gaps);
    let asked = Ask { id: id(2, 1), terms: Arc::new(terms(6_000)), wait: true };
    let reply = rig.call(2, Verb::Acquire(vec![asked]));
    assert!(reply.again, "one call doesn't look at 6,000 slots");
    rig.release(id(1, 7));
    rig.release(id(1, 5_800));
    rig.clean_through();
    assert_eq!(rig.server.ask::<u64>(&["ZCARD", &ends]), 5_997 + 1);
    let mut slots: Vec<Slot> = (2..5).map(|n| rig.acquire(id(2, n), 6_000).slots[0]).collect();
    slots.sort_unstable();
    assert_eq!(slots, [5_000, 5_500, 5_800], "the waiter got 7");
    rig.pass(20_000);
    rig.clean_through();
    assert_eq!(rig.held(), 0);
    assert_eq!(rig.acquire(id(2, 9), 1).slots, [1]);
}

#[test]
fn a_lost_queue_is_begun_anew_and_its_waiters_come_back_with_their_tickets() {
    let mut rig = Rig::start();
    let queue = rig.keys.queue.clone();
    rig.hold(1, 1);
    let (first, second) = (rig.wait(id(2, 1), 1), rig.wait(id(3, 1), 1));
    rig.lose(&queue);
    for session in [3, 2] {
        let Answers::Renew { in_line, .. } = rig.call(session, Verb::Renew(Renew::default())).answers else {
            panic!("another verb's answer")
        };
        assert_eq!(in_line, 0);
    }
    for (id, ticket) in [(id(3, 1), second), (id(2, 1), first)] {
        let want = Settle::Want { id, terms: Arc::new(terms(1)), ticket: Some(ticket) };
        let reply = rig.call(id.session.0, Verb::Reconcile(vec![want]));
        assert_eq!(reply.answers, Answers::Reconcile(vec![Settled::InLine { ticket }]));
    }
    rig.release(id(1, 1));
    let look = Renew { waiters: vec![id(2, 1)], ..Renew::default() };
    let Answers::Renew { waiters, .. } = rig.call(2, Verb::Renew(look)).answers else {
        panic!("another verb's answer")
    };
    assert!(matches!(&waiters[..], [concurrency_limit::protocol::Waiting::Granted(_)]), "{waiters:?}");
}

#[test]
fn a_lost_hash_takes_what_belonged_to_it_along() {
    let mut rig = Rig::start();
    let group = rig.keys.group.clone();
    rig.hold(3, 3);
    rig.release(id(1, 2));
    rig.wait(id(2, 1), 1);
    rig.lose(&group);
    rig.fresh = 2;
    assert_eq!(rig.acquire(id(2, 2), 1).slots, [1]);
    assert_eq!(
        rig.server.ask::<Vec<String>>(&["ZRANGE", &rig.keys.ends.clone(), "0", "-1"]),
        ["0000000000000002-2", "."]
    );
    assert_eq!(rig.server.ask::<u64>(&["EXISTS", &rig.keys.gaps.clone(), &rig.keys.queue.clone()]), 0);
}

#[test]
fn a_lease_on_a_high_slot_re_enters_without_writing_every_gap_below() {
    let mut rig = Rig::start();
    let mut keep = Keep {
        id: id(1, 1),
        terms: Arc::new(terms(1_000_000)),
        epoch: Epoch(9),
        token: concurrency_limit::lease::FencingToken(7),
        slots: vec![1_000_000],
        end_at_ms: u64::MAX >> 12,
    };
    let reply = rig.call(1, Verb::Reconcile(vec![Settle::Keep(keep.clone())]));
    assert!(matches!(&reply.answers, Answers::Reconcile(all) if matches!(&all[..], [Settled::Held(_)])));
    (keep.id, keep.slots) = (id(1, 2), vec![500]);
    rig.call(1, Verb::Reconcile(vec![Settle::Keep(keep)]));
    let gaps = rig.server.ask::<Vec<String>>(&["ZRANGE", &rig.keys.gaps.clone(), "0", "-1"]);
    assert_eq!(gaps, ["1-499", "501-999999", "."]);
    assert_eq!(rig.acquire(id(2, 1), 3).slots, [1]);
}

#[test]
fn a_key_of_another_type_is_an_error_and_left_alone() {
    let mut rig = Rig::start();
    for key in rig.keys.all().map(str::to_owned) {
        rig.server.ask::<redis::Value>(&["FLUSHALL"]);
        rig.server.ask::<redis::Value>(&["SET", &key, "mine"]);
        for verb in verbs() {
            let refused = rig.try_call(1, verb.clone());
            assert!(matches!(refused, Err(CallError::Unusable(_))), "{key}, {verb:?}: {refused:?}");
        }
        assert_eq!(rig.server.ask::<String>(&["GET", &key]), "mine");
        assert_eq!(rig.server.ask::<u64>(&["DBSIZE"]), 1, "{key}");
    }
}

#[test]
fn a_hash_of_somebody_else_is_an_error_and_left_alone() {
    let mut rig = Rig::start();
    let group = rig.keys.group.clone();
    for (field, value) in [("mine", "1"), ("state", "1"), ("state", "mine"), ("state", "")] {
        rig.server.ask::<redis::Value>(&["FLUSHALL"]);
        rig.server.ask::<redis::Value>(&["HSET", &group, field, value]);
        for verb in verbs() {
            let refused = rig.try_call(1, verb.clone());
            assert!(matches!(refused, Err(CallError::Unusable(_))), "{field} {value}, {verb:?}: {refused:?}");
        }
        assert_eq!(rig.server.ask::<Vec<String>>(&["HGETALL", &group]), [field, value]);
        assert_eq!(rig.server.ask::<u64>(&["DBSIZE"]), 1);
    }
}

/// One call of each verb.
fn verbs() -> [Verb; 7] {
    [
        Verb::Acquire(vec![Ask { id: id(1, 1), terms: Arc::new(terms(1)), wait: true }]),
        Verb::Release(vec![Target::Lease(id(1, 1))]),
        Verb::Renew(Renew::default()),
        Verb::Leave(vec![id(1, 1)]),
        Verb::Reconcile(vec![Settle::Drop(id(1, 1))]),
        Verb::Inspect(Page::default()),
        Verb::Clean,
    ]
}

#[test]
fn a_key_that_another_type_replaced_is_an_error_and_left_alone() {
    let mut rig = Rig::start();
    for key in rig.keys.all().map(str::to_owned) {
        rig.server.ask::<redis::Value>(&["FLUSHALL"]);
        rig.hold(3, 3);
        rig.release(id(1, 2));
        rig.acquire(id(1, 8), 3);
        rig.wait(id(2, 1), 3);
        let group = rig.keys.group.clone();
        let before = (key != group).then(|| rig.server.ask::<BTreeMap<String, String>>(&["HGETALL", &group]));
        rig.server.ask::<redis::Value>(&["SET", &key, "mine"]);
        let result = rig.try_call(1, Verb::Release(vec![Target::Lease(id(1, 3))]));
        assert_eq!(rig.server.ask::<String>(&["GET", &key]), "mine");
        match result {
            // The room went on to the waiter, so the gaps weren't touched.
            Ok(_) => assert_eq!(key, rig.keys.gaps),
            Err(CallError::Unusable(_)) => {
                let after =
                    (key != group).then(|| rig.server.ask::<BTreeMap<String, String>>(&["HGETALL", &group]));
                assert_eq!(after, before, "{key}");
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn another_layout_version_is_an_error() {
    let mut rig = Rig::start();
    rig.hold(1, 1);
    rig.server.ask::<redis::Value>(&["HSET", &rig.keys.group.clone(), "state", "2"]);
    for verb in [Verb::Clean, Verb::Inspect(Page::default()), Verb::Renew(Renew::default())] {
        assert!(
            matches!(rig.try_call(1, verb), Err(CallError::Unusable(text)) if text.contains("version 2"))
        );
    }
}

#[test]
fn a_full_memory_refuses_acquire_alone_and_leaves_nothing_of_it() {
    let mut rig = Rig::start();
    rig.hold(2, 2);
    rig.wait(id(2, 1), 2);
    rig.pass(5_000);
    rig.server.ask::<redis::Value>(&["CONFIG", "SET", "maxmemory", "1"]);
    let group = rig.keys.group.clone();
    let before = rig.server.ask::<Vec<String>>(&["HGETALL", &group]);
    for limit in [2, 5] {
        let refused = rig.try_acquire(id(1, 9), limit, true);
        assert!(matches!(refused, Err(CallError::OutOfMemory(_))), "{refused:?}");
    }
    assert_eq!(rig.server.ask::<Vec<String>>(&["HGETALL", &group]), before);
    let extend = Extend { id: id(1, 2), lease_ms: 20_000, holder: None };
    let reply = rig.call(1, Verb::Renew(Renew { leases: vec![extend], waiters: vec![] }));
    assert!(
        matches!(&reply.answers, Answers::Renew { leases, .. } if matches!(leases[0], Renewed::Extended { .. }))
    );
    assert_eq!(rig.release(id(1, 1)).answers, Answers::Release(vec![true]));
    let drop = rig.call(2, Verb::Reconcile(vec![Settle::Drop(id(2, 1))]));
    assert_eq!(
        drop.answers,
        Answers::Reconcile(vec![Settled::Dropped { held: true }]),
        "it had been handed over"
    );
    rig.pass(60_000);
    assert_eq!(rig.call(9, Verb::Clean).answers, Answers::Clean(1));
}

#[test]
fn a_full_memory_refuses_the_first_acquire_of_a_group() {
    let mut rig = Rig::start();
    rig.server.ask::<redis::Value>(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(matches!(rig.try_acquire(id(1, 1), 1, true), Err(CallError::OutOfMemory(_))));
    assert_eq!(rig.server.ask::<u64>(&["DBSIZE"]), 0);
}

#[test]
fn a_replica_executes_nothing() {
    let mut rig = Rig::start();
    rig.hold(1, 2);
    rig.server.ask::<redis::Value>(&["REPLICAOF", "127.0.0.1", "1"]);
    for verb in [
        Verb::Acquire(vec![Ask { id: id(1, 2), terms: Arc::new(terms(2)), wait: true }]),
        Verb::Release(vec![Target::Lease(id(1, 1))]),
        Verb::Renew(Renew::default()),
        Verb::Reconcile(vec![]),
    ] {
        let refused = rig.try_call(1, verb.clone());
        assert!(matches!(refused, Err(CallError::NotExecuted(_))), "{verb:?}: {refused:?}");
    }
}

#[test]
fn all_keys_of_a_group_live_until_the_latest_end_and_a_reserve() {
    let mut rig = Rig::start();
    rig.hold(3, 3);
    rig.release(id(1, 2));
    rig.acquire(id(2, 1), 3);
    rig.wait(id(3, 1), 3);
    let left: Vec<i64> =
        rig.keys.all().map(str::to_owned).iter().map(|key| rig.server.ask::<i64>(&["PTTL", key])).collect();
    assert!(left.iter().all(|ms| (310_000..500_000).contains(ms)), "{left:?}");
    assert!(left.iter().max().expect("four") - left.iter().min().expect("four") < 1_000, "{left:?}");
    rig.pass(600_000);
    rig.acquire(id(3, 2), 1);
    for key in rig.keys.all().map(str::to_owned) {
        assert!(rig.server.ask::<i64>(&["PTTL", &key]) > 900_000, "{key}");
    }
}

#[test]
fn more_work_than_a_call_may_do_is_told_and_gone_on_with() {
    let mut rig = Rig::start();
    rig.hold(500, 500);
    let terms = Arc::new(terms(500));
    for session in 2..5 {
        let asks = (1..=150).map(|n| Ask { id: id(session, n), terms: terms.clone(), wait: true }).collect();
        rig.call(session, Verb::Acquire(asks));
    }
    let released: Vec<Target> = (1..=500).map(|n| Target::Lease(id(1, n))).collect();
    assert!(rig.call(1, Verb::Release(released)).again);
    assert_eq!(rig.held(), 200);
    rig.clean_through();
    assert_eq!(rig.held(), 450);
}

#[test]
fn inspect_shows_everybody_once_page_by_page() {
    let mut rig = Rig::start();
    rig.hold(450, 450);
    let asks = (1..=450).map(|n| Ask { id: id(2, n), terms: Arc::new(terms(450)), wait: true }).collect();
    rig.call(2, Verb::Acquire(asks));
    let (mut page, mut holders, mut waiters) = (Some(Page::default()), Vec::new(), Vec::new());
    while let Some(asked) = page {
        let Answers::Inspect(picture) = rig.call(9, Verb::Inspect(asked)).answers else {
            panic!("another verb's answer")
        };
        assert!(picture.holders.len() <= 200 && picture.waiters.len() <= 200);
        holders.extend(picture.holders.iter().map(|view| view.id.number));
        waiters.extend(picture.waiters.iter().map(|view| view.id.number));
        page = picture.next;
    }
    assert_eq!(holders, (1..=450).collect::<Vec<_>>());
    assert_eq!(waiters, (1..=450).collect::<Vec<_>>());
}

/// Acquires and releases `batch` slots in one call each, `rounds` times, with `others` holding meanwhile.
fn pairs(
    rig: &mut Rig,
    others: u64,
    batch: u64,
    rounds: u64,
) -> std::collections::BTreeMap<String, (u64, u64)> {
    rig.server.ask::<redis::Value>(&["FLUSHALL"]);
    rig.hold(others, 1_000);
    for text in scripts::texts() {
        rig.server.ask::<String>(&["SCRIPT", "LOAD", text]);
    }
    let terms = Arc::new(terms(1_000));
    let layout = scripts::Layout { prefix: "cl".to_owned(), cluster: false };
    let caller =
        Caller { session: SessionId(2), connection: 1, listens: true, settling: false, keep_alive_ms: 3_000 };
    for round in 0..rounds + 1 {
        if round == 1 {
            cost::reset(&mut rig.server);
        }
        let ids: Vec<LeaseId> = (0..batch).map(|n| id(2, round * batch + n)).collect();
        let asks = ids.iter().map(|id| Ask { id: *id, terms: terms.clone(), wait: true }).collect();
        let targets = ids.iter().map(|id| Target::Lease(*id)).collect();
        for verb in [Verb::Acquire(asks), Verb::Release(targets)] {
            let call = Call { key: rig.key.clone(), verb };
            let cmd = scripts::command(&layout, &caller, &call, Epoch(1));
            let value = cmd.query(&mut rig.server.connection).expect("a reply");
            reply::parse(&call.verb, value).expect("a reply");
        }
    }
    let stats = cost::stats(&mut rig.server);
    let per_pair = stats["evalsha"].1 as f64 / (rounds * batch) as f64;
    println!("{batch} a call, {others} others: {per_pair:.1} µs a pair; {:?}", cost::commands(&stats));
    stats
}

#[test]
fn an_uncontended_pair_costs_few_commands_whatever_its_size() {
    let mut rig = Rig::start();
    for (others, batch, rounds) in [(0, 1, 2_000), (5, 1, 2_000), (0, 100, 100), (5, 100, 100)] {
        let stats = pairs(&mut rig, others, batch, rounds);
        let commands = cost::commands(&stats);
        assert!(commands["hmget"] == 2 * rounds && commands["time"] == 2 * rounds, "{commands:?}");
        assert!(commands["hset"] == 2 * rounds && commands["hdel"] == rounds, "{commands:?}");
        assert!(commands.values().sum::<u64>() <= 12 * rounds, "{commands:?}");
    }
}
