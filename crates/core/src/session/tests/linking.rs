//! The connection: lost, slow, refused, new.

use super::desk::{CLIENT, Desk, request, s, trying_once};
use crate::error::Error;
use crate::group::Group;
use crate::lease::{Epoch, Key, Ticket};
use crate::protocol::{CallError, ReconcileItem, Target, Verb};
use crate::session::{AdminAnswer, AdminQuery, Event, Request};

#[test]
fn what_redis_may_know_is_settled_before_anything_else_is_asked() {
    let mut desk = Desk::online();
    desk.session.handle_down(desk.now, "cut".into());
    desk.submit(request(1));
    desk.connect(Some(s(3_600.0)));
    assert_eq!(desk.sent.len(), 1);
    assert!(
        matches!(&desk.sent[0].call.verb, Verb::Reconcile { items, .. } if matches!(items[..], [ReconcileItem::Keep(_)]))
    );
    assert_eq!(desk.sent[0].caller.connection, 2);
    desk.exchange();
    desk.granted(1);
}

#[test]
fn a_grant_whose_answer_was_lost_is_found_again() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    let sent = desk.sent.remove(0);
    desk.call(&sent.caller, &sent.call.verb).expect("carried out");
    desk.cut();
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    assert_eq!(desk.granted(1).slots, [2]);
    assert_eq!(desk.held(), 2);
}

#[test]
fn bytes_of_the_old_connection_are_refused_after_the_new_one_has_reconciled() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    let old = desk.sent.remove(0);
    desk.cut();
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    assert_eq!(desk.call(&old.caller, &old.call.verb), Err(CallError::Stale));
}

#[test]
fn a_waiter_keeps_its_ticket_over_a_lost_connection() {
    let mut desk = Desk::online();
    desk.other_holds();
    desk.submit(request(1));
    desk.exchange();
    desk.cut();
    desk.connect(Some(s(3_600.0)));
    let ticket = desk.group.snapshot(0).waiters[0].ticket;
    assert!(ticket > Ticket(0));
    let want =
        |item: &ReconcileItem| matches!(item, ReconcileItem::Want { ticket: Some(t), .. } if *t == ticket);
    assert!(matches!(&desk.sent[0].call.verb, Verb::Reconcile { items, .. } if items.iter().any(want)));
}

#[test]
fn a_push_on_a_connection_of_its_own_that_overtakes_a_reconciles_answer_is_the_newer_word() {
    let mut desk = Desk::online();
    let other = desk.other_holds();
    desk.submit(request(1));
    desk.exchange();
    desk.cut();
    desk.pass(s(0.5));
    desk.connect(Some(s(3_600.0)));
    let sent = desk.sent.remove(0);
    let answer = desk.call(&sent.caller, &sent.call.verb);
    desk.other_releases(other);
    desk.bring_pushes();
    desk.granted(1);
    desk.session.handle_reply(desk.now, sent.id, answer);
    desk.pump();
    assert!(desk.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
    desk.release(1);
    desk.exchange();
    assert!(desk.released(1));
}

#[test]
fn no_answer_within_the_command_timeout_drops_the_connection() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.pass(s(1.2));
    assert_eq!(desk.disconnects, 1);
    assert!(desk.take_event(|event| matches!(event, Event::Disconnected(_))).is_some());
    assert_eq!(desk.connects, 2);
}

#[test]
fn a_process_that_was_frozen_reads_its_mail_before_it_blames_the_server() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    let sent = desk.sent.remove(0);
    desk.now = desk.now + s(30.0);
    desk.session.handle_timeout(desk.now);
    desk.pump();
    assert_eq!(desk.disconnects, 0);
    desk.carry_out(sent);
    desk.pass(s(0.1));
    assert_eq!(desk.disconnects, 0);
}

#[test]
fn a_refused_connection_is_tried_again_until_the_requests_own_time_is_over() {
    let mut desk = Desk::offline();
    desk.submit(request(1));
    for _ in 0..3 {
        desk.session.handle_connect_failed(desk.now, "refused".into(), false);
        desk.pass(s(1.0));
    }
    assert_eq!(desk.connects, 4);
    assert!(desk.events.is_empty());
    desk.pass(s(8.0));
    assert!(matches!(desk.failed(1), Some(Error::Unavailable { cause, .. }) if cause == "refused"));
}

