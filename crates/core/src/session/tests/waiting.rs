//! Waiting: gathering, pushes, the look, time-outs, giving up.

use super::rig::{Rig, request, s, trying_once};
use crate::error::Error;
use crate::protocol::Verb;
use crate::session::{Event, Request};

/// Both slots are held by others: the lease ids.
fn full() -> (Rig, [crate::lease::LeaseId; 2]) {
    let mut rig = Rig::online();
    rig.release(0);
    rig.exchange();
    rig.events.clear();
    let others = [rig.other_holds(), rig.other_holds()];
    (rig, others)
}

#[test]
fn a_lone_request_leaves_at_once() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    assert_eq!(rig.sent.len(), 1);
}

#[test]
fn requests_of_one_turn_go_out_in_one_call() {
    let mut rig = Rig::online();
    (1..=50).for_each(|tag| rig.session.submit(rig.now, request(tag)));
    rig.pump();
    assert_eq!(rig.sent.len(), 1);
    assert!(matches!(&rig.sent[0].call.verb, Verb::Acquire(asks) if asks.len() == 50));
}

#[test]
fn while_several_calls_are_under_way_later_requests_gather() {
    let mut rig = Rig::online();
    (1..=20).for_each(|tag| rig.submit(request(tag)));
    assert_eq!(rig.sent.len(), 8);
    let first = rig.sent.remove(0);
    rig.carry_out(first);
    assert!(matches!(&rig.sent[7].call.verb, Verb::Acquire(asks) if asks.len() == 12));
}

#[test]
fn five_hundred_idle_waiters_cost_about_a_call_a_second() {
    let (mut rig, _) = full();
    (1..=500).for_each(|tag| rig.session.submit(rig.now, Request { timeout: None, ..request(tag) }));
    rig.pump();
    rig.exchange();
    let calls = rig.live(s(60.0));
    assert!((50..=70).contains(&calls), "{calls} calls in a minute");
}

#[test]
fn a_push_ends_the_wait() {
    let (mut rig, [other, _]) = full();
    rig.submit(request(1));
    rig.exchange();
    rig.live(s(3.0));
    rig.other_releases(other);
    rig.bring_pushes();
    assert_eq!(rig.granted(1).slots, [1]);
}

#[test]
fn a_pushed_grant_counts_from_the_last_answer_that_it_still_waits() {
    let (mut rig, [other, _]) = full();
    rig.submit(request(1));
    rig.exchange();
    let asked_at = rig.now;
    rig.pass(s(0.5));
    rig.other_releases(other);
    rig.bring_pushes();
    // The claim window of 5 s, less its margin of a fiftieth.
    assert_eq!(rig.granted(1).deadline, asked_at + s(4.9));
}

#[test]
fn a_push_that_lay_in_the_socket_is_not_delivered_unconfirmed() {
    let (mut rig, [other, _]) = full();
    rig.submit(request(1));
    rig.exchange();
    rig.other_releases(other);
    rig.now = rig.now + s(5.5);
    rig.bring_pushes();
    assert!(rig.events.is_empty(), "{:?}", rig.events);
    // By now the grant has ended, and the slot is another's: the request is asked anew and waits.
    rig.other_holds();
    rig.exchange();
    assert!(rig.take_event(|event| matches!(event, Event::Granted { .. })).is_none());
    assert_eq!(rig.held(), 2);
}

#[test]
fn a_pushed_grant_is_confirmed_to_its_full_length_after_a_second() {
    let (mut rig, [other, _]) = full();
    rig.submit(Request { renew: false, ..request(1) });
    rig.exchange();
    rig.other_releases(other);
    rig.bring_pushes();
    rig.granted(1);
    let calls = rig.live(s(1.1));
    assert_eq!(calls, 1);
    assert!(rig.take_event(|event| matches!(event, Event::Renewed { .. })).is_some());
    assert_eq!(rig.live(s(5.7)), 0, "and not renewed after that");
}

#[test]
fn shorter_work_on_a_pushed_grant_costs_no_extra_call() {
    let (mut rig, [other, _]) = full();
    rig.submit(request(1));
    rig.exchange();
    rig.other_releases(other);
    rig.bring_pushes();
    assert_eq!(rig.live(s(0.9)), 0);
}

#[test]
fn a_lost_push_is_found_by_the_look() {
    let (mut rig, [other, _]) = full();
    rig.submit(request(1));
    rig.exchange();
    rig.other_releases(other);
    rig.pushes.clear();
    rig.live(s(1.2));
    rig.granted(1);
}

#[test]
fn a_push_for_a_request_that_gave_up_is_given_back() {
    let (mut rig, [other, _]) = full();
    rig.submit(request(1));
    rig.exchange();
    rig.other_releases(other);
    rig.cancel(1);
    assert_eq!(rig.failed(1), None);
    rig.exchange();
    assert_eq!(rig.held(), 1);
    assert!(rig.session.idle());
}

#[test]
fn a_cancelled_request_whose_call_is_under_way_is_given_back_when_it_is_granted() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.cancel(1);
    assert_eq!(rig.failed(1), None);
    rig.exchange();
    assert_eq!(rig.held(), 1);
    assert!(rig.events.is_empty(), "{:?}", rig.events);
}

