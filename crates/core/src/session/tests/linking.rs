//! The connection: lost, slow, refused, new.

use super::rig::{CLIENT, Rig, request, s, trying_once};
use crate::error::Error;
use crate::group::Group;
use crate::lease::{Epoch, Key, Ticket};
use crate::protocol::{CallError, ReconcileItem, Target, Verb};
use crate::session::{AdminAnswer, AdminQuery, Event, Request};

#[test]
fn what_redis_may_know_is_settled_before_anything_else_is_asked() {
    let mut rig = Rig::online();
    rig.session.handle_down(rig.now, "cut".into());
    rig.submit(request(1));
    rig.connect(Some(s(3_600.0)));
    assert_eq!(rig.sent.len(), 1);
    assert!(
        matches!(&rig.sent[0].call.verb, Verb::Reconcile { items, .. } if matches!(items[..], [ReconcileItem::Keep(_)]))
    );
    assert_eq!(rig.sent[0].caller.connection, 2);
    rig.exchange();
    rig.granted(1);
}

#[test]
fn a_grant_whose_answer_was_lost_is_found_again() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    let sent = rig.sent.remove(0);
    rig.call(&sent.caller, &sent.call.verb).expect("carried out");
    rig.cut();
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    assert_eq!(rig.granted(1).slots, [2]);
    assert_eq!(rig.held(), 2);
}

#[test]
fn bytes_of_the_old_connection_are_refused_after_the_new_one_has_reconciled() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    let old = rig.sent.remove(0);
    rig.cut();
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    assert_eq!(rig.call(&old.caller, &old.call.verb), Err(CallError::Stale));
}

#[test]
fn a_waiter_keeps_its_ticket_over_a_lost_connection() {
    let mut rig = Rig::online();
    rig.other_holds();
    rig.submit(request(1));
    rig.exchange();
    rig.cut();
    rig.connect(Some(s(3_600.0)));
    let ticket = rig.group.snapshot(0).waiters[0].ticket;
    assert!(ticket > Ticket(0));
    let want =
        |item: &ReconcileItem| matches!(item, ReconcileItem::Want { ticket: Some(t), .. } if *t == ticket);
    assert!(matches!(&rig.sent[0].call.verb, Verb::Reconcile { items, .. } if items.iter().any(want)));
}

#[test]
fn a_push_on_a_connection_of_its_own_that_overtakes_a_reconciles_answer_is_the_newer_word() {
    let mut rig = Rig::online();
    let other = rig.other_holds();
    rig.submit(request(1));
    rig.exchange();
    rig.cut();
    rig.pass(s(0.5));
    rig.connect(Some(s(3_600.0)));
    let sent = rig.sent.remove(0);
    let answer = rig.call(&sent.caller, &sent.call.verb);
    rig.other_releases(other);
    rig.bring_pushes();
    rig.granted(1);
    rig.session.handle_reply(rig.now, sent.id, answer);
    rig.pump();
    assert!(rig.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
    rig.release(1);
    rig.exchange();
    assert!(rig.released(1));
}

#[test]
fn no_answer_within_the_command_timeout_drops_the_connection() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.pass(s(1.2));
    assert_eq!(rig.disconnects, 1);
    assert!(rig.take_event(|event| matches!(event, Event::Disconnected(_))).is_some());
    assert_eq!(rig.connects, 2);
}

#[test]
fn a_process_that_was_frozen_reads_its_mail_before_it_blames_the_server() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    let sent = rig.sent.remove(0);
    rig.now = rig.now + s(30.0);
    rig.session.handle_timeout(rig.now);
    rig.pump();
    assert_eq!(rig.disconnects, 0);
    rig.carry_out(sent);
    rig.pass(s(0.1));
    assert_eq!(rig.disconnects, 0);
}

#[test]
fn a_refused_connection_is_tried_again_until_the_requests_own_time_is_over() {
    let mut rig = Rig::offline();
    rig.submit(request(1));
    for _ in 0..3 {
        rig.session.handle_connect_failed(rig.now, "refused".into(), false);
        rig.pass(s(1.0));
    }
    assert_eq!(rig.connects, 4);
    assert!(rig.events.is_empty());
    rig.pass(s(8.0));
    assert!(matches!(rig.failed(1), Some(Error::Unavailable { cause, .. }) if cause == "refused"));
}