#[test]
fn each_attempt_to_connect_is_told_of_and_how_it_ended() {
    let mut desk = Desk::offline();
    desk.submit(request(1));
    desk.session.handle_connect_failed(desk.now, "refused".into(), false);
    desk.pass(s(1.0));
    desk.connect(Some(s(3_600.0)));
    let first = [Event::Connecting, Event::ConnectFailed("refused".into())];
    assert_eq!(desk.attempts, [first.as_slice(), &[Event::Connecting, Event::Connected]].concat());
    desk.attempts.clear();
    desk.cut();
    desk.connect(Some(s(3_600.0)));
    assert_eq!(desk.attempts, [Event::Connecting]);
    assert!(desk.take_event(|event| matches!(event, Event::Reconnected)).is_some());
}

#[test]
fn a_server_that_hangs_up_at_once_is_asked_for_ever_fewer_connections() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    let begun = desk.now;
    for attempts in 2..12 {
        desk.session.handle_down(desk.now, "hung up".into());
        desk.pump();
        while desk.connects < attempts {
            desk.pass(s(0.001));
        }
        desk.connect(Some(s(3_600.0)));
    }
    assert!(desk.now.saturating_since(begun) > s(2.0));
    // One that lasted is made anew at once.
    desk.exchange();
    desk.live(s(1.0));
    desk.cut();
    assert_eq!(desk.connects, 12);
}

#[test]
fn attempts_to_connect_come_further_apart_up_to_a_quarter_of_the_settling_time_and_not_in_step() {
    let mut desk = Desk::offline();
    desk.submit(Request { timeout: None, ..request(1) });
    let waits: Vec<f64> = (0..12)
        .map(|_| {
            let (failed_at, connects) = (desk.now, desk.connects);
            desk.session.handle_connect_failed(desk.now, "refused".into(), false);
            while desk.connects == connects {
                let next = desk.session.poll_deadline().expect("it tries again");
                desk.pass(next.saturating_since(desk.now));
            }
            desk.now.saturating_since(failed_at).as_secs_f64()
        })
        .collect();
    assert!(waits[0] >= 0.04 && waits[0] <= 0.05, "{waits:?}");
    assert!(waits[..4].windows(2).all(|pair| pair[1] > 1.5 * pair[0]), "{waits:?}");
    assert!(waits[5..].iter().all(|wait| (0.4..=0.5).contains(wait)), "{waits:?}");
    assert!(waits[5..].windows(2).all(|pair| pair[0] != pair[1]), "{waits:?}");
}

#[test]
fn trying_once_fails_with_the_first_refused_connection() {
    let mut desk = Desk::offline();
    desk.submit(trying_once(1));
    desk.session.handle_connect_failed(desk.now, "refused".into(), false);
    desk.pump();
    assert!(matches!(desk.failed(1), Some(Error::Unavailable { .. })));
}

#[test]
fn trying_once_fails_when_the_server_gives_no_answer() {
    let mut desk = Desk::online();
    desk.submit(trying_once(1));
    desk.pass(s(1.1));
    assert!(matches!(desk.failed(1), Some(Error::Unavailable { .. })));
}

#[test]
fn trying_once_survives_a_cut_connection() {
    let mut desk = Desk::online();
    desk.submit(trying_once(1));
    desk.sent.clear();
    desk.cut();
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    desk.granted(1);
}

#[test]
fn a_server_that_became_a_replica_is_left_for_the_primary() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.refuse(CallError::NotExecuted("READONLY".into()));
    assert_eq!(desk.disconnects, 1);
    desk.pass(s(0.5));
    assert_eq!(desk.connects, 2);
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    desk.granted(1);
}

