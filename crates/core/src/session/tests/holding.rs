//! Holding: the local verdict, renewal, loss, giving back.

use super::desk::{CLIENT, Desk, request, s};
use crate::error::Loss;
use crate::lease::LeaseId;
use crate::protocol::{Target, Verb};
use crate::session::{AdminQuery, Event, Request};

fn lost(desk: &mut Desk) -> Option<Loss> {
    match desk.take_event(|event| matches!(event, Event::Lost { .. })) {
        Some(Event::Lost { why, .. }) => Some(why),
        _ => None,
    }
}

#[test]
fn a_lease_is_lost_by_the_local_clock_when_redis_never_answers() {
    let mut desk = Desk::online();
    desk.pass(s(5.8));
    assert_eq!(lost(&mut desk), None);
    desk.pass(s(0.2));
    assert_eq!(lost(&mut desk), Some(Loss::Expired));
}

#[test]
fn a_lease_is_renewed_at_a_third_and_never_lost_while_redis_answers() {
    let mut desk = Desk::online();
    assert_eq!(desk.live(s(1.9)), 0);
    assert_eq!(desk.live(s(0.2)), 1);
    desk.live(s(3_600.0));
    assert_eq!(lost(&mut desk), None);
}

#[test]
fn leases_of_one_group_are_renewed_in_one_call() {
    let mut desk = Desk::online();
    desk.live(s(0.5));
    desk.submit(request(1));
    desk.live(s(0.0));
    assert_eq!(desk.live(s(60.0)), 30, "one call every 2 s");
}

#[test]
fn a_release_after_the_local_loss_is_false_and_still_sent() {
    let mut desk = Desk::online();
    desk.pass(s(6.0));
    desk.release(0);
    assert!(!desk.released(0));
    desk.sent.clear();
    desk.connect(Some(s(3_600.0)));
    let verbs: Vec<_> = desk.sent.iter().map(|sent| &sent.call.verb).collect();
    assert!(matches!(verbs[..], [Verb::Reconcile { .. }]), "{verbs:?}");
    desk.exchange();
    assert_eq!(desk.held(), 0);
}

#[test]
fn after_a_jump_of_the_wall_clock_a_lease_counts_only_if_redis_confirms_it() {
    let mut desk = Desk::online();
    desk.session.handle_jump(desk.now, s(300.0));
    desk.pump();
    assert_eq!(desk.live(s(0.1)), 1, "asked at once");
    assert!(desk.take_event(|event| matches!(event, Event::Renewed { .. })).is_some());
    desk.live(s(60.0));
    assert_eq!(lost(&mut desk), None);
    desk.session.handle_jump(desk.now, s(300.0));
    desk.pass(s(1.0));
    assert_eq!(lost(&mut desk), Some(Loss::Expired), "no answer, and too old to wait for one");
}

#[test]
fn a_release_says_that_it_was_held() {
    let mut desk = Desk::online();
    desk.release(0);
    desk.exchange();
    assert!(desk.released(0));
    assert!(desk.session.idle());
}

#[test]
fn a_release_that_nobody_confirms_is_answered_within_the_command_timeout_and_goes_on() {
    let mut desk = Desk::online();
    desk.session.handle_down(desk.now, "cut".into());
    desk.release(0);
    desk.pass(s(1.0));
    assert!(!desk.released(0));
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    assert_eq!(desk.held(), 0);
    assert!(desk.session.idle());
}

#[test]
fn a_release_whose_answer_was_lost_with_the_connection_is_still_true() {
    let mut desk = Desk::online();
    desk.release(0);
    let sent = desk.sent.remove(0);
    desk.call(&sent.caller, &sent.call.verb).expect("carried out");
    desk.cut();
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    assert!(desk.released(0));
}

#[test]
fn someone_elses_release_by_name_is_told_at_the_next_renewal() {
    let mut desk = Desk::online();
    let id = LeaseId { session: desk.session.id(), number: 1 };
    desk.other_releases(id);
    desk.live(s(2.1));
    assert_eq!(lost(&mut desk), Some(Loss::Gone));
}

