//! What nobody wants goes, however the session learns of it; what isn't renewed isn't extended.

use super::desk::{CLIENT, Desk, request, s};
use crate::error::{Error, Loss};
use crate::lease::{LeaseId, SessionId};
use crate::protocol::{CallError, Verb};
use crate::session::{Event, Request};

fn lost(desk: &mut Desk) -> Option<Loss> {
    match desk.take_event(|event| matches!(event, Event::Lost { .. })) {
        Some(Event::Lost { why, .. }) => Some(why),
        _ => None,
    }
}

/// Two hold, and so many of this session wait.
fn waiting(many: u64) -> Desk {
    let mut desk = Desk::online();
    desk.release(0);
    desk.exchange();
    desk.other_holds();
    desk.other_holds();
    desk.events.clear();
    (1..=many).for_each(|tag| desk.submit(request(tag)));
    desk.exchange();
    desk
}

/// A replica is promoted that still has the group as it was then.
fn go_back(desk: &mut Desk, group: crate::group::Group) {
    desk.cut();
    desk.sent.clear();
    desk.group = group;
    desk.connect(Some(s(3_600.0)));
}

#[test]
fn waiters_and_leases_that_only_an_old_state_shows_are_gone_after_the_reconnect() {
    let mut desk = waiting(3);
    let before = desk.group.clone();
    let others = [LeaseId { session: SessionId(2), number: 1 }, LeaseId { session: SessionId(2), number: 2 }];
    others.into_iter().for_each(|id| desk.other_releases(id));
    desk.bring_pushes();
    desk.exchange();
    for tag in [1, 2] {
        desk.granted(tag);
        desk.release(tag);
        desk.exchange();
    }
    desk.granted(3);
    desk.release(3);
    desk.exchange();
    assert!(desk.session.idle());
    go_back(&mut desk, before);
    desk.submit(request(9));
    desk.live(s(0.1));
    let snapshot = desk.group.snapshot(0);
    assert_eq!(snapshot.waiters.len(), 1, "only the new one waits: {snapshot:?}");
}

#[test]
fn a_ghost_that_a_reply_grants_is_given_back() {
    let mut desk = Desk::online();
    desk.other_holds();
    desk.other_asks_for(LeaseId { session: desk.session.id(), number: 77 });
    desk.release(0);
    let release = desk.sent.remove(0);
    desk.carry_out(release);
    assert_eq!(desk.held(), 2, "the ghost is granted");
    desk.exchange();
    assert_eq!(desk.held(), 1);
}

#[test]
fn waiters_that_are_refused_leave_the_line_when_they_may() {
    let mut desk = waiting(2);
    desk.pass(s(1.3));
    desk.refuse(CallError::Denied("NOPERM".into()));
    assert!(matches!(desk.failed(1), Some(Error::Unavailable { reached: true, .. })));
    assert!(matches!(desk.failed(2), Some(Error::Unavailable { reached: true, .. })));
    assert!(matches!(desk.sent[0].call.verb, Verb::Leave(_)));
    desk.refuse(CallError::Denied("NOPERM".into()));
    desk.live(s(1.0));
    assert!(desk.group.snapshot(0).waiters.is_empty());
    assert!(desk.session.idle());
}

#[test]
fn a_release_that_is_refused_is_answered_in_time_and_asked_until_it_is_carried_out() {
    let mut desk = Desk::online();
    desk.release(0);
    desk.refuse(CallError::Denied("NOPERM".into()));
    for _ in 0..3 {
        desk.pass(s(0.6));
        if !desk.sent.is_empty() {
            desk.refuse(CallError::Denied("NOPERM".into()));
        }
    }
    assert!(!desk.released(0));
    assert_eq!(desk.held(), 1);
    desk.live(s(1.0));
    assert_eq!(desk.held(), 0);
}

#[test]
fn an_acquire_whose_answer_is_garbage_leaves_nothing() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    let sent = &desk.sent[0];
    let (caller, verb) = (sent.caller, sent.call.verb.clone());
    desk.call(&caller, &verb).expect("carried out");
    assert_eq!(desk.held(), 2);
    desk.refuse(CallError::Garbage("?".into()));
    assert!(matches!(desk.failed(1), Some(Error::Protocol { .. })));
    desk.exchange();
    assert_eq!(desk.held(), 1);
}

#[test]
fn leases_that_are_left_to_their_ends_are_not_given_back_by_a_reconnect() {
    let mut desk = Desk::online();
    desk.session.close(desk.now, CLIENT, 7, false);
    desk.pump();
    desk.submit(Request { client: crate::session::ClientId(2), ..request(1) });
    desk.exchange();
    desk.cut();
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    assert_eq!(desk.held(), 2);
}

#[test]
fn what_is_not_renewed_is_not_extended_by_a_reconnect_or_a_jump() {
    let mut desk = Desk::online();
    desk.submit(Request { renew: false, ..request(1) });
    desk.exchange();
    desk.granted(1);
    for _ in 0..3 {
        desk.live(s(1.9));
        desk.cut();
        desk.connect(Some(s(3_600.0)));
        desk.session.handle_jump(desk.now, s(1.0));
        desk.pump();
    }
    desk.live(s(0.5));
    assert_eq!(lost(&mut desk), Some(Loss::NotRenewed));
}

#[test]
fn a_hung_client_is_not_kept_alive_by_reconnects() {
    let mut desk = Desk::online();
    desk.session.watch(desk.now, CLIENT, s(1.0));
    for _ in 0..5 {
        desk.live(s(1.9));
        desk.cut();
        desk.connect(Some(s(3_600.0)));
    }
    assert_eq!(lost(&mut desk), Some(Loss::Stalled));
}

#[test]
fn a_pushed_grant_that_comes_late_is_confirmed_before_it_ends() {
    let mut desk = waiting(1);
    desk.other_releases(LeaseId { session: SessionId(2), number: 1 });
    desk.now = desk.now + s(4.0);
    desk.bring_pushes();
    desk.granted(1);
    desk.live(s(10.0));
    assert_eq!(lost(&mut desk), None);
}

#[test]
fn a_lease_shorter_than_a_round_trip_is_an_error_that_says_so() {
    let mut desk = Desk::online();
    let short = |tag| {
        let mut request = request(tag);
        request.terms.lease_ms = 100;
        request.terms.claim_ms = 100;
        request
    };
    desk.submit(short(1));
    for _ in 0..3 {
        let sent = desk.sent.remove(0);
        let result = desk.call(&sent.caller, &sent.call.verb);
        desk.pass(s(0.12));
        desk.session.handle_reply(desk.now, sent.id, result);
        desk.pump();
    }
    let error = desk.failed(1);
    assert!(
        matches!(&error, Some(Error::Unavailable { cause, .. }) if cause.contains("limitExpire")),
        "{error:?}"
    );
    desk.live(s(0.1));
    assert_eq!(desk.held(), 1, "given back");
}
