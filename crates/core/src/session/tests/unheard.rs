//! Grants that nobody hears of before enough replicas have them.

use super::rig::{CLIENT, Rig, request, s, trying_once};
use crate::error::Error;
use crate::session::{Event, Request};

#[test]
fn a_grant_is_told_when_replicas_have_it() {
    let mut rig = Rig::checked();
    rig.submit(request(1));
    rig.exchange();
    assert!(rig.events.is_empty(), "{:?}", rig.events);
    rig.check(Ok(()));
    assert_eq!(rig.granted(1).slots, [1]);
}

#[test]
fn a_grant_that_too_few_have_goes_back_and_is_asked_again_while_its_time_lasts() {
    let mut rig = Rig::checked();
    rig.submit(request(1));
    rig.exchange();
    rig.check(Err("0 of 1"));
    rig.exchange();
    assert_eq!(rig.held(), 1, "the second grant");
    rig.check(Ok(()));
    rig.granted(1);
    rig.release(1);
    rig.exchange();
    assert!(rig.released(1));
    assert_eq!(rig.held(), 0);
}

#[test]
fn a_try_that_too_few_have_fails_and_leaves_nothing() {
    let mut rig = Rig::checked();
    rig.submit(trying_once(1));
    rig.exchange();
    rig.check(Err("0 of 1"));
    rig.exchange();
    let error = rig.failed(1);
    assert!(
        matches!(&error, Some(Error::Unavailable { cause, .. }) if cause.contains("0 of 1")),
        "{error:?}"
    );
    assert_eq!(rig.held(), 0);
    assert!(rig.session.idle());
}

/// Whatever has come of it when the requester gives up, nothing stays held.
#[test]
fn a_request_that_is_cancelled_at_any_step_leaves_nothing() {
    let steps: [fn(&mut Rig); 5] = [
        |_| {},
        |rig| {
            rig.exchange();
        },
        |rig| {
            rig.exchange();
            rig.check(Err("0 of 1"));
        },
        |rig| {
            rig.exchange();
            rig.check(Err("0 of 1"));
            rig.exchange();
        },
        |rig| {
            rig.exchange();
            rig.cut();
        },
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let mut rig = Rig::checked();
        rig.submit(request(1));
        step(&mut rig);
        rig.cancel(1);
        if rig.connects > 1 {
            rig.sent.clear();
            rig.connect(Some(s(3_600.0)));
        }
        rig.live(s(1.0));
        rig.check(Ok(()));
        rig.live(s(1.0));
        assert_eq!(rig.failed(1), None, "after step {number}");
        assert!(
            !rig.events.iter().any(|event| matches!(event, Event::Granted { .. })),
            "after step {number}"
        );
        assert_eq!(rig.held(), 0, "after step {number}");
        assert!(rig.session.idle(), "after step {number}");
    }
}

#[test]
fn a_close_gives_back_what_nobody_heard_of() {
    let mut rig = Rig::checked();
    rig.submit(request(1));
    rig.exchange();
    rig.session.close(rig.now, CLIENT, 7, false);
    rig.pump();
    rig.exchange();
    assert_eq!(rig.failed(1), Some(Error::Closed));
    assert_eq!(rig.held(), 0);
}

#[test]
fn it_fails_in_its_own_time_when_nothing_is_found_out() {
    let mut rig = Rig::checked();
    rig.submit(Request { timeout: Some(s(0.5)), ..request(1) });
    rig.exchange();
    rig.check(Err("0 of 1"));
    rig.live(s(1.6));
    assert!(matches!(rig.failed(1), Some(Error::Unavailable { .. })));
    rig.live(s(0.1));
    assert_eq!(rig.held(), 0);
}
