//! R11–R13, R16: ids, names, connections.

use super::*;

#[test]
fn r11_the_same_request_gets_the_same_answer() {
    let mut world = world();
    let granted = world.acquire(id(1, 1), terms(1));
    assert_eq!(world.acquire(id(1, 1), terms(1)), granted);
    let queued = world.acquire(id(1, 2), terms(1));
    assert_eq!(world.acquire(id(1, 2), terms(1)), queued);
    let snapshot = world.snapshot();
    assert_eq!((snapshot.held, snapshot.waiters.len(), snapshot.sessions[0].count), (1, 1, 1));
}

#[test]
fn r11_an_id_whose_lease_has_ended_is_granted_anew() {
    let mut world = world();
    let first = grant_in(&world.acquire(id(1, 1), terms(5))).token;
    world.pass_ms(LEASE_MS);
    let second = grant_in(&world.acquire(id(1, 1), terms(5))).clone();
    assert!(second.token > first);
    assert_eq!((world.snapshot().held, second.slots), (1, vec![1]));
}

#[test]
fn r12_calls_of_an_older_connection_are_refused_after_a_reconcile() {
    let mut world = world();
    let newer = Caller { connection: 2, ..world.caller(1) };
    let older = world.caller(1);
    let drop = vec![ReconcileItem::Drop(id(1, 9))];
    world.try_call_as(&newer, Verb::Reconcile { items: drop, own_from: None }).unwrap();
    for verb in [
        Verb::Acquire(vec![ask(id(1, 1), terms(1))]),
        Verb::Release(vec![]),
        Verb::Renew(Renew::default()),
        Verb::Leave(vec![]),
        Verb::Reconcile { items: vec![], own_from: None },
    ] {
        assert_eq!(world.try_call_as(&older, verb), Err(CallError::Stale));
    }
    world.try_call_as(&older, Verb::Clean).unwrap();
    world.try_call_as(&older, Verb::Inspect(Page::default())).unwrap();
    assert_eq!(world.snapshot().leases, []);
    world.pass_ms(60_000);
    world.try_call_as(&older, Verb::Release(vec![])).unwrap();
    assert_eq!(world.snapshot().sessions, []);
}

#[test]
fn r12_a_connection_number_counts_as_long_as_a_waiter_is_in_line() {
    let mut world = world();
    world.fill(1);
    let newer = Caller { connection: 2, keep_alive_ms: 1_000_000, ..world.caller(2) };
    world.try_call_as(&newer, Verb::Reconcile { items: vec![], own_from: None }).unwrap();
    world.try_call_as(&newer, Verb::Acquire(vec![ask(id(2, 1), terms(1))])).unwrap();
    world.pass_ms(60_000);
    let older = world.caller(2);
    assert_eq!(world.try_call_as(&older, Verb::Leave(vec![id(2, 1)])), Err(CallError::Stale));
}

#[test]
fn r12_what_is_wanted_is_found_and_what_is_not_is_given_back() {
    let mut world = world();
    world.fill(2);
    let ticket = ticket_in(&world.acquire(id(1, 3), terms(2)));
    world.acquire(id(1, 4), terms(2));
    let want = |number, ticket| ReconcileItem::Want { id: id(1, number), terms: Arc::new(terms(2)), ticket };
    assert!(matches!(world.reconcile_one(1, want(1, None)), Reconciled::Held(grant) if grant.slots == [1]));
    assert_eq!(world.reconcile_one(1, want(3, None)), Reconciled::InLine { ticket });
    assert_eq!(world.reconcile_one(1, want(8, None)), Reconciled::Unknown);
    assert_eq!(world.reconcile_one(1, ReconcileItem::Drop(id(1, 4))), Reconciled::Dropped { held: false });
    let reply = world.reconcile(1, vec![ReconcileItem::Drop(id(1, 2))]);
    let reconciled = vec![Reconciled::Dropped { held: true }];
    assert_eq!(reply.answers, Answers::Reconcile { reconciled, own: vec![], own_next: None });
    assert_eq!(ids(&reply.handed), [id(1, 3)]);
    assert_eq!(world.in_line(), []);
}

#[test]
fn r13_release_is_idempotent_and_tells_released_from_gone() {
    let mut world = world();
    world.fill(1);
    assert!(world.release(1, id(1, 1)).0);
    assert!(!world.release(1, id(1, 1)).0);
    // A waiter is not touched by a release.
    world.acquire(id(1, 2), terms(1));
    world.acquire(id(1, 3), terms(1));
    assert!(!world.release(1, id(1, 3)).0);
    assert_eq!(world.in_line(), [id(1, 3)]);
}

