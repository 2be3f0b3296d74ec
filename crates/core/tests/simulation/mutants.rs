//! Thirteen ways to break the limiter, each between the sessions and the groups, to see that the simulation notices.
//!
//! A mutant changes what is asked of a group or what it answers, never the group itself or the session. What can't be
//! bent from there is shown by its effect: the look is made to find nothing, the second slot of a retry is asked for
//! under an id of its own.

use std::collections::{HashMap, HashSet};

use concurrency_limit::group::{Group, Receivers};
use concurrency_limit::lease::{Epoch, FencingToken, LeaseId, SessionId, Ticket};
use concurrency_limit::protocol::{
    Answers, Ask, CallError, Caller, Grant, Keep, News, Noted, Push, ReconcileItem, Reconciled, Renewed,
    Reply, Terms, Verb,
};

type Publish<'a> = &'a mut dyn FnMut(SessionId, Epoch, News) -> Receivers;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Waiters whose process is dead stay in line and are granted.
    DeadWaitersStay,
    /// Whoever comes last is served first.
    LastInFirstOut,
    /// A lease may re-enter whatever the epoch says.
    AnyEpochReenters,
    /// The look doesn't find what a lost push should have told.
    LooksFindNothing,
    /// A request whose first answer was lost gets a second slot.
    RetriesGetASecondSlot,
    /// Renewing a lease that is gone brings it back.
    RenewRevives,
    /// Cut or not, a session's calls have one connection number for ever.
    NumbersAreNotRaised,
    /// What a session believes after a cut isn't reconciled but taken as true.
    CutsAreNotReconciled,
    /// A session isn't told what a group has of it and it doesn't know.
    OwnIdsAreNotTold,
    /// Reconcile extends every lease to its full length.
    EveryKeptLeaseIsExtended,
    /// A session whose note is wanted doesn't hear of it, and has it confirmed.
    NotesAreForEver,
    /// Every session that asks for a note has one.
    NotesAreForAll,
    /// A note brings tokens of the time to come.
    TokensAreAheadOfTheClock,
}

/// The place where a mutation sits; without one it only passes on.
#[derive(Debug)]
pub(crate) struct Mutant {
    mutation: Option<Mutation>,
    arrivals: i8,
    unheard: HashSet<LeaseId>,
    granted: HashMap<LeaseId, (Grant, std::sync::Arc<Terms>)>,
    asked: HashMap<LeaseId, std::sync::Arc<Terms>>,
    /// What sessions were told last of their notes, by their numbers.
    notes: HashMap<FencingToken, Noted>,
}

impl Mutant {
    pub(crate) fn new(mutation: Option<Mutation>) -> Self {
        Self {
            mutation,
            arrivals: i8::MIN,
            unheard: HashSet::new(),
            granted: HashMap::new(),
            asked: HashMap::new(),
            notes: HashMap::new(),
        }
    }