#[test]
fn a_time_out_tells_how_full_it_was() {
    let (mut rig, _) = full();
    rig.submit(request(1));
    rig.live(s(10.1));
    match rig.failed(1) {
        Some(Error::LimitExceeded {
            limit: 2, held: 2, waiting: 0, waited, retry_after: Some(rest), ..
        }) => {
            assert_eq!(waited, s(10.0));
            assert!(rest > s(580.0), "{rest:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_grant_at_the_last_moment_is_taken_by_the_time_out() {
    let (mut rig, [other, _]) = full();
    rig.submit(request(1));
    rig.exchange();
    rig.live(s(9.99));
    rig.other_releases(other);
    rig.pushes.clear();
    rig.live(s(0.02));
    rig.granted(1);
}

#[test]
fn a_time_out_without_an_answer_is_unavailable_and_leaves_no_ghost() {
    let (mut rig, [other, _]) = full();
    rig.submit(request(1));
    rig.exchange();
    rig.session.handle_down(rig.now, "cut".into());
    rig.pass(s(11.0));
    assert!(matches!(rig.failed(1), Some(Error::Unavailable { .. })));
    rig.other_releases(other);
    rig.pushes.clear();
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    assert_eq!(rig.held(), 1);
    assert!(rig.session.idle());
}

#[test]
fn the_rest_of_a_long_hand_off_is_asked_for_although_nothing_else_is_left_here() {
    let mut rig = Rig::online();
    let other = rig.other_holds();
    rig.dead_waiters(500);
    rig.now = rig.now + s(0.1);
    rig.release(0);
    assert_eq!(rig.exchange(), 3, "the release, and clean twice");
    assert!(rig.session.idle());
    assert!(rig.group.snapshot(0).waiters.is_empty());
    rig.other_releases(other);
}

#[test]
fn trying_once_says_full_at_once() {
    let (mut rig, _) = full();
    rig.submit(trying_once(1));
    rig.exchange();
    assert!(matches!(rig.failed(1), Some(Error::LimitExceeded { held: 2, .. })));
}

#[test]
fn however_long_the_interval_a_dead_waiter_without_push_delays_the_next_by_seconds() {
    let mut rig = Rig::offline();
    rig.submit(Request { interval: s(600.0), ..request(1) });
    rig.session.handle_connected(rig.now, false, Some(s(3_600.0)));
    rig.pump();
    let sent = &rig.sent[0];
    assert_eq!(sent.caller.keep_alive_ms, 6_000);
    assert!(matches!(&sent.call.verb, Verb::Acquire(asks) if asks[0].terms.claim_ms == 5_000));
}

#[test]
fn without_push_the_look_comes_every_interval() {
    let (mut rig, _) = full();
    rig.session.handle_push_lost(rig.now);
    rig.submit(Request { timeout: None, ..request(1) });
    rig.exchange();
    let calls = rig.live(s(10.0));
    assert!((90..=115).contains(&calls), "{calls} calls in 10 s");
}

#[test]
fn a_waiter_that_was_frozen_past_its_time_leaves_the_line_before_it_blames_the_server() {
    let (mut rig, _) = full();
    rig.submit(request(1));
    rig.exchange();
    rig.now = rig.now + s(30.0);
    rig.session.handle_timeout(rig.now);
    rig.pump();
    rig.live(s(0.2));
    let failed = rig.failed(1);
    assert!(matches!(failed, Some(Error::LimitExceeded { .. })), "{failed:?}");
}

#[test]
fn a_request_that_was_frozen_before_it_heard_that_it_waits_hears_how_full_it_was() {
    let mut rig = Rig::offline();
    rig.other_holds();
    rig.other_holds();
    rig.submit(Request { timeout: Some(s(0.5)), ..request(1) });
    rig.connect(Some(s(3_600.0)));
    let asked = rig.sent.remove(0);
    let answer = rig.call(&asked.caller, &asked.call.verb);
    rig.now = rig.now + s(2.0);
    rig.session.handle_timeout(rig.now);
    rig.session.handle_reply(rig.now, asked.id, answer);
    rig.pump();
    rig.live(s(0.1));
    assert!(matches!(rig.failed(1), Some(Error::LimitExceeded { .. })));
}

#[test]
fn a_request_that_was_frozen_while_it_left_the_line_hears_how_it_left() {
    let (mut rig, _) = full();
    rig.submit(request(1));
    rig.exchange();
    rig.live(s(9.9));
    rig.pass(s(0.2));
    let leave = std::mem::take(&mut rig.sent);
    assert!(leave.iter().any(|sent| matches!(sent.call.verb, Verb::Leave(_))));
    rig.now = rig.now + s(5.0);
    rig.session.handle_timeout(rig.now);
    rig.pump();
    rig.sent.splice(0..0, leave);
    rig.exchange();
    let failed = rig.failed(1);
    assert!(matches!(failed, Some(Error::LimitExceeded { .. })), "{failed:?}");
}
