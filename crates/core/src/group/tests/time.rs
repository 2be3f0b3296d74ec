//! R8, R9, R14, R15, R28: ends, reaping, epochs, numbers that only grow.

use super::*;

fn keep(grant: &Grant, terms: Terms) -> Keep {
    Keep {
        id: grant.id,
        terms: Arc::new(terms),
        epoch: EPOCH,
        token: grant.token,
        current: grant.token,
        slots: grant.slots.clone(),
        end_at_ms: grant.end_at_ms,
        extend_ms: Some(LEASE_MS),
    }
}

#[test]
fn r8_a_short_lease_never_shortens_anothers_and_the_state_outlives_both() {
    let mut world = world();
    let long = grant_in(&world.acquire(id(1, 1), terms(2))).end_at_ms;
    world.acquire(id(1, 2), Terms { lease_ms: 1_000, ..terms(2) });
    assert_eq!(world.snapshot().leases[0].end_at_ms, long);
    assert_eq!(world.group.expires_at_ms(), Some(long + 300_000));
    world.release(1, id(1, 1));
    assert_eq!(world.group.expires_at_ms(), Some(long + 300_000));
}

#[test]
fn r8_only_acquire_and_reconcile_make_a_group() {
    let mut world = world();
    assert!(!world.release(1, id(1, 1)).0);
    assert_eq!(world.renew(id(1, 1), None), Renewed::Gone);
    assert_eq!(world.leave(id(1, 1)), Left::Left);
    assert_eq!(world.clean().0, 0);
    assert_eq!(world.inspect(Page::default()), Picture::default());
    assert_eq!((world.group.expires_at_ms(), world.snapshot()), (None, Snapshot::default()));
    assert_eq!(world.reconcile_one(1, ReconcileItem::Drop(id(1, 1))), Reconciled::Dropped { held: false });
    assert_eq!(world.snapshot().epoch, Some(EPOCH));
}

#[test]
fn r9_an_ended_lease_is_reaped_by_whoever_needs_the_room() {
    let mut world = world();
    world.fill(2);
    world.pass_ms(LEASE_MS - 1);
    assert!(matches!(
        world.try_acquire(id(2, 1), terms(2)),
        Acquired::Full { held: 2, next_end_in_ms: Some(1), .. }
    ));
    world.pass_ms(1);
    assert_eq!(grant_in(&world.try_acquire(id(2, 2), terms(2))).slots, [1]);
    assert_eq!(world.snapshot().held, 1);
}

#[test]
fn r9_an_ended_lease_stays_while_nobody_needs_its_room_and_can_be_renewed() {
    let mut world = world();
    world.fill(1);
    world.pass_ms(LEASE_MS + 5);
    let picture = world.inspect(Page::default());
    assert_eq!((world.snapshot().held, picture.held, picture.holders), (1, 0, vec![]));
    assert!(matches!(world.renew(id(1, 1), None), Renewed::Extended { .. }));
    assert_eq!(world.clean().0, 0);
}

#[test]
fn r9_whoever_waits_is_told_when_the_earliest_lease_ends() {
    let mut world = world();
    world.fill(2);
    let reply = world.call(2, Verb::Acquire(vec![ask(id(2, 1), terms(2))]));
    assert_eq!(reply.next_end_in_ms, Some(LEASE_MS));
    world.pass_ms(1_000);
    assert_eq!(world.look(2, vec![]).2.next_end_in_ms, Some(LEASE_MS - 1_000));
    assert_eq!(world.look(1, vec![]).2.next_end_in_ms, None);
    world.pass_ms(LEASE_MS);
    let reply = world.reconcile(3, vec![]);
    assert_eq!(ids(&reply.handed), []);
    assert_eq!(world.in_line(), []);
}

#[test]
fn r14_a_renewal_never_revives_a_lease_that_was_released_or_reaped() {
    let mut world = world();
    let grants = world.fill(2);
    world.release(1, id(1, 1));
    assert_eq!(world.renew(id(1, 1), None), Renewed::Gone);
    assert_eq!(world.reconcile_one(1, ReconcileItem::Keep(keep(&grants[0], terms(2)))), Reconciled::Unknown);
    world.pass_ms(LEASE_MS);
    assert_eq!(world.clean().0, 1);
    assert_eq!(world.renew(id(1, 2), None), Renewed::Gone);
}

