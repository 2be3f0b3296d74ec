//! One suite for every store: the same small histories, through the same door, must end in the same way.
//!
//! No clock is waited on and no store's inside is looked at. Long histories are the agreement tests' work.

mod common;

use std::sync::Arc;

use common::peer::{Peer, key, limit};
use concurrency_limit::lease::{Identity, Slot};
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, Call, CallError, CallId, Extend, Grant, Introduction, Keep, Left, Outgoing, Page,
    Picture, Push, ReconcileItem, Reconciled, Renew, Renewed, Target, Terms, Verb, Waiting,
};
use concurrency_limit::store::Store;

/// Every scenario, once for each store.
macro_rules! for_every_store {
    ($($scenario:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(&concurrency_limit::store::memory::MemoryStore::new()).await;
            })*
        }

        mod redis {
            $(#[tokio::test]
            async fn $scenario() {
                let server = super::common::server::RedisServer::start(&[]);
                super::$scenario(&super::redis_store(&server)).await;
            })*
        }
    };
}

for_every_store!(
    a_grant_takes_the_smallest_free_slots_and_a_growing_token,
    asking_again_with_the_same_id_changes_nothing,
    who_does_not_wait_is_told_that_it_is_full,
    a_line_has_room_for_so_many,
    a_release_hands_off_to_the_oldest_waiter_by_push,
    a_grant_to_the_callers_own_waiter_is_in_the_reply,
    a_newcomer_never_overtakes,
    priority_comes_before_age,
    a_weight_is_granted_whole_or_not_at_all,
    leaving_tells_a_waiter_from_a_holder,
    renewal_extends_what_is_there_and_counts_who_waits,
    a_name_is_taken_over_with_its_slot,
    a_name_with_another_weight_is_a_mismatch,
    reconciling_settles_each_id,
    a_session_is_told_what_the_group_has_of_it,
    an_old_connection_comes_too_late,
    a_settling_session_is_not_granted_anything_new,
    a_picture_shows_holders_and_waiters,
    a_picture_shows_who_they_are,
    cleaning_an_empty_group_makes_nothing,
    groups_are_listed,
    calls_of_one_batch_are_answered_in_order,
);

fn redis_store(server: &common::server::RedisServer) -> concurrency_limit::store::redis::RedisStore {
    use concurrency_limit::config::Options;
    use concurrency_limit::store::redis::RedisStore;
    RedisStore::new(Options {
        connect_timeout: common::BOUND,
        command_timeout: common::BOUND,
        ..Options::new(server.url(""))
    })
    .expect("a good address")
}

fn weighing(weight: u32, most: u32) -> Arc<Terms> {
    Arc::new(Terms { weight, ..limit(most) })
}

fn named(holder: &str, terms: Terms) -> Arc<Terms> {
    Arc::new(Terms { holder: Some(holder.into()), ..terms })
}

fn ask(peer: &Peer, number: u64, terms: &Arc<Terms>, wait: bool) -> Ask {
    Ask { id: peer.id(number), terms: Arc::clone(terms), wait }
}

async fn ask_for(peer: &mut Peer, number: u64, terms: &Arc<Terms>, wait: bool) -> Acquired {
    let asked = Verb::Acquire(vec![ask(peer, number, terms, wait)]);
    match peer.answer(&key("group"), asked).await.answers {
        Answers::Acquire(mut acquired) if acquired.len() == 1 => acquired.remove(0),
        other => panic!("not the answer to one acquire: {other:?}"),
    }
}

async fn queued(peer: &mut Peer, number: u64, terms: &Arc<Terms>) -> u64 {
    match ask_for(peer, number, terms, true).await {
        Acquired::Queued { ahead, .. } => ahead,
        other => panic!("not in line: {other:?}"),
    }
}

async fn release(peer: &mut Peer, number: u64) -> (bool, Vec<Grant>) {
    let reply = peer.answer(&key("group"), Verb::Release(vec![Target::Lease(peer.id(number))])).await;
    match reply.answers {
        Answers::Release(released) => (released == [true], reply.handed),
        other => panic!("not the answer to a release: {other:?}"),
    }
}

async fn inspect(peer: &mut Peer) -> Picture {
    match peer.answer(&key("group"), Verb::Inspect(Page::default())).await.answers {
        Answers::Inspect(picture) => picture,
        other => panic!("not a picture: {other:?}"),
    }
}

