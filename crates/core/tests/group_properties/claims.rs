//! What must hold after each call of a history.

use std::collections::{HashMap, HashSet};

use concurrency_limit::group::{LeaseSnapshot, Snapshot, WaiterSnapshot};
use concurrency_limit::lease::{LeaseId, SessionId, Ticket};
use concurrency_limit::protocol::{Acquired, Ask, Grant, ReconcileItem, Reply, Verb};

use super::CLAIM_MS;

/// No slot twice, none above its lease's limit; held and counts right; one lease a name; nobody holds and waits.
pub(super) fn state_is_sound(after: &Snapshot) {
    let (mut slots, mut names, mut tokens) = (HashSet::new(), HashSet::new(), HashSet::new());
    for lease in &after.leases {
        assert!(lease.slots.is_sorted_by(|a, b| a < b) && !lease.slots.is_empty());
        for slot in &lease.slots {
            assert!(slots.insert(*slot), "slot {slot} twice");
            assert!((1..=lease.limit).contains(slot), "slot {slot} of limit {}", lease.limit);
        }
        assert!(lease.holder.as_ref().is_none_or(|name| names.insert(name)), "a name twice");
        assert!(
            tokens.insert(lease.token) && lease.token <= after.token,
            "a token twice, or from the future"
        );
    }
    assert_eq!(after.held, slots.len() as u64);
    let mut counts: HashMap<SessionId, u64> = HashMap::new();
    for waiter in &after.waiters {
        *counts.entry(waiter.id.session).or_default() += 1;
        assert!(waiter.ticket <= after.ticket);
        assert!(after.leases.iter().all(|lease| lease.id != waiter.id), "{:?} holds and waits", waiter.id);
    }
    for session in &after.sessions {
        assert_eq!(counts.remove(&session.id).unwrap_or(0), session.count, "{:?}", session.id);
    }
    assert!(counts.is_empty(), "waiters without a session: {counts:?}");
}

/// As long as a note stands, nobody else waits, and nothing was granted that its session's limit doesn't count.
pub(super) fn a_note_is_for_who_is_alone(after: &Snapshot) {
    let Some(note) = after.note.filter(|note| note.wanted.is_none()) else { return };
    for waiter in &after.waiters {
        assert!(
            waiter.id.session == note.session && waiter.limit == note.limit,
            "{waiter:?} beside {note:?}"
        );
    }
    assert_eq!(after.limit, note.limit, "{note:?}");
    assert!(after.held <= u64::from(note.limit), "{} held beside {note:?}", after.held);
    assert!(note.number <= after.token && note.begun <= after.ticket, "{note:?}");
}

/// The leases that a call granted, re-entered ones excepted.
pub(super) fn granted<'a>(
    before: &'a Snapshot,
    after: &'a Snapshot,
    verb: &'a Verb,
) -> impl Iterator<Item = &'a LeaseSnapshot> {
    let leases =
        after.leases.iter().filter(|lease| lease.token > before.token && !before.leases.contains(lease));
    leases.filter(|lease| !re_enters(verb, lease.id))
}

/// Whether a session asks for its lease to come back as it knows it.
fn re_enters(verb: &Verb, id: LeaseId) -> bool {
    let Verb::Reconcile { items, .. } = verb else { return false };
    items.iter().any(|item| matches!(item, ReconcileItem::Keep(keep) if keep.id == id))
}

/// A lease that re-enters has the token that its session knows, also where a state that went back had granted its id
/// anew and nobody was told (R14).
pub(super) fn numbers_grew(before: &Snapshot, after: &Snapshot, verb: &Verb) {
    assert!(after.token >= before.token && after.ticket >= before.ticket);
    for lease in after.leases.iter().filter(|lease| !re_enters(verb, lease.id)) {
        let was = before.leases.iter().find(|was| was.id == lease.id);
        assert!(was.is_none_or(|was| was.token <= lease.token), "{lease:?} went back");
    }
}

