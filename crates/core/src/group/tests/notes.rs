//! R32, R34, R36–R39: who gets the note, what ends it, which tokens and places it brings, what others meet under it.

use super::*;
use crate::protocol::{Extend, Join, JoinAsk, NoteAsk, Noted, Passed};

/// The note of session 1 on two slots that it holds, with one request in line.
fn noted() -> (World, FencingToken) {
    let mut world = world();
    world.fill(2);
    world.acquire(id(1, 3), terms(2));
    let number = number_of(world.note(1, 2, None));
    (world, number)
}

fn number_of(noted: Noted) -> FencingToken {
    let Noted::Sole { number, .. } = noted else { panic!("{noted:?}") };
    number
}

impl World {
    fn note(&mut self, by: u64, limit: u32, number: Option<FencingToken>) -> Noted {
        self.ask_note(by, NoteAsk { limit, number, keeps: false })
    }

    fn ask_note(&mut self, by: u64, ask: NoteAsk) -> Noted {
        match self.call(by, Verb::Note(ask)).answers {
            Answers::Note(noted) => noted,
            other => panic!("{other:?}"),
        }
    }

    fn confirmed(&mut self, number: FencingToken) -> bool {
        matches!(self.note(1, 2, Some(number)), Noted::Sole { .. })
    }

    /// The note that session 1 was told to have ended, and the ticket that ended it.
    fn wanted(&mut self) -> Option<(FencingToken, Ticket)> {
        let (told, news) = self.told.pop()?;
        assert_eq!((told, self.told.len()), (session(1), 0));
        let News::Wanted { number, ticket } = news else { panic!("{news:?}") };
        Some((number, ticket))
    }

