//! Passing (R32–R38): requests that wait inside, slots that go on without a call, and what ends that.

use super::rig::{CLIENT, Rig, Sent, request, s, trying_once};
use crate::error::Error;
use crate::lease::{FencingToken, LeaseId, SessionId, Ticket};
use crate::protocol::{CallError, News, Target, Terms, Verb};
use crate::session::{AdminAnswer, AdminQuery, ClientId, Event, Request, Tag};

/// A session that holds both slots, tags 0 and 1, and has the note, with tokens to pass with.
pub(super) fn sole() -> Rig {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.submit(request(2));
    rig.exchange();
    rig.granted(1);
    // The first in line made it ask; it's served before anybody inside.
    rig.release(1);
    rig.exchange();
    rig.released(1);
    rig.granted(2);
    rig.live(s(1.2));
    // The slots were granted before the block that the note has then.
    rig.submit(request(90));
    rig.exchange();
    rig.cancel(90);
    rig.events.clear();
    rig
}

/// Tag 0 and 2 hold, and these wait inside.
fn sole_with(waiting: impl IntoIterator<Item = Tag>) -> Rig {
    let mut rig = sole();
    for tag in waiting {
        rig.submit(request(tag));
    }
    assert!(rig.sent.is_empty(), "asked: {:?}", rig.sent.iter().map(|sent| &sent.call).collect::<Vec<_>>());
    rig
}

fn joined(rig: &Rig) -> Vec<(LeaseId, Ticket)> {
    let asks = rig.sent.iter().filter_map(|sent| match &sent.call.verb {
        Verb::Join(join) => Some(&join.items),
        _ => None,
    });
    asks.flatten().map(|ask| (ask.id, ask.ticket)).collect()
}

fn asked(rig: &Rig) -> usize {
    let asks = rig.sent.iter().map(|sent| match &sent.call.verb {
        Verb::Acquire(asks) => asks.len(),
        _ => 0,
    });
    asks.sum()
}

#[test]
fn a_released_slot_goes_to_the_first_inside_without_a_call() {
    let mut rig = sole_with([3, 4]);
    let before = rig.group.snapshot(0);
    rig.release(0);
    assert!(rig.released(0));
    let first = rig.granted(3);
    assert!(rig.sent.is_empty());
    rig.release(2);
    let second = rig.granted(4);
    assert!(rig.sent.is_empty() && second.token > first.token);
    // The slots keep their ids, and tokens grow.
    for (lease, passed) in before.leases.iter().zip([&first, &second]) {
        assert!(before.leases.iter().any(|lease| lease.id == passed.id && lease.slots == passed.slots));
        assert!(lease.token < passed.token && passed.token <= before.token);
    }
    assert_eq!(rig.session.stats().passed, 2);
    rig.release(3);
    rig.release(4);
    rig.live(s(0.1));
    assert_eq!(rig.held(), 0);
}

#[test]
fn redis_shows_within_a_second_who_has_a_slot() {
    let mut rig = sole();
    let labelled = Request { terms: Terms { label: Some("job".into()), ..request(3).terms }, ..request(3) };
    rig.submit(labelled);
    rig.release(0);
    let passed = rig.granted(3);
    rig.live(s(1.01));
    let shown = rig.group.snapshot(0).leases.into_iter().find(|lease| lease.id == passed.id).expect("held");
    assert_eq!((shown.token, shown.label.as_deref()), (passed.token, Some("job")));
}

#[test]
fn the_session_itself_shows_who_waits_inside() {
    let mut rig = sole_with([3]);
    rig.release(0);
    rig.submit(request(4));
    let token = rig.granted(3).token;
    let key = request(0).key;
    rig.session.ask(rig.now, CLIENT, 90, AdminQuery::Status(key));
    rig.pump();
    rig.exchange();
    let answered = rig.take_event(|event| matches!(event, Event::Answered { .. }));
    let Some(Event::Answered { answer: Ok(AdminAnswer::Status(picture)), .. }) = answered else {
        panic!("{answered:?}")
    };
    assert_eq!((picture.waiting, picture.waiters.len()), (1, 1));
    assert!(picture.holders.iter().any(|holder| holder.token == token));
}

#[test]
fn who_waits_inside_has_its_time_and_its_bound() {
    let mut rig = sole();
    rig.submit(Request { timeout: Some(s(0.5)), ..request(3) });
    rig.submit(trying_once(4));
    assert!(matches!(rig.failed(4), Some(Error::LimitExceeded { held: 2, waiting: 1, .. })));
    let bounded = Terms { max_waiting: Some(1), ..request(5).terms };
    rig.submit(Request { terms: bounded, ..request(5) });
    assert!(matches!(rig.failed(5), Some(Error::QueueFull { waiting: 1, .. })));
    rig.submit(request(6));
    rig.cancel(6);
    assert_eq!(rig.failed(6), None);
    rig.live(s(0.51));
    assert!(matches!(rig.failed(3), Some(Error::LimitExceeded { held: 2, waiting: 0, .. })));
    let (release, held) = (|rig: &mut Rig, tag| rig.release(tag), 2);
    release(&mut rig, 0);
    assert_eq!(rig.sent.len(), 1, "nobody is inside: it goes back");
    assert_eq!(rig.held(), held);
}

