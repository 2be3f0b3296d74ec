//! Grants that nobody hears of before enough replicas have them.

use super::desk::{CLIENT, Desk, request, s, trying_once};
use crate::error::Error;
use crate::session::{Event, Request};

#[test]
fn a_grant_is_told_when_replicas_have_it() {
    let mut desk = Desk::checked();
    desk.submit(request(1));
    desk.exchange();
    assert!(desk.events.is_empty(), "{:?}", desk.events);
    desk.check(Ok(()));
    assert_eq!(desk.granted(1).slots, [1]);
}

#[test]
fn a_grant_that_too_few_have_goes_back_and_is_asked_again_while_its_time_lasts() {
    let mut desk = Desk::checked();
    desk.submit(request(1));
    desk.exchange();
    desk.check(Err("0 of 1"));
    desk.exchange();
    assert_eq!(desk.held(), 1, "the second grant");
    desk.check(Ok(()));
    desk.granted(1);
    desk.release(1);
    desk.exchange();
    assert!(desk.released(1));
    assert_eq!(desk.held(), 0);
}

#[test]
fn a_try_that_too_few_have_fails_and_leaves_nothing() {
    let mut desk = Desk::checked();
    desk.submit(trying_once(1));
    desk.exchange();
    desk.check(Err("0 of 1"));
    desk.exchange();
    let error = desk.failed(1);
    assert!(
        matches!(&error, Some(Error::Unavailable { cause, .. }) if cause.contains("0 of 1")),
        "{error:?}"
    );
    assert_eq!(desk.held(), 0);
    assert!(desk.session.idle());
}

/// Whatever has come of it when the requester gives up, nothing stays held.
#[test]
fn a_request_that_is_cancelled_at_any_step_leaves_nothing() {
    let steps: [fn(&mut Desk); 5] = [
        |_| {},
        |desk| {
            desk.exchange();
        },
        |desk| {
            desk.exchange();
            desk.check(Err("0 of 1"));
        },
        |desk| {
            desk.exchange();
            desk.check(Err("0 of 1"));
            desk.exchange();
        },
        |desk| {
            desk.exchange();
            desk.cut();
        },
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let mut desk = Desk::checked();
        desk.submit(request(1));
        step(&mut desk);
        desk.cancel(1);
        if desk.connects > 1 {
            desk.sent.clear();
            desk.connect(Some(s(3_600.0)));
        }
        desk.live(s(1.0));
        desk.check(Ok(()));
        desk.live(s(1.0));
        assert_eq!(desk.failed(1), None, "after step {number}");
        assert!(
            !desk.events.iter().any(|event| matches!(event, Event::Granted { .. })),
            "after step {number}"
        );
        assert_eq!(desk.held(), 0, "after step {number}");
        assert!(desk.session.idle(), "after step {number}");
    }
}

#[test]
fn a_close_gives_back_what_nobody_heard_of() {
    let mut desk = Desk::checked();
    desk.submit(request(1));
    desk.exchange();
    desk.session.close(desk.now, CLIENT, 7, false);
    desk.pump();
    desk.exchange();
    assert_eq!(desk.failed(1), Some(Error::Closed));
    assert_eq!(desk.held(), 0);
}

#[test]
fn it_fails_in_its_own_time_when_nothing_is_found_out() {
    let mut desk = Desk::checked();
    desk.submit(Request { timeout: Some(s(0.5)), ..request(1) });
    desk.exchange();
    desk.check(Err("0 of 1"));
    desk.live(s(1.6));
    assert!(matches!(desk.failed(1), Some(Error::Unavailable { .. })));
    desk.live(s(0.1));
    assert_eq!(desk.held(), 0);
}