#[test]
fn a_wrong_password_fails_everyone_at_once() {
    let mut desk = Desk::offline();
    desk.submit(request(1));
    desk.session.handle_connect_failed(desk.now, "WRONGPASS".into(), true);
    desk.pump();
    assert!(matches!(desk.failed(1), Some(Error::Unavailable { cause, .. }) if cause == "WRONGPASS"));
}

#[test]
fn a_server_that_has_just_started_is_asked_for_nothing_new_until_it_settles() {
    let mut desk = Desk::offline();
    desk.submit(request(1));
    desk.connect(Some(s(0.5)));
    desk.submit(trying_once(2));
    assert!(matches!(desk.failed(2), Some(Error::Unavailable { .. })));
    desk.pass(s(1.4));
    assert!(desk.sent.is_empty());
    desk.live(s(0.2));
    desk.granted(1);
}

#[test]
fn a_server_that_still_loads_settles_from_its_last_refusal() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.refuse(CallError::NotExecuted("LOADING".into()));
    desk.live(s(1.9));
    assert!(desk.take_event(|event| matches!(event, Event::Granted { .. })).is_none());
    desk.live(s(0.2));
    desk.granted(1);
}

#[test]
fn a_session_that_may_not_ask_for_the_uptime_settles_from_its_reconnect() {
    let mut desk = Desk::offline();
    desk.submit(request(1));
    desk.connect(None);
    desk.exchange();
    desk.granted(1);
    desk.session.handle_down(desk.now, "cut".into());
    desk.submit(request(2));
    desk.connect(None);
    assert!(desk.sent.iter().all(|sent| sent.caller.settling));
    desk.live(s(1.9));
    assert!(desk.take_event(|event| matches!(event, Event::Granted { .. })).is_none());
    desk.live(s(0.2));
    desk.granted(2);
}

#[test]
fn a_lease_re_enters_a_group_that_was_flushed() {
    let mut desk = Desk::online();
    desk.group = Group::default();
    desk.fresh = Epoch(8);
    desk.live(s(2.1));
    assert!(desk.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
    assert_eq!(desk.held(), 1);
    assert_eq!(desk.group.snapshot(0).epoch, Some(Epoch(8)));
}

#[test]
fn a_waiter_that_comes_back_into_the_line_and_is_granted_in_the_same_call_keeps_its_lease() {
    let mut desk = Desk::online();
    desk.other_holds();
    desk.submit(request(1));
    desk.exchange();
    desk.cut();
    (desk.group, desk.fresh) = (Group::default(), Epoch(8));
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    desk.granted(1);
    assert_eq!(desk.held(), 2);
    desk.live(s(20.0));
    assert!(desk.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
}

#[test]
fn a_refusal_that_was_surely_not_executed_is_asked_again() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.refuse(CallError::NotExecuted("BUSY".into()));
    assert!(desk.events.is_empty() && desk.sent.is_empty(), "not at once");
    desk.live(s(0.1));
    desk.granted(1);
}

#[test]
fn out_of_memory_fails_the_request_and_leaves_the_leases() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.refuse(CallError::OutOfMemory("OOM".into()));
    assert!(matches!(desk.failed(1), Some(Error::Unavailable { cause, .. }) if cause == "OOM"));
    assert_eq!(desk.held(), 1);
}

#[test]
fn a_key_of_another_type_fails_the_request_as_a_protocol_error() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.refuse(CallError::Unusable("WRONGTYPE".into()));
    assert!(matches!(desk.failed(1), Some(Error::Protocol { .. })));
}

fn elsewhere() -> Key {
    Key::new("elsewhere").expect("a key")
}

