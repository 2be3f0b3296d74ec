//! The ledger: what the server says, call by call, and what it may never say.
//!
//! Tokens grow with every grant of a key (R15); what was given back never comes back in the same life of the state
//! (R14); among equals the first to come is the first to be granted (R3, R4). The last is promised among live,
//! listening sessions only, so it's judged in worlds without faults.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use concurrency_limit::lease::{Epoch, FencingToken, Key, LeaseId, Ticket};
use concurrency_limit::protocol::{
    Acquired, Answers, Ask, Call, CallError, Caller, Grant, Left, Push, ReconcileItem, Reconciled, Renewed,
    Reply, Target, Terms, Verb, Waiting,
};

#[derive(Debug)]
pub(crate) struct Ledger {
    pages: HashMap<Key, Page>,
    judges_order: bool,
}

#[derive(Debug, Default)]
struct Page {
    went_back: bool,
    epoch: Option<Epoch>,
    last: FencingToken,
    stated: HashMap<LeaseId, FencingToken>,
    given_back: HashSet<LeaseId>,
    line: Vec<Place>,
    names: HashMap<LeaseId, Arc<str>>,
}

/// Somebody in line, in the order of joining.
#[derive(Debug, Clone)]
struct Place {
    id: LeaseId,
    joined: Ticket,
    terms: (u32, u32, i8),
    named: bool,
}

impl Ledger {
    pub(crate) fn new(judges_order: bool) -> Self {
        Self { pages: HashMap::new(), judges_order }
    }

    /// The server has become an earlier one: what was given back since may be there again.
    pub(crate) fn go_back(&mut self) {
        for page in self.pages.values_mut() {
            page.given_back.clear();
            page.went_back = true;
        }
    }

    /// A call was carried out, or not. The names that went to somebody by it, each with the token that has it now.
    pub(crate) fn hear(
        &mut self,
        caller: &Caller,
        call: &Call,
        result: &Result<Reply, CallError>,
        pushes: &[&Push],
    ) -> Vec<(Arc<str>, FencingToken)> {
        let Ok(reply) = result else { return Vec::new() };
        let page = self.pages.entry(call.key.clone()).or_default();
        if page.epoch.replace(reply.epoch) != Some(reply.epoch) {
            page.given_back.clear();
        }
        let pushed = pushes.iter().flat_map(|push| push.news.grants());
        let grants: Vec<&Grant> = pushed.chain(&reply.handed).chain(grants_in(&reply.answers)).collect();
        page.tokens_grow(&made_by(reply, pushes));
        page.nobody_comes_back(caller, &call.verb, &reply.answers, &grants);
        if self.judges_order {
            page.first_come_first_granted(&call.verb, &reply.answers, &grants);
        }
        page.learn_names(&call.verb);
        let name = |grant: &&Grant| Some((Arc::clone(page.names.get(&grant.id)?), grant.token));
        grants.iter().filter_map(name).collect()
    }
}

impl Page {
    fn tokens_grow(&mut self, grants: &[&Grant]) {
        let fresh = |grant: &&&Grant| self.stated.get(&grant.id) != Some(&grant.token);
        let mut fresh: Vec<&Grant> = grants.iter().filter(fresh).copied().collect();
        fresh.sort_by_key(|grant| grant.token);
        for grant in fresh {
            assert!(grant.token > self.last, "token {:?} after {:?}: {grant:?}", grant.token, self.last);
            self.last = grant.token;
            self.stated.insert(grant.id, grant.token);
        }
    }

    /// A settling session may re-enter what an old snapshot has forgotten (R30); nothing else revives a lease.
    fn nobody_comes_back(&mut self, caller: &Caller, verb: &Verb, answers: &Answers, grants: &[&Grant]) {
        let alive = grants.iter().map(|grant| grant.id).chain(extended(verb, answers));
        for id in alive {
            if caller.settling {
                self.given_back.remove(&id);
            }
            assert!(!self.given_back.contains(&id), "{id} was given back and was revived");
        }
        // What an operator releases just after the state went back may come back once (docs/operations.md).
        if !self.went_back {
            self.given_back.extend(given_back(verb, answers));
        }
    }

