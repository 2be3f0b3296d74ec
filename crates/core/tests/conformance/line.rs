//! Asking, waiting, releasing and leaving.

use std::sync::Arc;

use concurrency_limit::lease::Slot;
use concurrency_limit::protocol::{Acquired, Answers, Left, Renew, Terms, Verb};
use concurrency_limit::store::Store;

use crate::common::peer::{Peer, key, limit};
use crate::steps::{ask_for, inspect, only_grant, queued, release, slots, weighing};

pub(super) async fn a_grant_takes_the_smallest_free_slots_and_a_growing_token(store: &dyn Store) {
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

pub(super) async fn asking_again_with_the_same_id_changes_nothing(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let (group, one) = (key("group"), Arc::new(limit(1)));
    let first = peer.granted(&group, 1, &one).await;
    let second = peer.granted(&group, 1, &one).await;
    assert_eq!((first.slots, first.token), (second.slots, second.token));
    assert_eq!((queued(&mut peer, 2, &one).await, queued(&mut peer, 2, &one).await), (0, 0));
    assert_eq!(inspect(&mut peer).await.waiting, 1);
}

pub(super) async fn who_does_not_wait_is_told_that_it_is_full(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let one = Arc::new(limit(1));
    peer.granted(&key("group"), 1, &one).await;
    match ask_for(&mut peer, 2, &one, false).await {
        Acquired::Full { held: 1, waiting: 0, next_end_in_ms: Some(1..=60_000) } => {}
        other => panic!("not full: {other:?}"),
    }
}

pub(super) async fn a_line_has_room_for_so_many(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    let short = Arc::new(Terms { max_waiting: Some(1), ..limit(1) });
    peer.granted(&key("group"), 1, &short).await;
    assert_eq!(queued(&mut peer, 2, &short).await, 0);
    assert_eq!(ask_for(&mut peer, 3, &short, true).await, Acquired::QueueFull { waiting: 1 });
}

pub(super) async fn a_release_hands_off_to_the_oldest_waiter_by_push(store: &dyn Store) {
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

pub(super) async fn a_grant_to_the_callers_own_waiter_is_in_the_reply(store: &dyn Store) {
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

pub(super) async fn a_newcomer_never_overtakes(store: &dyn Store) {
    let mut peer = Peer::connect(store).await;
    peer.granted(&key("group"), 1, &weighing(2, 3)).await;
    // The head wants more than there is room for; one slot is free, and stays so.
    assert_eq!(queued(&mut peer, 2, &weighing(3, 3)).await, 0);
    assert_eq!(queued(&mut peer, 3, &Arc::new(limit(3))).await, 1);
    assert!(matches!(ask_for(&mut peer, 4, &Arc::new(limit(3)), false).await, Acquired::Full { .. }));
    // Whoever brings a larger limit isn't behind it.
    assert!(matches!(ask_for(&mut peer, 5, &Arc::new(limit(4)), false).await, Acquired::Granted(_)));
}

pub(super) async fn priority_comes_before_age(store: &dyn Store) {
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

pub(super) async fn a_weight_is_granted_whole_or_not_at_all(store: &dyn Store) {
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

pub(super) async fn leaving_tells_a_waiter_from_a_holder(store: &dyn Store) {
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
