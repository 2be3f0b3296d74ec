//! A group seen from outside: the pages of inspect, and a snapshot that must be equal in all implementations.
//! Read-only.

use std::sync::Arc;

use super::by_text::ByText;
use super::leases::Lease;
use super::line::Waiter;
use super::state::{Now, State};
use crate::lease::{Epoch, FencingToken, Identity, LeaseId, SessionId, Slot, Ticket};
use crate::protocol::{HolderView, MAX_TOUCHED, Page, Picture, WaiterView};

/// The state of a group, which must be equal in all implementations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// `None` without state.
    pub epoch: Option<Epoch>,
    /// Slots held, ended leases included.
    pub held: u64,
    /// The limit last asked with.
    pub limit: u32,
    /// The last fencing token.
    pub token: FencingToken,
    /// The last ticket.
    pub ticket: Ticket,
    /// All leases, by id.
    pub leases: Vec<LeaseSnapshot>,
    /// All waiters, by limit, priority, ticket.
    pub waiters: Vec<WaiterSnapshot>,
    /// The sessions that have waiters in line or whose guard hasn't passed, by id.
    pub sessions: Vec<SessionSnapshot>,
    /// Introductions and their ends, by session.
    pub introductions: Vec<(SessionId, u64, Arc<Identity>)>,
    /// Its note, or the last one that it had.
    pub note: Option<NoteSnapshot>,
    /// When a note was wanted last, and for how long none was written from then on.
    pub wanted_ms: u64,
    /// The latter.
    pub cool_ms: u64,
}

/// A note in a [`Snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoteSnapshot {
    /// Whose it is.
    pub session: SessionId,
    /// The limit of its terms.
    pub limit: u32,
    /// Its number.
    pub number: FencingToken,
    /// The last ticket when it was written.
    pub begun: Ticket,
    /// When it was last confirmed.
    pub confirmed_ms: u64,
    /// Whether its session may have slots that nobody holds.
    pub keeps: bool,
    /// The ticket that ended it, and whether its session knows.
    pub wanted: Option<(Ticket, bool)>,
}

/// A lease in a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSnapshot {
    /// The lease.
    pub id: LeaseId,
    /// Its end.
    pub end_at_ms: u64,
    /// Its token.
    pub token: FencingToken,
    /// Its slots, ascending.
    pub slots: Vec<Slot>,
    /// The limit it was granted with.
    pub limit: u32,
    /// Its name.
    pub holder: Option<Arc<str>>,
    /// Its label.
    pub label: Option<Arc<str>>,
}

/// A waiter in a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaiterSnapshot {
    /// The request.
    pub id: LeaseId,
    /// Its place.
    pub ticket: Ticket,
    /// The limit it came with.
    pub limit: u32,
    /// Slots it wants.
    pub weight: u32,
    /// Its priority.
    pub priority: i8,
    /// The lease it wants, in ms.
    pub lease_ms: u64,
    /// Its claim window, in ms.
    pub claim_ms: u64,
    /// Its name.
    pub holder: Option<Arc<str>>,
    /// Its label.
    pub label: Option<Arc<str>>,
}

/// A session in a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSnapshot {
    /// The session.
    pub id: SessionId,
    /// Until when its waiters stay in line.
    pub deadline_ms: u64,
    /// Its connection number.
    pub connection: u64,
    /// Whether it listens.
    pub listens: bool,
    /// How many waiters it has in line.
    pub count: u64,
}

impl State {
    /// One page. A lease is shown whole, on the page of its lowest slot; one that has ended isn't.
    pub(super) fn inspect(&self, now: Now, page: Page) -> Picture {
        let (holders, more_holders) = self.holders_on(now, page.after_slot);
        let shown = usize::try_from(page.waiters_shown).unwrap_or(usize::MAX);
        let waiters: Vec<WaiterView> = self
            .line
            .in_order()
            .skip(shown)
            .take(MAX_TOUCHED)
            .map(|(id, waiter)| self.view(now, id, waiter))
            .collect();
        let waiters_shown = page.waiters_shown.saturating_add(waiters.len() as u64);
        let after_slot = holders.last().map_or(page.after_slot, |last| last.slots[0]);
        let more = more_holders || waiters_shown < self.line.len();
        Picture {
            limit: self.limit_seen,
            held: self.leases.held_at(now.ms),
            waiting: self.line.len(),
            holders,
            waiters,
            next: more.then_some(Page { after_slot, waiters_shown }),
            now_ms: 0,
        }
    }

