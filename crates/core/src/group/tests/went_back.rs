//! R12, R14: a state that went back to what it was some writes before, as a promoted replica may have it.

use super::*;

const NEW_EPOCH: Epoch = Epoch(8);

fn keep(grant: &Grant) -> Keep {
    Keep {
        id: grant.id,
        terms: Arc::new(terms(2)),
        epoch: EPOCH,
        token: grant.token,
        current: grant.token,
        slots: grant.slots.clone(),
        end_at_ms: grant.end_at_ms,
        extend_ms: Some(LEASE_MS),
    }
}

fn is_held(reconciled: &Reconciled, grant: &Grant) -> bool {
    matches!(reconciled, Reconciled::Held(held) if (held.token, &held.slots) == (grant.token, &grant.slots))
}

impl World {
    /// Time passes, and the state is that of before.
    fn goes_back_to(&mut self, before: &Group) {
        self.pass_ms(1_000);
        self.group = before.clone();
        self.fresh = NEW_EPOCH;
    }

    fn own(&mut self, by: u64, from: u64) -> (Vec<LeaseId>, Option<u64>) {
        match self.call(by, Verb::Reconcile { items: vec![], own_from: Some(from) }).answers {
            Answers::Reconcile { reconciled, own, own_next } if reconciled.is_empty() => (own, own_next),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn r14_a_grant_that_the_state_does_not_know_yet_re_enters() {
    let mut world = world();
    world.acquire(id(1, 1), terms(2));
    let before = world.group.clone();
    let lost = grant_in(&world.acquire(id(2, 1), terms(2))).clone();
    world.goes_back_to(&before);
    let reply = world.reconcile(2, vec![ReconcileItem::Keep(keep(&lost))]);
    let Answers::Reconcile { reconciled, .. } = &reply.answers else { panic!("{reply:?}") };
    assert!(is_held(&reconciled[0], &lost), "{reconciled:?}");
    assert_eq!((reply.epoch, world.snapshot().token), (NEW_EPOCH, lost.token));
    // What is there stays there, and is told the new epoch by its renewal.
    let extend = Extend { id: id(1, 1), lease_ms: LEASE_MS, holder: None, passed: None };
    let reply = world.call(1, Verb::Renew(Renew { leases: vec![extend], waiters: vec![] }));
    let Answers::Renew { leases, .. } = &reply.answers else { panic!("{reply:?}") };
    assert!(matches!(leases[0], Renewed::Extended { .. }) && reply.epoch == NEW_EPOCH);
}

#[test]
fn r14_one_proof_speaks_for_all_who_lost_their_grants() {
    let mut world = world();
    world.acquire(id(1, 1), terms(3));
    world.release(1, id(1, 1));
    let before = world.group.clone();
    let [one, two, three] =
        [2, 3, 4].map(|session| grant_in(&world.acquire(id(session, 1), terms(3))).clone());
    world.goes_back_to(&before);
    assert!(is_held(&world.reconcile_one(3, ReconcileItem::Keep(keep(&two))), &two));
    // A token as high as the one that came back, or lower, proves nothing any more.
    let wide = |grant: &Grant| ReconcileItem::Keep(Keep { terms: Arc::new(terms(3)), ..keep(grant) });
    assert!(is_held(&world.reconcile_one(2, wide(&one)), &one));
    let newer = grant_in(&world.acquire(id(9, 1), terms(3))).clone();
    assert!(newer.token > three.token && newer.slots == [3]);
    world.release(9, id(9, 1));
    assert!(is_held(&world.reconcile_one(4, wide(&three)), &three));
    assert_eq!(world.snapshot().held, 3);
}

#[test]
fn r14_one_proof_speaks_for_the_whole_call_whichever_comes_first() {
    for reversed in [false, true] {
        let mut world = world();
        let released = world.fill(2)[0].clone();
        world.release(1, id(1, 1));
        let before = world.group.clone();
        // An older token, which proves nothing, and one above the last.
        let lost = grant_in(&world.acquire(id(1, 3), terms(3))).clone();
        world.goes_back_to(&before);
        let lower = Grant { id: id(1, 4), slots: vec![3], ..released };
        let mut items: Vec<ReconcileItem> = [&lower, &lost]
            .map(|grant| ReconcileItem::Keep(Keep { terms: Arc::new(terms(3)), ..keep(grant) }))
            .into();
        if reversed {
            items.reverse();
        }
        let Answers::Reconcile { reconciled, .. } = world.reconcile(1, items).answers else { panic!() };
        assert!(reconciled.iter().all(|one| matches!(one, Reconciled::Held(_))), "{reconciled:?}");
    }
}

#[test]
fn r14_an_id_that_is_in_line_again_proves_it_and_keeps_its_lease() {
    let mut world = world();
    world.acquire(id(1, 1), terms(1));
    world.acquire(id(2, 1), terms(1));
    let before = world.group.clone();
    let (_, reply) = world.release(1, id(1, 1));
    assert!(reply.handed.is_empty());
    let granted = world.pushed[0].1[0].clone();
    world.goes_back_to(&before);
    // A grant with a higher token, so that tokens prove nothing any more.
    world.acquire(id(3, 1), terms(5));
    world.release(3, id(3, 1));
    let kept = ReconcileItem::Keep(Keep { terms: Arc::new(terms(1)), ..keep(&granted) });
    assert!(is_held(&world.reconcile_one(2, kept), &granted));
    assert_eq!((world.in_line(), world.snapshot().epoch), (vec![], Some(NEW_EPOCH)));
}

#[test]
fn r14_an_id_that_was_granted_again_is_given_back_and_its_first_lease_goes_on() {
    let mut world = world();
    world.acquire(id(1, 1), terms(2));
    world.acquire(id(1, 2), terms(2));
    world.acquire(id(2, 1), terms(2));
    let before = world.group.clone();
    world.release(1, id(1, 2));
    let first = world.pushed[0].1[0].clone();
    world.goes_back_to(&before);
    world.release(1, id(1, 1));
    let again = world.pushed[1].1[0].clone();
    assert!(again.id == first.id && again.token > first.token && again.slots == [1]);
    world.release(1, id(1, 2));
    assert!(is_held(&world.reconcile_one(2, ReconcileItem::Keep(keep(&first))), &first));
    assert_eq!((world.slots_of(id(2, 1)), world.snapshot().held), (vec![2], 1));
    assert_eq!(world.snapshot().epoch, Some(NEW_EPOCH));
}

#[test]
fn r14_what_has_ended_proves_nothing_and_its_echo_goes() {
    let mut world = world();
    world.acquire(id(1, 1), terms(2));
    let before = world.group.clone();
    let lost = grant_in(&world.acquire(id(2, 1), terms(2))).clone();
    world.goes_back_to(&before);
    world.acquire(id(3, 1), heavy(2, 2));
    world.acquire(id(2, 1), terms(2));
    let ended = ReconcileItem::Keep(Keep { end_at_ms: world.now_us / 1_000, ..keep(&lost) });
    assert_eq!(world.reconcile_one(2, ended), Reconciled::Unknown);
    assert_eq!((world.in_line(), world.snapshot().epoch), (vec![id(3, 1)], Some(EPOCH)));
}

#[test]
fn r12_a_kept_lease_is_extended_as_it_asks_and_else_ends_when_it_was_to() {
    let mut world = world();
    let held = grant_in(&world.acquire(id(1, 1), terms(2))).clone();
    let before = world.group.clone();
    let lost = grant_in(&world.acquire(id(1, 2), terms(2))).clone();
    world.goes_back_to(&before);
    for grant in [&held, &lost] {
        for (extend_ms, ttl_ms) in [(None, LEASE_MS - 1_000), (Some(7_000), 7_000)] {
            let kept = ReconcileItem::Keep(Keep { extend_ms, ..keep(grant) });
            let Reconciled::Held(kept) = world.reconcile_one(1, kept) else { panic!("not held") };
            assert_eq!((kept.ttl_ms, kept.end_at_ms), (ttl_ms, world.now_us / 1_000 + ttl_ms));
        }
    }
    world.pass_ms(7_000);
    assert_eq!(world.clean().0, 2);
}

#[test]
fn r14_a_renewal_that_the_state_does_not_know_counts_as_it_was_stated() {
    let mut world = world();
    let held = grant_in(&world.acquire(id(1, 1), Terms { lease_ms: 5_000, ..terms(2) })).clone();
    let before = world.group.clone();
    assert!(matches!(world.renew(id(1, 1), None), Renewed::Extended { .. }));
    let stated = world.snapshot().leases[0].end_at_ms;
    assert!(stated > held.end_at_ms);
    world.goes_back_to(&before);
    let kept = Keep { extend_ms: None, end_at_ms: stated, ..keep(&held) };
    for end_at_ms in [stated, 0] {
        let Reconciled::Held(kept) =
            world.reconcile_one(1, ReconcileItem::Keep(Keep { end_at_ms, ..kept.clone() }))
        else {
            panic!("not held")
        };
        assert_eq!(kept.end_at_ms, stated, "an older statement shortens nothing");
    }
    assert_eq!(world.snapshot().epoch, Some(EPOCH));
}

#[test]
fn r12_a_session_is_told_what_the_group_has_of_it() {
    let mut world = world();
    assert_eq!(world.own(1, 0), (vec![], None));
    assert_eq!(world.snapshot().epoch, None, "looking makes no state");
    world.acquire(id(1, 10), Terms { lease_ms: 2 * LEASE_MS, ..terms(3) });
    world.acquire(id(2, 1), terms(3));
    world.acquire(id(1, 9), terms(3));
    world.acquire(id(1, 8), terms(3));
    world.acquire(id(2, 2), terms(3));
    world.acquire(id(1, 7), terms(1));
    assert_eq!(world.own(1, 0), (vec![id(1, 9), id(1, 10), id(1, 7), id(1, 8)], None));
    assert_eq!(world.own(1, 2), (vec![id(1, 10)], None));
    assert_eq!(world.own(3, 0), (vec![], None));
}

#[test]
fn r26_what_the_group_has_of_a_session_is_told_page_by_page() {
    let mut world = world();
    for number in 1..=450 {
        world.acquire(id(1 + number % 2, number), terms(210));
    }
    let (mut all, mut from, mut pages) = (Vec::new(), Some(0), 0);
    while let Some(rank) = from {
        let (own, next) = world.own(1, rank);
        assert!(own.len() <= 2 * MAX_TOUCHED);
        all.extend(own.iter().map(|id| id.number));
        (from, pages) = (next, pages + 1);
    }
    all.sort_unstable();
    assert_eq!((pages, all), (2, (1..=225).map(|n| 2 * n).collect()));
}
