//! Passing (R32–R38): requests that wait inside, slots that go on without a call, and what ends that.

use super::desk::{CLIENT, Desk, Sent, request, s, trying_once};
use crate::error::Error;
use crate::lease::{FencingToken, LeaseId, SessionId, Ticket};
use crate::protocol::{CallError, News, Target, Terms, Verb};
use crate::session::{AdminAnswer, AdminQuery, ClientId, Event, Request, Tag};

/// A session that holds both slots, tags 0 and 1, and has the note, with tokens to pass with.
pub(super) fn sole() -> Desk {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.submit(request(2));
    desk.exchange();
    desk.granted(1);
    // The first in line made it ask; it's served before anybody inside.
    desk.release(1);
    desk.exchange();
    desk.released(1);
    desk.granted(2);
    desk.live(s(1.2));
    // The slots were granted before the block that the note has then.
    desk.submit(request(90));
    desk.exchange();
    desk.cancel(90);
    desk.events.clear();
    desk
}

/// Tag 0 and 2 hold, and these wait inside.
fn sole_with(waiting: impl IntoIterator<Item = Tag>) -> Desk {
    let mut desk = sole();
    for tag in waiting {
        desk.submit(request(tag));
    }
    assert!(desk.sent.is_empty(), "asked: {:?}", desk.sent.iter().map(|sent| &sent.call).collect::<Vec<_>>());
    desk
}

fn joined(desk: &Desk) -> Vec<(LeaseId, Ticket)> {
    let asks = desk.sent.iter().filter_map(|sent| match &sent.call.verb {
        Verb::Join(join) => Some(&join.items),
        _ => None,
    });
    asks.flatten().map(|ask| (ask.id, ask.ticket)).collect()
}

fn asked(desk: &Desk) -> usize {
    let asks = desk.sent.iter().map(|sent| match &sent.call.verb {
        Verb::Acquire(asks) => asks.len(),
        _ => 0,
    });
    asks.sum()
}

#[test]
fn a_released_slot_goes_to_the_first_inside_without_a_call() {
    let mut desk = sole_with([3, 4]);
    let before = desk.group.snapshot(0);
    desk.release(0);
    assert!(desk.released(0));
    let first = desk.granted(3);
    assert!(desk.sent.is_empty());
    desk.release(2);
    let second = desk.granted(4);
    assert!(desk.sent.is_empty() && second.token > first.token);
    // The slots keep their ids, and tokens grow.
    for (lease, passed) in before.leases.iter().zip([&first, &second]) {
        assert!(before.leases.iter().any(|lease| lease.id == passed.id && lease.slots == passed.slots));
        assert!(lease.token < passed.token && passed.token <= before.token);
    }
    assert_eq!(desk.session.stats().passed, 2);
    desk.release(3);
    desk.release(4);
    desk.live(s(0.1));
    assert_eq!(desk.held(), 0);
}

#[test]
fn redis_shows_within_a_second_who_has_a_slot() {
    let mut desk = sole();
    let labelled = Request { terms: Terms { label: Some("job".into()), ..request(3).terms }, ..request(3) };
    desk.submit(labelled);
    desk.release(0);
    let passed = desk.granted(3);
    desk.live(s(1.01));
    let shown = desk.group.snapshot(0).leases.into_iter().find(|lease| lease.id == passed.id).expect("held");
    assert_eq!((shown.token, shown.label.as_deref()), (passed.token, Some("job")));
}

#[test]
fn the_session_itself_shows_who_waits_inside() {
    let mut desk = sole_with([3]);
    desk.release(0);
    desk.submit(request(4));
    let token = desk.granted(3).token;
    let key = request(0).key;
    desk.session.ask(desk.now, CLIENT, 90, AdminQuery::Status(key));
    desk.pump();
    desk.exchange();
    let answered = desk.take_event(|event| matches!(event, Event::Answered { .. }));
    let Some(Event::Answered { answer: Ok(AdminAnswer::Status(picture)), .. }) = answered else {
        panic!("{answered:?}")
    };
    assert_eq!((picture.waiting, picture.waiters.len()), (1, 1));
    assert!(picture.holders.iter().any(|holder| holder.token == token));
}

