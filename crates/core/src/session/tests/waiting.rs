//! Waiting: gathering, pushes, the look, time-outs, giving up.

use super::desk::{Desk, request, s, trying_once};
use crate::error::Error;
use crate::protocol::Verb;
use crate::session::{Event, Request};

/// Both slots are held by others: the lease ids.
fn full() -> (Desk, [crate::lease::LeaseId; 2]) {
    let mut desk = Desk::online();
    desk.release(0);
    desk.exchange();
    desk.events.clear();
    let others = [desk.other_holds(), desk.other_holds()];
    (desk, others)
}

#[test]
fn a_lone_request_leaves_at_once() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    assert_eq!(desk.sent.len(), 1);
}

#[test]
fn requests_of_one_turn_go_out_in_one_call() {
    let mut desk = Desk::online();
    (1..=50).for_each(|tag| desk.session.submit(desk.now, request(tag)));
    desk.pump();
    assert_eq!(desk.sent.len(), 1);
    assert!(matches!(&desk.sent[0].call.verb, Verb::Acquire(asks) if asks.len() == 50));
}

#[test]
fn while_several_calls_are_under_way_later_requests_gather() {
    let mut desk = Desk::online();
    (1..=20).for_each(|tag| desk.submit(request(tag)));
    assert_eq!(desk.sent.len(), 8);
    let first = desk.sent.remove(0);
    desk.carry_out(first);
    assert!(matches!(&desk.sent[7].call.verb, Verb::Acquire(asks) if asks.len() == 12));
}

#[test]
fn five_hundred_idle_waiters_cost_about_a_call_a_second() {
    let (mut desk, _) = full();
    (1..=500).for_each(|tag| desk.session.submit(desk.now, Request { timeout: None, ..request(tag) }));
    desk.pump();
    desk.exchange();
    let calls = desk.live(s(60.0));
    assert!((50..=70).contains(&calls), "{calls} calls in a minute");
}

#[test]
fn a_push_ends_the_wait() {
    let (mut desk, [other, _]) = full();
    desk.submit(request(1));
    desk.exchange();
    desk.live(s(3.0));
    desk.other_releases(other);
    desk.bring_pushes();
    assert_eq!(desk.granted(1).slots, [1]);
}

#[test]
fn a_pushed_grant_counts_from_the_last_answer_that_it_still_waits() {
    let (mut desk, [other, _]) = full();
    desk.submit(request(1));
    desk.exchange();
    let asked_at = desk.now;
    desk.pass(s(0.5));
    desk.other_releases(other);
    desk.bring_pushes();
    // The claim window of 5 s, less its margin of a fiftieth.
    assert_eq!(desk.granted(1).deadline, asked_at + s(4.9));
}

#[test]
fn a_push_that_lay_in_the_socket_is_not_delivered_unconfirmed() {
    let (mut desk, [other, _]) = full();
    desk.submit(request(1));
    desk.exchange();
    desk.other_releases(other);
    desk.now = desk.now + s(5.5);
    desk.bring_pushes();
    assert!(desk.events.is_empty(), "{:?}", desk.events);
    // By now the grant has ended, and the slot is another's: the request is asked anew and waits.
    desk.other_holds();
    desk.exchange();
    assert!(desk.take_event(|event| matches!(event, Event::Granted { .. })).is_none());
    assert_eq!(desk.held(), 2);
}

#[test]
fn a_pushed_grant_is_confirmed_to_its_full_length_after_a_second() {
    let (mut desk, [other, _]) = full();
    desk.submit(Request { renew: false, ..request(1) });
    desk.exchange();
    desk.other_releases(other);
    desk.bring_pushes();
    desk.granted(1);
    let calls = desk.live(s(1.1));
    assert_eq!(calls, 1);
    assert!(desk.take_event(|event| matches!(event, Event::Renewed { .. })).is_some());
    assert_eq!(desk.live(s(5.7)), 0, "and not renewed after that");
}

#[test]
fn shorter_work_on_a_pushed_grant_costs_no_extra_call() {
    let (mut desk, [other, _]) = full();
    desk.submit(request(1));
    desk.exchange();
    desk.other_releases(other);
    desk.bring_pushes();
    assert_eq!(desk.live(s(0.9)), 0);
}

#[test]
fn a_lost_push_is_found_by_the_look() {
    let (mut desk, [other, _]) = full();
    desk.submit(request(1));
    desk.exchange();
    desk.other_releases(other);
    desk.pushes.clear();
    desk.live(s(1.2));
    desk.granted(1);
}

#[test]
fn a_push_for_a_request_that_gave_up_is_given_back() {
    let (mut desk, [other, _]) = full();
    desk.submit(request(1));
    desk.exchange();
    desk.other_releases(other);
    desk.cancel(1);
    assert_eq!(desk.failed(1), None);
    desk.exchange();
    assert_eq!(desk.held(), 1);
    assert!(desk.session.idle());
}

