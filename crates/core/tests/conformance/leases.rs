//! Renewing, names, reconciling, and what a group shows.

use std::sync::Arc;

use concurrency_limit::lease::Identity;
use concurrency_limit::protocol::{
    Acquired, Answers, Call, CallError, CallId, Extend, Grant, Introduction, Keep, Outgoing, Picture,
    ReconcileItem, Reconciled, Renew, Renewed, Target, Terms, Verb, Waiting,
};
use concurrency_limit::store::Store;

use crate::common::peer::{Peer, key, limit};
use crate::steps::{ask, ask_for, inspect, named, queued, release, slots};

pub(super) async fn renewal_extends_what_is_there_and_counts_who_waits(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let one = Arc::new(limit(1));
    let held = peer.granted(&key("group"), 1, &one).await;
    queued(&mut peer, 2, &one).await;
    let extend = |number| Extend { id: peer.id(number), lease_ms: 120_000, holder: None, passed: None };
    let renew =
        Renew { leases: vec![extend(1), extend(8)], waiters: vec![peer.id(2), peer.id(1), peer.id(9)] };
    match peer.answer(&key("group"), Verb::Renew(renew)).await.answers {
        Answers::Renew { leases, in_line, waiters } => {
            match leases.as_slice() {
                [Renewed::Extended { end_at_ms }, Renewed::Gone] => {
                    assert!(*end_at_ms >= held.end_at_ms + 60_000)
                }
                other => panic!("not one extended and one gone: {other:?}"),
            }
            assert_eq!(in_line, 1);
            assert!(
                matches!(&waiters[..], [Waiting::InLine, Waiting::Granted(grant), Waiting::Unknown] if grant.id == held.id),
                "{waiters:?}"
            );
        }
        other => panic!("not the answer to a renewal: {other:?}"),
    }
}

pub(super) async fn a_name_is_taken_over_with_its_slot(store: &dyn Store) {
    let (mut former, mut next) = (Peer::connect(store).await, Peer::connect(store).await);
    let order = named("order 17", limit(2));
    let (group, one) = (key("group"), Arc::new(limit(2)));
    former.granted(&group, 1, &one).await;
    let held = former.granted(&group, 2, &order).await;
    let taken = next.granted(&group, 1, &order).await;
    assert_eq!((slots(&taken), taken.ttl_ms), (&[2][..], 60_000));
    assert!(taken.token > held.token);
    let extend = Extend { id: former.id(2), lease_ms: 60_000, holder: Some("order 17".into()), passed: None };
    let renewed = former.answer(&group, Verb::Renew(Renew { leases: vec![extend], waiters: vec![] })).await;
    match renewed.answers {
        Answers::Renew { leases, .. } => assert_eq!(leases, [Renewed::TakenOver]),
        other => panic!("not the answer to a renewal: {other:?}"),
    }
    assert_eq!(release(&mut former, 2).await, (false, vec![]));
    let by_name = Verb::Release(vec![Target::Holder("order 17".into()), Target::Holder("nobody".into())]);
    assert_eq!(former.answer(&group, by_name).await.answers, Answers::Release(vec![true, false]));
    assert_eq!(inspect(&mut former).await.held, 1);
}

pub(super) async fn a_name_with_another_weight_is_a_mismatch(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    peer.granted(&key("group"), 1, &Arc::new(limit(3))).await;
    peer.granted(&key("group"), 2, &named("n", limit(3))).await;
    for terms in [Terms { weight: 2, ..limit(3) }, limit(1)] {
        let answer = ask_for(&mut peer, 3, &named("n", terms), true).await;
        assert_eq!(answer, Acquired::HolderMismatch { weight: 1, highest: 2 });
    }
}

