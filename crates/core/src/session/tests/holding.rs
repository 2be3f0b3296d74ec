//! Holding: the local verdict, renewal, loss, giving back.

use super::rig::{CLIENT, Rig, request, s};
use crate::error::Loss;
use crate::lease::LeaseId;
use crate::protocol::{Target, Verb};
use crate::session::{AdminQuery, Event, Request};

fn lost(rig: &mut Rig) -> Option<Loss> {
    match rig.take_event(|event| matches!(event, Event::Lost { .. })) {
        Some(Event::Lost { why, .. }) => Some(why),
        _ => None,
    }
}

#[test]
fn a_lease_is_lost_by_the_local_clock_when_redis_never_answers() {
    let mut rig = Rig::online();
    rig.pass(s(5.8));
    assert_eq!(lost(&mut rig), None);
    rig.pass(s(0.2));
    assert_eq!(lost(&mut rig), Some(Loss::Expired));
}

#[test]
fn a_lease_is_renewed_at_a_third_and_never_lost_while_redis_answers() {
    let mut rig = Rig::online();
    assert_eq!(rig.live(s(1.9)), 0);
    assert_eq!(rig.live(s(0.2)), 1);
    rig.live(s(3_600.0));
    assert_eq!(lost(&mut rig), None);
}

#[test]
fn leases_of_one_group_are_renewed_in_one_call() {
    let mut rig = Rig::online();
    rig.live(s(0.5));
    rig.submit(request(1));
    rig.live(s(0.0));
    assert_eq!(rig.live(s(60.0)), 30, "one call every 2 s");
}

#[test]
fn a_release_after_the_local_loss_is_false_and_still_sent() {
    let mut rig = Rig::online();
    rig.pass(s(6.0));
    rig.release(0);
    assert!(!rig.released(0));
    rig.sent.clear();
    rig.connect(Some(s(3_600.0)));
    let verbs: Vec<_> = rig.sent.iter().map(|sent| &sent.call.verb).collect();
    assert!(matches!(verbs[..], [Verb::Reconcile { .. }]), "{verbs:?}");
    rig.exchange();
    assert_eq!(rig.held(), 0);
}

#[test]
fn after_a_jump_of_the_wall_clock_a_lease_counts_only_if_redis_confirms_it() {
    let mut rig = Rig::online();
    rig.session.handle_jump(rig.now, s(300.0));
    rig.pump();
    assert_eq!(rig.live(s(0.1)), 1, "asked at once");
    assert!(rig.take_event(|event| matches!(event, Event::Renewed { .. })).is_some());
    rig.live(s(60.0));
    assert_eq!(lost(&mut rig), None);
    rig.session.handle_jump(rig.now, s(300.0));
    rig.pass(s(1.0));
    assert_eq!(lost(&mut rig), Some(Loss::Expired), "no answer, and too old to wait for one");
}

#[test]
fn a_release_says_that_it_was_held() {
    let mut rig = Rig::online();
    rig.release(0);
    rig.exchange();
    assert!(rig.released(0));
    assert!(rig.session.idle());
}

#[test]
fn a_release_that_nobody_confirms_is_answered_within_the_command_timeout_and_goes_on() {
    let mut rig = Rig::online();
    rig.session.handle_down(rig.now, "cut".into());
    rig.release(0);
    rig.pass(s(1.0));
    assert!(!rig.released(0));
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    assert_eq!(rig.held(), 0);
    assert!(rig.session.idle());
}

#[test]
fn a_release_whose_answer_was_lost_with_the_connection_is_still_true() {
    let mut rig = Rig::online();
    rig.release(0);
    let sent = rig.sent.remove(0);
    rig.call(&sent.caller, &sent.call.verb).expect("carried out");
    rig.cut();
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    assert!(rig.released(0));
}

#[test]
fn someone_elses_release_by_name_is_told_at_the_next_renewal() {
    let mut rig = Rig::online();
    let id = LeaseId { session: rig.session.id(), number: 1 };
    rig.other_releases(id);
    rig.live(s(2.1));
    assert_eq!(lost(&mut rig), Some(Loss::Gone));
}

