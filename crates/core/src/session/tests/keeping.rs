//! Keeping (R39): the slot of a released lease stays with the session for its next request, and what ends that.

use std::time::Duration;

use super::passing::sole;
use super::rig::{CLIENT, Rig, request, s, trying_once};
use crate::error::Error;
use crate::lease::{LeaseId, SessionId};
use crate::protocol::{CallError, News, Target, Terms, Verb};
use crate::session::output::Kept;
use crate::session::{AdminAnswer, AdminQuery, ClientId, Event, Request, Tag};

const KEEP: f64 = 1.0;

fn keeping(tag: Tag) -> Request {
    Request { keep: s(KEEP), ..request(tag) }
}

/// A session with tokens for the slot that tag 1 has, whose request asked for it to be kept.
fn keeper() -> Rig {
    let mut rig = Rig::online();
    rig.release(0);
    rig.exchange();
    rig.released(0);
    rig.submit(keeping(1));
    // The note comes with the first request; its first confirmation brings tokens.
    for sent in std::mem::take(&mut rig.sent) {
        rig.carry_out(sent);
    }
    rig.granted(1);
    rig.pass(s(0.001));
    assert_eq!(rig.exchange(), 1);
    rig
}

/// The same, and nobody holds the slot.
fn kept() -> Rig {
    let mut rig = keeper();
    rig.release(1);
    assert!(rig.released(1));
    assert!(rig.sent.is_empty());
    rig
}

fn denied() -> CallError {
    CallError::Denied("NOPERM".into())
}

fn counted(rig: &Rig) -> Kept {
    rig.session.stats().kept
}

fn releases(rig: &Rig) -> Vec<Target> {
    let targets = rig.sent.iter().filter_map(|sent| match &sent.call.verb {
        Verb::Release(targets) => Some(targets.clone()),
        _ => None,
    });
    targets.flatten().collect()
}

fn other(number: u64) -> LeaseId {
    LeaseId { session: SessionId(2), number }
}

#[test]
fn a_kept_slot_serves_the_next_request_without_a_call() {
    let mut rig = keeper();
    let before = rig.group.snapshot(0).leases.remove(0);
    let mut token = before.token;
    for tag in 1..50 {
        rig.release(tag);
        assert!(rig.released(tag));
        rig.submit(keeping(tag + 1));
        let lease = rig.granted(tag + 1);
        assert_eq!((lease.id, &lease.slots), (before.id, &before.slots));
        assert!(lease.token > token);
        token = lease.token;
    }
    assert!(rig.sent.is_empty());
    assert_eq!(counted(&rig), Kept { reused: 49, ..Kept::default() });
    assert_eq!(rig.session.stats().granted_at_once, 51);
}

#[test]
fn it_goes_back_at_the_end_of_its_time() {
    let mut rig = kept();
    assert_eq!(counted(&rig).now, 1);
    rig.live(s(KEEP - 0.01));
    assert_eq!((rig.held(), counted(&rig).now), (1, 1));
    rig.live(s(0.01));
    assert_eq!(rig.held(), 0);
    assert_eq!(counted(&rig), Kept { unused: 1, ..Kept::default() });
    // Nothing is confirmed any more.
    assert_eq!(rig.live(s(60.0)), 0);
}

#[test]
fn a_slot_that_is_never_used_is_not_renewed() {
    let mut rig = keeper();
    // A third of the lease has to be left, and the margin: that ends it before its own time.
    rig.pass(s(1.9));
    rig.release(1);
    let end = rig.group.snapshot(0).leases[0].end_at_ms;
    rig.live(s(KEEP));
    assert!(rig.group.snapshot(0).leases.iter().all(|lease| lease.end_at_ms == end));
}

#[test]
fn it_stays_only_while_a_third_of_the_lease_is_left() {
    let mut rig = keeper();
    // The note is confirmed, and the lease isn't renewed.
    for tag in 1..8 {
        rig.pass(s(0.5));
        for sent in std::mem::take(&mut rig.sent) {
            match sent.call.verb {
                Verb::Renew(_) => rig.session.handle_reply(rig.now, sent.id, Err(denied())),
                _ => rig.carry_out(sent),
            }
        }
        rig.release(tag);
        rig.submit(keeping(tag + 1));
        rig.granted(tag + 1);
    }
    rig.pass(s(0.5));
    rig.release(8);
    assert_eq!(releases(&rig).len(), 1);
}