#[test]
fn a_closed_client_s_slot_is_passed_and_its_own_that_wait_fail() {
    let mut rig = sole_with([3]);
    let guest = ClientId(2);
    rig.submit(Request { client: guest, ..request(4) });
    rig.session.close(rig.now, guest, 99, true);
    rig.pump();
    assert!(matches!(rig.failed(4), Some(Error::Closed)));
    assert!(rig.take_event(|event| matches!(event, Event::Closed { tag: 99, .. })).is_some());
    rig.release(0);
    rig.granted(3);
}

#[test]
fn when_somebody_else_waits_all_inside_join_before_them_in_order() {
    let mut rig = sole_with([3, 4, 5]);
    rig.other_asks_for(LeaseId { session: SessionId(2), number: 50 });
    rig.bring_pushes();
    let joins = joined(&rig);
    assert_eq!(joins.len(), 3);
    assert!(joins.is_sorted_by_key(|(_, ticket)| *ticket) && joins.is_sorted_by_key(|(id, _)| id.number));
    // A slot that is released now goes through Redis.
    rig.release(0);
    rig.exchange();
    rig.granted(3);
    let line: Vec<u64> = rig.group.snapshot(0).waiters.iter().map(|waiter| waiter.id.session.0).collect();
    assert_eq!(line, [1, 1, 2], "theirs are before the other's");
    // Whoever comes later waits behind it.
    rig.submit(request(6));
    rig.exchange();
    assert_eq!(rig.group.snapshot(0).waiters.last().expect("a waiter").id.session, SessionId(1));
    assert_eq!(rig.session.stats().passed, 0);
}

#[test]
fn a_lost_wanted_is_found_with_the_next_confirmation() {
    let mut rig = sole_with([3]);
    rig.other_asks_for(LeaseId { session: SessionId(2), number: 50 });
    rig.pushes.clear();
    rig.live(s(1.1));
    let line: Vec<u64> = rig.group.snapshot(0).waiters.iter().map(|waiter| waiter.id.session.0).collect();
    assert_eq!(line, [1, 2]);
}

#[test]
fn wanted_that_overtakes_the_note_is_remembered() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.submit(request(2));
    // The acquire call is carried out, and the note is asked for.
    for _ in 0..2 {
        let acquire = rig.sent.remove(0);
        rig.carry_out(acquire);
    }
    let ask = rig.sent.remove(0);
    assert!(matches!(ask.call.verb, Verb::Note(_)), "{:?}", ask.call);
    let noted = rig.call(&ask.caller, &ask.call.verb);
    rig.other_asks_for(LeaseId { session: SessionId(2), number: 50 });
    assert!(matches!(rig.pushes[0].news, News::Wanted { .. }));
    rig.bring_pushes();
    rig.session.handle_reply(rig.now, ask.id, noted);
    rig.pump();
    rig.submit(request(3));
    assert_eq!(asked(&rig), 1, "it isn't sole");
}

#[test]
fn a_note_is_good_for_two_seconds_from_when_it_was_last_confirmed() {
    let mut rig = sole_with([3]);
    refuse(&mut rig, s(1.9), |verb| matches!(verb, Verb::Note(_)));
    rig.release(0);
    rig.granted(3);
    rig.submit(request(4));
    refuse(&mut rig, s(0.2), |verb| matches!(verb, Verb::Note(_)));
    assert_eq!(rig.group.snapshot(0).waiters.len(), 1, "4 joins the line");
    rig.release(2);
    assert_eq!(rig.session.stats().passed, 1);
}

/// Time passes, and the server refuses these calls.
fn refuse(rig: &mut Rig, length: std::time::Duration, refused: impl Fn(&Verb) -> bool) {
    let end = rig.now + length;
    while rig.now < end {
        rig.pass(s(0.05));
        for sent in std::mem::take(&mut rig.sent) {
            match refused(&sent.call.verb) {
                true => {
                    let error = CallError::NotExecuted("BUSY".into());
                    rig.session.handle_reply(rig.now, sent.id, Err(error));
                }
                false => rig.carry_out(sent),
            }
        }
        rig.pump();
    }
}

