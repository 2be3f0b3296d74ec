//! R17–R20, R22, R23, R25–R27: hand-off, sessions that die, claim windows, bounds.

use super::*;

#[test]
fn r17_release_hands_off_to_the_oldest_waiter() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), terms(1));
    world.acquire(id(3, 1), terms(1));
    world.release(1, id(1, 1));
    assert_eq!(world.take_pushed(), [id(2, 1)]);
    assert_eq!(world.in_line(), [id(3, 1)]);
}

#[test]
fn r17_a_waiter_that_leaves_makes_room_for_those_behind_it() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), heavy(2, 2));
    world.acquire(id(3, 1), terms(2));
    assert_eq!(world.leave(id(2, 1)), Left::Left);
    assert_eq!(world.take_pushed(), [id(3, 1)]);
}

#[test]
fn r17_each_session_is_told_once_and_the_caller_in_its_reply() {
    let mut world = world();
    world.fill(4);
    for (by, number) in [(2, 1), (1, 11), (3, 1), (2, 2)] {
        world.acquire(id(by, number), terms(4));
    }
    let reply = world.call(1, Verb::Release((1..=4).map(|number| Target::Lease(id(1, number))).collect()));
    assert_eq!(ids(&reply.handed), [id(1, 11)]);
    assert_eq!(reply.handed[0].ttl_ms, LEASE_MS);
    let told: Vec<_> = world.pushed.iter().map(|(session, grants)| (session.0, ids(grants))).collect();
    assert_eq!(told, [(2, vec![id(2, 1), id(2, 2)]), (3, vec![id(3, 1)])]);
}

#[test]
fn r17_a_request_that_joins_and_is_granted_in_one_call_is_answered_as_granted() {
    let mut world = world();
    world.fill(4);
    // The first doesn't fit and the second waits behind it, until the third takes the first one's name.
    let reply = world.call(
        2,
        Verb::Acquire(vec![
            ask(id(2, 1), Terms { weight: 3, ..named(6, "a") }),
            ask(id(2, 2), terms(6)),
            ask(id(2, 3), Terms { priority: 9, ..named(6, "a") }),
        ]),
    );
    let Answers::Acquire(answers) = &reply.answers else { panic!("{reply:?}") };
    assert_eq!((&grant_in(&answers[1]).slots, &grant_in(&answers[2]).slots), (&vec![6], &vec![5]));
    assert_eq!((ids(&reply.handed), world.in_line()), (vec![], vec![]));
}

#[test]
fn r18_a_newcomer_is_granted_at_once_when_the_head_turns_out_to_be_gone() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), heavy(2, 2));
    world.dead.insert(session(2));
    world.settling = true;
    world.release(1, id(1, 1));
    world.settling = false;
    assert_eq!(grant_in(&world.acquire(id(3, 1), terms(2))).slots, [1]);
    assert_eq!(world.in_line(), []);
}

#[test]
fn r17_r26_a_step_stops_after_200_and_says_again() {
    let mut world = world();
    world.acquire_all((1..=500).map(|number| ask(id(1, number), terms(500))).collect());
    world.acquire_all((1..=500).map(|number| ask(id(2, number), terms(500))).collect());
    world.pass_ms(LEASE_MS);
    world.look(2, vec![]);
    for calls in 1.. {
        let before = world.in_line().len();
        let (reaped, reply) = world.clean();
        let granted = before - world.in_line().len();
        assert!(reaped as usize + granted <= MAX_TOUCHED && calls < 20, "call {calls}");
        if !reply.again {
            break;
        }
    }
    assert_eq!((world.in_line(), world.snapshot().held), (vec![], 500));
}

#[test]
fn r18_a_session_that_nobody_receives_for_is_gone_and_costs_the_next_nothing() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), terms(1));
    world.acquire(id(3, 1), terms(1));
    world.acquire(id(2, 2), terms(1));
    world.dead.insert(session(2));
    let (_, reply) = world.release(1, id(1, 1));
    assert!(!reply.again);
    assert_eq!(world.take_pushed(), [id(3, 1)]);
    assert_eq!((world.slots_of(id(3, 1)), world.snapshot().held), (vec![1], 1));
    world.release(3, id(3, 1));
    assert_eq!((world.in_line(), world.snapshot().held), (vec![], 0));
}

#[test]
fn r18_a_take_over_by_a_gone_session_is_undone_and_the_former_owner_keeps_token_and_end() {
    let mut world = world();
    world.fill(2);
    world.acquire(id(2, 1), named(2, "a"));
    world.acquire(id(3, 1), named(2, "a"));
    world.acquire(id(4, 1), terms(2));
    world.release(1, id(1, 1));
    assert_eq!(world.take_pushed(), [id(2, 1)]);
    let owner = world.snapshot().leases.into_iter().find(|lease| lease.id == id(2, 1));
    world.dead.insert(session(3));
    world.release(1, id(1, 2));
    assert_eq!(world.snapshot().leases.into_iter().find(|lease| lease.id == id(2, 1)), owner);
    assert!(matches!(world.renew(id(2, 1), Some("a")), Renewed::Extended { .. }));
    assert_eq!(world.take_pushed(), [id(4, 1)]);
}

#[test]
fn r18_a_session_that_does_not_listen_is_granted_without_publishing() {
    let mut world = world();
    world.silent.insert(session(2));
    world.dead.insert(session(2));
    world.fill(1);
    world.acquire(id(2, 1), terms(1));
    world.release(1, id(1, 1));
    assert_eq!((world.slots_of(id(2, 1)), world.take_pushed()), (vec![1], vec![]));
    let (0, waiting, _) = world.look(2, vec![id(2, 1), id(2, 9)]) else { panic!() };
    assert!(matches!(&waiting[0], Waiting::Granted(grant) if grant.ttl_ms == CLAIM_MS));
    assert_eq!(waiting[1], Waiting::Unknown);
}

