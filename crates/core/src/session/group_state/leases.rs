//! A lease from grant to loss: who gets it, how long it is good for by the local clock (R10), and when it's lost.

use std::sync::Arc;
use std::time::Duration;

use super::members::{Acquisition, Held, State, margin};
use super::state::GroupState;
use crate::error::Loss;
use crate::lease::{Epoch, FencingToken};
use crate::moment::Moment;
use crate::protocol::Grant;
use crate::session::context::Context;
use crate::session::ids::AcquisitionId;
use crate::session::input::{ClientId, Holding, Request, Tag};
use crate::session::output::{Check, Event, Granted, Output};

/// A grant in its claim window that is still held after this long is confirmed to its full length (R20).
const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// A requester isn't told of a lease that is good for less than this, or a quarter of it if that's shorter.
const LEAST_REST: Duration = Duration::from_millis(500);

/// So many late grants in a row are checked with Redis before the request fails.
const MOST_LATE_GRANTS: u32 = 2;

/// How long a lease of this length must be good for when its requester hears of it.
fn least_rest(length: Duration) -> Duration {
    LEAST_REST.min(length / 4)
}

/// When a grant in its claim window is confirmed: by half of what is left at the latest, at once where that is little.
fn confirm_at(now: Moment, ttl: Duration, valid_until: Moment) -> Moment {
    let left = valid_until.saturating_since(now);
    if left < ttl / 4 { now } else { now + CONFIRM_AFTER.min(ttl / 3).min(left / 2) }
}

impl GroupState {
    /// A grant: its requester gets it, unless it has given up. `base` is when the call was sent that proves its length.
    pub(super) fn accept(&mut self, cx: &mut Context, now: Moment, grant: Grant, epoch: Epoch, base: Moment) {
        let id = AcquisitionId(grant.id.number);
        let Some(acquisition) = self.members.get_mut(id) else { return };
        if !acquisition.wanted {
            return self.give_back(id, None);
        }
        let (ttl, lease) = (Duration::from_millis(grant.ttl_ms), acquisition.lease());
        let valid_until = base + ttl.saturating_sub(margin(ttl));
        if now + least_rest(lease) > valid_until {
            return self.take_late(cx, now, id, base);
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
            granted: token,
            token,
            passed: None,
            epoch,
            end_at_ms: grant.end_at_ms,
            valid_until,
            renew_at,
            renewing: false,
            confirmed: ttl >= lease,
            ends_by: None,
        };
        self.members.set_state(id, State::Held(held));
        if cx.settings.checked {
            cx.registry.expect_check(id, self.index);
            cx.output(Output::Check(Check { id: grant.id, token }));
            self.arm(cx, now, id);
        } else {
            self.hand_out(cx, now, id);
        }
    }

    /// Its requester hears of the lease.
    fn hand_out(&mut self, cx: &mut Context, now: Moment, id: AcquisitionId) {
        self.disarm(cx, id);
        let Some(acquisition) = self.members.get_mut(id) else { return };
        let waited = now.saturating_since(acquisition.asked_at);
        let longest = acquisition.hold.or((!acquisition.renew).then_some(acquisition.lease()));
        let Some(held) = acquisition.held_mut() else { return };
        held.since = now;
        held.ends_by = longest.map(|longest| now + longest);
        let (slots, token, deadline) = (held.slots.clone(), held.token, held.valid_until);
        let lease = Granted { id: cx.lease_id(id), slots, token, deadline, waited, stood_in: false };
        acquisition.wanted = false;
        match acquisition.queued {
            true => cx.stats.granted_after_waiting += 1,
            false => cx.stats.granted_at_once += 1,
        }
        cx.stats.waits.record(waited);
        cx.tell(Event::Granted { client: acquisition.client, tag: acquisition.tag, lease });
    }

    /// Whether enough replicas have a grant is found out; the error says in words why they haven't.
    pub(in crate::session) fn handle_checked(
        &mut self,
        cx: &mut Context,
        now: Moment,
        check: Check,
        result: &Result<(), String>,
    ) {
        let id = AcquisitionId(check.id.number);
        let Some(acquisition) = self.members.get(id).filter(|a| a.wanted) else { return };
        let Some(held) = acquisition.held().filter(|held| held.token == check.token) else { return };
        let enough = now + least_rest(acquisition.lease()) <= held.valid_until;
        match result {
            Ok(()) if enough => self.hand_out(cx, now, id),
            Ok(()) => self.return_unheard(cx, now, id, "the lease was nearly over when they had it".into()),
            Err(cause) => self.return_unheard(cx, now, id, cause.clone()),
        }
    }

    /// The grant is given back before its requester has heard of it: it's asked again while its time lasts.
    fn return_unheard(&mut self, cx: &mut Context, now: Moment, id: AcquisitionId, why: String) {
        let why = format!("too few replicas: {why}");
        let Some(acquisition) = self.members.get(id) else { return };
        if acquisition.give_up_at.is_none_or(|at| now < at) {
            let again = acquisition.again(why);
            self.disarm(cx, id);
            self.give_back(id, None);
            self.add(cx, again);
        } else {
            let error = cx.settings.failure(why, false, true);
            self.fail(cx, id, error);
        }
    }