#[test]
fn a_lost_connection_ends_it() {
    let mut rig = sole_with([3]);
    rig.cut();
    rig.release(0);
    assert!(rig.take_event(|event| matches!(event, Event::Granted { tag: 3, .. })).is_none());
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    rig.granted(3);
    assert_eq!(rig.session.stats().passed, 0);
}

#[test]
fn a_jump_of_the_clock_and_deafness_end_it() {
    for end in [
        |rig: &mut Rig| rig.session.handle_jump(rig.now, s(3.0)),
        |rig: &mut Rig| rig.session.handle_push_lost(rig.now),
    ] {
        let mut rig = sole_with([3]);
        end(&mut rig);
        // In the same turn: nothing has been sent about it yet.
        rig.release(0);
        rig.live(s(0.2));
        rig.granted(3);
        assert_eq!(rig.session.stats().passed, 0);
    }
}

#[test]
fn its_own_request_on_other_terms_ends_it() {
    let mut rig = sole_with([3]);
    rig.submit(Request { terms: Terms { limit: 5, ..request(4).terms }, ..request(4) });
    assert_eq!(asked(&rig), 2);
    rig.exchange();
    rig.granted(4);
    rig.release(0);
    rig.exchange();
    assert_eq!(rig.session.stats().passed, 0);
    rig.release(2);
    rig.release(4);
    rig.exchange();
    rig.granted(3);
}

#[test]
fn a_lost_lease_has_somebody_asked_for_who_waits_inside() {
    let mut rig = sole_with([3, 4]);
    let id = rig.group.snapshot(0).leases[0].id;
    rig.other_releases(id);
    rig.bring_pushes();
    assert!(rig.take_event(|event| matches!(event, Event::Lost { .. })).is_some(), "it's told at once");
    assert_eq!(asked(&rig), 1);
    // As long as one is being asked for, nothing is passed: it was there first.
    rig.release(2);
    assert_eq!(rig.session.stats().passed, 0);
    rig.exchange();
    rig.granted(3);
    rig.granted(4);
}

#[test]
fn who_is_asked_for_comes_before_those_inside() {
    let mut rig = sole_with([3, 4]);
    let id = rig.group.snapshot(0).leases[0].id;
    rig.other_releases(id);
    rig.bring_pushes();
    let lost = rig.take_event(|event| matches!(event, Event::Lost { .. }));
    let Some(Event::Lost { tag: lost, .. }) = lost else { panic!("{lost:?}") };
    rig.release(lost);
    let at =
        rig.sent.iter().position(|sent| matches!(sent.call.verb, Verb::Release(_))).expect("it goes back");
    let release = rig.sent.remove(at);
    rig.carry_out(release);
    // 3 is under way: the slot isn't for 4.
    rig.release(if lost == 0 { 2 } else { 0 });
    assert_eq!(rig.session.stats().passed, 0);
    rig.exchange();
    rig.granted(3);
    rig.granted(4);
}

#[test]
fn nothing_is_passed_that_ends_soon() {
    let mut rig = sole();
    rig.submit(request(3));
    refuse(&mut rig, s(4.2), |verb| matches!(verb, Verb::Renew(_)));
    rig.release(0);
    assert_eq!(rig.session.stats().passed, 0, "less than a third of the lease is left");
}

#[test]
fn no_more_is_passed_than_there_are_tokens() {
    let mut rig = sole();
    let mut last = FencingToken(0);
    let mut passes = 0;
    for tag in 3..200 {
        rig.submit(request(tag));
        rig.release(if tag == 3 { 0 } else { tag - 1 });
        if !rig.sent.is_empty() {
            break;
        }
        let token = rig.granted(tag).token;
        assert!(token > last && token <= rig.group.snapshot(0).token);
        last = token;
        passes += 1;
    }
    assert!(passes > 100);
}

#[test]
fn a_reconnected_session_comes_back_with_the_token_that_was_passed() {
    let mut rig = sole_with([3]);
    rig.release(0);
    let passed = rig.granted(3);
    rig.cut();
    // The state is lost meanwhile.
    rig.group = crate::group::Group::default();
    rig.fresh = crate::lease::Epoch(8);
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    let restored = rig.group.snapshot(0).leases.into_iter().find(|lease| lease.id == passed.id);
    assert_eq!(restored.map(|lease| (lease.token, lease.slots)), Some((passed.token, passed.slots)));
}