#[test]
fn r14_after_a_loss_a_lease_re_enters_with_its_slot_and_token() {
    let mut world = world();
    let grants = world.fill(3);
    world.group = Group::default();
    world.now_us -= 1_000_000;
    let lost = |n: usize| ReconcileItem::Keep(Keep { epoch: Epoch(1), ..keep(&grants[n], terms(3)) });
    let Reconciled::Held(back) = world.reconcile_one(1, lost(2)) else { panic!("not held") };
    assert_eq!((back.slots, back.token, back.ttl_ms), (vec![3], grants[2].token, LEASE_MS));
    // Tokens go on from there although the clock went back.
    assert_eq!(grant_in(&world.acquire(id(2, 1), terms(3))).token, FencingToken(grants[2].token.0 + 1));
    // Its slot has gone to somebody else meanwhile.
    assert_eq!(world.reconcile_one(1, lost(0)), Reconciled::Unknown);
    grant_in(&world.acquire(id(2, 2), terms(3)));
    assert_eq!(world.reconcile_one(1, lost(1)), Reconciled::Unknown);
}

#[test]
fn r14_a_lease_that_re_enters_does_not_wait_too() {
    let mut world = world();
    let grants = world.fill(2);
    world.group = Group::default();
    world.acquire(id(2, 1), terms(3));
    world.acquire(id(2, 2), heavy(3, 3));
    ticket_in(&world.acquire(id(1, 2), terms(3)));
    let lost = ReconcileItem::Keep(Keep { epoch: Epoch(1), ..keep(&grants[1], terms(3)) });
    assert!(matches!(world.reconcile_one(1, lost), Reconciled::Held(_)));
    assert_eq!((world.in_line(), world.slots_of(id(1, 2))), (vec![id(2, 2)], vec![2]));
}

#[test]
fn r14_a_lease_whose_stated_end_has_passed_does_not_re_enter() {
    let mut world = world();
    let grants = world.fill(1);
    world.group = Group::default();
    world.pass_ms(LEASE_MS);
    let lost = ReconcileItem::Keep(Keep { epoch: Epoch(1), ..keep(&grants[0], terms(1)) });
    assert_eq!(world.reconcile_one(1, lost), Reconciled::Unknown);
}

#[test]
fn r14_what_has_ended_gives_way_to_a_lease_that_re_enters() {
    let mut world = world();
    let grants = world.fill(2);
    world.group = Group::default();
    world.pass_ms(1);
    let other = grant_in(&world.acquire(id(2, 1), Terms { lease_ms: 1_000, ..terms(2) })).clone();
    assert!(other.token > grants[0].token);
    world.pass_ms(999);
    let lost = ReconcileItem::Keep(Keep { epoch: Epoch(1), ..keep(&grants[0], terms(2)) });
    assert_eq!(world.reconcile_one(1, lost.clone()), Reconciled::Unknown);
    world.pass_ms(1);
    assert!(matches!(world.reconcile_one(1, lost), Reconciled::Held(_)));
    assert_eq!((world.slots_of(id(1, 1)), world.snapshot().held), (vec![1], 1));
}

