//! Keeping (R39): the slot of a released lease stays with the session for its next request, and what ends that.

use std::time::Duration;

use super::desk::{CLIENT, Desk, request, s, trying_once};
use super::passing::sole;
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
fn keeper() -> Desk {
    let mut desk = Desk::online();
    desk.release(0);
    desk.exchange();
    desk.released(0);
    desk.submit(keeping(1));
    // The note comes with the first request; its first confirmation brings tokens.
    for sent in std::mem::take(&mut desk.sent) {
        desk.carry_out(sent);
    }
    desk.granted(1);
    desk.pass(s(0.001));
    assert_eq!(desk.exchange(), 1);
    desk
}

/// The same, and nobody holds the slot.
fn kept() -> Desk {
    let mut desk = keeper();
    desk.release(1);
    assert!(desk.released(1));
    assert!(desk.sent.is_empty());
    desk
}

fn denied() -> CallError {
    CallError::Denied("NOPERM".into())
}

fn counted(desk: &Desk) -> Kept {
    desk.session.stats().kept
}

fn releases(desk: &Desk) -> Vec<Target> {
    let targets = desk.sent.iter().filter_map(|sent| match &sent.call.verb {
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
    let mut desk = keeper();
    let before = desk.group.snapshot(0).leases.remove(0);
    let mut token = before.token;
    for tag in 1..50 {
        desk.release(tag);
        assert!(desk.released(tag));
        desk.submit(keeping(tag + 1));
        let lease = desk.granted(tag + 1);
        assert_eq!((lease.id, &lease.slots), (before.id, &before.slots));
        assert!(lease.token > token);
        token = lease.token;
    }
    assert!(desk.sent.is_empty());
    assert_eq!(counted(&desk), Kept { reused: 49, ..Kept::default() });
    assert_eq!(desk.session.stats().granted_at_once, 51);
}

#[test]
fn it_goes_back_at_the_end_of_its_time() {
    let mut desk = kept();
    assert_eq!(counted(&desk).now, 1);
    desk.live(s(KEEP - 0.01));
    assert_eq!((desk.held(), counted(&desk).now), (1, 1));
    desk.live(s(0.01));
    assert_eq!(desk.held(), 0);
    assert_eq!(counted(&desk), Kept { unused: 1, ..Kept::default() });
    // Nothing is confirmed any more.
    assert_eq!(desk.live(s(60.0)), 0);
}

#[test]
fn a_slot_that_is_never_used_is_not_renewed() {
    let mut desk = keeper();
    // A third of the lease has to be left, and the margin: that ends it before its own time.
    desk.pass(s(1.9));
    desk.release(1);
    let end = desk.group.snapshot(0).leases[0].end_at_ms;
    desk.live(s(KEEP));
    assert!(desk.group.snapshot(0).leases.iter().all(|lease| lease.end_at_ms == end));
}

#[test]
fn it_stays_only_while_a_third_of_the_lease_is_left() {
    let mut desk = keeper();
    // The note is confirmed, and the lease isn't renewed.
    for tag in 1..8 {
        desk.pass(s(0.5));
        for sent in std::mem::take(&mut desk.sent) {
            match sent.call.verb {
                Verb::Renew(_) => desk.session.handle_reply(desk.now, sent.id, Err(denied())),
                _ => desk.carry_out(sent),
            }
        }
        desk.release(tag);
        desk.submit(keeping(tag + 1));
        desk.granted(tag + 1);
    }
    desk.pass(s(0.5));
    desk.release(8);
    assert_eq!(releases(&desk).len(), 1);
}

#[test]
fn whoever_else_asks_gets_it_at_once() {
    let mut desk = kept();
    desk.submit(keeping(2));
    desk.granted(2);
    desk.submit(keeping(3));
    desk.exchange();
    desk.granted(3);
    desk.release(3);
    desk.release(2);
    assert_eq!((desk.held(), counted(&desk).now), (2, 2));
    desk.other_asks_for(other(1));
    desk.bring_pushes();
    assert_eq!(releases(&desk).len(), 2);
    desk.exchange();
    let leases = desk.group.snapshot(0).leases;
    assert!(matches!(&leases[..], [lease] if lease.id == other(1)), "{leases:?}");
    assert_eq!(counted(&desk).recalled, 2);
    // From now on this session asks Redis as everybody does.
    desk.submit(keeping(4));
    desk.exchange();
    desk.granted(4);
    desk.release(4);
    assert_eq!(releases(&desk).len(), 1);
}

#[test]
fn requests_on_other_terms_of_its_own_end_it() {
    let mut desk = kept();
    desk.submit(Request { terms: Terms { limit: 5, ..request(2).terms }, ..request(2) });
    assert_eq!(releases(&desk).len(), 1);
    desk.exchange();
    desk.granted(2);
    assert_eq!((desk.held(), counted(&desk).recalled), (1, 1));
}

#[test]
fn a_request_that_is_not_to_be_kept_takes_a_kept_slot_and_gives_it_back() {
    let mut desk = kept();
    desk.submit(trying_once(2));
    desk.granted(2);
    desk.release(2);
    desk.exchange();
    assert_eq!(desk.held(), 0);
}

#[test]
fn nothing_is_kept_before_redis_knows_that_the_session_does() {
    let mut desk = sole();
    desk.release(0);
    desk.exchange();
    desk.submit(keeping(3));
    let asks = desk.sent.remove(0);
    assert!(matches!(asks.call.verb, Verb::Acquire(_)));
    desk.carry_out(asks);
    desk.granted(3);
    desk.release(3);
    assert_eq!(releases(&desk).len(), 1);
    desk.live(s(0.1));
    desk.submit(keeping(4));
    desk.exchange();
    desk.granted(4);
    desk.release(4);
    assert_eq!(counted(&desk).now, 1);
}

#[test]
fn with_no_token_yet_even_who_tries_once_waits_for_it() {
    let mut desk = Desk::online();
    desk.submit(keeping(1));
    let note = desk.sent.pop().expect("it asks for the note");
    desk.exchange();
    desk.carry_out(note);
    desk.granted(1);
    // The confirmation is under way.
    desk.release(1);
    assert!(desk.released(1));
    desk.submit(trying_once(2));
    desk.live(s(0.01));
    let lease = desk.granted(2);
    assert_eq!((lease.slots, desk.held()), (vec![2], 2));
}

#[test]
fn what_is_asked_for_does_not_keep_others_from_kept_slots() {
    let mut desk = kept();
    desk.submit(keeping(2));
    desk.granted(2);
    desk.submit(keeping(3));
    assert_eq!(desk.sent.len(), 1, "both slots are taken or asked for");
    desk.release(2);
    assert!(releases(&desk).is_empty());
    desk.submit(keeping(4));
    desk.granted(4);
    desk.exchange();
    desk.granted(3);
    assert_eq!(desk.held(), 2);
}

#[test]
fn own_requests_in_line_at_redis_come_first() {
    let mut desk = keeper();
    // Another process has the other slot by now, beside the note, and this session's next request waits in line.
    let theirs = desk.other_holds();
    desk.submit(keeping(2));
    desk.exchange();
    desk.release(1);
    desk.exchange();
    desk.granted(2);
    desk.other_releases(theirs);
    assert_eq!(desk.held(), 1);
}

#[test]
fn renewals_go_on_when_a_slot_was_kept_while_one_was_under_way() {
    let mut desk = kept();
    desk.submit(keeping(2));
    desk.granted(2);
    desk.pass(s(0.999));
    desk.pass(s(0.001));
    assert!(desk.sent.iter().any(|sent| matches!(sent.call.verb, Verb::Renew(_))));
    desk.release(2);
    desk.exchange();
    desk.submit(keeping(3));
    desk.granted(3);
    desk.live(s(60.0));
    assert!(desk.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
    assert_eq!(desk.held(), 1);
}

#[test]
fn a_closed_client_keeps_nothing() {
    for release in [true, false] {
        let mut desk = kept();
        desk.session.close(desk.now, CLIENT, 99, release);
        desk.pump();
        assert_eq!(releases(&desk).len(), 1);
        desk.exchange();
        assert!(desk.take_event(|event| matches!(event, Event::Closed { tag: 99, .. })).is_some());
        assert_eq!(desk.held(), 0);
    }
}

#[test]
fn it_goes_back_with_the_client_that_released_it() {
    let mut desk = kept();
    desk.submit(Request { client: ClientId(2), ..keeping(2) });
    desk.granted(2);
    desk.session.close(desk.now, CLIENT, 99, true);
    desk.pump();
    assert!(releases(&desk).is_empty(), "somebody else's has it");
    desk.session.release(desk.now, ClientId(2), 2);
    desk.pump();
    desk.session.close(desk.now, ClientId(2), 99, true);
    desk.pump();
    assert_eq!(releases(&desk).len(), 1);
}

#[test]
fn a_client_that_is_not_heard_of_keeps_nothing() {
    let mut desk = keeper();
    desk.session.watch(desk.now, CLIENT, s(0.3));
    desk.release(1);
    desk.live(s(0.31));
    assert_eq!(desk.held(), 0);
}

#[test]
fn a_lost_connection_or_a_clock_that_stood_still_ends_it() {
    let mut desk = kept();
    desk.cut();
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    assert_eq!((desk.held(), counted(&desk).now), (0, 0));
    let mut desk = kept();
    desk.session.handle_jump(desk.now, s(0.5));
    desk.pump();
    desk.exchange();
    assert_eq!((desk.held(), counted(&desk).now), (0, 0));
}

#[test]
fn a_note_that_is_not_confirmed_in_time_ends_it() {
    let mut desk = keeper();
    desk.submit(Request { keep: s(2.0), ..request(2) });
    desk.exchange();
    desk.granted(2);
    desk.release(2);
    desk.sent.clear();
    desk.pass(s(1.0));
    assert_eq!(counted(&desk).now, 1);
    desk.pass(s(1.0));
    assert_eq!(counted(&desk).now, 0);
}

#[test]
fn who_releases_it_from_outside_ends_it_silently() {
    let mut desk = kept();
    let id = desk.group.snapshot(0).leases[0].id;
    desk.other_releases(id);
    assert!(matches!(desk.pushes[..], [crate::protocol::Push { news: News::Gone(_), .. }]));
    desk.bring_pushes();
    desk.exchange();
    assert_eq!((desk.held(), counted(&desk).now), (0, 0));
    assert!(desk.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
}

#[test]
fn the_session_itself_does_not_show_it_as_held() {
    let mut desk = kept();
    desk.session.ask(desk.now, CLIENT, 90, AdminQuery::Status(request(0).key));
    desk.pump();
    desk.exchange();
    let answered = desk.take_event(|event| matches!(event, Event::Answered { .. }));
    let Some(Event::Answered { answer: Ok(AdminAnswer::Status(picture)), .. }) = answered else {
        panic!("{answered:?}")
    };
    assert_eq!((picture.held, picture.holders.len()), (0, 0));
}

/// A session at a group in which another one keeps both slots.
fn beside_a_keeper(request: Request) -> Desk {
    let mut desk = Desk::online();
    desk.release(0);
    desk.exchange();
    desk.events.clear();
    desk.other_keeps();
    desk.submit(request);
    desk.exchange();
    desk
}

#[test]
fn who_tries_once_waits_a_moment_for_what_another_session_keeps() {
    let mut desk = beside_a_keeper(trying_once(1));
    assert!(desk.events.is_empty());
    desk.live(s(0.05));
    desk.other_gives_back();
    desk.bring_pushes();
    assert_eq!(desk.granted(1).waited, s(0.05));
    // It was told; from now on there is nothing to wait for.
    desk.other_keeps();
    desk.submit(trying_once(2));
    desk.exchange();
    assert!(matches!(desk.failed(2), Some(Error::LimitExceeded { held: 2, .. })));
}

#[test]
fn who_tries_once_is_refused_when_nothing_comes() {
    let mut desk = beside_a_keeper(trying_once(1));
    desk.live(s(0.099));
    assert!(desk.events.is_empty());
    desk.live(s(0.002));
    assert!(matches!(desk.failed(1), Some(Error::LimitExceeded { held: 2, waiting: 0, .. })));
    assert_eq!(desk.session.stats().refused, 1);
    assert_eq!(desk.group.snapshot(0).waiters.len(), 0);
}

#[test]
fn a_full_line_is_said_when_nothing_comes() {
    let nobody = Terms { max_waiting: Some(0), ..request(1).terms };
    let mut desk = beside_a_keeper(Request { terms: nobody, ..request(1) });
    assert!(desk.events.is_empty());
    desk.live(Duration::from_millis(101));
    assert!(matches!(desk.failed(1), Some(Error::QueueFull { max_waiting: 0, waiting: 0, .. })));
}
