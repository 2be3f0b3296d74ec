//! Keys of a group that vanish alone are built anew or begun anew, in bounded steps; the hash takes the rest along
//! (R26).

use std::sync::Arc;

use concurrency_limit::lease::{Epoch, FencingToken, Slot};
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, Keep, ReconcileItem, Reconciled, Renew, Verb, Waiting,
};

use super::rig::{Rig, id, terms};

#[test]
fn lost_ends_are_built_anew_when_room_is_needed() {
    for mut rig in Rig::each() {
        let ends = rig.keys.ends.clone();
        rig.hold(3, 3);
        rig.lose(&ends);
        rig.pass(10_000);
        assert_eq!(rig.acquire(id(2, 1), 3).slots, [1]);
        assert_eq!(rig.held(), 1);
        assert!(rig.server.ask::<i64>(&["PTTL", &ends]) > 0);
    }
}

#[test]
fn lost_gaps_are_built_anew_when_one_is_missed() {
    for mut rig in Rig::each() {
        let gaps = rig.keys.gaps.clone();
        rig.hold(5, 5);
        rig.release(id(1, 2));
        rig.release(id(1, 4));
        rig.lose(&gaps);
        assert_eq!(rig.acquire(id(2, 1), 5).slots, [2]);
        assert_eq!(rig.acquire(id(2, 2), 5).slots, [4]);
        assert!(matches!(rig.try_acquire(id(2, 3), 5, false), Ok(Acquired::Full { .. })));
    }
}

#[test]
fn a_gap_above_the_limit_shows_that_gaps_were_lost() {
    for mut rig in Rig::each() {
        let gaps = rig.keys.gaps.clone();
        rig.hold(6, 6);
        rig.release(id(1, 2));
        rig.release(id(1, 3));
        rig.lose(&gaps);
        rig.release(id(1, 5));
        rig.release(id(1, 4));
        assert_eq!(rig.acquire(id(2, 1), 3).slots, [2]);
    }
}

#[test]
fn a_large_group_is_mended_in_bounded_steps() {
    for mut rig in Rig::each() {
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
}

#[test]
fn a_lost_queue_is_begun_anew_and_its_waiters_come_back_with_their_tickets() {
    for mut rig in Rig::each() {
        let queue = rig.keys.queue.clone();
        rig.hold(1, 1);
        let (first, second) = (rig.wait(id(2, 1), 1), rig.wait(id(3, 1), 1));
        rig.lose(&queue);
        for session in [3, 2] {
            let Answers::Renew { in_line, .. } = rig.call(session, Verb::Renew(Renew::default())).answers
            else {
                panic!("another verb's answer")
            };
            assert_eq!(in_line, 0);
        }
        for (id, ticket) in [(id(3, 1), second), (id(2, 1), first)] {
            let want = ReconcileItem::Want { id, terms: Arc::new(terms(1)), ticket: Some(ticket) };
            let reply = rig.reconcile(id.session.0, vec![want]);
            assert_eq!(reply, [Reconciled::InLine { ticket }]);
        }
        rig.release(id(1, 1));
        let look = Renew { waiters: vec![id(2, 1)], ..Renew::default() };
        let Answers::Renew { waiters, .. } = rig.call(2, Verb::Renew(look)).answers else {
            panic!("another verb's answer")
        };
        assert!(matches!(&waiters[..], [Waiting::Granted(_)]), "{waiters:?}");
    }
}

#[test]
fn a_lost_hash_takes_what_belonged_to_it_along() {
    for mut rig in Rig::each() {
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
}

#[test]
fn a_session_finds_all_its_leases_although_the_ends_were_lost() {
    for mut rig in Rig::each() {
        let ends = rig.keys.ends.clone();
        rig.hold(3_000, 3_000);
        rig.acquire(id(2, 1), 3_001);
        rig.wait(id(2, 2), 1);
        rig.lose(&ends);
        let (mut found, mut from, mut pages) = (Vec::new(), Some(0), 0);
        while let Some(rank) = from {
            let look = Verb::Reconcile { items: vec![], own_from: Some(rank) };
            let Answers::Reconcile { own, own_next, .. } = rig.call(2, look).answers else {
                panic!("another verb's answer")
            };
            found.extend(own);
            (from, pages) = (own_next, pages + 1);
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, [id(2, 1), id(2, 2)]);
        assert!(
            (16..=20).contains(&pages),
            "{pages} pages of 200 leases, and some while the ends were mended"
        );
    }
}

#[test]
fn a_lease_on_a_high_slot_re_enters_without_writing_every_gap_below() {
    for mut rig in Rig::each() {
        let mut keep = Keep {
            id: id(1, 1),
            terms: Arc::new(terms(1_000_000)),
            epoch: Epoch(9),
            token: FencingToken(7),
            current: FencingToken(7),
            slots: vec![1_000_000],
            end_at_ms: u64::MAX >> 12,
            extend_ms: Some(10_000),
        };
        let reply = rig.reconcile(1, vec![ReconcileItem::Keep(keep.clone())]);
        assert!(matches!(&reply[..], [Reconciled::Held(_)]));
        (keep.id, keep.slots) = (id(1, 2), vec![500]);
        rig.reconcile(1, vec![ReconcileItem::Keep(keep)]);
        let gaps = rig.server.ask::<Vec<String>>(&["ZRANGE", &rig.keys.gaps.clone(), "0", "-1"]);
        assert_eq!(gaps, ["1-499", "501-999999", "."]);
        assert_eq!(rig.acquire(id(2, 1), 3).slots, [1]);
    }
}