fn slots(grant: &Grant) -> &[Slot] {
    &grant.slots
}

fn only_grant(push: Push) -> Grant {
    assert_eq!(push.key, key("group"));
    assert_eq!(push.news.grants().len(), 1, "{push:?}");
    push.news.grants().first().cloned().expect("one grant")
}

async fn a_grant_takes_the_smallest_free_slots_and_a_growing_token(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let (group, three) = (key("group"), Arc::new(limit(3)));
    let mut last = 0;
    for number in 1..=3 {
        let grant = peer.granted(&group, number, &three).await;
        assert_eq!(grant.slots, [number as Slot]);
        assert!(grant.token.0 > last);
        assert_eq!(grant.ttl_ms, 60_000);
        last = grant.token.0;
    }
    assert_eq!(release(&mut peer, 2).await, (true, vec![]));
    assert_eq!(release(&mut peer, 2).await, (false, vec![]));
    let again = peer.granted(&group, 4, &three).await;
    assert_eq!(again.slots, [2]);
    assert!(again.token.0 > last);
}

async fn asking_again_with_the_same_id_changes_nothing(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let (group, one) = (key("group"), Arc::new(limit(1)));
    let first = peer.granted(&group, 1, &one).await;
    let second = peer.granted(&group, 1, &one).await;
    assert_eq!((first.slots, first.token), (second.slots, second.token));
    assert_eq!((queued(&mut peer, 2, &one).await, queued(&mut peer, 2, &one).await), (0, 0));
    assert_eq!(inspect(&mut peer).await.waiting, 1);
}

async fn who_does_not_wait_is_told_that_it_is_full(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let one = Arc::new(limit(1));
    peer.granted(&key("group"), 1, &one).await;
    match ask_for(&mut peer, 2, &one, false).await {
        Acquired::Full { held: 1, waiting: 0, next_end_in_ms: Some(1..=60_000) } => {}
        other => panic!("not full: {other:?}"),
    }
}

async fn a_line_has_room_for_so_many(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let short = Arc::new(Terms { max_waiting: Some(1), ..limit(1) });
    peer.granted(&key("group"), 1, &short).await;
    assert_eq!(queued(&mut peer, 2, &short).await, 0);
    assert_eq!(ask_for(&mut peer, 3, &short, true).await, Acquired::QueueFull { waiting: 1 });
}

async fn a_release_hands_off_to_the_oldest_waiter_by_push(store: &dyn Store) {
    let (mut holder, mut first, mut second) =
        (Peer::connect(store).await, Peer::connect(store).await, Peer::connect(store).await);
    let (group, one) = (key("group"), Arc::new(limit(1)));
    let held = holder.granted(&group, 1, &one).await;
    assert_eq!(queued(&mut first, 1, &one).await, 0);
    assert_eq!(queued(&mut second, 1, &one).await, 1);
    assert_eq!(release(&mut holder, 1).await, (true, vec![]));
    let handed = only_grant(first.push().await);
    assert_eq!((handed.id, slots(&handed)), (first.id(1), &[1][..]));
    assert!(handed.token > held.token);
    assert_eq!(handed.ttl_ms, 5_000, "a pushed grant begins with its claim window");
    let leave = first.answer(&group, Verb::Renew(Renew::default())).await;
    assert!(matches!(leave.answers, Answers::Renew { in_line: 0, .. }), "{leave:?}");
    assert_eq!(release(&mut first, 1).await, (true, vec![]));
    assert_eq!(only_grant(second.push().await).id, second.id(1));
}

async fn a_grant_to_the_callers_own_waiter_is_in_the_reply(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let one = Arc::new(limit(1));
    peer.granted(&key("group"), 1, &one).await;
    queued(&mut peer, 2, &one).await;
    let (released, handed) = release(&mut peer, 1).await;
    assert!(released);
    assert_eq!(
        handed.iter().map(|grant| (grant.id, grant.ttl_ms)).collect::<Vec<_>>(),
        [(peer.id(2), 60_000)]
    );
    assert_eq!(peer.close().await, [], "nothing was pushed beside it");
}