#[test]
fn r16_a_held_name_moves_to_the_asker_with_its_slot_and_a_new_token() {
    let mut world = world();
    world.fill(1);
    let first = grant_in(&world.acquire(id(2, 1), named(3, "a"))).clone();
    world.pass_ms(10_000);
    let second = grant_in(&world.acquire(id(3, 1), named(3, "a"))).clone();
    assert_eq!((&second.slots, second.ttl_ms), (&first.slots, LEASE_MS));
    assert!(second.token > first.token);
    assert_eq!(world.renew(id(2, 1), Some("a")), Renewed::TakenOver);
    assert!(!world.release(2, id(2, 1)).0);
    let kept = ReconcileItem::Want { id: id(2, 1), terms: Arc::new(named(3, "a")), ticket: None };
    assert_eq!(world.reconcile_one(2, kept), Reconciled::Unknown);
    assert_eq!(world.slots_of(id(3, 1)), [2]);
}

#[test]
fn r16_a_take_over_needs_no_room_and_no_place_in_line() {
    let mut world = world();
    world.acquire(id(2, 1), named(1, "a"));
    world.acquire(id(2, 2), terms(1));
    grant_in(&world.try_acquire(id(3, 1), named(1, "a")));
}

#[test]
fn r16_a_name_that_a_gone_session_took_from_itself_is_nobodys_again() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), named(1, "a"));
    world.acquire(id(2, 2), named(1, "a"));
    world.dead.insert(session(2));
    world.release(1, id(1, 1));
    assert_eq!(world.snapshot().leases, []);
    grant_in(&world.try_acquire(id(3, 1), named(1, "a")));
}

#[test]
fn r16_only_release_by_name_ignores_the_owner() {
    let mut world = world();
    world.acquire(id(2, 1), named(1, "a"));
    let by_name = || Verb::Release(vec![Target::Holder("a".into())]);
    assert_eq!(world.call(3, by_name()).answers, Answers::Release(vec![true]));
    assert_eq!(world.call(3, by_name()).answers, Answers::Release(vec![false]));
    assert_eq!(world.snapshot().held, 0);
}

#[test]
fn r16_another_weight_or_a_slot_above_the_limit_is_a_mismatch() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), Terms { weight: 2, ..named(3, "a") });
    let mismatch = Acquired::HolderMismatch { weight: 2, highest: 3 };
    assert_eq!(world.acquire(id(3, 1), named(3, "a")), mismatch);
    assert_eq!(world.acquire(id(3, 2), Terms { weight: 2, ..named(2, "a") }), mismatch);
    // Once it has ended, the name is free.
    world.pass_ms(LEASE_MS);
    grant_in(&world.acquire(id(3, 3), named(3, "a")));
}

#[test]
fn r16_two_that_wait_for_one_name_are_two_waiters_and_the_second_takes_over() {
    let mut world = world();
    world.fill(2);
    world.acquire(id(2, 1), named(2, "a"));
    world.acquire(id(3, 1), named(2, "a"));
    world.release(1, id(1, 2));
    assert_eq!(world.take_pushed(), [id(2, 1)]);
    world.release(1, id(1, 1));
    assert_eq!(world.take_pushed(), [id(3, 1)]);
    assert_eq!((world.slots_of(id(3, 1)), world.snapshot().held), (vec![2], 1));
}

#[test]
fn r16_a_waiter_whose_name_is_held_otherwise_leaves_the_line() {
    let mut world = world();
    world.fill(2);
    world.acquire(id(2, 1), Terms { weight: 2, ..named(2, "a") });
    world.acquire(id(2, 2), terms(2));
    grant_in(&world.acquire(id(3, 1), Terms { priority: 9, ..named(3, "a") }));
    world.release(1, id(1, 1));
    world.release(1, id(1, 2));
    assert_eq!(world.take_pushed(), [id(2, 2)]);
    assert_eq!(world.in_line(), []);
}

#[test]
fn r16_a_lease_whose_name_went_on_is_told_so_when_it_is_kept() {
    let mut world = world();
    let grant = grant_in(&world.acquire(id(2, 1), named(2, "a"))).clone();
    world.acquire(id(3, 1), named(2, "a"));
    let keep = Keep {
        id: id(2, 1),
        terms: Arc::new(named(2, "a")),
        epoch: EPOCH,
        token: grant.token,
        current: grant.token,
        slots: grant.slots,
        end_at_ms: grant.end_at_ms,
        extend_ms: Some(LEASE_MS),
    };
    assert_eq!(world.reconcile_one(2, ReconcileItem::Keep(keep)), Reconciled::TakenOver);
}