pub(super) async fn reconciling_answers_each_id(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let (group, two) = (key("group"), Arc::new(limit(2)));
    let reply =
        peer.answer(&group, Verb::Acquire((1..=4).map(|n| ask(&peer, n, &two, true)).collect())).await;
    let Answers::Acquire(acquired) = &reply.answers else { panic!("not acquired: {reply:?}") };
    let [
        Acquired::Granted(first),
        Acquired::Granted(_),
        Acquired::Queued { ticket, .. },
        Acquired::Queued { .. },
    ] = acquired.as_slice()
    else {
        panic!("not two and two: {acquired:?}")
    };
    peer.caller.connection = 2;
    let keep = |grant: &Grant, number| {
        ReconcileItem::Keep(Keep {
            id: peer.id(number),
            terms: Arc::clone(&two),
            epoch: reply.epoch,
            token: grant.token,
            current: grant.token,
            slots: grant.slots.clone(),
            end_at_ms: grant.end_at_ms,
            extend_ms: Some(two.lease_ms),
        })
    };
    let want = |number| ReconcileItem::Want { id: peer.id(number), terms: Arc::clone(&two), ticket: None };
    let items = vec![
        keep(first, 1),
        want(3),
        want(8),
        keep(first, 9),
        ReconcileItem::Drop(peer.id(4)),
        ReconcileItem::Drop(peer.id(2)),
    ];
    let reconciled = peer.answer(&group, Verb::Reconcile { items, own_from: None }).await;
    let Answers::Reconcile { reconciled: answers, .. } = &reconciled.answers else {
        panic!("not reconciled: {reconciled:?}")
    };
    match answers.as_slice() {
        [
            Reconciled::Held(kept),
            Reconciled::InLine { ticket: place },
            Reconciled::Unknown,
            Reconciled::Unknown,
            Reconciled::Dropped { held: false },
            Reconciled::Dropped { held: true },
        ] => assert_eq!((kept.token, place), (first.token, ticket)),
        other => panic!("not reconciled as expected: {other:?}"),
    }
    // The lease that was given back made room for the one that waits.
    assert_eq!(reconciled.handed.iter().map(|grant| grant.id).collect::<Vec<_>>(), [peer.id(3)]);
}

pub(super) async fn a_session_is_told_what_the_group_has_of_it(store: &dyn Store) {
    let (mut peer, mut other) = (Peer::connect(store).await, Peer::connect(store).await);
    let look = Verb::Reconcile { items: vec![], own_from: Some(0) };
    let nothing = Answers::Reconcile { reconciled: vec![], own: vec![], own_next: None };
    assert_eq!(peer.answer(&key("group"), look.clone()).await.answers, nothing);
    assert_eq!(peer.keys("*").await, []);
    let two = Arc::new(limit(2));
    peer.granted(&key("group"), 1, &two).await;
    other.granted(&key("group"), 1, &two).await;
    queued(&mut other, 2, &two).await;
    queued(&mut peer, 2, &two).await;
    peer.caller.connection = 2;
    let reconciled = peer.answer(&key("group"), look).await.answers;
    let own = vec![peer.id(1), peer.id(2)];
    assert_eq!(reconciled, Answers::Reconcile { reconciled: vec![], own, own_next: None });
}

pub(super) async fn an_old_connection_comes_too_late(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let group = key("group");
    peer.caller.connection = 2;
    let drop = vec![ReconcileItem::Drop(peer.id(9))];
    peer.answer(&group, Verb::Reconcile { items: drop, own_from: None }).await;
    peer.caller.connection = 1;
    let late = Verb::Acquire(vec![ask(&peer, 1, &Arc::new(limit(1)), true)]);
    assert_eq!(peer.call(&group, late).await, Err(CallError::Stale));
    assert_eq!(inspect(&mut peer).await.held, 0);
}

pub(super) async fn a_settling_session_is_not_granted_anything_new(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let one = Arc::new(limit(1));
    peer.granted(&key("group"), 1, &one).await;
    queued(&mut peer, 2, &one).await;
    peer.caller.settling = true;
    assert_eq!(release(&mut peer, 1).await, (true, vec![]));
    peer.caller.settling = false;
    let handed = peer.answer(&key("group"), Verb::Clean).await.handed;
    assert_eq!(handed.iter().map(|grant| grant.id).collect::<Vec<_>>(), [peer.id(2)]);
}