#[test]
fn whoever_else_asks_gets_it_at_once() {
    let mut rig = kept();
    rig.submit(keeping(2));
    rig.granted(2);
    rig.submit(keeping(3));
    rig.exchange();
    rig.granted(3);
    rig.release(3);
    rig.release(2);
    assert_eq!((rig.held(), counted(&rig).now), (2, 2));
    rig.other_asks_for(other(1));
    rig.bring_pushes();
    assert_eq!(releases(&rig).len(), 2);
    rig.exchange();
    let leases = rig.group.snapshot(0).leases;
    assert!(matches!(&leases[..], [lease] if lease.id == other(1)), "{leases:?}");
    assert_eq!(counted(&rig).recalled, 2);
    // From now on this session asks Redis as everybody does.
    rig.submit(keeping(4));
    rig.exchange();
    rig.granted(4);
    rig.release(4);
    assert_eq!(releases(&rig).len(), 1);
}

#[test]
fn requests_on_other_terms_of_its_own_end_it() {
    let mut rig = kept();
    rig.submit(Request { terms: Terms { limit: 5, ..request(2).terms }, ..request(2) });
    assert_eq!(releases(&rig).len(), 1);
    rig.exchange();
    rig.granted(2);
    assert_eq!((rig.held(), counted(&rig).recalled), (1, 1));
}

#[test]
fn a_request_that_is_not_to_be_kept_takes_a_kept_slot_and_gives_it_back() {
    let mut rig = kept();
    rig.submit(trying_once(2));
    rig.granted(2);
    rig.release(2);
    rig.exchange();
    assert_eq!(rig.held(), 0);
}

#[test]
fn nothing_is_kept_before_redis_knows_that_the_session_does() {
    let mut rig = sole();
    rig.release(0);
    rig.exchange();
    rig.submit(keeping(3));
    let asks = rig.sent.remove(0);
    assert!(matches!(asks.call.verb, Verb::Acquire(_)));
    rig.carry_out(asks);
    rig.granted(3);
    rig.release(3);
    assert_eq!(releases(&rig).len(), 1);
    rig.live(s(0.1));
    rig.submit(keeping(4));
    rig.exchange();
    rig.granted(4);
    rig.release(4);
    assert_eq!(counted(&rig).now, 1);
}

#[test]
fn with_no_token_yet_even_who_tries_once_waits_for_it() {
    let mut rig = Rig::online();
    rig.submit(keeping(1));
    let note = rig.sent.pop().expect("it asks for the note");
    rig.exchange();
    rig.carry_out(note);
    rig.granted(1);
    // The confirmation is under way.
    rig.release(1);
    assert!(rig.released(1));
    rig.submit(trying_once(2));
    rig.live(s(0.01));
    let lease = rig.granted(2);
    assert_eq!((lease.slots, rig.held()), (vec![2], 2));
}

#[test]
fn what_is_asked_for_does_not_keep_others_from_kept_slots() {
    let mut rig = kept();
    rig.submit(keeping(2));
    rig.granted(2);
    rig.submit(keeping(3));
    assert_eq!(rig.sent.len(), 1, "both slots are taken or asked for");
    rig.release(2);
    assert!(releases(&rig).is_empty());
    rig.submit(keeping(4));
    rig.granted(4);
    rig.exchange();
    rig.granted(3);
    assert_eq!(rig.held(), 2);
}

#[test]
fn own_requests_in_line_at_redis_come_first() {
    let mut rig = keeper();
    // Another process has the other slot by now, beside the note, and this session's next request waits in line.
    let theirs = rig.other_holds();
    rig.submit(keeping(2));
    rig.exchange();
    rig.release(1);
    rig.exchange();
    rig.granted(2);
    rig.other_releases(theirs);
    assert_eq!(rig.held(), 1);
}