#[test]
fn each_attempt_to_connect_is_told_of_and_how_it_ended() {
    let mut rig = Rig::offline();
    rig.submit(request(1));
    rig.session.handle_connect_failed(rig.now, "refused".into(), false);
    rig.pass(s(1.0));
    rig.connect(Some(s(3_600.0)));
    let first = [Event::Connecting, Event::ConnectFailed("refused".into())];
    assert_eq!(rig.attempts, [first.as_slice(), &[Event::Connecting, Event::Connected]].concat());
    rig.attempts.clear();
    rig.cut();
    rig.connect(Some(s(3_600.0)));
    assert_eq!(rig.attempts, [Event::Connecting]);
    assert!(rig.take_event(|event| matches!(event, Event::Reconnected)).is_some());
}

#[test]
fn a_server_that_hangs_up_at_once_is_asked_for_ever_fewer_connections() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    let begun = rig.now;
    for attempts in 2..12 {
        rig.session.handle_down(rig.now, "hung up".into());
        rig.pump();
        while rig.connects < attempts {
            rig.pass(s(0.001));
        }
        rig.connect(Some(s(3_600.0)));
    }
    assert!(rig.now.saturating_since(begun) > s(2.0));
    // One that lasted is made anew at once.
    rig.exchange();
    rig.live(s(1.0));
    rig.cut();
    assert_eq!(rig.connects, 12);
}

#[test]
fn attempts_to_connect_come_further_apart_up_to_a_quarter_of_the_settling_time_and_not_in_step() {
    let mut rig = Rig::offline();
    rig.submit(Request { timeout: None, ..request(1) });
    let waits: Vec<f64> = (0..12)
        .map(|_| {
            let (failed_at, connects) = (rig.now, rig.connects);
            rig.session.handle_connect_failed(rig.now, "refused".into(), false);
            while rig.connects == connects {
                let next = rig.session.poll_deadline().expect("it tries again");
                rig.pass(next.saturating_since(rig.now));
            }
            rig.now.saturating_since(failed_at).as_secs_f64()
        })
        .collect();
    assert!(waits[0] >= 0.04 && waits[0] <= 0.05, "{waits:?}");
    assert!(waits[..4].windows(2).all(|pair| pair[1] > 1.5 * pair[0]), "{waits:?}");
    assert!(waits[5..].iter().all(|wait| (0.4..=0.5).contains(wait)), "{waits:?}");
    assert!(waits[5..].windows(2).all(|pair| pair[0] != pair[1]), "{waits:?}");
}

#[test]
fn trying_once_fails_with_the_first_refused_connection() {
    let mut rig = Rig::offline();
    rig.submit(trying_once(1));
    rig.session.handle_connect_failed(rig.now, "refused".into(), false);
    rig.pump();
    assert!(matches!(rig.failed(1), Some(Error::Unavailable { .. })));
}

#[test]
fn trying_once_fails_when_the_server_gives_no_answer() {
    let mut rig = Rig::online();
    rig.submit(trying_once(1));
    rig.pass(s(1.1));
    assert!(matches!(rig.failed(1), Some(Error::Unavailable { .. })));
}

#[test]
fn trying_once_survives_a_cut_connection() {
    let mut rig = Rig::online();
    rig.submit(trying_once(1));
    rig.sent.clear();
    rig.cut();
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    rig.granted(1);
}

#[test]
fn a_server_that_became_a_replica_is_left_for_the_primary() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.refuse(CallError::NotExecuted("READONLY".into()));
    assert_eq!(rig.disconnects, 1);
    rig.pass(s(0.5));
    assert_eq!(rig.connects, 2);
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    rig.granted(1);
}