    pub(crate) fn call(
        &mut self,
        group: &mut Group,
        now_us: u64,
        fresh: Epoch,
        caller: &Caller,
        verb: &Verb,
        publish: Publish<'_>,
    ) -> Result<Reply, CallError> {
        let Some(mutation) = self.mutation else { return group.call(now_us, fresh, caller, verb, publish) };
        let mut on = |caller: &Caller, verb: &Verb, publish: Publish<'_>| {
            group.call(now_us, fresh, caller, verb, publish)
        };
        match mutation {
            Mutation::DeadWaitersStay => {
                let caller = Caller { keep_alive_ms: u64::MAX / 4, ..*caller };
                on(&caller, verb, &mut |session, epoch, news| match publish(session, epoch, news) {
                    Receivers::Nobody => Receivers::Unknown,
                    known => known,
                })
            }
            Mutation::LastInFirstOut => on(caller, &self.rank_by_arrival(verb), publish),
            Mutation::AnyEpochReenters => on(caller, &with_a_wrong_epoch(verb), publish),
            Mutation::LooksFindNothing => {
                let mut reply = on(caller, verb, publish)?;
                self.hide_what_was_unheard(caller, verb, &mut reply);
                Ok(reply)
            }
            Mutation::RetriesGetASecondSlot => {
                let reply = on(caller, verb, publish)?;
                if let Some(second) = second_asks(verb, &reply) {
                    on(caller, &second, publish)?;
                }
                Ok(reply)
            }
            Mutation::RenewRevives => {
                let mut reply = on(caller, verb, publish)?;
                self.remember(verb, &reply);
                if let Some(revival) = self.revival(now_us, verb, &reply) {
                    let revived = on(caller, &revival, publish)?;
                    pretend_extended(verb, &mut reply, &revival, &revived);
                }
                Ok(reply)
            }
            Mutation::NotesAreForEver => {
                let mut reply = on(caller, verb, &mut |session, epoch, news| match news {
                    News::Wanted { .. } => Receivers::Somebody,
                    news => publish(session, epoch, news),
                })?;
                self.pretend_confirmed(now_us, verb, &mut reply);
                Ok(reply)
            }
            Mutation::NotesAreForAll => {
                let mut reply = on(caller, verb, publish)?;
                if let (Verb::Note(ask), Answers::Note(noted @ Noted::No { .. })) = (verb, &mut reply.answers)
                    && ask.number.is_none()
                {
                    let number = FencingToken(now_us);
                    *noted = Noted::Sole { number, begun: Ticket(now_us), after: number, last: number };
                }
                self.pretend_confirmed(now_us, verb, &mut reply);
                Ok(reply)
            }
            Mutation::TokensAreAheadOfTheClock => {
                let mut reply = on(caller, verb, publish)?;
                if let Answers::Note(Noted::Sole { last, .. }) = &mut reply.answers {
                    last.0 += 20_000_000;
                }
                Ok(reply)
            }
            Mutation::NumbersAreNotRaised => on(&Caller { connection: 1, ..*caller }, verb, publish),
            Mutation::CutsAreNotReconciled => {
                let Verb::Reconcile { items, .. } = verb else { return on(caller, verb, publish) };
                let reply = on(caller, &Verb::Reconcile { items: Vec::new(), own_from: None }, publish)?;
                let believed = items.iter().map(|item| believed(now_us, item)).collect();
                Ok(Reply {
                    answers: Answers::Reconcile { reconciled: believed, own: Vec::new(), own_next: None },
                    ..reply
                })
            }
            Mutation::OwnIdsAreNotTold => match verb {
                Verb::Reconcile { items, .. } => {
                    let items = items.clone();
                    on(caller, &Verb::Reconcile { items, own_from: None }, publish)
                }
                verb => on(caller, verb, publish),
            },
            Mutation::EveryKeptLeaseIsExtended => on(caller, &extending_all(verb), publish),
        }
    }

    /// A push went missing.
    pub(crate) fn push_was_lost(&mut self, push: &Push) {
        self.unheard.extend(push.news.grants().iter().map(|grant| grant.id));
    }

    /// Each arrival with a higher priority than the one before.
    fn rank_by_arrival(&mut self, verb: &Verb) -> Verb {
        let Verb::Acquire(asks) = verb else { return verb.clone() };
        let rank = |ask: &Ask| {
            self.arrivals = self.arrivals.wrapping_add(1);
            let terms = Terms { priority: self.arrivals, ..(*ask.terms).clone() };
            Ask { terms: terms.into(), ..ask.clone() }
        };
        Verb::Acquire(asks.iter().map(rank).collect())
    }

    /// Counts as in line what was granted by a push that went missing.
    fn hide_what_was_unheard(&mut self, caller: &Caller, verb: &Verb, reply: &mut Reply) {
        match (verb, &mut reply.answers) {
            (Verb::Renew(_), Answers::Renew { in_line, .. }) => {
                let theirs = self.unheard.iter().filter(|id| id.session == caller.session);
                *in_line += theirs.count() as u64;
            }
            (Verb::Leave(ids), _) => ids.iter().for_each(|id| {
                self.unheard.remove(id);
            }),
            _ => {}
        }
    }

    fn remember(&mut self, verb: &Verb, reply: &Reply) {
        if let Verb::Acquire(asks) = verb {
            self.asked.extend(asks.iter().map(|ask| (ask.id, ask.terms.clone())));
        }
        if let Answers::Acquire(answers) = &reply.answers {
            for answer in answers {
                if let concurrency_limit::protocol::Acquired::Granted(grant) = answer
                    && let Some(terms) = self.asked.get(&grant.id)
                {
                    self.granted.insert(grant.id, (grant.clone(), terms.clone()));
                }
            }
        }
    }

    /// A note that was there once is there still.
    fn pretend_confirmed(&mut self, now_us: u64, verb: &Verb, reply: &mut Reply) {
        let (Verb::Note(ask), Answers::Note(noted)) = (verb, &mut reply.answers) else { return };
        if let (Some(number), Noted::Wanted { .. } | Noted::No { .. }) = (ask.number, &noted)
            && let Some(Noted::Sole { begun, last, .. }) = self.notes.get(&number)
        {
            *noted = Noted::Sole { number, begun: *begun, after: *last, last: FencingToken(now_us) };
        }
        if let Noted::Sole { number, .. } = noted {
            self.notes.insert(*number, *noted);
        }
    }

    /// A way to bring back what the renewal found gone.
    fn revival(&self, now_us: u64, verb: &Verb, reply: &Reply) -> Option<Verb> {
        let (Verb::Renew(renew), Answers::Renew { leases, .. }) = (verb, &reply.answers) else { return None };
        let gone = renew.leases.iter().zip(leases).filter(|(_, answer)| **answer == Renewed::Gone);
        let items: Vec<ReconcileItem> = gone
            .filter_map(|(lease, _)| {
                let (grant, terms) = self.granted.get(&lease.id)?;
                Some(ReconcileItem::Keep(Keep {
                    id: lease.id,
                    terms: terms.clone(),
                    epoch: Epoch(1),
                    token: grant.token,
                    current: grant.token,
                    slots: grant.slots.clone(),
                    end_at_ms: now_us / 1_000 + lease.lease_ms,
                    extend_ms: Some(lease.lease_ms),
                }))
            })
            .collect();
        (!items.is_empty()).then_some(Verb::Reconcile { items, own_from: None })
    }
}

