//! The slot that Redis has for a lease: which, until when by the local verdict (R10), and when it's renewed.

use std::time::Duration;

use crate::lease::{Epoch, FencingToken, Slot};
use crate::moment::Moment;

/// So soon a slot that was passed is renewed, or after a third of what is left, so that Redis shows who has it (R36).
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// So much of a lease isn't relied on: what the clocks may differ by, and the time that the news takes to its holder.
pub(in crate::session) fn margin(length: Duration) -> Duration {
    (length / 50).clamp(Duration::from_millis(10), Duration::from_secs(1))
}

#[derive(Debug)]
pub(in crate::session) struct Held {
    /// When its holder was told.
    pub(in crate::session) since: Moment,
    pub(in crate::session) slots: Vec<Slot>,
    /// The token of its grant by Redis, and the present one: a later one, if it was passed since.
    pub(in crate::session) granted: FencingToken,
    pub(in crate::session) token: FencingToken,
    /// If Redis may not show yet who has it by a pass: when that was, and by when a renewal is to say it.
    pub(in crate::session) passed: Option<(Moment, Moment)>,
    pub(in crate::session) epoch: Epoch,
    pub(in crate::session) end_at_ms: u64,
    /// The local verdict: from here on it's lost (R10).
    pub(in crate::session) valid_until: Moment,
    pub(in crate::session) renew_at: Option<Moment>,
    /// A renew call is pending.
    pub(in crate::session) renewing: bool,
    /// Its claim window has been extended to the full length, or it never had one (R20).
    pub(in crate::session) confirmed: bool,
    /// When it ends at the latest, whatever is confirmed: after the longest hold, or after one lease if it isn't
    /// renewed.
    pub(in crate::session) ends_by: Option<Moment>,
}

impl Held {
    /// Redis confirmed the lease for `length` from when the call was sent.
    pub(in crate::session) fn extend(
        &mut self,
        end_at_ms: u64,
        length: Duration,
        sent_at: Moment,
        renew: bool,
    ) {
        self.renewing = false;
        self.confirmed = true;
        self.end_at_ms = end_at_ms;
        let valid_until = sent_at + length.saturating_sub(margin(length));
        self.valid_until = self.ends_by.map_or(valid_until, |until| valid_until.min(until));
        let last = self.ends_by.is_some_and(|until| sent_at + length >= until);
        self.renew_at = (renew && !last).then(|| sent_at + length / 3);
        self.passed = self.passed.filter(|(at, _)| *at >= sent_at);
    }

    /// It goes to the next one, by a pass.
    pub(in crate::session) fn pass(&mut self, now: Moment, token: FencingToken) {
        self.since = now;
        self.token = token;
        self.ends_by = None;
        let shown_by = now + SHOW_AFTER.min(self.valid_until.saturating_since(now) / 3);
        self.passed = Some((now, shown_by));
    }

    /// When it's to be renewed.
    pub(in crate::session) fn renew_by(&self) -> Option<Moment> {
        let shown_by = self.passed.map(|(_, shown_by)| shown_by);
        self.renew_at.into_iter().chain(shown_by).min()
    }

    /// A renewal was refused: it's tried again at this moment.
    pub(in crate::session) fn renew_again(&mut self, at: Moment) {
        self.renewing = false;
        self.renew_at = Some(at);
        self.passed = self.passed.map(|(passed_at, shown_by)| (passed_at, shown_by.max(at)));
    }

    /// When something is to be done about it: renew it, or declare it lost.
    pub(in crate::session) fn due_at(&self) -> Moment {
        self.renew_by().map_or(self.valid_until, |at| at.min(self.valid_until))
    }

    /// The same; over a connection that is down, or with a renew call pending, it can only be lost.
    pub(in crate::session) fn due_with(&self, up: bool) -> Moment {
        if up && !self.renewing { self.due_at() } else { self.valid_until }
    }
}