    /// The grant came so late that it's nearly over, or may be. Redis says once more what holds now, before anybody is
    /// told (R10). Where that comes late again and again, the lease is shorter than the way to Redis and back.
    fn take_late(&mut self, cx: &mut Context, now: Moment, id: AcquisitionId, base: Moment) {
        let Some(acquisition) = self.members.get_mut(id) else { return };
        acquisition.late_grants += 1;
        if acquisition.late_grants <= MOST_LATE_GRANTS {
            self.doubt(id);
            return self.arm(cx, now, id);
        }
        let (client, tag, lease) = (acquisition.client, acquisition.tag, acquisition.lease());
        let took = now.saturating_since(base);
        let why = format!(
            "its answer took {took:?}, and a lease lasts {lease:?}: limitExpire is too short for this network"
        );
        cx.stats.refused += 1;
        self.disarm(cx, id);
        self.give_back(id, None);
        let error = Some(cx.settings.failure(why, false, true));
        cx.tell(Event::Failed { client, tag, error });
    }

    /// A grant may have ended since, or isn't the last one of its id: Redis says what holds now, before anybody is told
    /// (R10).
    pub(super) fn doubt(&mut self, id: AcquisitionId) {
        match self.members.state(id) {
            Some(State::InLine { .. }) => self.members.reconcile([id]),
            Some(_) => self.members.set_state(id, State::Unclear),
            None => {}
        }
    }

    /// Redis confirmed a held lease for `length` from `sent_at`; `epoch` is that of the state which has it.
    pub(super) fn extend(
        &mut self,
        cx: &mut Context,
        id: AcquisitionId,
        end_at_ms: u64,
        length: Duration,
        (sent_at, epoch): (Moment, Epoch),
    ) {
        let Some(acquisition) = self.members.get_mut(id) else { return };
        let (client, tag, renew) = (acquisition.client, acquisition.tag, acquisition.renew);
        let told = !acquisition.wanted && acquisition.held().is_some();
        let Some(held) = acquisition.slot_mut() else { return };
        held.epoch = epoch;
        held.extend(end_at_ms, length, sent_at, renew);
        let (deadline, due_at) = (held.valid_until, held.due_at());
        self.members.lease_due_by(due_at);
        if told {
            cx.tell(Event::Renewed { client, tag, deadline });
        }
    }

    /// The lease is over for its holder.
    pub(super) fn lose(&mut self, cx: &mut Context, now: Moment, id: AcquisitionId, why: Loss) {
        let Some(acquisition) = self.members.get(id) else { return };
        let Some(held) = acquisition.held() else { return };
        if acquisition.wanted {
            let why = format!("the lease was lost before they had it: {why}");
            return self.return_unheard(cx, now, id, why);
        }
        let (client, tag, slot) = (acquisition.client, acquisition.tag, held.slots[0]);
        self.members.set_state(id, State::Lost);
        cx.stats.lost += 1;
        cx.tell(Event::Lost { client, tag, key: self.key.clone(), slot, why });
    }

    /// What is held here and known to its holders.
    pub(in crate::session) fn holdings(&self) -> Vec<Holding> {
        let told = |(id, acquisition, held): (AcquisitionId, &Acquisition, &Held)| {
            let name = (acquisition.client, acquisition.tag);
            let (terms, slots) = (Arc::clone(&acquisition.terms), held.slots.clone());
            (!acquisition.wanted).then_some((id, Holding { name, terms, slots }))
        };
        let mut holdings: Vec<_> = self.members.held().filter_map(told).collect();
        holdings.sort_unstable_by_key(|(id, _)| *id);
        holdings.into_iter().map(|(_, holding)| holding).collect()
    }

    /// A lease that another session holds counts here, too, until it's released under this name. It comes in as leases
    /// come back that a group has lost: by reconcile, with its slots. If these aren't free here it's lost here, and
    /// nowhere else.
    pub(in crate::session) fn enter(
        &mut self,
        cx: &mut Context,
        now: Moment,
        (client, tag): (ClientId, Tag),
        holding: Holding,
    ) {
        let request = Request {
            client,
            tag,
            key: self.key.clone(),
            terms: (*holding.terms).clone(),
            timeout: None,
            interval: Duration::ZERO,
            renew: true,
            hold: None,
            keep: Duration::ZERO,
        };
        let held = Held {
            since: now,
            slots: holding.slots,
            // Below every token of this store: whoever has one of the slots here keeps it.
            granted: FencingToken(0),
            token: FencingToken(0),
            passed: None,
            epoch: Epoch(0),
            end_at_ms: u64::MAX,
            valid_until: now + Duration::from_millis(holding.terms.lease_ms),
            renew_at: None,
            renewing: false,
            confirmed: true,
            ends_by: None,
        };
        let id = self.add(cx, Acquisition::already_held(now, request, held));
        self.members.reconcile([id]);
    }
}
