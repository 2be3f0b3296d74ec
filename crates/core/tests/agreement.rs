//! The Lua library and `group` are the same rules: any history gives the same replies and the same state (R17, R26).
//!
//! Every step is carried out twice, by the pure rules and by the library in a real redis-server, with the same time and
//! the same fate of publications; run as functions, and as a script. What is stored is compared after each, and checked
//! for being in step with itself.

#[path = "agreement/history.rs"]
mod history;
#[path = "agreement/known.rs"]
mod known;
#[path = "agreement/server.rs"]
mod server;
#[path = "agreement/stored.rs"]
mod stored;

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use concurrency_limit::group::{Group, Receivers};
use concurrency_limit::lease::{Epoch, Key, SessionId};
use concurrency_limit::protocol::{
    Acquired, Answers, Call, CallError, Caller, News, Noted, Reconciled, Renewed, Reply, Verb,
};
use concurrency_limit::store::redis::keys::GroupKeys;
use concurrency_limit::store::redis::library::{Layout, Way, rehearsal};
use concurrency_limit::store::redis::reply;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config as ProptestConfig, TestRunner};

use history::Step;
use known::Known;
use server::Server;
use stored::{Copy, Stored};

/// By the library, in one command, with the time and the receivers given.
fn by_library(
    server: &mut Server,
    way: Way,
    caller: &Caller,
    calls: &[Call],
    fresh: Epoch,
    now_us: u64,
    fates: &[(SessionId, Option<u64>)],
) -> Vec<Result<Reply, CallError>> {
    let layout = Layout { prefix: "cl".to_owned(), cluster: false };
    let cmd = rehearsal::command(&layout, caller, calls, fresh, way, now_us, fates);
    let value = cmd.query(&mut server.connection).unwrap_or_else(|error| panic!("{calls:?}: {error}"));
    reply::parse_each(calls, value)
}

fn learn(known: &mut Known, session: SessionId, verb: &Verb, reply: &Reply) {
    for grant in &reply.handed {
        known.grants.insert(grant.id, (reply.epoch, grant.clone()));
    }
    match &reply.answers {
        Answers::Acquire(all) => {
            for answer in all {
                if let Acquired::Granted(grant) = answer {
                    known.grants.insert(grant.id, (reply.epoch, grant.clone()));
                }
            }
        }
        Answers::Reconcile { reconciled, .. } => {
            for answer in reconciled {
                if let Reconciled::Held(grant) = answer {
                    known.grants.insert(grant.id, (reply.epoch, grant.clone()));
                }
            }
        }
        Answers::Renew { leases, .. } => {
            let Verb::Renew(renew) = verb else { return };
            for (lease, renewed) in renew.leases.iter().zip(leases) {
                if let (Some((_, grant)), Renewed::Extended { end_at_ms }) =
                    (known.grants.get_mut(&lease.id), renewed)
                {
                    grant.end_at_ms = *end_at_ms;
                }
            }
        }
        Answers::Note(noted) => learn_note(known, session, verb, *noted),
        _ => {}
    }
}

fn learn_note(known: &mut Known, session: SessionId, verb: &Verb, noted: Noted) {
    let Verb::Note(ask) = verb else { return };
    if let Noted::Sole { number, .. } = noted {
        known.notes.insert(session, (number, ask.limit));
    }
}

/// How histories are carried out by the library.
#[derive(Clone, Copy)]
struct Replay<'a> {
    way: Way,
    /// Each step in one group, or in several at once, which must all be like it.
    groups: &'a [&'a str],
    /// As many steps go into one command.
    together: usize,
}