#[test]
fn r30_what_only_an_old_snapshot_still_shows_gives_way_to_the_lease_that_came_after_it() {
    let mut world = world();
    let (one, other) = (named(3, "one"), named(3, "other"));
    world.acquire(id(1, 1), terms(3));
    world.acquire(id(1, 2), one.clone());
    world.acquire(id(1, 3), other.clone());
    let old = world.group.clone();
    // One slot goes to somebody else, one name too, and one goes by name to another slot.
    world.release(1, id(1, 1));
    let moved = grant_in(&world.acquire(id(2, 3), terms(3))).clone();
    let taken = grant_in(&world.acquire(id(2, 2), one.clone())).clone();
    world.release(1, id(1, 3));
    world.release(2, id(2, 3));
    let renamed = grant_in(&world.acquire(id(2, 4), other.clone())).clone();
    assert_eq!((moved.slots, &taken.slots, &renamed.slots), (vec![1], &vec![2], &vec![1]));
    world.group = old;
    world.settling = true;
    for (grant, terms) in [(&taken, one), (&renamed, other)] {
        let Reconciled::Held(back) = world.reconcile_one(2, ReconcileItem::Keep(keep(grant, terms))) else {
            panic!("not held")
        };
        assert_eq!((back.slots, back.token), (grant.slots.clone(), grant.token));
    }
    assert_eq!(
        world.snapshot().leases.iter().map(|lease| lease.id).collect::<Vec<_>>(),
        [id(2, 2), id(2, 4)]
    );
    assert_eq!(world.renew(id(1, 2), None), Renewed::Gone);
}

#[test]
fn r30_an_older_lease_never_drives_out_a_younger_one() {
    let mut world = world();
    let grants = world.fill(1);
    world.release(1, id(1, 1));
    world.acquire(id(2, 1), terms(1));
    world.settling = true;
    assert_eq!(world.reconcile_one(1, ReconcileItem::Keep(keep(&grants[0], terms(1)))), Reconciled::Unknown);
    assert_eq!(world.slots_of(id(2, 1)), [1]);
}

#[test]
fn r30_while_settling_a_lease_missing_under_the_same_epoch_re_enters() {
    let mut world = world();
    let grants = world.fill(1);
    world.release(1, id(1, 1));
    world.settling = true;
    assert!(matches!(
        world.reconcile_one(1, ReconcileItem::Keep(keep(&grants[0], terms(1)))),
        Reconciled::Held(_)
    ));
}

#[test]
fn r30_a_settling_caller_hands_nothing_off() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), terms(1));
    world.settling = true;
    world.release(1, id(1, 1));
    assert_eq!(world.in_line(), [id(2, 1)]);
    world.settling = false;
    assert_eq!(world.clean().0, 0);
    assert_eq!(world.take_pushed(), [id(2, 1)]);
}

#[test]
fn r15_tokens_and_tickets_grow_even_when_the_clock_goes_back() {
    let mut world = world();
    let first = grant_in(&world.acquire(id(1, 1), terms(1))).token;
    let ticket = ticket_in(&world.acquire(id(1, 2), terms(1)));
    assert_eq!((first.0, ticket.0), (START_US, START_US));
    world.now_us -= 5_000_000;
    assert_eq!(ticket_in(&world.acquire(id(1, 3), terms(1))), Ticket(START_US + 1));
    let (_, reply) = world.release(1, id(1, 1));
    assert_eq!(reply.handed[0].token, FencingToken(START_US + 1));
}

#[test]
fn r15_a_ticket_that_re_enters_raises_the_last_one() {
    let mut world = world();
    world.fill(1);
    let ticket = Ticket(START_US + 77);
    let want = ReconcileItem::Want { id: id(2, 1), terms: Arc::new(terms(1)), ticket: Some(ticket) };
    assert_eq!(world.reconcile_one(2, want), Reconciled::InLine { ticket });
    assert_eq!(ticket_in(&world.acquire(id(2, 2), terms(1))), Ticket(ticket.0 + 1));
}

#[test]
fn r28_the_leases_of_a_session_are_renewed_in_one_call() {
    let mut world = world();
    world.fill(100);
    world.pass_ms(20_000);
    let leases =
        (1..=101).map(|number| Extend { id: id(1, number), lease_ms: LEASE_MS, holder: None, passed: None });
    let reply = world.call(1, Verb::Renew(Renew { leases: leases.collect(), waiters: vec![] }));
    let Answers::Renew { leases, in_line: 0, .. } = reply.answers else { panic!("{reply:?}") };
    let end_at_ms = reply.now_ms + LEASE_MS;
    assert!(leases[..100].iter().all(|renewed| *renewed == Renewed::Extended { end_at_ms }));
    assert_eq!(leases[100], Renewed::Gone);
}
