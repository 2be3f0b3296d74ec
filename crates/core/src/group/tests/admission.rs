//! R1–R6: who is admitted, and who waits.

use super::*;

#[test]
fn r1_held_plus_weight_never_exceeds_the_requests_own_limit() {
    let mut world = world();
    world.fill(3);
    assert!(matches!(world.try_acquire(id(2, 1), terms(3)), Acquired::Full { held: 3, waiting: 0, .. }));
    assert_eq!(grant_in(&world.try_acquire(id(2, 2), terms(4))).slots, [4]);
    assert!(matches!(world.try_acquire(id(2, 3), heavy(5, 2)), Acquired::Full { held: 4, .. }));
}

#[test]
fn r2_the_smallest_free_slots_are_granted_and_shrinking_evicts_nobody() {
    let mut world = world();
    world.fill(5);
    world.release(1, id(1, 4));
    world.release(1, id(1, 2));
    assert!(matches!(world.try_acquire(id(2, 1), terms(3)), Acquired::Full { held: 3, .. }));
    assert_eq!(grant_in(&world.try_acquire(id(2, 2), heavy(5, 2))).slots, [2, 4]);
    assert_eq!(world.slots_of(id(1, 5)), [5]);
}

#[test]
fn r3_a_newcomer_never_overtakes_a_waiter_of_its_limit_or_more_even_when_it_wont_wait() {
    let mut world = world();
    world.fill(2);
    ticket_in(&world.acquire(id(2, 1), heavy(3, 2)));
    assert!(matches!(world.try_acquire(id(3, 1), terms(3)), Acquired::Full { held: 2, waiting: 1, .. }));
    // A larger limit goes on, and so does a higher priority.
    assert_eq!(grant_in(&world.try_acquire(id(3, 2), terms(4))).slots, [3]);
    world.release(3, id(3, 2));
    assert_eq!(grant_in(&world.try_acquire(id(3, 3), urgent(3, 1))).slots, [3]);
}

#[test]
fn r4_the_line_is_served_by_priority_then_ticket() {
    let mut world = world();
    world.fill(1);
    for (number, priority) in [(1, 0), (2, 0), (3, 5), (4, -5), (5, 5)] {
        ticket_in(&world.acquire(id(2, number), urgent(1, priority)));
    }
    world.release(1, id(1, 1));
    for number in [3, 5, 1, 2, 4] {
        assert_eq!(world.take_pushed(), [id(2, number)]);
        world.release(9, id(2, number));
    }
}

#[test]
fn r4_behind_a_head_that_does_not_fit_only_larger_limits_go_on() {
    let mut world = world();
    world.fill(4);
    world.acquire(id(2, 1), heavy(4, 3));
    world.acquire(id(2, 2), terms(4));
    world.acquire(id(2, 3), terms(2));
    world.acquire(id(2, 4), heavy(5, 2));
    world.release(1, id(1, 1));
    // Held is 3: the head wants 3 of 4, limits up to 4 wait behind it, 2 of 5 fit.
    assert_eq!(world.take_pushed(), [id(2, 4)]);
    assert_eq!(world.in_line(), [id(2, 3), id(2, 1), id(2, 2)]);
}

#[test]
fn r4_at_most_32_distinct_limits_wait() {
    let mut world = world();
    world.fill(1);
    let heavy_of = |limit: u32| heavy(limit, limit);
    for limit in 2..2 + MAX_WAITING_LIMITS as u32 {
        ticket_in(&world.acquire(id(2, u64::from(limit)), heavy_of(limit)));
    }
    assert_eq!(world.acquire(id(3, 1), heavy_of(100)), Acquired::TooManyLimits);
    ticket_in(&world.acquire(id(3, 2), heavy_of(2)));
    let want =
        ReconcileItem::Want { id: id(3, 3), terms: Arc::new(heavy_of(100)), ticket: Some(Ticket(START_US)) };
    assert_eq!(world.reconcile_one(3, want), Reconciled::Unknown);
}

#[test]
fn r5_a_weight_is_granted_whole_or_not_at_all() {
    let mut world = world();
    world.fill(3);
    ticket_in(&world.acquire(id(2, 1), heavy(3, 2)));
    world.release(1, id(1, 1));
    assert_eq!(world.take_pushed(), []);
    world.release(1, id(1, 3));
    assert_eq!(world.take_pushed(), [id(2, 1)]);
    assert_eq!(world.slots_of(id(2, 1)), [1, 3]);
    assert!(world.release(2, id(2, 1)).0);
    assert_eq!(world.snapshot().held, 1);
}

#[test]
fn r6_a_request_is_refused_when_as_many_wait_as_it_allows() {
    let mut world = world();
    world.fill(1);
    let bounded = || Terms { max_waiting: Some(1), ..terms(1) };
    ticket_in(&world.acquire(id(2, 1), bounded()));
    assert_eq!(world.acquire(id(3, 1), bounded()), Acquired::QueueFull { waiting: 1 });
    let none = Terms { max_waiting: Some(0), ..terms(2) };
    grant_in(&world.acquire(id(3, 2), none));
}

#[test]
fn r6_waiters_of_dead_sessions_are_not_counted() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), terms(1));
    world.acquire(id(2, 2), terms(1));
    world.pass_ms(KEEP_ALIVE_MS);
    let answer = world.acquire(id(3, 1), Terms { max_waiting: Some(1), ..terms(1) });
    ticket_in(&answer);
    assert_eq!(world.in_line(), [id(3, 1)]);
}