/// Redis shows the token of its grant until the renewal, which didn't come so far.
#[test]
fn a_reconnected_session_keeps_what_was_passed_since() {
    let mut rig = sole_with([3]);
    rig.release(0);
    let passed = rig.granted(3);
    let shown = rig.group.snapshot(0).leases.into_iter().find(|lease| lease.id == passed.id);
    assert!(shown.is_some_and(|lease| lease.token < passed.token));
    let epoch = rig.group.snapshot(0).epoch;
    rig.fresh = crate::lease::Epoch(8);
    rig.cut();
    rig.connect(Some(s(3_600.0)));
    rig.exchange();
    assert!(rig.take_event(|event| matches!(event, Event::Lost { .. })).is_none());
    let shown = rig.group.snapshot(0).leases.into_iter().find(|lease| lease.id == passed.id);
    assert_eq!(shown.map(|lease| lease.token), Some(passed.token));
    assert_eq!(rig.group.snapshot(0).epoch, epoch, "the state hasn't gone back");
}

#[test]
fn an_operator_who_names_the_token_hits_no_later_holder() {
    let mut rig = sole_with([3]);
    let shown = rig.group.snapshot(0).leases[0].clone();
    rig.submit(request(4));
    rig.release(0);
    rig.granted(3);
    rig.live(s(1.1));
    let target = Target::Grant(shown.id, shown.token);
    rig.session.ask(rig.now, CLIENT, 90, AdminQuery::Release(request(0).key, target));
    rig.pump();
    rig.exchange();
    let answered = rig.take_event(|event| matches!(event, Event::Answered { .. }));
    assert!(matches!(answered, Some(Event::Answered { answer: Ok(AdminAnswer::Released(false)), .. })));
    // Without it whoever has the slot is told.
    rig.session.ask(rig.now, CLIENT, 91, AdminQuery::Release(request(0).key, Target::Lease(shown.id)));
    rig.pump();
    rig.exchange();
    assert!(rig.take_event(|event| matches!(event, Event::Lost { tag: 3, .. })).is_some());
}

#[test]
fn a_lone_task_asks_for_no_note() {
    let mut rig = Rig::online();
    for tag in 1..20 {
        rig.release(tag - 1);
        rig.submit(request(tag));
        assert!(rig.sent.iter().all(|sent| !matches!(sent.call.verb, Verb::Note(_))));
        rig.exchange();
        rig.granted(tag);
    }
}

#[test]
fn a_note_that_is_refused_is_asked_for_a_second_later() {
    let mut rig = Rig::online();
    rig.submit(request(1));
    rig.exchange();
    rig.other_asks_for(LeaseId { session: SessionId(2), number: 50 });
    rig.submit(request(2));
    let acquire = rig.sent.remove(0);
    rig.carry_out(acquire);
    let is_note = |sent: &Sent| matches!(sent.call.verb, Verb::Note(_));
    assert!(rig.sent.iter().any(is_note));
    rig.exchange();
    rig.submit(request(3));
    rig.pass(s(0.9));
    assert!(!rig.sent.iter().any(is_note));
    rig.pass(s(0.3));
    assert!(rig.sent.iter().any(is_note));
}

#[test]
fn a_newcomer_does_not_come_before_those_inside_when_a_slot_goes_to_redis() {
    let mut rig = sole_with([3]);
    // In the same turn: the slot isn't passed, and nothing has been sent.
    rig.session.cancel(CLIENT, 0);
    rig.session.submit(rig.now, request(4));
    rig.pump();
    rig.exchange();
    rig.granted(3);
    assert!(rig.take_event(|event| matches!(event, Event::Granted { tag: 4, .. })).is_none());
    rig.release(3);
    rig.live(s(0.1));
    rig.granted(4);
}

#[test]
fn who_was_asked_for_when_the_note_ended_is_not_overtaken_by_those_inside() {
    let mut rig = sole_with([3, 4]);
    rig.cancel(0);
    // Somebody else comes before the request that is on its way.
    rig.other_asks_for(LeaseId { session: SessionId(2), number: 1 });
    for sent in std::mem::take(&mut rig.sent) {
        rig.carry_out(sent);
    }
    rig.bring_pushes();
    assert_eq!((joined(&rig).len(), asked(&rig)), (0, 1));
    rig.exchange();
    let line: Vec<u64> = rig.group.snapshot(0).waiters.iter().map(|waiter| waiter.id.number).collect();
    assert!(line.is_sorted() && line.len() == 2, "{line:?}");
}

#[test]
fn nothing_is_passed_while_more_may_be_in_redis_than_the_limit() {
    let mut rig = sole_with([3, 4]);
    let id = rig.group.snapshot(0).leases[0].id;
    rig.other_releases(id);
    rig.bring_pushes();
    // Its holder has lost it and hasn't said anything; another slot is asked for.
    rig.exchange();
    rig.granted(3);
    let held = if id.number == 1 { 2 } else { 0 };
    rig.release(held);
    assert!(rig.sent.iter().any(|sent| matches!(sent.call.verb, Verb::Release(_))));
    rig.exchange();
    rig.granted(4);
}