    /// The holders of the page after this slot, at least one if there is any, and whether more come.
    fn holders_on(&self, now: Now, after_slot: Slot) -> (Vec<HolderView>, bool) {
        let (mut holders, mut slots_shown) = (Vec::new(), 0);
        let live = |(_, lease): &(LeaseId, &Lease)| !lease.has_ended(now.ms);
        for (id, lease) in self.leases.above(after_slot).filter(live) {
            let slots = lease.slots.as_slice().to_vec();
            slots_shown += slots.len();
            if slots_shown > MAX_TOUCHED && !holders.is_empty() {
                return (holders, true);
            }
            holders.push(HolderView {
                id,
                slots,
                token: lease.token,
                ends_in_ms: lease.end_at_ms.saturating_sub(now.ms),
                holder: lease.terms.holder.clone(),
                label: lease.terms.label.clone(),
                identity: self.introductions.of(now.ms, id.session).cloned(),
            });
        }
        (holders, false)
    }

    pub(super) fn snapshot(&self, now: Now) -> Snapshot {
        let mut leases: Vec<LeaseSnapshot> =
            self.leases.above(0).map(|(id, lease)| freeze(id, lease)).collect();
        leases.sort_by_key(|lease| ByText(lease.id));
        let counting = self.sessions.counting(now.ms).map(|(id, record)| SessionSnapshot {
            id,
            deadline_ms: record.deadline_ms,
            connection: record.connection,
            listens: record.listens,
            count: record.count,
        });
        let mut sessions: Vec<SessionSnapshot> = counting.collect();
        sessions.sort_by_key(|session| session.id);
        Snapshot {
            epoch: Some(self.epoch),
            held: self.leases.held(),
            limit: self.limit_seen,
            token: self.last_token,
            ticket: self.last_ticket,
            leases,
            waiters: self.line.in_order().map(|(id, waiter)| freeze_waiter(id, waiter)).collect(),
            sessions,
            introductions: self.introductions.all(now.ms),
            note: self.sole.note.map(|note| NoteSnapshot {
                session: note.session,
                limit: note.limit,
                number: note.number,
                begun: note.begun,
                confirmed_ms: note.confirmed_ms,
                keeps: note.keeps,
                wanted: note.wanted.map(|wanted| (wanted.ticket, wanted.heard)),
            }),
            wanted_ms: self.sole.wanted_ms,
            cool_ms: self.sole.cool_ms,
        }
    }

    fn view(&self, now: Now, id: LeaseId, waiter: &Waiter) -> WaiterView {
        let terms = &waiter.terms;
        WaiterView {
            id,
            ticket: waiter.ticket,
            limit: terms.limit,
            weight: terms.weight,
            priority: terms.priority,
            holder: terms.holder.clone(),
            label: terms.label.clone(),
            identity: self.introductions.of(now.ms, id.session).cloned(),
        }
    }
}

fn freeze(id: LeaseId, lease: &Lease) -> LeaseSnapshot {
    LeaseSnapshot {
        id,
        end_at_ms: lease.end_at_ms,
        token: lease.token,
        slots: lease.slots.as_slice().to_vec(),
        limit: lease.terms.limit,
        holder: lease.terms.holder.clone(),
        label: lease.terms.label.clone(),
    }
}

fn freeze_waiter(id: LeaseId, waiter: &Waiter) -> WaiterSnapshot {
    let terms = &waiter.terms;
    WaiterSnapshot {
        id,
        ticket: waiter.ticket,
        limit: terms.limit,
        weight: terms.weight,
        priority: terms.priority,
        lease_ms: terms.lease_ms,
        claim_ms: terms.claim_ms,
        holder: terms.holder.clone(),
        label: terms.label.clone(),
    }
}