pub(super) async fn a_picture_shows_holders_and_waiters(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let odd = "a}b%\n\u{1f512}";
    let terms = Arc::new(Terms { holder: Some(odd.into()), label: Some("the label".into()), ..limit(2) });
    let held = peer.granted(&key("group"), 1, &terms).await;
    peer.granted(&key("group"), 2, &Arc::new(limit(2))).await;
    queued(&mut peer, 3, &Arc::new(Terms { label: Some(odd.into()), priority: -3, ..limit(2) })).await;
    let picture = inspect(&mut peer).await;
    assert_eq!((picture.limit, picture.held, picture.waiting, picture.next), (2, 2, 1, None));
    let holder = &picture.holders[0];
    assert_eq!((holder.id, &holder.slots, holder.token), (held.id, &held.slots, held.token));
    assert_eq!((holder.holder.as_deref(), holder.label.as_deref()), (Some(odd), Some("the label")));
    assert!((1..=60_000).contains(&holder.ends_in_ms));
    let waiter = &picture.waiters[0];
    assert_eq!((waiter.id, waiter.limit, waiter.weight, waiter.priority), (peer.id(3), 2, 1, -3));
    assert_eq!((waiter.holder.as_deref(), waiter.label.as_deref()), (None, Some(odd)));
}

pub(super) async fn a_picture_shows_who_they_are(store: &dyn Store) {
    let (mut peer, mut other) = (Peer::connect(store).await, Peer::connect(store).await);
    let identity = Arc::new(Identity::new(Some("web }1"), 4711, None));
    let group = key("group");
    let (id, request) = peer.request(&group, Verb::Acquire(vec![ask(&peer, 1, &Arc::new(limit(2)), true)]));
    let Outgoing::Call { caller, call, .. } = request else { unreachable!("it is a call") };
    let introduction = Some(Introduction { identity: Arc::clone(&identity), keep_ms: 60_000 });
    peer.link.send(vec![Outgoing::Call { id, caller, call: Call { introduction, ..call } }]);
    peer.reply(id).await.expect("carried out");
    other.granted(&group, 1, &Arc::new(limit(2))).await;
    queued(&mut peer, 2, &Arc::new(limit(2))).await;
    let picture = inspect(&mut other).await;
    let holders: Vec<_> = picture.holders.iter().map(|holder| &holder.identity).collect();
    assert_eq!(holders, [&Some(Arc::clone(&identity)), &None]);
    assert_eq!(picture.waiters[0].identity, Some(identity));
}

pub(super) async fn cleaning_an_empty_group_makes_nothing(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    assert_eq!(peer.answer(&key("group"), Verb::Clean).await.answers, Answers::Clean(0));
    assert_eq!(inspect(&mut peer).await, Picture::default());
    assert_eq!(peer.keys("*").await, []);
}

pub(super) async fn groups_are_listed(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let mut all = ["plain", "}", "%7D", "{a}", "a b", "🔒"].map(key);
    all.sort();
    for group in &all {
        peer.granted(group, 1, &Arc::new(limit(1))).await;
    }
    assert_eq!(peer.keys("*").await, all);
    assert_eq!(peer.keys("?").await, [key("}")]);
    assert_eq!(peer.keys("[p{]*").await, [key("plain"), key("{a}")]);
}

pub(super) async fn calls_of_one_batch_are_answered_in_order(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let one = Arc::new(limit(1));
    let mut requests = Vec::new();
    for number in 1..=300 {
        let verb = Verb::Acquire(vec![ask(&peer, number, &one, true)]);
        let group = key(&format!("group {}", number % 3));
        requests.push(Outgoing::Call {
            id: CallId(number),
            caller: peer.caller,
            call: Call::new(group, verb),
        });
    }
    peer.link.send(requests);
    for number in 1..=300 {
        let reply = peer.reply(CallId(number)).await.expect("carried out");
        let Answers::Acquire(acquired) = reply.answers else { panic!("not acquired") };
        match acquired.as_slice() {
            [Acquired::Granted(_)] => assert!(number <= 3),
            [Acquired::Queued { ahead, .. }] => assert_eq!(*ahead, (number - 1) / 3 - 1),
            other => panic!("neither granted nor in line: {other:?}"),
        }
    }
    assert_eq!(peer.close().await, [], "every reply came once, and nothing else");
}