/// Carries out the steps by the rules and by the library.
fn replay(server: &mut Server, Replay { way, groups, together }: Replay<'_>, steps: &[Step]) {
    let keys: Vec<Key> = groups.iter().map(|key| Key::new(*key).expect("a key")).collect();
    server.ask::<redis::Value>(&["FLUSHALL"]);
    let (mut group, mut known) = (Group::default(), Known::default());
    let start = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    let mut now_us = start.as_micros() as u64;
    let mut kept = (Group::default(), Vec::new());
    let commands = steps.chunk_by(|one, next| !one.is_about_the_state() && !next.is_about_the_state());
    for (number, steps) in commands.flat_map(|steps| steps.chunks(together)).enumerate() {
        let step = &steps[0];
        now_us += step.wait_us;
        known.now_ms = now_us / 1_000;
        match step.verb {
            history::SAVE => {
                kept = (group.clone(), keys.iter().map(|key| Copy::of(server, key)).collect());
                continue;
            }
            history::GO_BACK => {
                server.ask::<redis::Value>(&["FLUSHALL"]);
                group = kept.0.clone();
                kept.1.iter().for_each(|copy| copy.put_back(server));
                // As with a server that was promoted, or has loaded a snapshot, the library remembers nothing.
                server.forget_library(way, rehearsal::load);
                continue;
            }
            _ => {}
        }
        // A state that is made, or found to have gone back, gets an epoch that there was none before of.
        let fresh = Epoch(1_000 + number as u64);
        let caller = known.caller(step);
        let verbs: Vec<Verb> = steps.iter().map(|step| known.verb(&step.by(caller.session))).collect();
        let fates: Vec<(SessionId, Option<u64>)> = (step.fates.iter().enumerate())
            .map(|(session, fate)| (SessionId(session as u64), [Some(1), Some(0), None][*fate as usize]))
            .collect();
        let said: Vec<_> =
            (steps.iter().zip(&verbs)).map(|(step, verb)| step.introduction(caller.session, verb)).collect();
        let by_rules: Vec<Result<Reply, CallError>> = (verbs.iter().zip(&said))
            .map(|(verb, said)| {
                let result = group.call(now_us, fresh, &caller, verb, &mut |session, epoch, news| {
                    let fate = fates[session.0 as usize].1;
                    if fate == Some(0) {
                        return Receivers::Nobody;
                    }
                    if let News::Wanted { ticket, .. } = news {
                        known.wanted = ticket;
                    }
                    known.grants.extend(news.grants().iter().map(|grant| (grant.id, (epoch, grant.clone()))));
                    fate.map_or(Receivers::Refused, |_| Receivers::Somebody)
                });
                if let (Ok(_), Some(said)) = (&result, said) {
                    group.introduce(now_us, caller.session, said);
                }
                result
            })
            .collect();
        let calls: Vec<Call> = (keys.iter())
            .flat_map(|key| {
                let call = |(verb, said): (&Verb, &Option<_>)| Call {
                    introduction: said.clone(),
                    ..Call::new(key.clone(), verb.clone())
                };
                verbs.iter().zip(&said).map(call)
            })
            .collect();
        let rules = group.snapshot(now_us);
        let by_library = by_library(server, way, &caller, &calls, fresh, now_us, &fates);
        // Calls of one command share what one may do; `scripts` has a test of that.
        if calls.len() > 1 && by_library.iter().flatten().any(|reply| reply.again) {
            return;
        }
        for (key, by_library) in keys.iter().zip(by_library.chunks(verbs.len())) {
            assert_eq!(by_library, by_rules, "command {number}, {caller:?} {verbs:?} (library ≠ rules)");
            let stored = Stored::read(&mut server.connection, &GroupKeys::new("cl", key));
            let snapshot = stored.snapshot(now_us / 1_000);
            assert_eq!(snapshot, rules, "after command {number}, {caller:?} {verbs:?} (library ≠ rules)");
            stored.check(&snapshot);
        }
        for (verb, by_rules) in verbs.iter().zip(&by_rules) {
            if let Ok(reply) = by_rules {
                known.epoch = reply.epoch.0;
                learn(&mut known, caller.session, verb, reply);
            }
        }
        known.held = rules.leases.iter().map(|lease| lease.id).collect();
        for waiter in &rules.waiters {
            known.tickets.insert(waiter.id, waiter.ticket);
        }
    }
}

#[test]
fn the_library_and_the_rules_agree_on_any_history() {
    agree_on(&history::steps(), &["a}key%"], 1);
}

#[test]
fn the_library_and_the_rules_agree_on_what_most_calls_are() {
    agree_on(&history::plain_steps(), &["a}key%"], 1);
}

#[test]
fn the_library_and_the_rules_agree_on_a_crowd() {
    agree_on(&history::crowded_steps(), &["a}key%"], 1);
}

#[test]
fn the_library_and_the_rules_agree_when_the_state_goes_back() {
    agree_on(&history::backward_steps(), &["a}key%"], 1);
}

#[test]
fn groups_that_are_asked_together_are_asked_as_if_each_were_alone() {
    agree_on(&history::steps(), &["a", "b"], 1);
    agree_on(&history::plain_steps(), &["a", "b", "c"], 1);
}

#[test]
fn calls_of_one_command_are_carried_out_as_if_each_came_alone() {
    agree_on(&history::steps(), &["a"], 3);
    agree_on(&history::plain_steps(), &["a", "b"], 2);
    agree_on(&history::crowded_steps(), &["a"], 3);
    agree_on(&history::backward_steps(), &["a"], 2);
}

#[test]
fn the_library_and_the_rules_agree_on_notes() {
    agree_on(&history::noted_steps(), &["a}key%"], 1);
    agree_on(&history::noted_steps(), &["a"], 3);
}

fn agree_on(histories: &impl Strategy<Value = Vec<Step>>, groups: &[&str], together: usize) {
    let server = RefCell::new(Server::start());
    let ways = server.borrow_mut().ways(rehearsal::load);
    for way in ways {
        let config =
            ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() };
        let result = TestRunner::new(config).run(histories, |steps| {
            replay(&mut server.borrow_mut(), Replay { way, groups, together }, &steps);
            Ok(())
        });
        result.unwrap_or_else(|failure| panic!("{way:?}: {failure}"));
    }
}

/// How many histories: more with `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|number| number.parse().ok()).unwrap_or(150)
}
