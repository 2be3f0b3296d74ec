//! Whether a group is told which process the session is (R40): once, and again before it would forget.

use std::sync::Arc;

use super::rig::{Rig, request, s};
use crate::group::Group;
use crate::lease::{Epoch, Identity};
use crate::protocol::{CallError, Introduction, Verb};
use crate::session::Request;

/// A session with an identity and an open connection, whose first request is on its way.
fn introduced() -> Rig {
    let identity = Arc::new(Identity::new(Some("web-1"), 7, Some("api")));
    let mut rig = Rig::with(|settings| settings.identity = Some(identity));
    rig.submit(request(0));
    rig.connect(Some(s(3_600.0)));
    rig
}

/// What is said beside the calls that lie ready.
fn said(rig: &Rig) -> Vec<Option<&Introduction>> {
    rig.sent.iter().map(|sent| sent.call.introduction.as_ref()).collect()
}

/// Time passes until something is said, `most` at most; how long that was.
fn until_said(rig: &mut Rig, most: f64) -> Option<f64> {
    let mut passed = 0.0;
    while passed < most {
        rig.pass(s(0.5));
        passed += 0.5;
        let mut is_said = false;
        while !rig.sent.is_empty() {
            let sent = rig.sent.remove(0);
            is_said |= sent.call.introduction.is_some();
            rig.carry_out(sent);
        }
        if is_said {
            return Some(passed);
        }
    }
    None
}

#[test]
fn the_first_call_says_who_the_session_is_and_later_ones_do_not() {
    let mut rig = introduced();
    assert_eq!(said(&rig)[0].map(|said| said.keep_ms), Some(3_612_000));
    rig.exchange();
    rig.submit(request(1));
    rig.submit(request(2));
    assert_eq!(said(&rig), [None, None]);
    rig.exchange();
    rig.release(0);
    assert_eq!(until_said(&mut rig, 60.0), None);
}

#[test]
fn it_is_said_again_before_a_lease_would_outlast_it() {
    let mut rig = introduced();
    rig.exchange();
    let after = until_said(&mut rig, 3_700.0).expect("said again");
    assert!((3_606.0..=3_608.0).contains(&after), "after {after} s");
    assert_eq!(until_said(&mut rig, 60.0), None);
    let terms = crate::protocol::Terms { lease_ms: 7_200_000, ..request(1).terms };
    rig.submit(Request { terms, ..request(1) });
    assert_eq!(said(&rig)[0].map(|said| said.keep_ms), Some(3_600_000 + 14_400_000));
}

#[test]
fn it_is_said_again_when_the_state_was_lost() {
    let mut rig = introduced();
    rig.exchange();
    (rig.group, rig.fresh) = (Group::default(), Epoch(8));
    let after = until_said(&mut rig, 60.0);
    assert!(after.is_some_and(|after| after <= 5.0), "{after:?}");
    assert_eq!(until_said(&mut rig, 60.0), None);
}

#[test]
fn it_is_said_again_when_the_call_was_refused_or_lost() {
    let mut rig = introduced();
    rig.refuse(CallError::NotExecuted("LOADING".into()));
    assert!(until_said(&mut rig, 5.0).is_some());

    let mut rig = introduced();
    rig.cut();
    rig.sent.clear();
    rig.connect(Some(s(3_600.0)));
    assert!(matches!(rig.sent[0].call.verb, Verb::Reconcile { .. }));
    assert!(said(&rig)[0].is_some());
}

#[test]
fn without_an_identity_nothing_is_said() {
    let mut rig = Rig::online();
    assert_eq!(until_said(&mut rig, 60.0), None);
}