#[test]
fn a_cancelled_request_whose_call_is_under_way_is_given_back_when_it_is_granted() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.cancel(1);
    assert_eq!(desk.failed(1), None);
    desk.exchange();
    assert_eq!(desk.held(), 1);
    assert!(desk.events.is_empty(), "{:?}", desk.events);
}

#[test]
fn a_time_out_tells_how_full_it_was() {
    let (mut desk, _) = full();
    desk.submit(request(1));
    desk.live(s(10.1));
    match desk.failed(1) {
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
    let (mut desk, [other, _]) = full();
    desk.submit(request(1));
    desk.exchange();
    desk.live(s(9.99));
    desk.other_releases(other);
    desk.pushes.clear();
    desk.live(s(0.02));
    desk.granted(1);
}

#[test]
fn a_time_out_without_an_answer_is_unavailable_and_leaves_no_ghost() {
    let (mut desk, [other, _]) = full();
    desk.submit(request(1));
    desk.exchange();
    desk.session.handle_down(desk.now, "cut".into());
    desk.pass(s(11.0));
    assert!(matches!(desk.failed(1), Some(Error::Unavailable { .. })));
    desk.other_releases(other);
    desk.pushes.clear();
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    assert_eq!(desk.held(), 1);
    assert!(desk.session.idle());
}

#[test]
fn the_rest_of_a_long_hand_off_is_asked_for_although_nothing_else_is_left_here() {
    let mut desk = Desk::online();
    let other = desk.other_holds();
    desk.dead_waiters(500);
    desk.now = desk.now + s(0.1);
    desk.release(0);
    assert_eq!(desk.exchange(), 3, "the release, and clean twice");
    assert!(desk.session.idle());
    assert!(desk.group.snapshot(0).waiters.is_empty());
    desk.other_releases(other);
}

#[test]
fn trying_once_says_full_at_once() {
    let (mut desk, _) = full();
    desk.submit(trying_once(1));
    desk.exchange();
    assert!(matches!(desk.failed(1), Some(Error::LimitExceeded { held: 2, .. })));
}

#[test]
fn however_long_the_interval_a_dead_waiter_without_push_delays_the_next_by_seconds() {
    let mut desk = Desk::offline();
    desk.submit(Request { interval: s(600.0), ..request(1) });
    desk.session.handle_connected(desk.now, false, Some(s(3_600.0)));
    desk.pump();
    let sent = &desk.sent[0];
    assert_eq!(sent.caller.keep_alive_ms, 6_000);
    assert!(matches!(&sent.call.verb, Verb::Acquire(asks) if asks[0].terms.claim_ms == 5_000));
}

#[test]
fn without_push_the_look_comes_every_interval() {
    let (mut desk, _) = full();
    desk.session.handle_push_lost(desk.now);
    desk.submit(Request { timeout: None, ..request(1) });
    desk.exchange();
    let calls = desk.live(s(10.0));
    assert!((90..=115).contains(&calls), "{calls} calls in 10 s");
}

#[test]
fn a_waiter_that_was_frozen_past_its_time_leaves_the_line_before_it_blames_the_server() {
    let (mut desk, _) = full();
    desk.submit(request(1));
    desk.exchange();
    desk.now = desk.now + s(30.0);
    desk.session.handle_timeout(desk.now);
    desk.pump();
    desk.live(s(0.2));
    let failed = desk.failed(1);
    assert!(matches!(failed, Some(Error::LimitExceeded { .. })), "{failed:?}");
}

#[test]
fn a_request_that_was_frozen_before_it_heard_that_it_waits_hears_how_full_it_was() {
    let mut desk = Desk::offline();
    desk.other_holds();
    desk.other_holds();
    desk.submit(Request { timeout: Some(s(0.5)), ..request(1) });
    desk.connect(Some(s(3_600.0)));
    let asked = desk.sent.remove(0);
    let answer = desk.call(&asked.caller, &asked.call.verb);
    desk.now = desk.now + s(2.0);
    desk.session.handle_timeout(desk.now);
    desk.session.handle_reply(desk.now, asked.id, answer);
    desk.pump();
    desk.live(s(0.1));
    assert!(matches!(desk.failed(1), Some(Error::LimitExceeded { .. })));
}

#[test]
fn a_request_that_was_frozen_while_it_left_the_line_hears_how_it_left() {
    let (mut desk, _) = full();
    desk.submit(request(1));
    desk.exchange();
    desk.live(s(9.9));
    desk.pass(s(0.2));
    let leave = std::mem::take(&mut desk.sent);
    assert!(leave.iter().any(|sent| matches!(sent.call.verb, Verb::Leave(_))));
    desk.now = desk.now + s(5.0);
    desk.session.handle_timeout(desk.now);
    desk.pump();
    desk.sent.splice(0..0, leave);
    desk.exchange();
    let failed = desk.failed(1);
    assert!(matches!(failed, Some(Error::LimitExceeded { .. })), "{failed:?}");
}