#[test]
fn the_longest_hold_ends_the_lease_although_it_could_be_renewed() {
    let mut desk = Desk::online();
    desk.submit(Request { hold: Some(s(20.0)), ..request(1) });
    desk.exchange();
    desk.granted(1);
    desk.live(s(19.8));
    assert_eq!(lost(&mut desk), None);
    desk.live(s(0.2));
    assert_eq!(lost(&mut desk), Some(Loss::HeldTooLong));
    assert_eq!(desk.held(), 2, "Redis still has it for the margin");
}

#[test]
fn the_longest_hold_ends_the_lease_also_after_a_new_connection() {
    let mut desk = Desk::online();
    desk.submit(Request { hold: Some(s(8.0)), ..request(1) });
    desk.exchange();
    desk.granted(1);
    desk.live(s(5.0));
    desk.cut();
    desk.connect(Some(s(3_600.0)));
    desk.live(s(3.0));
    assert_eq!(lost(&mut desk), Some(Loss::HeldTooLong));
}

#[test]
fn a_watched_client_that_stands_still_loses_its_leases_and_one_that_lives_keeps_them() {
    let mut desk = Desk::online();
    desk.session.watch(desk.now, CLIENT, s(3.0));
    for _ in 0..10 {
        desk.live(s(2.0));
        desk.session.beat(desk.now, super::desk::CLIENT);
    }
    assert_eq!(lost(&mut desk), None);
    desk.live(s(9.0));
    assert_eq!(lost(&mut desk), Some(Loss::Stalled));
}

#[test]
fn a_lease_that_is_not_renewed_ends_with_its_time() {
    let mut desk = Desk::online();
    desk.submit(Request { renew: false, ..request(1) });
    desk.exchange();
    desk.granted(1);
    desk.live(s(5.9));
    assert_eq!(lost(&mut desk), Some(Loss::NotRenewed));
}

#[test]
fn closing_gives_back_what_is_held_and_fails_what_waits() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.submit(request(2));
    desk.exchange();
    desk.session.close(desk.now, CLIENT, 9, true);
    desk.pump();
    assert_eq!(desk.failed(2), Some(crate::error::Error::Closed));
    desk.exchange();
    assert!(desk.take_event(|event| matches!(event, Event::Closed { tag: 9, .. })).is_some());
    assert_eq!(desk.held(), 0);
    assert!(desk.session.idle());
}

#[test]
fn closing_without_release_leaves_the_leases_to_their_end() {
    let mut desk = Desk::online();
    desk.session.close(desk.now, CLIENT, 9, false);
    desk.pump();
    assert!(desk.take_event(|event| matches!(event, Event::Closed { tag: 9, .. })).is_some());
    assert!(desk.sent.is_empty());
    assert_eq!(desk.held(), 1);
}

#[test]
fn releases_of_one_turn_go_out_in_one_call() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.exchange();
    desk.session.release(desk.now, CLIENT, 0);
    desk.session.release(desk.now, CLIENT, 1);
    desk.pump();
    let ids: Vec<_> =
        [1, 2].map(|number| Target::Lease(LeaseId { session: desk.session.id(), number })).to_vec();
    assert_eq!(desk.sent.len(), 1);
    assert_eq!(desk.sent[0].call.verb, Verb::Release(ids));
}

#[test]
fn a_query_comes_after_the_release_that_was_asked_for_before_it() {
    let mut desk = Desk::online();
    desk.session.release(desk.now, CLIENT, 0);
    desk.session.ask(desk.now, CLIENT, 1, AdminQuery::Status(request(1).key));
    desk.pump();
    let verbs: Vec<&Verb> = desk.sent.iter().map(|sent| &sent.call.verb).collect();
    assert!(matches!(verbs[..], [Verb::Release(_), Verb::Inspect(_)]), "{verbs:?}");
}