#[test]
fn a_wrong_password_fails_everyone_at_once() {
    let mut rig = Rig::offline();
    rig.submit(request(1));
    rig.session.handle_connect_failed(rig.now, "WRONGPASS".into(), true);
    rig.pump();
    assert!(matches!(rig.failed(1), Some(Error::Unavailable { cause, .. }) if cause == "WRONGPASS"));
}

#[test]
fn a_server_that_has_just_started_is_asked_for_nothing_new_until_it_settles() {
    let mut rig = Rig::offline();
    rig.submit(request(1));
    rig.connect(Some(s(0.5)));
    rig.submit(trying_once(2));
    assert!(matches!(rig.failed(2), Some(Error::Unavailable { .. })));
    rig.pass(s(1.4));
    assert!(rig.sent.is_empty());
    rig.live(s(0.2));
    rig.granted(1);
}

#[test]
fn a_server_that_still_loads_settles_from_its_last_refusal() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.refuse(CallError::NotExecuted("LOADING".into()));
    rig.live(s(1.9));
    assert!(rig.take_event(|event| matches!(event, Event::Granted { .. })).is_none());
    rig.live(s(0.2));
    rig.granted(1);
}

#[test]
fn a_session_that_may_not_ask_for_the_uptime_settles_from_its_reconnect() {
    let mut rig = Rig::offline();
    rig.submit(request(1));
    rig.connect(None);
    rig.exchange();
    rig.granted(1);
    rig.session.handle_down(rig.now, "cut".into());
    rig.submit(request(2));
    rig.connect(None);
    assert!(rig.sent.iter().all(|sent| sent.caller.settling));
    rig.live(s(1.9));
    assert!(rig.take_event(|event| matches!(event, Event::Granted { .. })).is_none());
    rig.live(s(0.2));
    rig.granted(2);
}

#[test]
fn a_lease_re_enters_a_group_that_was_flushed() {
    let mut rig = Rig::online();
    rig.group = Group::default();
    rig.fresh = Epoch(8);
    rig.live(s(2.1));
    assert!(rig.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
    assert_eq!(rig.held(), 1);
    assert_eq!(rig.group.snapshot(0).epoch, Some(Epoch(8)));
}

#[test]
fn a_waiter_that_comes_back_into_the_line_and_is_granted_in_the_same_call_keeps_its_lease() {
    let mut rig = Rig::online();
    rig.other_holds();
    rig.submit(request(1));
    rig.exchange();
    rig.cut();
    (rig.group, rig.fresh) = (Group::default(), Epoch(8));
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    rig.granted(1);
    assert_eq!(rig.held(), 2);
    rig.live(s(20.0));
    assert!(rig.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
}

#[test]
fn a_refusal_that_was_surely_not_executed_is_asked_again() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.refuse(CallError::NotExecuted("BUSY".into()));
    assert!(rig.events.is_empty() && rig.sent.is_empty(), "not at once");
    rig.live(s(0.1));
    rig.granted(1);
}

#[test]
fn out_of_memory_fails_the_request_and_leaves_the_leases() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.refuse(CallError::OutOfMemory("OOM".into()));
    assert!(matches!(rig.failed(1), Some(Error::Unavailable { cause, .. }) if cause == "OOM"));
    assert_eq!(rig.held(), 1);
}

#[test]
fn a_key_of_another_type_fails_the_request_as_a_protocol_error() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.refuse(CallError::Unusable("WRONGTYPE".into()));
    assert!(matches!(rig.failed(1), Some(Error::Protocol { .. })));
}

fn elsewhere() -> Key {
    Key::new("elsewhere").expect("a key")
}

