//! What nobody wants goes, however the session learns of it; what isn't renewed isn't extended.

use super::rig::{CLIENT, Rig, request, s};
use crate::error::{Error, Loss};
use crate::lease::{LeaseId, SessionId};
use crate::protocol::{CallError, Verb};
use crate::session::{Event, Request};

fn lost(rig: &mut Rig) -> Option<Loss> {
    match rig.take_event(|event| matches!(event, Event::Lost { .. })) {
        Some(Event::Lost { why, .. }) => Some(why),
        _ => None,
    }
}

/// Two hold, and so many of this session wait.
fn waiting(many: u64) -> Rig {
    let mut rig = Rig::online();
    rig.release(0);
    rig.exchange();
    rig.other_holds();
    rig.other_holds();
    rig.events.clear();
    (1..=many).for_each(|tag| rig.submit(request(tag)));
    rig.exchange();
    rig
}

/// A replica is promoted that still has the group as it was then.
fn go_back(rig: &mut Rig, group: crate::group::Group) {
    rig.cut();
    rig.sent.clear();
    rig.group = group;
    rig.connect(Some(s(3_600.0)));
}

#[test]
fn waiters_and_leases_that_only_an_old_state_shows_are_gone_after_the_reconnect() {
    let mut rig = waiting(3);
    let before = rig.group.clone();
    let others = [LeaseId { session: SessionId(2), number: 1 }, LeaseId { session: SessionId(2), number: 2 }];
    others.into_iter().for_each(|id| rig.other_releases(id));
    rig.bring_pushes();
    rig.exchange();
    for tag in [1, 2] {
        rig.granted(tag);
        rig.release(tag);
        rig.exchange();
    }
    rig.granted(3);
    rig.release(3);
    rig.exchange();
    assert!(rig.session.idle());
    go_back(&mut rig, before);
    rig.submit(request(9));
    rig.live(s(0.1));
    let snapshot = rig.group.snapshot(0);
    assert_eq!(snapshot.waiters.len(), 1, "only the new one waits: {snapshot:?}");
}

#[test]
fn a_ghost_that_a_reply_grants_is_given_back() {
    let mut rig = Rig::online();
    rig.other_holds();
    rig.other_asks_for(LeaseId { session: rig.session.id(), number: 77 });
    rig.release(0);
    let release = rig.sent.remove(0);
    rig.carry_out(release);
    assert_eq!(rig.held(), 2, "the ghost is granted");
    rig.exchange();
    assert_eq!(rig.held(), 1);
}

#[test]
fn waiters_that_are_refused_leave_the_line_when_they_may() {
    let mut rig = waiting(2);
    rig.pass(s(1.3));
    rig.refuse(CallError::Denied("NOPERM".into()));
    assert!(matches!(rig.failed(1), Some(Error::Unavailable { reached: true, .. })));
    assert!(matches!(rig.failed(2), Some(Error::Unavailable { reached: true, .. })));
    assert!(matches!(rig.sent[0].call.verb, Verb::Leave(_)));
    rig.refuse(CallError::Denied("NOPERM".into()));
    rig.live(s(1.0));
    assert!(rig.group.snapshot(0).waiters.is_empty());
    assert!(rig.session.idle());
}

#[test]
fn a_release_that_is_refused_is_answered_in_time_and_asked_until_it_is_carried_out() {
    let mut rig = Rig::online();
    rig.release(0);
    rig.refuse(CallError::Denied("NOPERM".into()));
    for _ in 0..3 {
        rig.pass(s(0.6));
        if !rig.sent.is_empty() {
            rig.refuse(CallError::Denied("NOPERM".into()));
        }
    }
    assert!(!rig.released(0));
    assert_eq!(rig.held(), 1);
    rig.live(s(1.0));
    assert_eq!(rig.held(), 0);
}

#[test]
fn an_acquire_whose_answer_is_garbage_leaves_nothing() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    let sent = &rig.sent[0];
    let (caller, verb) = (sent.caller, sent.call.verb.clone());
    rig.call(&caller, &verb).expect("carried out");
    assert_eq!(rig.held(), 2);
    rig.refuse(CallError::Garbage("?".into()));
    assert!(matches!(rig.failed(1), Some(Error::Protocol { .. })));
    rig.exchange();
    assert_eq!(rig.held(), 1);
}

#[test]
fn leases_that_are_left_to_their_ends_are_not_given_back_by_a_reconnect() {
    let mut rig = Rig::online();
    rig.session.close(rig.now, CLIENT, 7, false);
    rig.pump();
    rig.submit(Request { client: crate::session::ClientId(2), ..request(1) });
    rig.exchange();
    rig.cut();
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    assert_eq!(rig.held(), 2);
}

#[test]
fn what_is_not_renewed_is_not_extended_by_a_reconnect_or_a_jump() {
    let mut rig = Rig::online();
    rig.submit(Request { renew: false, ..request(1) });
    rig.exchange();
    rig.granted(1);
    for _ in 0..3 {
        rig.live(s(1.9));
        rig.cut();
        rig.connect(Some(s(3_600.0)));
        rig.session.handle_jump(rig.now, s(1.0));
        rig.pump();
    }
    rig.live(s(0.5));
    assert_eq!(lost(&mut rig), Some(Loss::NotRenewed));
}

#[test]
fn a_hung_client_is_not_kept_alive_by_reconnects() {
    let mut rig = Rig::online();
    rig.session.watch(rig.now, CLIENT, s(1.0));
    for _ in 0..5 {
        rig.live(s(1.9));
        rig.cut();
        rig.connect(Some(s(3_600.0)));
    }
    assert_eq!(lost(&mut rig), Some(Loss::Stalled));
}

#[test]
fn a_pushed_grant_that_comes_late_is_confirmed_before_it_ends() {
    let mut rig = waiting(1);
    rig.other_releases(LeaseId { session: SessionId(2), number: 1 });
    rig.now = rig.now + s(4.0);
    rig.bring_pushes();
    rig.granted(1);
    rig.live(s(10.0));
    assert_eq!(lost(&mut rig), None);
}

#[test]
fn a_lease_shorter_than_a_round_trip_is_an_error_that_says_so() {
    let mut rig = Rig::online();
    let short = |tag| {
        let mut request = request(tag);
        request.terms.lease_ms = 100;
        request.terms.claim_ms = 100;
        request
    };
    rig.submit(short(1));
    for _ in 0..3 {
        let sent = rig.sent.remove(0);
        let result = rig.call(&sent.caller, &sent.call.verb);
        rig.pass(s(0.12));
        rig.session.handle_reply(rig.now, sent.id, result);
        rig.pump();
    }
    let error = rig.failed(1);
    assert!(
        matches!(&error, Some(Error::Unavailable { cause, .. }) if cause.contains("limitExpire")),
        "{error:?}"
    );
    rig.live(s(0.1));
    assert_eq!(rig.held(), 1, "given back");
}