    fn join(&mut self, number: FencingToken, tickets: &[(u64, Ticket)]) -> Vec<Acquired> {
        let item = |(n, ticket): &(u64, Ticket)| JoinAsk {
            id: id(1, *n),
            terms: Arc::new(terms(2)),
            ticket: *ticket,
        };
        match self.call(1, Verb::Join(Join { number, items: tickets.iter().map(item).collect() })).answers {
            Answers::Acquire(answers) => answers,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn r32_the_note_is_for_who_waits_alone() {
    let (mut world, number) = noted();
    assert!(world.confirmed(number));
    // Somebody else waits, before there is a note.
    let mut other = super::world();
    other.fill(2);
    other.acquire(id(2, 1), terms(2));
    assert_eq!(other.note(1, 2, None), Noted::No { again_in_ms: 0 });
    // The limit isn't the one last asked with; more is held; the session doesn't listen.
    assert_eq!(world.note(1, 3, None), Noted::No { again_in_ms: 0 });
    world.silent.insert(session(1));
    assert_eq!(world.note(1, 2, None), Noted::No { again_in_ms: 0 });
    let mut full = super::world();
    full.fill(3);
    full.acquire(id(1, 4), terms(2));
    assert_eq!(full.note(1, 2, None), Noted::No { again_in_ms: 0 });
}

#[test]
fn r32_a_note_stands_for_three_seconds_without_a_word_of_its_session() {
    let (mut world, number) = noted();
    world.leave(id(1, 3));
    world.pass_ms(1_000);
    assert!(world.confirmed(number));
    world.pass_ms(2_999);
    assert_eq!(world.note(2, 2, None), Noted::No { again_in_ms: 1 });
    world.pass_ms(1);
    let other = number_of(world.note(2, 2, None));
    assert!(other > number && !world.confirmed(number));
}

#[test]
fn r34_who_is_not_granted_ends_the_note_and_who_is_disturbs_nobody() {
    let (mut world, number) = noted();
    world.release(1, id(1, 1));
    world.release(1, id(1, 2));
    assert!(matches!(world.acquire(id(2, 1), terms(2)), Acquired::Granted(_)));
    assert!(world.wanted().is_none() && world.confirmed(number));
    let Acquired::Queued { ticket, .. } = world.acquire(id(2, 2), terms(2)) else { panic!("it fits") };
    assert_eq!(world.wanted(), Some((number, ticket)));
    assert_eq!(world.note(1, 2, Some(number)), Noted::Wanted { ticket });
}

#[test]
fn r34_a_refusal_or_another_limit_ends_the_note() {
    let (mut world, number) = noted();
    assert!(matches!(world.try_acquire(id(2, 1), terms(2)), Acquired::Full { .. }));
    assert_eq!(world.wanted().map(|(wanted, _)| wanted), Some(number));
    let (mut world, number) = noted();
    world.leave(id(1, 3));
    assert!(matches!(world.acquire(id(2, 1), terms(5)), Acquired::Granted(_)));
    assert_eq!(world.wanted().map(|(wanted, _)| wanted), Some(number));
    // The session's own request on other terms needs no word.
    let (mut world, number) = noted();
    world.leave(id(1, 3));
    world.acquire(id(1, 4), terms(5));
    assert!(world.wanted().is_none() && !world.confirmed(number));
}

#[test]
fn r34_a_lease_that_re_enters_on_another_limit_ends_the_note() {
    let (mut world, number) = noted();
    let lost = world.reconcile_one(2, ReconcileItem::Keep(returning(&world, 4)));
    assert!(matches!(lost, Reconciled::Held(_)), "{lost:?}");
    assert_eq!(world.wanted().map(|(wanted, _)| wanted), Some(number));
    // A session that isn't sure of what it has ends its own.
    let (mut world, number) = noted();
    world.reconcile_one(1, ReconcileItem::Drop(id(1, 9)));
    assert!(world.wanted().is_none() && !world.confirmed(number));
}

fn returning(world: &World, limit: u32) -> Keep {
    Keep {
        id: id(2, 1),
        terms: Arc::new(terms(limit)),
        epoch: Epoch(1),
        token: FencingToken(1),
        current: FencingToken(5),
        slots: vec![limit],
        end_at_ms: world.now_us / 1_000 + 1_000,
        extend_ms: None,
    }
}

#[test]
fn r34_polls_repeat_it_until_its_session_knows_and_for_three_seconds() {
    let (mut world, number) = noted();
    world.acquire(id(2, 1), terms(2));
    let told = world.wanted();
    world.pass_ms(2_999);
    world.look(2, vec![]);
    assert_eq!(world.wanted(), told);
    world.note(1, 2, Some(number));
    world.look(2, vec![]);
    assert_eq!(world.wanted(), None);
    let (mut world, _) = noted();
    world.acquire(id(2, 1), terms(2));
    world.wanted();
    world.pass_ms(3_000);
    world.look(2, vec![]);
    assert_eq!(world.wanted(), None);
}

#[test]
fn r34_the_next_note_is_later_each_time() {
    let (mut world, _) = noted();
    for cool_ms in [3_000, 6_000, 12_000, 24_000, 48_000, 60_000, 60_000] {
        assert!(matches!(world.try_acquire(id(2, 1), terms(2)), Acquired::Full { .. }));
        world.pass_ms(1);
        assert_eq!(world.note(1, 2, None), Noted::No { again_in_ms: cool_ms - 1 });
        world.pass_ms(cool_ms - 1);
        world.renew(id(1, 1), None);
        world.renew(id(1, 2), None);
        number_of(world.note(1, 2, None));
    }
    world.pass_ms(600_001);
    world.acquire(id(1, 4), terms(2));
    world.acquire(id(1, 5), terms(2));
    number_of(world.note(1, 2, None));
    world.try_acquire(id(2, 2), terms(2));
    assert_eq!(world.note(1, 2, None), Noted::No { again_in_ms: 3_000 });
}

#[test]
fn r37_a_block_is_of_time_that_has_passed_and_above_all_tokens() {
    let (mut world, number) = noted();
    world.now_us += 500;
    let Noted::Sole { after, last, .. } = world.note(1, 2, Some(number)) else { panic!("not confirmed") };
    assert_eq!((after, last), (number, FencingToken(world.now_us)));
    // Another call of the same moment has none left.
    let Noted::Sole { after, last: end, .. } = world.note(1, 2, Some(number)) else {
        panic!("not confirmed")
    };
    assert_eq!((after, end), (last, last));
    world.release(1, id(1, 1));
    world.release(1, id(1, 2));
    let leases = world.snapshot().leases;
    assert!(leases.iter().all(|lease| lease.token > last), "{leases:?}");
}

#[test]
fn r36_a_renewal_says_who_has_a_lease_by_a_pass() {
    let (mut world, number) = noted();
    world.now_us += 500;
    let Noted::Sole { last, .. } = world.note(1, 2, Some(number)) else { panic!("not confirmed") };
    let granted = world.snapshot().leases[0].token;
    let passed = Some(Passed { token: last, label: Some("a job".into()) });
    let lease = Extend { id: id(1, 1), lease_ms: LEASE_MS, holder: None, passed };
    world.call(1, Verb::Renew(Renew { leases: vec![lease], waiters: vec![] }));
    let shown = world.inspect(Page::default()).holders.remove(0);
    assert_eq!((shown.token, shown.label.as_deref()), (last, Some("a job")));
    // Who names the former token hits nobody.
    let missed = world.call(2, Verb::Release(vec![Target::Grant(id(1, 1), granted)]));
    assert_eq!(missed.answers, Answers::Release(vec![false]));
    let hit = world.call(2, Verb::Release(vec![Target::Grant(id(1, 1), last)]));
    assert_eq!(hit.answers, Answers::Release(vec![true]));
    assert_eq!(world.told, [(session(1), News::Gone(id(1, 1)))]);
}

#[test]
fn r38_who_waited_inside_joins_before_who_ended_the_note() {
    let (mut world, number) = noted();
    world.now_us += 500;
    let Acquired::Queued { ticket, .. } = world.acquire(id(2, 1), terms(2)) else { panic!("it fits") };
    let at = |n| Ticket(ticket.0 - n);
    world.join(number, &[(11, at(3)), (12, at(2)), (13, ticket), (14, Ticket(1))]);
    assert_eq!(world.in_line(), [id(1, 3), id(1, 11), id(1, 12), id(2, 1), id(1, 13), id(1, 14)]);
    // Nor is there a place for others, or later.
    world.join(FencingToken(1), &[(15, at(1))]);
    world.pass_ms(3_000);
    world.join(number, &[(16, at(1))]);
    assert_eq!(world.in_line()[6..], [id(1, 15), id(1, 16)]);
}

#[test]
fn r38_who_joins_is_handed_what_is_free() {
    let (mut world, number) = noted();
    world.acquire(id(2, 1), terms(2));
    world.release(1, id(1, 1));
    world.release(1, id(1, 2));
    let ticket = world.wanted().expect("it was told").1;
    let answers = world.join(number, &[(11, Ticket(ticket.0 - 1))]);
    assert!(matches!(answers[..], [Acquired::Queued { .. }]), "{answers:?}");
    world.release(2, id(2, 1));
    world.release(1, id(1, 3));
    let answers = world.join(number, &[(12, Ticket(ticket.0 - 1))]);
    assert!(matches!(answers[..], [Acquired::Granted(_)]), "{answers:?}");
}

/// A group in which session 1 keeps both slots.
fn kept() -> World {
    let (mut world, number) = noted();
    world.leave(id(1, 3));
    world.ask_note(1, NoteAsk { limit: 2, number: Some(number), keeps: true });
    world
}

#[test]
fn r39_who_would_be_refused_joins_where_slots_are_kept() {
    let mut world = kept();
    let Acquired::Queued { ticket, ahead: 0 } = world.try_acquire(id(2, 1), terms(2)) else {
        panic!("it was refused")
    };
    assert_eq!(world.wanted().map(|(_, ended_by)| ended_by), Some(ticket));
    // The session was told: whoever comes after that doesn't wait for it.
    assert!(matches!(world.try_acquire(id(2, 2), terms(2)), Acquired::Full { .. }));
    let mut world = kept();
    let nobody = Terms { max_waiting: Some(0), ..terms(2) };
    assert!(matches!(world.acquire(id(2, 1), nobody), Acquired::Queued { .. }));
}

#[test]
fn r39_who_would_be_refused_is_where_nothing_is_kept_or_nobody_is_told() {
    let (mut world, _) = noted();
    world.leave(id(1, 3));
    assert!(matches!(world.try_acquire(id(2, 1), terms(2)), Acquired::Full { .. }));
    // The session itself knows which of its slots are held.
    assert!(matches!(kept().try_acquire(id(1, 9), terms(2)), Acquired::Full { .. }));
    let mut world = kept();
    world.dead.insert(session(1));
    assert!(matches!(world.try_acquire(id(2, 1), terms(2)), Acquired::Full { .. }));
}