fn with_a_wrong_epoch(verb: &Verb) -> Verb {
    let Verb::Reconcile { items, own_from } = verb else { return verb.clone() };
    let bend = |item: &ReconcileItem| match item {
        ReconcileItem::Keep(keep) => ReconcileItem::Keep(Keep { epoch: Epoch(1), ..keep.clone() }),
        other => other.clone(),
    };
    Verb::Reconcile { items: items.iter().map(bend).collect(), own_from: *own_from }
}

fn extending_all(verb: &Verb) -> Verb {
    let Verb::Reconcile { items, own_from } = verb else { return verb.clone() };
    let extended = |item: &ReconcileItem| match item {
        ReconcileItem::Keep(keep) => {
            ReconcileItem::Keep(Keep { extend_ms: Some(keep.terms.lease_ms), ..keep.clone() })
        }
        item => item.clone(),
    };
    Verb::Reconcile { items: items.iter().map(extended).collect(), own_from: *own_from }
}

/// The answer that a session hopes for.
fn believed(now_us: u64, item: &ReconcileItem) -> Reconciled {
    match item {
        ReconcileItem::Keep(keep) => {
            let now_ms = now_us / 1_000;
            let end_at_ms = keep.extend_ms.map_or(keep.end_at_ms, |length_ms| now_ms + length_ms);
            let ttl_ms = end_at_ms.saturating_sub(now_ms);
            Reconciled::Held(Grant {
                id: keep.id,
                slots: keep.slots.clone(),
                token: keep.token,
                end_at_ms,
                ttl_ms,
            })
        }
        ReconcileItem::Want { ticket: Some(ticket), .. } => Reconciled::InLine { ticket: *ticket },
        ReconcileItem::Want { ticket: None, .. } => Reconciled::Unknown,
        ReconcileItem::Drop(_) => Reconciled::Dropped { held: false },
    }
}

/// For each request that is asked about again and has been granted: the same once more, room or not.
fn second_asks(verb: &Verb, reply: &Reply) -> Option<Verb> {
    let (Verb::Reconcile { items, .. }, Answers::Reconcile { reconciled: answers, .. }) =
        (verb, &reply.answers)
    else {
        return None;
    };
    let again = items.iter().zip(answers).filter_map(|(item, answer)| match (item, answer) {
        (ReconcileItem::Want { id, terms, .. }, Reconciled::Held(_)) => {
            let id = LeaseId { number: id.number + (1 << 40), ..*id };
            let terms = Terms { limit: terms.limit + terms.weight, ..(**terms).clone() };
            Some(Ask { id, terms: terms.into(), wait: false })
        }
        _ => None,
    });
    let again: Vec<Ask> = again.collect();
    (!again.is_empty()).then_some(Verb::Acquire(again))
}

fn pretend_extended(verb: &Verb, reply: &mut Reply, revival: &Verb, revived: &Reply) {
    let (Verb::Renew(renew), Answers::Renew { leases, .. }) = (verb, &mut reply.answers) else { return };
    let (Verb::Reconcile { items, .. }, Answers::Reconcile { reconciled, .. }) = (revival, &revived.answers)
    else {
        return;
    };
    for (item, answer) in items.iter().zip(reconciled) {
        if let (ReconcileItem::Keep(keep), Reconciled::Held(grant)) = (item, answer)
            && let Some(at) = renew.leases.iter().position(|lease| lease.id == keep.id)
        {
            leases[at] = Renewed::Extended { end_at_ms: grant.end_at_ms };
        }
    }
}
