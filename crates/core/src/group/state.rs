//! The state of a group, and the steps that all calls are made of: grant, take over, join, leave.
//!
//! They keep leases, line and sessions consistent; the calls decide when a step is allowed. Tokens and tickets grow
//! here (R15).

use std::sync::Arc;

use super::introductions::Introductions;
use super::leases::{Lease, Leases};
use super::line::{Line, Waiter};
use super::note::Sole;
use super::sessions::Sessions;
use crate::lease::{Epoch, FencingToken, LeaseId, SessionId, Ticket};
use crate::protocol::{Caller, Grant, Terms};

/// How long the state outlives the latest end or deadline.
const RESERVE_MS: u64 = 300_000;

/// The time of a call, read once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) us: u64,
    pub(super) ms: u64,
}

impl Now {
    pub(super) fn at_us(us: u64) -> Self {
        Self { us, ms: us / 1_000 }
    }
}

/// All state under one key.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) epoch: Epoch,
    pub(super) leases: Leases,
    pub(super) line: Line,
    pub(super) sessions: Sessions,
    pub(super) introductions: Introductions,
    pub(super) last_token: FencingToken,
    pub(super) last_ticket: Ticket,
    pub(super) limit_seen: u32,
    pub(super) sole: Sole,
    latest_ms: u64,
}

impl State {
    pub(super) fn new(epoch: Epoch, now: Now) -> Self {
        Self {
            epoch,
            leases: Leases::default(),
            line: Line::default(),
            sessions: Sessions::default(),
            introductions: Introductions::default(),
            last_token: FencingToken::default(),
            last_ticket: Ticket::default(),
            limit_seen: 0,
            sole: Sole::default(),
            latest_ms: now.ms,
        }
    }

    pub(super) fn expires_at_ms(&self) -> u64 {
        self.latest_ms.saturating_add(RESERVE_MS)
    }

    /// The state must last at least until then (R8).
    pub(super) fn outlive(&mut self, at_ms: u64) {
        self.latest_ms = self.latest_ms.max(at_ms);
    }

    pub(super) fn has_room(&self, terms: &Terms) -> bool {
        self.leases.held() + u64::from(terms.weight) <= u64::from(terms.limit)
    }

    /// A new lease on the smallest free slots.
    pub(super) fn grant(&mut self, now: Now, id: LeaseId, terms: &Arc<Terms>, length_ms: u64) -> Grant {
        let (token, end_at_ms) = (self.next_token(now), now.ms.saturating_add(length_ms));
        self.outlive(end_at_ms);
        self.leases.add(id, terms.clone(), token, end_at_ms).as_grant(id, now.ms)
    }

    /// The lease of a name goes to `id` (R16); the former lease is returned too.
    pub(super) fn take_over(
        &mut self,
        now: Now,
        former: LeaseId,
        id: LeaseId,
        terms: &Arc<Terms>,
        length_ms: u64,
    ) -> Option<(Lease, Grant)> {
        let (token, end_at_ms) = (self.next_token(now), now.ms.saturating_add(length_ms));
        self.outlive(end_at_ms);
        let (before, lease) = self.leases.take_over(former, id, terms.clone(), token, end_at_ms)?;
        Some((before, lease.as_grant(id, now.ms)))
    }

    /// Extends a lease to its length from now, if it exists.
    pub(super) fn extend(&mut self, now: Now, id: LeaseId, length_ms: u64) -> Option<&Lease> {
        self.end_at(id, now.ms.saturating_add(length_ms))
    }

    /// Extends a lease until then, if it exists.
    pub(super) fn end_at(&mut self, id: LeaseId, end_at_ms: u64) -> Option<&Lease> {
        self.latest_ms = self.latest_ms.max(end_at_ms);
        self.leases.extend(id, end_at_ms)
    }

    /// The caller's request joins the line with the next ticket.
    pub(super) fn join(&mut self, now: Now, caller: &Caller, id: LeaseId, terms: &Arc<Terms>) -> Ticket {
        let ticket = self.next_ticket(now);
        self.join_at(now, caller, id, terms, ticket);
        ticket
    }

    /// The caller's request joins the line with a ticket that it has.
    pub(super) fn join_at(
        &mut self,
        now: Now,
        caller: &Caller,
        id: LeaseId,
        terms: &Arc<Terms>,
        ticket: Ticket,
    ) {
        self.last_ticket = self.last_ticket.max(ticket);
        self.line.join(id, Waiter { ticket, terms: terms.clone() });
        let deadline_ms = self.sessions.join(caller, now.ms);
        self.outlive(deadline_ms);
    }

    /// A waiter leaves the line, granted or not.
    pub(super) fn leave(&mut self, now: Now, id: LeaseId) -> bool {
        let left = self.line.leave(id).is_some();
        if left {
            self.sessions.leave(id.session, now.ms);
        }
        left
    }

    pub(super) fn is_live(&self, now: Now, session: SessionId) -> bool {
        self.sessions.is_live(session, now.ms)
    }

    /// How long until the earliest lease ends (R9).
    pub(super) fn next_end_in_ms(&self, now: Now) -> Option<u64> {
        self.leases.first_to_end().map(|(end_at_ms, _)| end_at_ms.saturating_sub(now.ms))
    }

    /// The ticket of the next request that joins.
    pub(super) fn next_ticket(&self, now: Now) -> Ticket {
        Ticket(now.us.max(self.last_ticket.0.saturating_add(1)))
    }

    pub(super) fn next_token(&mut self, now: Now) -> FencingToken {
        self.last_token = FencingToken(now.us.max(self.last_token.0.saturating_add(1)));
        self.last_token
    }
}
