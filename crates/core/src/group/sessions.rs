//! The sessions that wait in a group or have reconciled with it.
//!
//! A record is valid while its session has waiters in line, or until its guard (R12); after that it is ignored and
//! removed. Whether a session is live is decided here alone (R18, R19).

use std::collections::{HashMap, VecDeque};

use crate::lease::SessionId;
use crate::protocol::Caller;

/// How long a reconciled connection number is kept without a waiter in line.
const GUARD_MS: u64 = 60_000;

/// One session, as the group knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    pub(super) deadline_ms: u64,
    pub(super) connection: u64,
    pub(super) listens: bool,
    pub(super) count: u64,
    guard_ms: u64,
}

impl Record {
    pub(super) fn counts(&self, now_ms: u64) -> bool {
        self.count > 0 || self.guard_ms > now_ms
    }
}

/// All sessions of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions {
    records: HashMap<SessionId, Record>,
    /// Guards in the order in which they were set, so that a record whose guard has passed is found without a scan.
    guards: VecDeque<(u64, SessionId)>,
}

impl Sessions {
    /// Whether a later connection of the caller's session has reconciled already.
    pub(super) fn find_stale(&self, caller: &Caller, now_ms: u64) -> bool {
        let record = self.records.get(&caller.session);
        record.is_some_and(|record| record.counts(now_ms) && record.connection > caller.connection)
    }

    pub(super) fn is_live(&self, session: SessionId, now_ms: u64) -> bool {
        self.records.get(&session).is_some_and(|record| record.deadline_ms > now_ms)
    }

    pub(super) fn listens(&self, session: SessionId) -> bool {
        self.records.get(&session).is_some_and(|record| record.listens)
    }

    /// How many waiters the session has in line.
    pub(super) fn count(&self, session: SessionId) -> u64 {
        self.records.get(&session).map_or(0, |record| record.count)
    }

    /// The caller has shown that it is live. Its new deadline, if it has a record.
    pub(super) fn keep_alive(&mut self, caller: &Caller, now_ms: u64) -> Option<u64> {
        let record = self.records.get_mut(&caller.session)?;
        record.deadline_ms = now_ms.saturating_add(caller.keep_alive_ms);
        record.listens = caller.listens;
        Some(record.deadline_ms)
    }

    /// One waiter of the caller has joined the line. The caller's new deadline.
    pub(super) fn join(&mut self, caller: &Caller, now_ms: u64) -> u64 {
        let record = self.records.entry(caller.session).or_default();
        record.deadline_ms = now_ms.saturating_add(caller.keep_alive_ms);
        record.listens = caller.listens;
        record.connection = caller.connection;
        record.count += 1;
        record.deadline_ms
    }

    /// One waiter of the session has left the line, or was granted.
    pub(super) fn leave(&mut self, session: SessionId, now_ms: u64) {
        if let Some(record) = self.records.get_mut(&session) {
            record.count = record.count.saturating_sub(1);
            if !record.counts(now_ms) {
                self.records.remove(&session);
            }
        }
    }

    /// The caller reconciles: its connection number is stored and guarded. The latest of what was set.
    pub(super) fn reconcile(&mut self, caller: &Caller, now_ms: u64) -> u64 {
        let guard_ms = now_ms.saturating_add(GUARD_MS);
        let record = self.records.entry(caller.session).or_default();
        record.connection = caller.connection;
        record.deadline_ms = now_ms.saturating_add(caller.keep_alive_ms);
        record.listens = caller.listens;
        record.guard_ms = guard_ms;
        let latest = guard_ms.max(record.deadline_ms);
        self.guards.push_back((guard_ms, caller.session));
        latest
    }

    /// Nobody received what was published to this session.
    pub(super) fn lose(&mut self, session: SessionId) {
        if let Some(record) = self.records.get_mut(&session) {
            record.deadline_ms = 0;
            record.listens = false;
        }
    }

    /// Removes records whose guard has passed.
    pub(super) fn forget(&mut self, now_ms: u64) {
        while self.guards.front().is_some_and(|(guard_ms, _)| *guard_ms <= now_ms) {
            let passed = self.guards.pop_front().map(|(_, session)| session);
            if let Some(session) = passed
                && self.records.get(&session).is_some_and(|record| !record.counts(now_ms))
            {
                self.records.remove(&session);
            }
        }
    }

    /// The valid records, in no order.
    pub(super) fn counting(&self, now_ms: u64) -> impl Iterator<Item = (SessionId, &Record)> {
        self.records.iter().filter(move |(_, record)| record.counts(now_ms)).map(|(id, record)| (*id, record))
    }
}