    fn first_come_first_granted(&mut self, verb: &Verb, answers: &Answers, grants: &[&Grant]) {
        match verb {
            Verb::Acquire(asks) => {
                // Whoever isn't put in line came after those who were there.
                let last = self.line.iter().map(|place| place.joined).max().unwrap_or_default();
                for (ask, ticket) in asks.iter().zip(answered(answers)) {
                    let is_bounded = ask.terms.max_waiting.is_some();
                    self.join(ask.id, &ask.terms, ticket.unwrap_or(Ticket(last.0 + 1)), is_bounded);
                }
            }
            Verb::Join(join) => join.items.iter().zip(answered(answers)).for_each(|(ask, ticket)| {
                self.join(ask.id, &ask.terms, ticket.unwrap_or(ask.ticket), false);
            }),
            Verb::Leave(ids) => self.line.retain(|place| !ids.contains(&place.id)),
            Verb::Reconcile { items, .. } => {
                let drops = |id| items.contains(&ReconcileItem::Drop(id));
                self.line.retain(|place| !drops(place.id));
            }
            _ => {}
        }
        let granted: HashSet<LeaseId> = grants.iter().map(|grant| grant.id).collect();
        let (served, rest) =
            std::mem::take(&mut self.line).into_iter().partition(|p: &Place| granted.contains(&p.id));
        self.line = rest;
        for place in served.iter().filter(|place| !place.named) {
            let earlier =
                |other: &&Place| !other.named && other.terms == place.terms && other.joined < place.joined;
            let overtaken = self.line.iter().find(earlier);
            assert!(overtaken.is_none(), "{place:?} was granted before {overtaken:?}");
        }
        // Those that came without waiting and weren't granted are not in line.
        if let Verb::Acquire(asks) = verb {
            let went = |id| asks.iter().any(|ask| ask.id == id && !ask.wait);
            self.line.retain(|place| !went(place.id));
        }
    }

    fn learn_names(&mut self, verb: &Verb) {
        let Verb::Acquire(asks) = verb else { return };
        let name = |ask: &Ask| Some((ask.id, ask.terms.holder.clone()?));
        self.names.extend(asks.iter().filter_map(name));
    }

    fn join(&mut self, id: LeaseId, terms: &Terms, joined: Ticket, is_bounded: bool) {
        if self.line.iter().any(|place| place.id == id) {
            return;
        }
        // One with a bound of its own may have been refused at the door.
        let named = terms.holder.is_some() || is_bounded;
        let terms = (terms.limit, terms.weight, terms.priority);
        self.line.push(Place { id, joined, terms, named });
    }
}

/// The tickets of those that joined, for each item.
fn answered(answers: &Answers) -> impl Iterator<Item = Option<Ticket>> {
    let answers = if let Answers::Acquire(answers) = answers { answers.as_slice() } else { &[] };
    answers.iter().map(|answer| match answer {
        Acquired::Queued { ticket, .. } => Some(*ticket),
        _ => None,
    })
}

/// The grants that this very call made, as far as it says so. (Of those made to sessions that don't listen, only a
/// later reply speaks.)
fn made_by<'a>(reply: &'a Reply, pushes: &[&'a Push]) -> Vec<&'a Grant> {
    let pushed = pushes.iter().flat_map(|push| push.news.grants()).chain(&reply.handed);
    match &reply.answers {
        answers @ Answers::Acquire(_) => pushed.chain(grants_in(answers)).collect(),
        _ => pushed.collect(),
    }
}

fn grants_in(answers: &Answers) -> Vec<&Grant> {
    let mut grants = Vec::new();
    match answers {
        Answers::Acquire(items) => grants.extend(items.iter().filter_map(|item| match item {
            Acquired::Granted(grant) => Some(grant),
            _ => None,
        })),
        Answers::Renew { waiters, .. } => grants.extend(waiters.iter().filter_map(|item| match item {
            Waiting::Granted(grant) => Some(grant),
            _ => None,
        })),
        Answers::Leave { left, .. } => grants.extend(left.iter().filter_map(|item| match item {
            Left::Granted(grant) => Some(grant),
            Left::Left => None,
        })),
        Answers::Reconcile { reconciled, .. } => {
            grants.extend(reconciled.iter().filter_map(|item| match item {
                Reconciled::Held(grant) => Some(grant),
                _ => None,
            }))
        }
        Answers::Release(_) | Answers::Inspect(_) | Answers::Clean(_) | Answers::Note(_) => {}
    }
    grants
}

fn extended(verb: &Verb, answers: &Answers) -> Vec<LeaseId> {
    let (Verb::Renew(renew), Answers::Renew { leases, .. }) = (verb, answers) else { return Vec::new() };
    let pairs = renew.leases.iter().zip(leases);
    pairs
        .filter(|(_, answer)| matches!(answer, Renewed::Extended { .. }))
        .map(|(lease, _)| lease.id)
        .collect()
}

fn given_back(verb: &Verb, answers: &Answers) -> Vec<LeaseId> {
    match (verb, answers) {
        (Verb::Release(targets), Answers::Release(released)) => {
            let done = targets.iter().zip(released).filter(|(_, done)| **done);
            done.filter_map(|(target, _)| match target {
                Target::Lease(id) | Target::Grant(id, _) => Some(*id),
                Target::Holder(_) => None,
            })
            .collect()
        }
        (Verb::Reconcile { items, .. }, Answers::Reconcile { reconciled, .. }) => {
            let dropped =
                items.iter().zip(reconciled).filter(|(_, s)| **s == Reconciled::Dropped { held: true });
            dropped
                .filter_map(|(item, _)| match item {
                    ReconcileItem::Drop(id) => Some(*id),
                    _ => None,
                })
                .collect()
        }
        _ => Vec::new(),
    }
}