#[test]
fn a_cut_settles_its_groups_anew_and_leaves_the_others_alone() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.submit(Request { key: elsewhere(), ..request(2) });
    let lost = desk.sent.remove(0);
    desk.call(&lost.caller, &lost.call.verb).expect("carried out");
    let kept = desk.sent.remove(0);
    desk.session.handle_cut(desk.now, |key| *key != elsewhere(), "a member is gone".into());
    desk.pump();
    assert_eq!(desk.sent.len(), 1);
    assert_eq!(desk.sent[0].caller.connection, 2);
    let keep_and_want =
        |items: &[ReconcileItem]| matches!(items, [ReconcileItem::Keep(_), ReconcileItem::Want { .. }]);
    assert!(matches!(&desk.sent[0].call.verb, Verb::Reconcile { items, .. } if keep_and_want(items)));
    desk.exchange();
    assert_eq!(desk.granted(1).slots, [2]);
    assert_eq!(desk.call(&lost.caller, &lost.call.verb), Err(CallError::Stale));
    // The other group's call counts as if nothing had happened.
    desk.group = Group::default();
    desk.carry_out(kept);
    assert_eq!(desk.granted(2).slots, [1]);
    assert!(desk.sent.is_empty());
    assert!(desk.take_event(|event| matches!(event, Event::Warning(_))).is_some());
    assert!(desk.take_event(|event| matches!(event, Event::Disconnected(_))).is_none());
}

#[test]
fn a_reply_that_comes_after_the_cut_counts_for_nothing() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    let late = desk.sent.remove(0);
    desk.session.handle_cut(desk.now, |_| true, "a member is gone".into());
    desk.pump();
    desk.carry_out(late);
    assert!(desk.take_event(|event| matches!(event, Event::Granted { .. })).is_none());
    desk.exchange();
    desk.granted(1);
    assert_eq!(desk.held(), 2);
}

#[test]
fn a_request_whose_time_is_over_while_its_part_is_cut_ends_as_unavailable() {
    let mut desk = Desk::online();
    desk.other_holds();
    desk.submit(request(1));
    desk.exchange();
    desk.session.handle_cut(desk.now, |_| true, "a member is gone".into());
    desk.pump();
    let end = desk.now + s(11.1);
    while desk.now < end {
        for sent in std::mem::take(&mut desk.sent) {
            let refused = Err(CallError::NotExecuted("not reached".into()));
            desk.session.handle_reply(desk.now, sent.id, refused);
        }
        desk.pass(s(0.1));
    }
    assert!(matches!(desk.failed(1), Some(Error::Unavailable { .. })));
}

#[test]
fn a_question_is_asked_again_after_a_cut_but_not_a_release_by_name() {
    let mut desk = Desk::online();
    let key = || Key::new("k").expect("a key");
    let name = Target::Holder("h".into());
    for (tag, question) in [
        (1, AdminQuery::Clean(key())),
        (2, AdminQuery::Release(key(), name)),
        (3, AdminQuery::Clean(elsewhere())),
    ] {
        desk.session.ask(desk.now, CLIENT, tag, question);
    }
    desk.pump();
    let sent = std::mem::take(&mut desk.sent);
    desk.session.handle_cut(desk.now, |key| *key != elsewhere(), "a member is gone".into());
    desk.pump();
    let cleans = desk.sent.iter().filter(|sent| sent.call.verb == Verb::Clean).count();
    assert_eq!((sent.len(), cleans), (3, 1));
    let answer = |desk: &mut Desk, of: u64| match desk
        .take_event(|event| matches!(event, Event::Answered { tag, .. } if *tag == of))
    {
        Some(Event::Answered { answer, .. }) => Some(answer),
        _ => None,
    };
    assert!(matches!(answer(&mut desk, 2), Some(Err(Error::Unavailable { .. }))));
    assert_eq!(answer(&mut desk, 3), None);
    desk.exchange();
    assert_eq!(answer(&mut desk, 1), Some(Ok(AdminAnswer::Cleaned(0))));
}

#[test]
fn a_question_that_the_server_refuses_for_now_is_asked_again_in_a_while() {
    let mut desk = Desk::online();
    desk.session.ask(desk.now, CLIENT, 1, AdminQuery::Clean(Key::new("k").expect("a key")));
    desk.pump();
    desk.refuse(CallError::NotExecuted("CLUSTERDOWN".into()));
    assert!(desk.sent.is_empty());
    assert_eq!(desk.live(s(0.1)), 1);
    assert!(desk.take_event(|event| matches!(event, Event::Answered { answer: Ok(_), .. })).is_some());
}