#[test]
fn who_waits_inside_has_its_time_and_its_bound() {
    let mut desk = sole();
    desk.submit(Request { timeout: Some(s(0.5)), ..request(3) });
    desk.submit(trying_once(4));
    assert!(matches!(desk.failed(4), Some(Error::LimitExceeded { held: 2, waiting: 1, .. })));
    let bounded = Terms { max_waiting: Some(1), ..request(5).terms };
    desk.submit(Request { terms: bounded, ..request(5) });
    assert!(matches!(desk.failed(5), Some(Error::QueueFull { waiting: 1, .. })));
    desk.submit(request(6));
    desk.cancel(6);
    assert_eq!(desk.failed(6), None);
    desk.live(s(0.51));
    assert!(matches!(desk.failed(3), Some(Error::LimitExceeded { held: 2, waiting: 0, .. })));
    let (release, held) = (|desk: &mut Desk, tag| desk.release(tag), 2);
    release(&mut desk, 0);
    assert_eq!(desk.sent.len(), 1, "nobody is inside: it goes back");
    assert_eq!(desk.held(), held);
}

#[test]
fn a_closed_client_s_slot_is_passed_and_its_own_that_wait_fail() {
    let mut desk = sole_with([3]);
    let guest = ClientId(2);
    desk.submit(Request { client: guest, ..request(4) });
    desk.session.close(desk.now, guest, 99, true);
    desk.pump();
    assert!(matches!(desk.failed(4), Some(Error::Closed)));
    assert!(desk.take_event(|event| matches!(event, Event::Closed { tag: 99, .. })).is_some());
    desk.release(0);
    desk.granted(3);
}

#[test]
fn when_somebody_else_waits_all_inside_join_before_them_in_order() {
    let mut desk = sole_with([3, 4, 5]);
    desk.other_asks_for(LeaseId { session: SessionId(2), number: 50 });
    desk.bring_pushes();
    let joins = joined(&desk);
    assert_eq!(joins.len(), 3);
    assert!(joins.is_sorted_by_key(|(_, ticket)| *ticket) && joins.is_sorted_by_key(|(id, _)| id.number));
    // A slot that is released now goes through Redis.
    desk.release(0);
    desk.exchange();
    desk.granted(3);
    let line: Vec<u64> = desk.group.snapshot(0).waiters.iter().map(|waiter| waiter.id.session.0).collect();
    assert_eq!(line, [1, 1, 2], "theirs are before the other's");
    // Whoever comes later waits behind it.
    desk.submit(request(6));
    desk.exchange();
    assert_eq!(desk.group.snapshot(0).waiters.last().expect("a waiter").id.session, SessionId(1));
    assert_eq!(desk.session.stats().passed, 0);
}

#[test]
fn a_lost_wanted_is_found_with_the_next_confirmation() {
    let mut desk = sole_with([3]);
    desk.other_asks_for(LeaseId { session: SessionId(2), number: 50 });
    desk.pushes.clear();
    desk.live(s(1.1));
    let line: Vec<u64> = desk.group.snapshot(0).waiters.iter().map(|waiter| waiter.id.session.0).collect();
    assert_eq!(line, [1, 2]);
}

#[test]
fn wanted_that_overtakes_the_note_is_remembered() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.submit(request(2));
    // The acquire call is carried out, and the note is asked for.
    for _ in 0..2 {
        let acquire = desk.sent.remove(0);
        desk.carry_out(acquire);
    }
    let ask = desk.sent.remove(0);
    assert!(matches!(ask.call.verb, Verb::Note(_)), "{:?}", ask.call);
    let noted = desk.call(&ask.caller, &ask.call.verb);
    desk.other_asks_for(LeaseId { session: SessionId(2), number: 50 });
    assert!(matches!(desk.pushes[0].news, News::Wanted { .. }));
    desk.bring_pushes();
    desk.session.handle_reply(desk.now, ask.id, noted);
    desk.pump();
    desk.submit(request(3));
    assert_eq!(asked(&desk), 1, "it isn't sole");
}

#[test]
fn a_note_is_good_for_two_seconds_from_when_it_was_last_confirmed() {
    let mut desk = sole_with([3]);
    refuse(&mut desk, s(1.9), |verb| matches!(verb, Verb::Note(_)));
    desk.release(0);
    desk.granted(3);
    desk.submit(request(4));
    refuse(&mut desk, s(0.2), |verb| matches!(verb, Verb::Note(_)));
    assert_eq!(desk.group.snapshot(0).waiters.len(), 1, "4 joins the line");
    desk.release(2);
    assert_eq!(desk.session.stats().passed, 1);
}

/// Time passes, and the server refuses these calls.
fn refuse(desk: &mut Desk, length: std::time::Duration, refused: impl Fn(&Verb) -> bool) {
    let end = desk.now + length;
    while desk.now < end {
        desk.pass(s(0.05));
        for sent in std::mem::take(&mut desk.sent) {
            match refused(&sent.call.verb) {
                true => {
                    let error = CallError::NotExecuted("BUSY".into());
                    desk.session.handle_reply(desk.now, sent.id, Err(error));
                }
                false => desk.carry_out(sent),
            }
        }
        desk.pump();
    }
}