#[test]
fn the_longest_hold_ends_the_lease_although_it_could_be_renewed() {
    let mut rig = Rig::online();
    rig.submit(Request { hold: Some(s(20.0)), ..request(1) });
    rig.exchange();
    rig.granted(1);
    rig.live(s(19.8));
    assert_eq!(lost(&mut rig), None);
    rig.live(s(0.2));
    assert_eq!(lost(&mut rig), Some(Loss::HeldTooLong));
    assert_eq!(rig.held(), 2, "Redis still has it for the margin");
}

#[test]
fn the_longest_hold_ends_the_lease_also_after_a_new_connection() {
    let mut rig = Rig::online();
    rig.submit(Request { hold: Some(s(8.0)), ..request(1) });
    rig.exchange();
    rig.granted(1);
    rig.live(s(5.0));
    rig.cut();
    rig.connect(Some(s(3_600.0)));
    rig.live(s(3.0));
    assert_eq!(lost(&mut rig), Some(Loss::HeldTooLong));
}

#[test]
fn a_watched_client_that_stands_still_loses_its_leases_and_one_that_lives_keeps_them() {
    let mut rig = Rig::online();
    rig.session.watch(rig.now, CLIENT, s(3.0));
    for _ in 0..10 {
        rig.live(s(2.0));
        rig.session.beat(rig.now, super::rig::CLIENT);
    }
    assert_eq!(lost(&mut rig), None);
    rig.live(s(9.0));
    assert_eq!(lost(&mut rig), Some(Loss::Stalled));
}

#[test]
fn a_lease_that_is_not_renewed_ends_with_its_time() {
    let mut rig = Rig::online();
    rig.submit(Request { renew: false, ..request(1) });
    rig.exchange();
    rig.granted(1);
    rig.live(s(5.9));
    assert_eq!(lost(&mut rig), Some(Loss::NotRenewed));
}

#[test]
fn closing_gives_back_what_is_held_and_fails_what_waits() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.submit(request(2));
    rig.exchange();
    rig.session.close(rig.now, CLIENT, 9, true);
    rig.pump();
    assert_eq!(rig.failed(2), Some(crate::error::Error::Closed));
    rig.exchange();
    assert!(rig.take_event(|event| matches!(event, Event::Closed { tag: 9, .. })).is_some());
    assert_eq!(rig.held(), 0);
    assert!(rig.session.idle());
}

#[test]
fn closing_without_release_leaves_the_leases_to_their_end() {
    let mut rig = Rig::online();
    rig.session.close(rig.now, CLIENT, 9, false);
    rig.pump();
    assert!(rig.take_event(|event| matches!(event, Event::Closed { tag: 9, .. })).is_some());
    assert!(rig.sent.is_empty());
    assert_eq!(rig.held(), 1);
}

#[test]
fn releases_of_one_turn_go_out_in_one_call() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.exchange();
    rig.session.release(rig.now, CLIENT, 0);
    rig.session.release(rig.now, CLIENT, 1);
    rig.pump();
    let ids: Vec<_> =
        [1, 2].map(|number| Target::Lease(LeaseId { session: rig.session.id(), number })).to_vec();
    assert_eq!(rig.sent.len(), 1);
    assert_eq!(rig.sent[0].call.verb, Verb::Release(ids));
}

#[test]
fn a_query_comes_after_the_release_that_was_asked_for_before_it() {
    let mut rig = Rig::online();
    rig.session.release(rig.now, CLIENT, 0);
    rig.session.ask(rig.now, CLIENT, 1, AdminQuery::Status(request(1).key));
    rig.pump();
    let verbs: Vec<&Verb> = rig.sent.iter().map(|sent| &sent.call.verb).collect();
    assert!(matches!(verbs[..], [Verb::Release(_), Verb::Inspect(_)]), "{verbs:?}");
}