async fn a_newcomer_never_overtakes(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    peer.granted(&key("group"), 1, &weighing(2, 3)).await;
    // The head wants more than there is room for; one slot is free, and stays so.
    assert_eq!(queued(&mut peer, 2, &weighing(3, 3)).await, 0);
    assert_eq!(queued(&mut peer, 3, &Arc::new(limit(3))).await, 1);
    assert!(matches!(ask_for(&mut peer, 4, &Arc::new(limit(3)), false).await, Acquired::Full { .. }));
    // Whoever brings a larger limit isn't behind it.
    assert!(matches!(ask_for(&mut peer, 5, &Arc::new(limit(4)), false).await, Acquired::Granted(_)));
}

async fn priority_comes_before_age(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let one = Arc::new(limit(1));
    peer.granted(&key("group"), 1, &one).await;
    queued(&mut peer, 2, &one).await;
    queued(&mut peer, 3, &Arc::new(Terms { priority: 1, ..limit(1) })).await;
    queued(&mut peer, 4, &Arc::new(Terms { priority: -1, ..limit(1) })).await;
    for (held, next) in [(1, 3), (3, 2), (2, 4)] {
        let (_, handed) = release(&mut peer, held).await;
        assert_eq!(handed.iter().map(|grant| grant.id).collect::<Vec<_>>(), [peer.id(next)]);
    }
}

async fn a_weight_is_granted_whole_or_not_at_all(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let group = key("group");
    peer.granted(&group, 1, &weighing(1, 4)).await;
    let heavy = peer.granted(&group, 2, &weighing(2, 4)).await;
    assert_eq!(slots(&heavy), [2, 3]);
    queued(&mut peer, 3, &weighing(3, 4)).await;
    assert_eq!(release(&mut peer, 1).await, (true, vec![]));
    let (_, handed) = release(&mut peer, 2).await;
    assert_eq!(handed.iter().map(slots).collect::<Vec<_>>(), [&[1, 2, 3][..]]);
    assert_eq!(inspect(&mut peer).await.held, 3);
}

async fn leaving_tells_a_waiter_from_a_holder(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let one = Arc::new(limit(1));
    let held = peer.granted(&key("group"), 1, &one).await;
    queued(&mut peer, 2, &one).await;
    let ids = vec![peer.id(2), peer.id(1), peer.id(9)];
    match peer.answer(&key("group"), Verb::Leave(ids)).await.answers {
        Answers::Leave { left, held: 1, waiting: 1, next_end_in_ms: Some(1..=60_000) } => {
            match left.as_slice() {
                [Left::Left, Left::Granted(grant), Left::Left] => {
                    assert_eq!((grant.id, grant.token), (held.id, held.token));
                }
                other => panic!("not what was left: {other:?}"),
            }
        }
        other => panic!("not the answer to a leave: {other:?}"),
    }
    assert_eq!(inspect(&mut peer).await.waiting, 0);
}

async fn renewal_extends_what_is_there_and_counts_who_waits(store: &dyn Store) {
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

async fn a_name_is_taken_over_with_its_slot(store: &dyn Store) {
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

async fn a_name_with_another_weight_is_a_mismatch(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    peer.granted(&key("group"), 1, &Arc::new(limit(3))).await;
    peer.granted(&key("group"), 2, &named("n", limit(3))).await;
    for terms in [Terms { weight: 2, ..limit(3) }, limit(1)] {
        let answer = ask_for(&mut peer, 3, &named("n", terms), true).await;
        assert_eq!(answer, Acquired::HolderMismatch { weight: 1, highest: 2 });
    }
}

async fn reconciling_settles_each_id(store: &dyn Store) {
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

async fn a_session_is_told_what_the_group_has_of_it(store: &dyn Store) {
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

async fn an_old_connection_comes_too_late(store: &dyn Store) {
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

async fn a_settling_session_is_not_granted_anything_new(store: &dyn Store) {
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

async fn a_picture_shows_holders_and_waiters(store: &dyn Store) {
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

async fn a_picture_shows_who_they_are(store: &dyn Store) {
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

async fn cleaning_an_empty_group_makes_nothing(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    assert_eq!(peer.answer(&key("group"), Verb::Clean).await.answers, Answers::Clean(0));
    assert_eq!(inspect(&mut peer).await, Picture::default());
    assert_eq!(peer.keys("*").await, []);
}

async fn groups_are_listed(store: &dyn Store) {
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

async fn calls_of_one_batch_are_answered_in_order(store: &dyn Store) {
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
