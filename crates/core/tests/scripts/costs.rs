//! What calls cost Redis, by its own count: few commands, however many items a call has (R26).

use std::collections::BTreeMap;
use std::sync::Arc;

use concurrency_limit::lease::{Epoch, FencingToken, LeaseId, SessionId, Ticket};
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, Call, Caller, Keep, ReconcileItem, Reply, Target, Terms, Verb,
};
use concurrency_limit::store::redis::library::{self, Layout, Way};
use concurrency_limit::store::redis::reply;

use super::cost;
use super::rig::{Rig, id, terms};

/// Commands and µs of one call of `session`, on the server's own clock.
fn cost_of(rig: &mut Rig, session: u64, verb: Verb) -> (u64, Reply) {
    load(rig);
    cost::reset(&mut rig.server);
    let reply = send(rig, session, verb);
    let stats = cost::stats(&mut rig.server);
    let commands = cost::commands(&stats);
    println!("{} µs, {commands:?}", cost::of_library(&stats));
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
        current: FencingToken(u64::from(n)),
        slots: vec![first_slot + n],
        end_at_ms: now_ms + 60_000,
        extend_ms: Some(60_000),
    };
    Verb::Reconcile { items: (1..=200).map(|n| ReconcileItem::Keep(keep(n))).collect(), own_from: None }
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
        let want =
            |n| ReconcileItem::Want { id: id(2, n), terms: Arc::new(terms(1)), ticket: Some(Ticket(n)) };
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

/// A full group in which 1,000 requests of `sessions` sessions wait; and what `rounds` acquire calls cost then that
/// want to wait too, `batch` each, of which every one is refused for its `max_waiting`.
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
    load(rig);
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
    let a_script = cost::of_library(&stats) as f64 / rounds as f64;
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
            let named = Terms { holder: Some("a".into()), ..plain.clone() };
            for terms in [plain, named] {
                let stats = refusals(&mut rig, sessions, terms, batch, rounds);
                let commands = cost::commands(&stats);
                assert_eq!(commands.get("zrange").copied().unwrap_or(0), looks * rounds, "{commands:?}");
                assert!(commands.values().sum::<u64>() <= 12 * rounds, "{commands:?}");
            }
        }
    }
}

fn load(rig: &mut Rig) {
    library::load(rig.way).expect("something to load").query::<redis::Value>(&mut rig.server.connection).ok();
}

/// Makes a call as a client does, on the server's own clock.
fn send(rig: &mut Rig, session: u64, verb: Verb) -> Reply {
    let layout = Layout { prefix: "cl".to_owned(), cluster: false };
    let session = SessionId(session);
    let caller = Caller { session, connection: 1, listens: true, settling: false, keep_alive_ms: 3_000 };
    let call = Call::new(rig.key.clone(), verb);
    let cmd = library::command(&layout, &caller, std::slice::from_ref(&call), Epoch(1), rig.way);
    let value = cmd.query(&mut rig.server.connection).expect("a reply");
    reply::parse_each(&[call], value).remove(0).expect("a reply")
}

/// Acquires and releases `batch` slots in one call each, `rounds` times, with `others` holding meanwhile.
fn pairs(rig: &mut Rig, others: u64, batch: u64, rounds: u64) -> BTreeMap<String, (u64, u64)> {
    rig.server.ask::<redis::Value>(&["FLUSHALL"]);
    rig.hold(others, 1_000);
    load(rig);
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
    let per_pair = cost::of_library(&stats) as f64 / (rounds * batch) as f64;
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
        // A script begins with a write that a full memory refuses.
        let writes = if rig.way == Way::Function { 2 } else { 3 };
        assert!(commands["hset"] == writes * rounds && commands["hdel"] == rounds, "{commands:?}");
        assert!(commands.values().sum::<u64>() <= 12 * rounds, "{commands:?}");
    }
}
