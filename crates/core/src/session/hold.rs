//! A lease from grant to loss: who gets it, how long it is good for by the local clock (R10), and when it's lost.

use std::time::Duration;

use super::acquisition::{Held, State};
use super::{Event, Granted, Session};
use crate::error::Loss;
use crate::lease::Epoch;
use crate::moment::Moment;
use crate::protocol::Grant;

/// A grant in its claim window that is still held after this long is confirmed to its full length (R20).
const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// So much of a lease isn't relied on: what the clocks may differ by, and the way of the news to the holder.
fn margin(length: Duration) -> Duration {
    (length / 50).clamp(Duration::from_millis(10), Duration::from_secs(1))
}

impl Held {
    /// Redis confirmed the lease for `length` from when the call left.
    fn extend(&mut self, end_at_ms: u64, length: Duration, sent_at: Moment, renew: bool) {
        self.end_at_ms = end_at_ms;
        let valid_until = sent_at + length.saturating_sub(margin(length));
        // Reconcile extends to the full length, whatever is left of the longest hold.
        self.valid_until = self.hold_until.map_or(valid_until, |until| valid_until.min(until));
        let last = self.hold_until.is_some_and(|until| sent_at + length >= until);
        self.renew_at = (renew && !last).then(|| sent_at + length / 3);
    }

    fn wake_at(&self) -> Moment {
        self.renew_at.map_or(self.valid_until, |at| at.min(self.valid_until))
    }
}

impl Session {
    /// A grant: its requester gets it, unless it has given up. `base` is when the call left that proves its length.
    pub(super) fn accept(&mut self, now: Moment, grant: Grant, epoch: Epoch, base: Moment) {
        let number = grant.id.number;
        let id = self.lease_id(number);
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        let line = acquisition.line;
        if !acquisition.wanted {
            return self.give_back(number, None);
        }
        let (ttl, lease) = (Duration::from_millis(grant.ttl_ms), acquisition.lease());
        let valid_until = base + ttl.saturating_sub(margin(ttl));
        if now >= valid_until {
            return self.doubt(number);
        }
        let renews = acquisition.renew && acquisition.hold.is_none_or(|hold| lease < hold);
        let renew_at = match ttl < lease {
            true => Some(now + CONFIRM_AFTER.min(ttl / 3)),
            false => renews.then(|| base + lease / 3),
        };
        let hold_until = acquisition.hold.map(|hold| now + hold);
        let (slots, token, end_at_ms) = (grant.slots, grant.token, grant.end_at_ms);
        let waited = now.saturating_since(acquisition.asked_at);
        let granted =
            Granted { id, slots: slots.clone(), token, deadline: valid_until, waited, stood_in: false };
        let held = Held {
            since: now,
            slots,
            token,
            epoch,
            end_at_ms,
            valid_until,
            renew_at,
            renewing: false,
            hold_until,
        };
        let wake_at = held.wake_at();
        acquisition.wanted = false;
        acquisition.state = State::Held(held);
        match acquisition.queued {
            true => self.stats.granted_after_waiting += 1,
            false => self.stats.granted_at_once += 1,
        }
        self.stats.waits.record(waited);
        let (client, tag) = (acquisition.client, acquisition.tag);
        let side = self.line_mut(line);
        side.waiting.remove(&number);
        side.held.insert(number);
        self.disarm(number);
        self.wake_for_lease(line, wake_at);
        self.tell(Event::Granted { client, tag, lease: granted });
    }

    /// A grant that lay in the socket for so long that it may have ended since, or isn't the last one of its id: Redis
    /// says what holds now, before anybody is told (R10).
    pub(super) fn doubt(&mut self, number: u64) {
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        if !matches!(acquisition.state, State::InLine { .. }) {
            acquisition.state = State::Unclear;
        }
        let line = acquisition.line;
        self.line_mut(line).unsettled.push(number);
        self.soil(line);
    }

    /// Redis confirmed a held lease for `length` from `sent_at`.
    pub(super) fn extend(&mut self, number: u64, end_at_ms: u64, length: Duration, sent_at: Moment) {
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        let (client, tag, line, renew) =
            (acquisition.client, acquisition.tag, acquisition.line, acquisition.renew);
        let State::Held(held) = &mut acquisition.state else { return };
        held.renewing = false;
        held.extend(end_at_ms, length, sent_at, renew);
        let (deadline, wake_at) = (held.valid_until, held.wake_at());
        self.wake_for_lease(line, wake_at);
        self.tell(Event::Renewed { client, tag, deadline });
    }

    /// The lease is over for its holder.
    pub(super) fn lose(&mut self, number: u64, why: Loss) {
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        let State::Held(held) = &acquisition.state else { return };
        let (client, tag, line, slot) =
            (acquisition.client, acquisition.tag, acquisition.line, held.slots[0]);
        acquisition.state = State::Lost;
        let side = self.line_mut(line);
        side.held.remove(&number);
        let key = side.key.clone();
        self.stats.lost += 1;
        self.tell(Event::Lost { client, tag, key, slot, why });
    }
}