#[test]
fn a_lost_connection_ends_it() {
    let mut desk = sole_with([3]);
    desk.cut();
    desk.release(0);
    assert!(desk.take_event(|event| matches!(event, Event::Granted { tag: 3, .. })).is_none());
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    desk.granted(3);
    assert_eq!(desk.session.stats().passed, 0);
}

#[test]
fn a_jump_of_the_clock_and_deafness_end_it() {
    for end in [
        |desk: &mut Desk| desk.session.handle_jump(desk.now, s(3.0)),
        |desk: &mut Desk| desk.session.handle_push_lost(desk.now),
    ] {
        let mut desk = sole_with([3]);
        end(&mut desk);
        // In the same turn: nothing has been sent about it yet.
        desk.release(0);
        desk.live(s(0.2));
        desk.granted(3);
        assert_eq!(desk.session.stats().passed, 0);
    }
}

#[test]
fn its_own_request_on_other_terms_ends_it() {
    let mut desk = sole_with([3]);
    desk.submit(Request { terms: Terms { limit: 5, ..request(4).terms }, ..request(4) });
    assert_eq!(asked(&desk), 2);
    desk.exchange();
    desk.granted(4);
    desk.release(0);
    desk.exchange();
    assert_eq!(desk.session.stats().passed, 0);
    desk.release(2);
    desk.release(4);
    desk.exchange();
    desk.granted(3);
}

#[test]
fn a_lost_lease_has_somebody_asked_for_who_waits_inside() {
    let mut desk = sole_with([3, 4]);
    let id = desk.group.snapshot(0).leases[0].id;
    desk.other_releases(id);
    desk.bring_pushes();
    assert!(desk.take_event(|event| matches!(event, Event::Lost { .. })).is_some(), "it's told at once");
    assert_eq!(asked(&desk), 1);
    // As long as one is being asked for, nothing is passed: it was there first.
    desk.release(2);
    assert_eq!(desk.session.stats().passed, 0);
    desk.exchange();
    desk.granted(3);
    desk.granted(4);
}

#[test]
fn who_is_asked_for_comes_before_those_inside() {
    let mut desk = sole_with([3, 4]);
    let id = desk.group.snapshot(0).leases[0].id;
    desk.other_releases(id);
    desk.bring_pushes();
    let lost = desk.take_event(|event| matches!(event, Event::Lost { .. }));
    let Some(Event::Lost { tag: lost, .. }) = lost else { panic!("{lost:?}") };
    desk.release(lost);
    let at =
        desk.sent.iter().position(|sent| matches!(sent.call.verb, Verb::Release(_))).expect("it goes back");
    let release = desk.sent.remove(at);
    desk.carry_out(release);
    // 3 is under way: the slot isn't for 4.
    desk.release(if lost == 0 { 2 } else { 0 });
    assert_eq!(desk.session.stats().passed, 0);
    desk.exchange();
    desk.granted(3);
    desk.granted(4);
}

#[test]
fn nothing_is_passed_that_ends_soon() {
    let mut desk = sole();
    desk.submit(request(3));
    refuse(&mut desk, s(4.2), |verb| matches!(verb, Verb::Renew(_)));
    desk.release(0);
    assert_eq!(desk.session.stats().passed, 0, "less than a third of the lease is left");
}

#[test]
fn no_more_is_passed_than_there_are_tokens() {
    let mut desk = sole();
    let mut last = FencingToken(0);
    let mut passes = 0;
    for tag in 3..200 {
        desk.submit(request(tag));
        desk.release(if tag == 3 { 0 } else { tag - 1 });
        if !desk.sent.is_empty() {
            break;
        }
        let token = desk.granted(tag).token;
        assert!(token > last && token <= desk.group.snapshot(0).token);
        last = token;
        passes += 1;
    }
    assert!(passes > 100);
}

#[test]
fn a_reconnected_session_comes_back_with_the_token_that_was_passed() {
    let mut desk = sole_with([3]);
    desk.release(0);
    let passed = desk.granted(3);
    desk.cut();
    // The state is lost meanwhile.
    desk.group = crate::group::Group::default();
    desk.fresh = crate::lease::Epoch(8);
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    let restored = desk.group.snapshot(0).leases.into_iter().find(|lease| lease.id == passed.id);
    assert_eq!(restored.map(|lease| (lease.token, lease.slots)), Some((passed.token, passed.slots)));
}