/// What was granted before a lease and is still held counted against its limit when it was granted (R1). A take-over
/// needs no room and no turn, so names are left out here and below.
pub(super) fn admissions_kept_the_limits(granted: &[&LeaseSnapshot], after: &Snapshot) {
    for lease in granted.iter().filter(|lease| lease.holder.is_none()) {
        let earlier = after.leases.iter().filter(|other| other.token <= lease.token);
        let held: usize = earlier.map(|other| other.slots.len()).sum();
        assert!(held <= lease.limit as usize, "{lease:?} with {held} held");
    }
}

fn place(waiter: &WaiterSnapshot) -> (i8, Ticket, LeaseId) {
    (-waiter.priority, waiter.ticket, waiter.id)
}

/// Whoever was granted from the line has nobody of its class left there who stood before it (R4).
pub(super) fn nobody_was_overtaken(granted: &[&LeaseSnapshot], before: &Snapshot, after: &Snapshot) {
    for lease in granted.iter().filter(|lease| lease.holder.is_none()) {
        let Some(was) = before.waiters.iter().find(|waiter| waiter.id == lease.id) else { continue };
        let ahead = |other: &&WaiterSnapshot| other.limit == was.limit && place(other) < place(was);
        let left = after.waiters.iter().filter(|other| before.waiters.contains(other));
        assert_eq!({ left }.find(ahead), None, "{was:?} was granted");
    }
}

/// The head of the line doesn't fit, and nobody beyond it does who needn't wait behind it (R17). The name that a head
/// waits for may have gone to somebody else in this very call, once the head had been passed: the next call settles it.
pub(super) fn nobody_who_fits_was_left(after: &Snapshot, now_ms: u64) {
    let mut floor = after.held;
    loop {
        let candidates = after.waiters.iter().filter(|waiter| u64::from(waiter.limit) > floor);
        let Some(head) = candidates.min_by_key(|waiter| place(waiter)) else { return };
        let live = after.sessions.iter().any(|one| one.id == head.id.session && one.deadline_ms > now_ms);
        let named = head.holder.is_some() && after.leases.iter().any(|lease| lease.holder == head.holder);
        let fits = after.held + u64::from(head.weight) <= u64::from(head.limit);
        if named {
            return;
        }
        assert!(live && !fits, "{head:?} was left: live {live}, held {}", after.held);
        floor = u64::from(head.limit);
    }
}

/// Grants in the reply are the caller's own; pushed ones are others', under their claim window (R17, R20).
pub(super) fn grants_are_told_where_they_belong(session: SessionId, reply: &Reply, published: &[Grant]) {
    assert!(reply.handed.iter().all(|grant| grant.id.session == session));
    assert!(published.iter().all(|grant| grant.id.session != session && grant.ttl_ms == CLAIM_MS));
}

/// A request that is asked again gets the answer that it had (R11), unless its name or its turn came up meanwhile.
pub(super) fn asking_again_changes_nothing(before: &Snapshot, ask: &Ask, answer: &Acquired, now_ms: u64) {
    let lease = before.leases.iter().find(|lease| lease.id == ask.id && lease.end_at_ms > now_ms);
    if let Some(lease) = lease.filter(|lease| lease.holder.is_none()) {
        let Acquired::Granted(grant) = answer else { panic!("{lease:?} was answered {answer:?}") };
        assert_eq!((grant.token, &grant.slots), (lease.token, &lease.slots));
    }
    let waiter = before.waiters.iter().find(|waiter| waiter.id == ask.id);
    let live = before.sessions.iter().any(|one| one.id == ask.id.session && one.deadline_ms > now_ms);
    if let (Some(waiter), true, Acquired::Queued { ticket, .. }) =
        (waiter, live && ask.terms.holder.is_none(), answer)
    {
        assert_eq!(*ticket, waiter.ticket);
    }
}
