//! A server that refuses to write: full memory, where giving back goes on, and a replica (R24, R25).

use std::sync::Arc;

use concurrency_limit::protocol::{
    Answers, Ask, CallError, Extend, ReconcileItem, Reconciled, Renew, Renewed, Target, Verb,
};

use super::rig::{Rig, id, terms};

#[test]
fn a_full_memory_refuses_acquire_alone_and_leaves_nothing_of_it() {
    for mut rig in Rig::each() {
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
        let extend = Extend { id: id(1, 2), lease_ms: 20_000, holder: None, passed: None };
        let reply = rig.call(1, Verb::Renew(Renew { leases: vec![extend], waiters: vec![] }));
        assert!(
            matches!(&reply.answers, Answers::Renew { leases, .. } if matches!(leases[0], Renewed::Extended { .. }))
        );
        assert_eq!(rig.release(id(1, 1)).answers, Answers::Release(vec![true]));
        let drop =
            rig.call(2, Verb::Reconcile { items: vec![ReconcileItem::Drop(id(2, 1))], own_from: None });
        assert_eq!(
            drop.answers,
            Answers::Reconcile {
                reconciled: vec![Reconciled::Dropped { held: true }],
                own: vec![],
                own_next: None
            },
            "it had been handed over"
        );
        rig.pass(60_000);
        assert_eq!(rig.call(9, Verb::Clean).answers, Answers::Clean(1));
    }
}

#[test]
fn a_full_memory_refuses_the_first_acquire_of_a_group() {
    for mut rig in Rig::each() {
        rig.server.ask::<redis::Value>(&["CONFIG", "SET", "maxmemory", "1"]);
        assert!(matches!(rig.try_acquire(id(1, 1), 1, true), Err(CallError::OutOfMemory(_))));
        assert_eq!(rig.server.ask::<u64>(&["DBSIZE"]), 0);
    }
}

#[test]
fn a_replica_executes_nothing() {
    for mut rig in Rig::each() {
        rig.hold(1, 2);
        rig.server.ask::<redis::Value>(&["REPLICAOF", "127.0.0.1", "1"]);
        for verb in [
            Verb::Acquire(vec![Ask { id: id(1, 2), terms: Arc::new(terms(2)), wait: true }]),
            Verb::Release(vec![Target::Lease(id(1, 1))]),
            Verb::Renew(Renew::default()),
            Verb::Reconcile { items: vec![], own_from: None },
        ] {
            let refused = rig.try_call(1, verb.clone());
            assert!(matches!(refused, Err(CallError::NotExecuted(_))), "{verb:?}: {refused:?}");
        }
    }
}