#[test]
fn renewals_go_on_when_a_slot_was_kept_while_one_was_under_way() {
    let mut rig = kept();
    rig.submit(keeping(2));
    rig.granted(2);
    rig.pass(s(0.999));
    rig.pass(s(0.001));
    assert!(rig.sent.iter().any(|sent| matches!(sent.call.verb, Verb::Renew(_))));
    rig.release(2);
    rig.exchange();
    rig.submit(keeping(3));
    rig.granted(3);
    rig.live(s(60.0));
    assert!(rig.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
    assert_eq!(rig.held(), 1);
}

#[test]
fn a_closed_client_keeps_nothing() {
    for release in [true, false] {
        let mut rig = kept();
        rig.session.close(rig.now, CLIENT, 99, release);
        rig.pump();
        assert_eq!(releases(&rig).len(), 1);
        rig.exchange();
        assert!(rig.take_event(|event| matches!(event, Event::Closed { tag: 99, .. })).is_some());
        assert_eq!(rig.held(), 0);
    }
}

#[test]
fn it_goes_back_with_the_client_that_released_it() {
    let mut rig = kept();
    rig.submit(Request { client: ClientId(2), ..keeping(2) });
    rig.granted(2);
    rig.session.close(rig.now, CLIENT, 99, true);
    rig.pump();
    assert!(releases(&rig).is_empty(), "somebody else's has it");
    rig.session.release(rig.now, ClientId(2), 2);
    rig.pump();
    rig.session.close(rig.now, ClientId(2), 99, true);
    rig.pump();
    assert_eq!(releases(&rig).len(), 1);
}

#[test]
fn a_client_that_is_not_heard_of_keeps_nothing() {
    let mut rig = keeper();
    rig.session.watch(rig.now, CLIENT, s(0.3));
    rig.release(1);
    rig.live(s(0.31));
    assert_eq!(rig.held(), 0);
}

#[test]
fn a_lost_connection_or_a_clock_that_stood_still_ends_it() {
    let mut rig = kept();
    rig.cut();
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    assert_eq!((rig.held(), counted(&rig).now), (0, 0));
    let mut rig = kept();
    rig.session.handle_jump(rig.now, s(0.5));
    rig.pump();
    rig.exchange();
    assert_eq!((rig.held(), counted(&rig).now), (0, 0));
}

#[test]
fn a_note_that_is_not_confirmed_in_time_ends_it() {
    let mut rig = keeper();
    rig.submit(Request { keep: s(2.0), ..request(2) });
    rig.exchange();
    rig.granted(2);
    rig.release(2);
    rig.sent.clear();
    rig.pass(s(1.0));
    assert_eq!(counted(&rig).now, 1);
    rig.pass(s(1.0));
    assert_eq!(counted(&rig).now, 0);
}

#[test]
fn who_releases_it_from_outside_ends_it_silently() {
    let mut rig = kept();
    let id = rig.group.snapshot(0).leases[0].id;
    rig.other_releases(id);
    assert!(matches!(rig.pushes[..], [crate::protocol::Push { news: News::Gone(_), .. }]));
    rig.bring_pushes();
    rig.exchange();
    assert_eq!((rig.held(), counted(&rig).now), (0, 0));
    assert!(rig.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
}

#[test]
fn the_session_itself_does_not_show_it_as_held() {
    let mut rig = kept();
    rig.session.ask(rig.now, CLIENT, 90, AdminQuery::Status(request(0).key));
    rig.pump();
    rig.exchange();
    let answered = rig.take_event(|event| matches!(event, Event::Answered { .. }));
    let Some(Event::Answered { answer: Ok(AdminAnswer::Status(picture)), .. }) = answered else {
        panic!("{answered:?}")
    };
    assert_eq!((picture.held, picture.holders.len()), (0, 0));
}

/// A session at a group in which another one keeps both slots.
fn beside_a_keeper(request: Request) -> Rig {
    let mut rig = Rig::online();
    rig.release(0);
    rig.exchange();
    rig.events.clear();
    rig.other_keeps();
    rig.submit(request);
    rig.exchange();
    rig
}

#[test]
fn who_tries_once_waits_a_moment_for_what_another_session_keeps() {
    let mut rig = beside_a_keeper(trying_once(1));
    assert!(rig.events.is_empty());
    rig.live(s(0.05));
    rig.other_gives_back();
    rig.bring_pushes();
    assert_eq!(rig.granted(1).waited, s(0.05));
    // It was told; from now on there is nothing to wait for.
    rig.other_keeps();
    rig.submit(trying_once(2));
    rig.exchange();
    assert!(matches!(rig.failed(2), Some(Error::LimitExceeded { held: 2, .. })));
}

#[test]
fn who_tries_once_is_refused_when_nothing_comes() {
    let mut rig = beside_a_keeper(trying_once(1));
    rig.live(s(0.099));
    assert!(rig.events.is_empty());
    rig.live(s(0.002));
    assert!(matches!(rig.failed(1), Some(Error::LimitExceeded { held: 2, waiting: 0, .. })));
    assert_eq!(rig.session.stats().refused, 1);
    assert_eq!(rig.group.snapshot(0).waiters.len(), 0);
}

#[test]
fn a_full_line_is_said_when_nothing_comes() {
    let nobody = Terms { max_waiting: Some(0), ..request(1).terms };
    let mut rig = beside_a_keeper(Request { terms: nobody, ..request(1) });
    assert!(rig.events.is_empty());
    rig.live(Duration::from_millis(101));
    assert!(matches!(rig.failed(1), Some(Error::QueueFull { max_waiting: 0, waiting: 0, .. })));
}