#[test]
fn r18_a_session_that_was_only_reconnecting_keeps_its_place() {
    let mut world = world();
    world.fill(1);
    let ticket = ticket_in(&world.acquire(id(2, 1), terms(1)));
    world.dead.insert(session(2));
    world.acquire(id(3, 1), terms(1));
    world.acquire(id(3, 2), terms(1));
    world.release(1, id(1, 1));
    assert_eq!(world.take_pushed(), [id(3, 1)]);
    world.dead.clear();
    let want = ReconcileItem::Want { id: id(2, 1), terms: Arc::new(terms(1)), ticket: Some(ticket) };
    assert_eq!(world.reconcile_one(2, want), Reconciled::InLine { ticket });
    assert_eq!(world.in_line(), [id(2, 1), id(3, 2)]);
}

#[test]
fn r19_waiters_of_a_session_past_its_deadline_are_dropped_when_reached() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), terms(1));
    world.pass_ms(KEEP_ALIVE_MS - 1);
    world.acquire(id(3, 1), terms(1));
    world.pass_ms(1);
    world.release(1, id(1, 1));
    assert_eq!(world.take_pushed(), [id(3, 1)]);
    assert_eq!(world.in_line(), []);
}

#[test]
fn r19_a_look_keeps_the_sessions_waiters_in_line() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), terms(1));
    for _ in 0..3 {
        world.pass_ms(KEEP_ALIVE_MS - 1);
        assert_eq!(world.look(2, vec![id(2, 1)]).1, [Waiting::InLine]);
    }
    world.release(1, id(1, 1));
    assert_eq!(world.take_pushed(), [id(2, 1)]);
}

#[test]
fn r20_a_pushed_grant_has_its_claim_window_until_it_is_confirmed() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), terms(1));
    world.release(1, id(1, 1));
    assert_eq!(world.pushed[0].1[0].ttl_ms, CLAIM_MS);
    world.pass_ms(CLAIM_MS - 1);
    assert!(matches!(world.renew(id(2, 1), None), Renewed::Extended { .. }));
    assert_eq!(world.snapshot().leases[0].end_at_ms, world.now_us / 1_000 + LEASE_MS);
}

#[test]
fn r20_an_unclaimed_grant_goes_to_the_next_in_line() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), terms(1));
    world.acquire(id(3, 1), terms(1));
    world.release(1, id(1, 1));
    world.pass_ms(CLAIM_MS);
    let (0, _, reply) = world.look(3, vec![]) else { panic!() };
    assert_eq!(ids(&reply.handed), [id(3, 1)]);
    assert_eq!(world.renew(id(2, 1), None), Renewed::Gone);
}

#[test]
fn r22_a_refused_publication_leaves_the_grant_and_is_told() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), terms(1));
    world.refuses_push = true;
    let (_, reply) = world.release(1, id(1, 1));
    assert!(reply.push_refused);
    assert_eq!(world.slots_of(id(2, 1)), [1]);
}

#[test]
fn r23_leaving_says_whether_the_waiter_had_just_been_granted() {
    let mut world = world();
    world.fill(1);
    world.acquire(id(2, 1), terms(1));
    world.acquire(id(3, 1), terms(1));
    world.release(1, id(1, 1));
    assert!(matches!(world.leave(id(2, 1)), Left::Granted(grant) if grant.slots == [1]));
    let reply = world.call(3, Verb::Leave(vec![id(3, 1)]));
    let figures =
        Answers::Leave { left: vec![Left::Left], held: 1, waiting: 1, next_end_in_ms: Some(CLAIM_MS) };
    assert_eq!(reply.answers, figures);
    assert_eq!(world.leave(id(3, 1)), Left::Left);
}

#[test]
fn r26_a_picture_comes_in_pages_that_show_everybody_once() {
    let mut world = world();
    let asks = (1..=450).map(|number| ask(id(1, number), terms(450)));
    world.acquire_all(asks.collect());
    world.acquire_all(vec![ask(id(2, 1), heavy(2_000, 1_000))]);
    for number in 1..=450 {
        world.acquire(id(3, number), terms(450));
    }
    let (mut page, mut holders, mut waiters) = (Some(Page::default()), Vec::new(), Vec::new());
    while let Some(this) = page {
        let picture = world.inspect(this);
        assert_eq!((picture.held, picture.waiting), (1_450, 450));
        assert!(picture.holders.len() <= 200 && picture.waiters.len() <= 200);
        holders.extend(picture.holders.into_iter().map(|holder| holder.slots[0]));
        waiters.extend(picture.waiters.into_iter().map(|waiter| waiter.id.number));
        page = picture.next;
    }
    assert_eq!(holders, (1..=451).collect::<Vec<Slot>>());
    assert_eq!(waiters, (1..=450).collect::<Vec<u64>>());
}

#[test]
fn r26_a_hundred_thousand_holders_and_waiters_cost_no_more_than_a_few() {
    let mut world = world();
    let many = 100_000;
    for first in (1..=u64::from(many)).step_by(200) {
        let asks = (first..first + 200).map(|number| ask(id(1, number), terms(many)));
        world.acquire_all(asks.collect());
    }
    for first in (1..=u64::from(many)).step_by(200) {
        world.acquire_all((first..first + 200).map(|number| ask(id(2, number), terms(many))).collect());
    }
    for number in 1..=1_000 {
        world.release(1, id(1, number));
        assert_eq!(world.take_pushed(), [id(2, number)]);
    }
    let picture = world.inspect(Page::default());
    assert_eq!((picture.held, picture.waiting), (100_000, 99_000));
}