#[test]
fn a_cut_settles_its_groups_anew_and_leaves_the_others_alone() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.submit(Request { key: elsewhere(), ..request(2) });
    let lost = rig.sent.remove(0);
    rig.call(&lost.caller, &lost.call.verb).expect("carried out");
    let kept = rig.sent.remove(0);
    rig.session.handle_cut(rig.now, |key| *key != elsewhere(), "a member is gone".into());
    rig.pump();
    assert_eq!(rig.sent.len(), 1);
    assert_eq!(rig.sent[0].caller.connection, 2);
    let keep_and_want =
        |items: &[ReconcileItem]| matches!(items, [ReconcileItem::Keep(_), ReconcileItem::Want { .. }]);
    assert!(matches!(&rig.sent[0].call.verb, Verb::Reconcile { items, .. } if keep_and_want(items)));
    rig.exchange();
    assert_eq!(rig.granted(1).slots, [2]);
    assert_eq!(rig.call(&lost.caller, &lost.call.verb), Err(CallError::Stale));
    // The other group's call counts as if nothing had happened.
    rig.group = Group::default();
    rig.carry_out(kept);
    assert_eq!(rig.granted(2).slots, [1]);
    assert!(rig.sent.is_empty());
    assert!(rig.take_event(|event| matches!(event, Event::Warning(_))).is_some());
    assert!(rig.take_event(|event| matches!(event, Event::Disconnected(_))).is_none());
}

#[test]
fn a_reply_that_comes_after_the_cut_counts_for_nothing() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    let late = rig.sent.remove(0);
    rig.session.handle_cut(rig.now, |_| true, "a member is gone".into());
    rig.pump();
    rig.carry_out(late);
    assert!(rig.take_event(|event| matches!(event, Event::Granted { .. })).is_none());
    rig.exchange();
    rig.granted(1);
    assert_eq!(rig.held(), 2);
}

#[test]
fn a_request_whose_time_is_over_while_its_part_is_cut_ends_as_unavailable() {
    let mut rig = Rig::online();
    rig.other_holds();
    rig.submit(request(1));
    rig.exchange();
    rig.session.handle_cut(rig.now, |_| true, "a member is gone".into());
    rig.pump();
    let end = rig.now + s(11.1);
    while rig.now < end {
        for sent in std::mem::take(&mut rig.sent) {
            let refused = Err(CallError::NotExecuted("not reached".into()));
            rig.session.handle_reply(rig.now, sent.id, refused);
        }
        rig.pass(s(0.1));
    }
    assert!(matches!(rig.failed(1), Some(Error::Unavailable { .. })));
}

#[test]
fn a_question_is_asked_again_after_a_cut_but_not_a_release_by_name() {
    let mut rig = Rig::online();
    let key = || Key::new("k").expect("a key");
    let name = Target::Holder("h".into());
    for (tag, question) in [
        (1, AdminQuery::Clean(key())),
        (2, AdminQuery::Release(key(), name)),
        (3, AdminQuery::Clean(elsewhere())),
    ] {
        rig.session.ask(rig.now, CLIENT, tag, question);
    }
    rig.pump();
    let sent = std::mem::take(&mut rig.sent);
    rig.session.handle_cut(rig.now, |key| *key != elsewhere(), "a member is gone".into());
    rig.pump();
    let cleans = rig.sent.iter().filter(|sent| sent.call.verb == Verb::Clean).count();
    assert_eq!((sent.len(), cleans), (3, 1));
    let answer = |rig: &mut Rig, of: u64| match rig
        .take_event(|event| matches!(event, Event::Answered { tag, .. } if *tag == of))
    {
        Some(Event::Answered { answer, .. }) => Some(answer),
        _ => None,
    };
    assert!(matches!(answer(&mut rig, 2), Some(Err(Error::Unavailable { .. }))));
    assert_eq!(answer(&mut rig, 3), None);
    rig.exchange();
    assert_eq!(answer(&mut rig, 1), Some(Ok(AdminAnswer::Cleaned(0))));
}

#[test]
fn a_question_that_the_server_refuses_for_now_is_asked_again_in_a_while() {
    let mut rig = Rig::online();
    rig.session.ask(rig.now, CLIENT, 1, AdminQuery::Clean(Key::new("k").expect("a key")));
    rig.pump();
    rig.refuse(CallError::NotExecuted("CLUSTERDOWN".into()));
    assert!(rig.sent.is_empty());
    assert_eq!(rig.live(s(0.1)), 1);
    assert!(rig.take_event(|event| matches!(event, Event::Answered { answer: Ok(_), .. })).is_some());
}
