//! Slots that the session uses by itself while it has the group's note: they are passed from a released lease to the
//! next request, or stay idle for it, without a call (R35, R36, R39). An idle slot may also wait for a token (R37).

use std::time::Duration;

use super::state::GroupState;
use crate::lease::FencingToken;
use crate::moment::Moment;
use crate::session::context::Context;
use crate::session::ids::AcquisitionId;
use crate::session::output::{Event, Granted};

impl GroupState {
    /// Whether its note is good (R33).
    pub(super) fn is_sole(&self, cx: &Context, now: Moment) -> bool {
        let linked = cx.connection.ready(now) && cx.connection.listens();
        let sure = !self.members.has_unclear() && !self.flow.reconciling();
        self.sole.is_good(now) && linked && sure
    }

    /// Whether the session has the slot of this lease for its own requests (R35): the lease's token, if so.
    pub(super) fn usable(&self, cx: &Context, now: Moment, id: AcquisitionId) -> Option<FencingToken> {
        let terms = self.sole.terms().filter(|_| self.is_sole(cx, now))?;
        let busy = self.members.in_redis_count() + self.members.asks_count();
        if self.members.waiting_count() > 0 || busy > terms.limit as usize {
            return None;
        }
        let acquisition = self.members.get(id)?;
        let held = acquisition.slot()?;
        let lasts = now + acquisition.lease() / 3 <= held.valid_until;
        let plain = acquisition.note_terms().is_some() && held.slots.iter().all(|slot| *slot <= terms.limit);
        (lasts && plain && self.sole.epoch() == Some(held.epoch)).then_some(held.token)
    }

    /// A slot goes on to the first that waits inside, under the id that it has.
    pub(super) fn pass(&mut self, cx: &mut Context, now: Moment, id: AcquisitionId, token: FencingToken) {
        let Some(next) = self.members.first_inside() else { return };
        self.disarm(cx, next);
        let Some(newcomer) = self.members.remove(next) else { return };
        let Some(lease) = self.members.get_mut(id) else { return };
        let (former, tag) = (lease.client, lease.tag);
        let (client, new_tag) = (newcomer.client, newcomer.tag);
        let (queued, waited) = (newcomer.queued, now.saturating_since(newcomer.asked_at));
        lease.go_to(newcomer);
        let Some(held) = lease.held_mut() else { return };
        held.pass(now, token);
        let (slots, deadline, due_at) = (held.slots.clone(), held.valid_until, held.due_at());
        self.members.lease_due_by(due_at);
        cx.registry.forget(former, tag, id);
        cx.registry.rename(client, new_tag, self.index, id);
        cx.clients.one_less(former);
        for ended in cx.clients.take_ended(None) {
            cx.tell(Event::Closed { client: ended.client, tag: ended.tag });
        }
        if queued {
            cx.stats.passed += 1;
            cx.stats.granted_after_waiting += 1;
        } else {
            cx.stats.kept.reused += 1;
            cx.stats.granted_at_once += 1;
        }
        cx.stats.waits.record(waited);
        let lease = Granted { id: cx.lease_id(id), slots, token, deadline, waited, stood_in: false };
        cx.tell(Event::Granted { client, tag: new_tag, lease });
    }

    /// Until when the slot of this lease stays if it's released now and nobody waits inside.
    pub(super) fn keep_until(&self, cx: &Context, now: Moment, id: AcquisitionId) -> Option<Moment> {
        let acquisition = self.members.get(id).filter(|it| !it.keep.is_zero() && self.sole.keeps())?;
        // A watched client that isn't heard of any more keeps nothing.
        let stall_timeout = cx.clients.stall_timeout(acquisition.client).unwrap_or(Duration::MAX);
        let usable_until = acquisition.slot()?.valid_until - acquisition.lease() / 3;
        let until = usable_until.min(now + acquisition.keep.min(stall_timeout));
        (until > now).then_some(until)
    }

    /// Idle slots go to those that wait inside, as far as there are tokens. Those that can't be used any more, or whose
    /// time is over, go back to Redis.
    pub(super) fn serve_from_idle(&mut self, cx: &mut Context, now: Moment) {
        while self.members.inside_count() > 0
            && let Some(id) = self.members.first_idle()
        {
            match self.usable(cx, now, id) {
                None => self.give_back(id, None),
                Some(above) => match self.sole.take_token(now, above) {
                    None => break,
                    Some(token) => {
                        self.members.turn_idle(id, None);
                        self.pass(cx, now, id, token);
                    }
                },
            }
        }
        if self.members.waiting_count() > 0 {
            return self.recall_idle(cx, now);
        }
        if self.members.idle_due_at().is_some_and(|at| at <= now) {
            self.give_back_unused(cx, now);
        }
    }

    /// Those whose time is over go back, unless somebody inside waits for them.
    fn give_back_unused(&mut self, cx: &mut Context, now: Moment) {
        for (id, _) in self.members.idle().into_iter().filter(|(_, until)| *until <= now) {
            if self.members.idle_count() > self.members.inside_count() {
                cx.stats.kept.unused += u64::from(self.is_kept(id));
                self.give_back(id, None);
            }
        }
        self.members.plan_idle();
    }

    /// All idle slots go back to Redis, where they're wanted, or the session can't be sure of them any more.
    pub(super) fn recall_idle(&mut self, cx: &mut Context, now: Moment) {
        for (id, until) in self.members.idle() {
            cx.stats.kept.recalled += u64::from(until > now && self.is_kept(id));
            self.give_back(id, None);
        }
    }

    /// It's idle because it is kept, not because a token is missing.
    fn is_kept(&self, id: AcquisitionId) -> bool {
        self.members.get(id).is_some_and(|acquisition| !acquisition.keep.is_zero())
    }
}
