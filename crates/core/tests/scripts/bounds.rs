//! How long keys live, how much one call does, and what it costs (R8, R26).

use std::collections::BTreeMap;
use std::sync::Arc;

use concurrency_limit::lease::{Epoch, FencingToken, Key, LeaseId, SessionId, Ticket};
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, Call, Caller, Extend, Keep, Page, Renew, Reply, Settle, Target, Terms, Verb,
};
use concurrency_limit::store::redis::{reply, scripts};

use super::cost;
use super::rig::{Rig, id, terms};

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
fn a_set_that_vanished_alone_gets_the_time_to_live_of_the_others_when_it_is_made_anew() {
    let uses: [(&str, fn(&mut Rig)); 7] = [
        ("acquire", |rig| drop(rig.acquire(id(2, 1), 5))),
        ("acquire with a name", |rig| {
            let terms = Arc::new(Terms { holder: Some("a".into()), ..terms(5) });
            rig.call(2, Verb::Acquire(vec![Ask { id: id(2, 1), terms, wait: false }]));
        }),
        ("renew", |rig| {
            let extend = Extend { id: id(1, 1), lease_ms: 10_000, holder: None };
            rig.call(1, Verb::Renew(Renew { leases: vec![extend], waiters: vec![] }));
        }),
        ("release", |rig| drop(rig.release(id(1, 2)))),
        ("wait", |rig| assert!(rig.wait(id(3, 1), 3).0 > 0)),
        ("pass on", |rig| {
            rig.acquire(id(2, 1), 4);
            rig.wait(id(3, 1), 4);
            let ends = rig.keys.ends.clone();
            rig.server.ask::<u64>(&["DEL", &ends]);
            rig.release(id(1, 1));
        }),
        ("reconcile", |rig| drop(rig.reconcile(2, vec![Settle::Drop(id(1, 2))]))),
    ];
    let mut rig = Rig::start();
    let mut made = BTreeMap::<usize, usize>::new();
    for place in 1..4 {
        for (name, used) in uses {
            rig.server.ask::<redis::Value>(&["FLUSHALL"]);
            // All three sets are made, and nobody waits any more.
            rig.hold(4, 4);
            rig.release(id(1, 3));
            rig.wait(id(3, 9), 1);
            rig.call(3, Verb::Leave(vec![id(3, 9)]));
            let keys: Vec<String> = rig.keys.all().map(str::to_owned).into();
            rig.lose(&keys[place]);
            used(&mut rig);
            let left: Vec<i64> = keys.iter().map(|key| rig.server.ask(&["PTTL", key])).collect();
            // -2: still away.
            let there: Vec<i64> = left.iter().copied().filter(|ms| *ms != -2).collect();
            assert!(
                there.iter().all(|ms| (300_000..500_000).contains(ms)),
                "{name}, {}: {left:?}",
                keys[place]
            );
            assert!(
                there.iter().max().expect("one") - there.iter().min().expect("one") < 1_000,
                "{name}: {left:?}"
            );
            *made.entry(place).or_default() += usize::from(left[place] != -2);
        }
    }
    assert!(made.values().all(|times| *times > 0), "{made:?}");
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
fn groups_that_are_asked_together_share_what_a_call_may_do() {
    let mut rig = Rig::start();
    let keys: Vec<Key> = ["a", "b", "c"].map(|key| Key::new(key).expect("a key")).into();
    for key in &keys {
        rig.turn_to(key);
        rig.hold(150, 150);
        rig.wait(id(2, 1), 150);
    }
    // All the leases have ended. Somebody else asks for a slot.
    rig.pass(20_000);
    let ask = Ask { id: id(3, 1), terms: Arc::new(terms(1_000)), wait: true };
    let call = |key: &Key| Call { key: key.clone(), verb: Verb::Acquire(vec![ask.clone()]) };
    let replies = rig.call_together(3, &keys.iter().map(call).collect::<Vec<_>>());
    assert_eq!(replies.iter().map(|reply| reply.again).collect::<Vec<_>>(), [false, true, true]);
    for (key, held) in keys.iter().zip([2, 102, 151]) {
        rig.turn_to(key);
        assert_eq!(rig.held(), held, "{key:?}");
    }
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

#[test]
fn what_has_ended_is_not_shown_as_held() {
    let mut rig = Rig::start();
    rig.hold(150, 300);
    rig.pass(5_000);
    let terms = Arc::new(Terms { weight: 2, ..terms(300) });
    let asks = (1..=60).map(|n| Ask { id: id(2, n), terms: terms.clone(), wait: false }).collect();
    rig.call(2, Verb::Acquire(asks));
    let shown = |rig: &mut Rig| {
        let picture = rig.inspect();
        (picture.held, picture.holders.len(), picture.next.is_some())
    };
    assert_eq!(shown(&mut rig), (270, 175, true), "150 of 1 slot and 25 of 2 on the first page");
    rig.pass(5_000);
    assert_eq!((rig.held(), shown(&mut rig)), (270, (120, 60, false)));
    rig.pass(5_000);
    assert_eq!((rig.held(), shown(&mut rig)), (270, (20, 0, false)), "200 ended leases are looked at");
}

/// Commands and µs of one call of `session`, on the server's own clock.
fn cost_of(rig: &mut Rig, session: u64, verb: Verb) -> (u64, Reply) {
    for text in scripts::texts() {
        rig.server.ask::<String>(&["SCRIPT", "LOAD", text]);
    }
    cost::reset(&mut rig.server);
    let reply = send(rig, session, verb);
    let stats = cost::stats(&mut rig.server);
    let commands = cost::commands(&stats);
    println!("{} µs, {commands:?}", stats["evalsha"].1);
    (commands.values().sum(), reply)
}

fn asks(session: u64, terms: impl Fn(u64) -> Terms) -> Vec<Ask> {
    (1..=200).map(|n| Ask { id: id(session, n), terms: Arc::new(terms(n)), wait: false }).collect()
}

fn keeps(rig: &Rig, session: u64, first_slot: u32) -> Verb {
    let now_ms = rig.now_us / 1_000;
    let keep = |n: u32| Keep {
        id: id(session, u64::from(n)),
        terms: Arc::new(terms(1_000)),
        epoch: Epoch(99),
        token: FencingToken(u64::from(n)),
        slots: vec![first_slot + n],
        end_at_ms: now_ms + 60_000,
        extend_ms: Some(60_000),
    };
    Verb::Reconcile { items: (1..=200).map(|n| Settle::Keep(keep(n))).collect(), own_from: None }
}

/// What is the same for all items of a call is done once.
#[test]
fn a_call_of_many_items_runs_few_commands() {
    let mut rig = Rig::start();
    let mut few = |name: &str, most: u64, prepare: &dyn Fn(&mut Rig) -> (u64, Verb)| {
        rig.server.ask::<redis::Value>(&["FLUSHALL"]);
        rig.now_us = Rig::clock();
        let (session, verb) = prepare(&mut rig);
        print!("{name}: ");
        let (commands, _) = cost_of(&mut rig, session, verb);
        assert!(commands <= most, "{name}: {commands} commands");
    };
    few("leases re-enter", 30, &|rig| (1, keeps(rig, 1, 0)));
    few("leases re-enter, as far as their slots are free", 30, &|rig| {
        rig.hold(100, 1_000);
        (2, keeps(rig, 2, 0))
    });
    few("leases that are there are kept", 15, &|rig| {
        rig.call(1, keeps(rig, 1, 0));
        (1, keeps(rig, 1, 0))
    });
    few("waiters re-enter", 20, &|rig| {
        rig.hold(1, 1);
        let want = |n| Settle::Want { id: id(2, n), terms: Arc::new(terms(1)), ticket: Some(Ticket(n)) };
        (2, Verb::Reconcile { items: (1..=200).map(want).collect(), own_from: Some(0) })
    });
    few("granted and refused in turn", 30, &|rig| {
        rig.hold(1, 1);
        (2, Verb::Acquire(asks(2, |n| terms(if n % 2 == 0 { 1 } else { 1_000 }))))
    });
    few("waiters leave", 15, &|rig| {
        rig.hold(1, 1);
        let waits = |ask| Ask { wait: true, ..ask };
        rig.call(2, Verb::Acquire(asks(2, |_| terms(1)).into_iter().map(waits).collect()));
        (2, Verb::Leave((1..=200).map(|n| id(2, n)).collect()))
    });
    few("waiters of as many dead sessions are dropped", 60, &|rig| {
        rig.hold(1, 1);
        rig.now_us -= 40_000_000;
        for session in 2..=190 {
            rig.wait(id(session, 1), 1);
        }
        (1, Verb::Release(vec![Target::Lease(id(1, 1))]))
    });
}

/// A full group in which 1,000 requests of `sessions` sessions wait; and what `rounds` acquire calls cost then that want
/// to wait too, `batch` each, of which every one is refused for its `max_waiting`.
fn refusals(
    rig: &mut Rig,
    (sessions, who): (u64, u64),
    asked: Terms,
    batch: u64,
    rounds: u64,
) -> BTreeMap<String, (u64, u64)> {
    rig.server.ask::<redis::Value>(&["FLUSHALL"]);
    rig.now_us = Rig::clock();
    rig.hold(1, 1);
    for from in (0..1_000).step_by(200) {
        for session in 0..sessions {
            let mine = (from..from + 200).filter(|n| n % sessions == session);
            let asks = mine.map(|n| Ask { id: id(2 + session, n), terms: Arc::new(terms(1)), wait: true });
            rig.call(2 + session, Verb::Acquire(asks.collect()));
        }
    }
    for text in scripts::texts() {
        rig.server.ask::<String>(&["SCRIPT", "LOAD", text]);
    }
    let terms = Arc::new(asked);
    let ask = |number| Ask { id: id(who, 5_000 + number), terms: terms.clone(), wait: true };
    for round in 0..rounds + 1 {
        if round == 1 {
            cost::reset(&mut rig.server);
        }
        let asks = (0..batch).map(|n| ask(round * batch + n)).collect();
        let Answers::Acquire(answers) = send(rig, who, Verb::Acquire(asks)).answers else {
            panic!("another verb's answer")
        };
        assert!(
            answers.iter().all(|answer| *answer == Acquired::QueueFull { waiting: 1_000 }),
            "{answers:?}"
        );
    }
    let stats = cost::stats(&mut rig.server);
    let a_script = stats["evalsha"].1 as f64 / rounds as f64;
    let (each, commands) = (a_script / batch as f64, cost::commands(&stats));
    println!(
        "{batch} a call, {sessions} sessions wait, {who} asks: {a_script:.0} µs a script, {each:.1} µs a refusal; {commands:?}"
    );
    stats
}

#[test]
fn a_line_that_is_full_is_looked_through_once_a_call() {
    let mut rig = Rig::start();
    // Sessions that wait, and who asks: a session that has no waiters, or the only one that has.
    for (sessions, looks) in [((1, 5_000), 1), ((200, 5_000), 2), ((1, 2), 0)] {
        for (batch, rounds) in [(1, 500), (100, 50)] {
            let plain = Terms { max_waiting: Some(1_000), ..terms(1) };
            // A name, whoever has it, keeps a call from going straight through.
            let named = Terms { holder: Some("a".into()), ..plain.clone() };
            for (terms, looks) in [(plain, looks), (named, 1)] {
                let stats = refusals(&mut rig, sessions, terms, batch, rounds);
                let commands = cost::commands(&stats);
                assert_eq!(commands.get("zrange").copied().unwrap_or(0), looks * rounds, "{commands:?}");
                assert!(commands.values().sum::<u64>() <= 12 * rounds, "{commands:?}");
            }
        }
    }
}

/// Makes a call as a client does, by the hash of its script and on the server's own clock.
fn send(rig: &mut Rig, session: u64, verb: Verb) -> Reply {
    let layout = scripts::Layout { prefix: "cl".to_owned(), cluster: false };
    let session = SessionId(session);
    let caller = Caller { session, connection: 1, listens: true, settling: false, keep_alive_ms: 3_000 };
    let call = Call { key: rig.key.clone(), verb };
    let cmd = scripts::command(&layout, &caller, std::slice::from_ref(&call), Epoch(1));
    let value = cmd.query(&mut rig.server.connection).expect("a reply");
    reply::parse(&call.verb, value).expect("a reply")
}

/// Acquires and releases `batch` slots in one call each, `rounds` times, with `others` holding meanwhile.
fn pairs(rig: &mut Rig, others: u64, batch: u64, rounds: u64) -> BTreeMap<String, (u64, u64)> {
    rig.server.ask::<redis::Value>(&["FLUSHALL"]);
    rig.hold(others, 1_000);
    for text in scripts::texts() {
        rig.server.ask::<String>(&["SCRIPT", "LOAD", text]);
    }
    let terms = Arc::new(terms(1_000));
    for round in 0..rounds + 1 {
        if round == 1 {
            cost::reset(&mut rig.server);
        }
        let ids: Vec<LeaseId> = (0..batch).map(|n| id(2, round * batch + n)).collect();
        let asks = ids.iter().map(|id| Ask { id: *id, terms: terms.clone(), wait: true }).collect();
        let targets = ids.iter().map(|id| Target::Lease(*id)).collect();
        for verb in [Verb::Acquire(asks), Verb::Release(targets)] {
            send(rig, 2, verb);
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
