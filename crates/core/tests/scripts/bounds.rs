//! How long keys live, how much one call does, and how much it shows (R8, R26).

use std::collections::BTreeMap;
use std::sync::Arc;

use concurrency_limit::lease::Key;
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, Call, Extend, Page, ReconcileItem, Renew, Target, Terms, Verb,
};

use super::rig::{Rig, id, terms};

#[test]
fn all_keys_of_a_group_live_until_the_latest_end_and_a_reserve() {
    for mut rig in Rig::each() {
        rig.hold(3, 3);
        rig.release(id(1, 2));
        rig.acquire(id(2, 1), 3);
        rig.wait(id(3, 1), 3);
        let left: Vec<i64> = rig
            .keys
            .all()
            .map(str::to_owned)
            .iter()
            .map(|key| rig.server.ask::<i64>(&["PTTL", key]))
            .collect();
        assert!(left.iter().all(|ms| (310_000..500_000).contains(ms)), "{left:?}");
        assert!(left.iter().max().expect("four") - left.iter().min().expect("four") < 1_000, "{left:?}");
        rig.pass(600_000);
        rig.acquire(id(3, 2), 1);
        for key in rig.keys.all().map(str::to_owned) {
            assert!(rig.server.ask::<i64>(&["PTTL", &key]) > 900_000, "{key}");
        }
    }
}

#[test]
fn a_set_that_vanished_alone_gets_the_time_to_live_of_the_others_when_it_is_made_anew() {
    type Use = fn(&mut Rig);
    let uses: [(&str, Use); 7] = [
        ("acquire", |rig| drop(rig.acquire(id(2, 1), 5))),
        ("acquire with a name", |rig| {
            let terms = Arc::new(Terms { holder: Some("a".into()), ..terms(5) });
            rig.call(2, Verb::Acquire(vec![Ask { id: id(2, 1), terms, wait: false }]));
        }),
        ("renew", |rig| {
            let extend = Extend { id: id(1, 1), lease_ms: 10_000, holder: None, passed: None };
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
        ("reconcile", |rig| drop(rig.reconcile(2, vec![ReconcileItem::Drop(id(1, 2))]))),
    ];
    for mut rig in Rig::each() {
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
}

#[test]
fn more_work_than_a_call_may_do_is_told_and_gone_on_with() {
    for mut rig in Rig::each() {
        rig.hold(500, 500);
        let terms = Arc::new(terms(500));
        for session in 2..5 {
            let asks =
                (1..=150).map(|n| Ask { id: id(session, n), terms: terms.clone(), wait: true }).collect();
            rig.call(session, Verb::Acquire(asks));
        }
        let released: Vec<Target> = (1..=500).map(|n| Target::Lease(id(1, n))).collect();
        assert!(rig.call(1, Verb::Release(released)).again);
        assert_eq!(rig.held(), 200);
        rig.clean_through();
        assert_eq!(rig.held(), 450);
    }
}

#[test]
fn groups_that_are_asked_together_share_what_a_call_may_do() {
    for mut rig in Rig::each() {
        let keys: Vec<Key> = ["a", "b", "c"].map(|key| Key::new(key).expect("a key")).into();
        for key in &keys {
            rig.turn_to(key);
            rig.hold(150, 150);
            rig.wait(id(2, 1), 150);
        }
        // All the leases have ended. Somebody else asks for a slot.
        rig.pass(20_000);
        let ask = Ask { id: id(3, 1), terms: Arc::new(terms(1_000)), wait: true };
        let call = |key: &Key| Call::new(key.clone(), Verb::Acquire(vec![ask.clone()]));
        let replies = rig.call_together(3, &keys.iter().map(call).collect::<Vec<_>>());
        assert_eq!(replies.iter().map(|reply| reply.again).collect::<Vec<_>>(), [false, true, true]);
        for (key, held) in keys.iter().zip([2, 102, 151]) {
            rig.turn_to(key);
            assert_eq!(rig.held(), held, "{key:?}");
        }
    }
}

#[test]
fn inspect_shows_everybody_once_page_by_page() {
    for mut rig in Rig::each() {
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
}

#[test]
fn what_has_ended_is_not_shown_as_held() {
    for mut rig in Rig::each() {
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
}

#[test]
fn what_has_ended_when_it_is_granted_makes_room_for_the_next_call_of_the_command() {
    for mut rig in Rig::each() {
        let key = Key::new("over").expect("a key");
        rig.turn_to(&key);
        rig.acquire(id(1, 1), 1);
        let ask = |number, terms| {
            Verb::Acquire(vec![Ask { id: id(1, number), terms: Arc::new(terms), wait: true }])
        };
        rig.call(1, ask(2, Terms { lease_ms: 0, ..terms(1) }));
        let calls = [Verb::Release(vec![Target::Lease(id(1, 1))]), ask(3, terms(1))]
            .map(|verb| Call::new(key.clone(), verb));
        let replies = rig.call_together(1, &calls);
        let Answers::Acquire(answers) = &replies[1].answers else { panic!("another verb's answer") };
        assert!(matches!(answers[..], [Acquired::Granted(_)]), "{answers:?}");
    }
}

/// The library keeps what it has read out of texts for the next call. A script keeps nothing.
#[test]
fn what_is_kept_between_calls_does_not_grow_with_the_number_of_groups() {
    let mut rig = Rig::start();
    let mut kept_after = |groups: std::ops::Range<u64>| {
        for n in groups {
            rig.turn_to(&Key::new(format!("k{n}")).expect("a key"));
            rig.fresh = n;
            rig.acquire(id(1, n), 1);
        }
        let info: String = rig.server.ask(&["INFO", "memory"]);
        let bytes = info.lines().find_map(|line| line.strip_prefix("used_memory_vm_functions:"));
        bytes.map_or(0, |bytes| bytes.parse::<u64>().expect("a number"))
    };
    let (few, many) = (kept_after(0..2_000), kept_after(2_000..8_000));
    assert!(many < few + 2_000_000, "{few} bytes after 2,000 groups, {many} after 8,000");
}
