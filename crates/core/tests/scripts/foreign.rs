//! What isn't a group of this version is an error, and left as it is: other types, other hashes, other layouts (R24,
//! R27).

use std::collections::BTreeMap;
use std::sync::Arc;

use concurrency_limit::protocol::{Ask, CallError, Page, ReconcileItem, Renew, Target, Verb};

use super::rig::{Rig, id, terms};

/// One call of each verb.
fn verbs() -> [Verb; 7] {
    [
        Verb::Acquire(vec![Ask { id: id(1, 1), terms: Arc::new(terms(1)), wait: true }]),
        Verb::Release(vec![Target::Lease(id(1, 1))]),
        Verb::Renew(Renew::default()),
        Verb::Leave(vec![id(1, 1)]),
        Verb::Reconcile { items: vec![ReconcileItem::Drop(id(1, 1))], own_from: None },
        Verb::Inspect(Page::default()),
        Verb::Clean,
    ]
}

#[test]
fn a_key_of_another_type_is_an_error_and_left_alone() {
    for mut rig in Rig::each() {
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
}

#[test]
fn a_hash_of_somebody_else_is_an_error_and_left_alone() {
    for mut rig in Rig::each() {
        let group = rig.keys.group.clone();
        for (field, value) in [("mine", "1"), ("state", "1"), ("state", "mine"), ("state", "")] {
            rig.server.ask::<redis::Value>(&["FLUSHALL"]);
            rig.server.ask::<redis::Value>(&["HSET", &group, field, value]);
            for verb in verbs() {
                let refused = rig.try_call(1, verb.clone());
                assert!(
                    matches!(refused, Err(CallError::Unusable(_))),
                    "{field} {value}, {verb:?}: {refused:?}"
                );
            }
            assert_eq!(rig.server.ask::<Vec<String>>(&["HGETALL", &group]), [field, value]);
            assert_eq!(rig.server.ask::<u64>(&["DBSIZE"]), 1);
        }
    }
}

#[test]
fn a_key_that_another_type_replaced_is_an_error_and_left_alone() {
    for mut rig in Rig::each() {
        for key in rig.keys.all().map(str::to_owned) {
            rig.server.ask::<redis::Value>(&["FLUSHALL"]);
            rig.hold(3, 3);
            rig.release(id(1, 2));
            rig.acquire(id(1, 8), 3);
            rig.wait(id(2, 1), 3);
            let group = rig.keys.group.clone();
            let before =
                (key != group).then(|| rig.server.ask::<BTreeMap<String, String>>(&["HGETALL", &group]));
            rig.server.ask::<redis::Value>(&["SET", &key, "mine"]);
            let result = rig.try_call(1, Verb::Release(vec![Target::Lease(id(1, 3))]));
            assert_eq!(rig.server.ask::<String>(&["GET", &key]), "mine");
            match result {
                // The room went on to the waiter, so the gaps weren't touched.
                Ok(_) => assert_eq!(key, rig.keys.gaps),
                Err(CallError::Unusable(_)) => {
                    let after = (key != group)
                        .then(|| rig.server.ask::<BTreeMap<String, String>>(&["HGETALL", &group]));
                    assert_eq!(after, before, "{key}");
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

#[test]
fn another_layout_version_is_an_error() {
    for mut rig in Rig::each() {
        rig.hold(1, 1);
        rig.server.ask::<redis::Value>(&["HSET", &rig.keys.group.clone(), "state", "2"]);
        for verb in [Verb::Clean, Verb::Inspect(Page::default()), Verb::Renew(Renew::default())] {
            assert!(
                matches!(rig.try_call(1, verb), Err(CallError::Unusable(text)) if text.contains("version 2"))
            );
        }
    }
}
