//! A lease from grant to loss: who gets it, how long it is good for by the local clock (R10), and when it's lost.

use std::time::Duration;

use super::acquisition::{Held, State};
use super::{Check, Event, Granted, Output, Session};
use crate::error::Loss;
use crate::lease::Epoch;
use crate::moment::Moment;
use crate::protocol::Grant;

/// A grant in its claim window that is still held after this long is confirmed to its full length (R20).
const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// A requester isn't told of a lease that is good for less than this, or a quarter of it if that's shorter.
const LEAST_REST: Duration = Duration::from_millis(500);

/// So many late grants in a row are settled with Redis before the request fails.
const MOST_LATE_GRANTS: u32 = 2;

/// So much of a lease isn't relied on: what the clocks may differ by, and the way of the news to the holder.
fn margin(length: Duration) -> Duration {
    (length / 50).clamp(Duration::from_millis(10), Duration::from_secs(1))
}

/// How long a lease of this length must be good for when its requester hears of it.
fn least_rest(length: Duration) -> Duration {
    LEAST_REST.min(length / 4)
}

/// When a grant in its claim window is confirmed: by half of what is left at the latest, at once where that is little.
fn confirm_at(now: Moment, ttl: Duration, valid_until: Moment) -> Moment {
    let left = valid_until.saturating_since(now);
    if left < ttl / 4 { now } else { now + CONFIRM_AFTER.min(ttl / 3).min(left / 2) }
}

impl Held {
    /// Redis confirmed the lease for `length` from when the call left.
    fn extend(&mut self, end_at_ms: u64, length: Duration, sent_at: Moment, renew: bool) {
        self.end_at_ms = end_at_ms;
        let valid_until = sent_at + length.saturating_sub(margin(length));
        self.valid_until = self.ends_by.map_or(valid_until, |until| valid_until.min(until));
        let last = self.ends_by.is_some_and(|until| sent_at + length >= until);
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
        let checked = self.settings.checked;
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        let line = acquisition.line;
        if !acquisition.wanted {
            return self.give_back(number, None);
        }
        let (ttl, lease) = (Duration::from_millis(grant.ttl_ms), acquisition.lease());
        let valid_until = base + ttl.saturating_sub(margin(ttl));
        if now + least_rest(lease) > valid_until {
            return self.take_late(now, number, base);
        }
        acquisition.late_grants = 0;
        let renews = acquisition.renew && acquisition.hold.is_none_or(|hold| lease < hold);
        let renew_at = match ttl < lease {
            true => Some(confirm_at(now, ttl, valid_until)),
            false => renews.then(|| base + lease / 3),
        };
        let token = grant.token;
        let held = Held {
            since: now,
            slots: grant.slots,
            token,
            epoch,
            end_at_ms: grant.end_at_ms,
            valid_until,
            renew_at,
            renewing: false,
            confirmed: ttl >= lease,
            ends_by: None,
        };
        let wake_at = held.wake_at();
        acquisition.state = State::Held(held);
        let side = self.line_mut(line);
        side.waiting.remove(&number);
        side.held.insert(number);
        self.wake_for_lease(line, wake_at);
        match checked {
            true => {
                self.outputs.push_back(Output::Check(Check { id: grant.id, token }));
                self.arm(now, number);
            }
            false => self.hand_out(now, number),
        }
    }

    /// Its requester hears of the lease.
    fn hand_out(&mut self, now: Moment, number: u64) {
        let id = self.lease_id(number);
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        let lease = acquisition.lease();
        let State::Held(held) = &mut acquisition.state else { return };
        held.since = now;
        let longest = acquisition.hold.or((!acquisition.renew).then_some(lease));
        held.ends_by = longest.map(|longest| now + longest);
        let waited = now.saturating_since(acquisition.asked_at);
        let (slots, token, deadline) = (held.slots.clone(), held.token, held.valid_until);
        let lease = Granted { id, slots, token, deadline, waited, stood_in: false };
        acquisition.wanted = false;
        match acquisition.queued {
            true => self.stats.granted_after_waiting += 1,
            false => self.stats.granted_at_once += 1,
        }
        self.stats.waits.record(waited);
        let (client, tag) = (acquisition.client, acquisition.tag);
        self.disarm(number);
        self.tell(Event::Granted { client, tag, lease });
    }

    /// Whether enough replicas have a grant is found out; the error says in words why they haven't.
    pub fn handle_checked(&mut self, now: Moment, check: Check, result: &Result<(), String>) {
        let number = check.id.number;
        let Some(acquisition) = self.acquisitions.get(&number).filter(|a| a.wanted) else { return };
        let State::Held(held) = &acquisition.state else { return };
        if held.token != check.token {
            return;
        }
        let enough = now + least_rest(acquisition.lease()) <= held.valid_until;
        match result {
            Ok(()) if enough => self.hand_out(now, number),
            Ok(()) => self.return_unheard(now, number, "the lease was nearly over when they had it".into()),
            Err(cause) => self.return_unheard(now, number, cause.clone()),
        }
    }

    /// The grant is given back before its requester has heard of it: it's asked again while its time lasts.
    fn return_unheard(&mut self, now: Moment, number: u64, why: String) {
        let why = format!("too few replicas: {why}");
        let Some(acquisition) = self.acquisitions.get(&number) else { return };
        if acquisition.give_up_at.is_none_or(|at| now < at) {
            let anew = acquisition.anew(why);
            self.disarm(number);
            self.give_back(number, None);
            self.enlist(anew);
        } else {
            self.stats.refused += 1;
            let error = Some(self.failure(why, false, true));
            self.unwant(number, error);
        }
    }

    /// The grant came so late that it's nearly over, or may be. Redis says once more what holds now, before anybody is
    /// told (R10). Where that comes late again and again, the lease is shorter than the way to Redis and back.
    fn take_late(&mut self, now: Moment, number: u64, base: Moment) {
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        acquisition.late_grants += 1;
        if acquisition.late_grants <= MOST_LATE_GRANTS {
            self.doubt(number);
            return self.arm(now, number);
        }
        let (client, tag, lease) = (acquisition.client, acquisition.tag, acquisition.lease());
        let took = now.saturating_since(base);
        let why = format!(
            "its answer took {took:?}, and a lease lasts {lease:?}: limitExpire is too short for this network"
        );
        let error = self.failure(why, false, true);
        self.stats.refused += 1;
        self.disarm(number);
        self.give_back(number, None);
        self.tell(Event::Failed { client, tag, error: Some(error) });
    }

    /// A grant may have ended since, or isn't the last one of its id: Redis says what holds now, before anybody is told
    /// (R10).
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
        held.confirmed = true;
        held.extend(end_at_ms, length, sent_at, renew);
        let (deadline, wake_at) = (held.valid_until, held.wake_at());
        let told = !acquisition.wanted;
        self.wake_for_lease(line, wake_at);
        if told {
            self.tell(Event::Renewed { client, tag, deadline });
        }
    }

    /// The lease is over for its holder.
    pub(super) fn lose(&mut self, now: Moment, number: u64, why: Loss) {
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        let State::Held(held) = &acquisition.state else { return };
        if acquisition.wanted {
            return self.return_unheard(now, number, format!("the lease was lost before they had it: {why}"));
        }
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