/// Redis shows the token of its grant until the renewal, which didn't come so far.
#[test]
fn a_reconnected_session_keeps_what_was_passed_since() {
    let mut desk = sole_with([3]);
    desk.release(0);
    let passed = desk.granted(3);
    let shown = desk.group.snapshot(0).leases.into_iter().find(|lease| lease.id == passed.id);
    assert!(shown.is_some_and(|lease| lease.token < passed.token));
    let epoch = desk.group.snapshot(0).epoch;
    desk.fresh = crate::lease::Epoch(8);
    desk.cut();
    desk.connect(Some(s(3_600.0)));
    desk.exchange();
    assert!(desk.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
    let shown = desk.group.snapshot(0).leases.into_iter().find(|lease| lease.id == passed.id);
    assert_eq!(shown.map(|lease| lease.token), Some(passed.token));
    assert_eq!(desk.group.snapshot(0).epoch, epoch, "the state hasn't gone back");
}

#[test]
fn an_operator_who_names_the_token_hits_no_later_holder() {
    let mut desk = sole_with([3]);
    let shown = desk.group.snapshot(0).leases[0].clone();
    desk.submit(request(4));
    desk.release(0);
    desk.granted(3);
    desk.live(s(1.1));
    let target = Target::Grant(shown.id, shown.token);
    desk.session.ask(desk.now, CLIENT, 90, AdminQuery::Release(request(0).key, target));
    desk.pump();
    desk.exchange();
    let answered = desk.take_event(|event| matches!(event, Event::Answered { .. }));
    assert!(matches!(answered, Some(Event::Answered { answer: Ok(AdminAnswer::Released(false)), .. })));
    // Without it whoever has the slot is told.
    desk.session.ask(desk.now, CLIENT, 91, AdminQuery::Release(request(0).key, Target::Lease(shown.id)));
    desk.pump();
    desk.exchange();
    assert!(desk.take_event(|event| matches!(event, Event::Lost { tag: 3, .. })).is_some());
}

#[test]
fn a_lone_task_asks_for_no_note() {
    let mut desk = Desk::online();
    for tag in 1..20 {
        desk.release(tag - 1);
        desk.submit(request(tag));
        assert!(desk.sent.iter().all(|sent| !matches!(sent.call.verb, Verb::Note(_))));
        desk.exchange();
        desk.granted(tag);
    }
}

#[test]
fn a_note_that_is_refused_is_asked_for_a_second_later() {
    let mut desk = Desk::online();
    desk.submit(request(1));
    desk.exchange();
    desk.other_asks_for(LeaseId { session: SessionId(2), number: 50 });
    desk.submit(request(2));
    let acquire = desk.sent.remove(0);
    desk.carry_out(acquire);
    let is_note = |sent: &Sent| matches!(sent.call.verb, Verb::Note(_));
    assert!(desk.sent.iter().any(is_note));
    desk.exchange();
    desk.submit(request(3));
    desk.pass(s(0.9));
    assert!(!desk.sent.iter().any(is_note));
    desk.pass(s(0.3));
    assert!(desk.sent.iter().any(is_note));
}

#[test]
fn a_newcomer_does_not_come_before_those_inside_when_a_slot_goes_to_redis() {
    let mut desk = sole_with([3]);
    // In the same turn: the slot isn't passed, and nothing has been sent.
    desk.session.cancel(CLIENT, 0);
    desk.session.submit(desk.now, request(4));
    desk.pump();
    desk.exchange();
    desk.granted(3);
    assert!(desk.take_event(|event| matches!(event, Event::Granted { tag: 4, .. })).is_none());
    desk.release(3);
    desk.live(s(0.1));
    desk.granted(4);
}

#[test]
fn who_was_asked_for_when_the_note_ended_is_not_overtaken_by_those_inside() {
    let mut desk = sole_with([3, 4]);
    desk.cancel(0);
    // Somebody else comes before the request that is on its way.
    desk.other_asks_for(LeaseId { session: SessionId(2), number: 1 });
    for sent in std::mem::take(&mut desk.sent) {
        desk.carry_out(sent);
    }
    desk.bring_pushes();
    assert_eq!((joined(&desk).len(), asked(&desk)), (0, 1));
    desk.exchange();
    let line: Vec<u64> = desk.group.snapshot(0).waiters.iter().map(|waiter| waiter.id.number).collect();
    assert!(line.is_sorted() && line.len() == 2, "{line:?}");
}

#[test]
fn nothing_is_passed_while_more_may_be_in_redis_than_the_limit() {
    let mut desk = sole_with([3, 4]);
    let id = desk.group.snapshot(0).leases[0].id;
    desk.other_releases(id);
    desk.bring_pushes();
    // Its holder has lost it and hasn't said anything; another slot is asked for.
    desk.exchange();
    desk.granted(3);
    let held = if id.number == 1 { 2 } else { 0 };
    desk.release(held);
    assert!(desk.sent.iter().any(|sent| matches!(sent.call.verb, Verb::Release(_))));
    desk.exchange();
    desk.granted(4);
}
