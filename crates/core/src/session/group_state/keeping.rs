//! Idle slots: while this session has the group's note, the slot of a released lease may stay with it for a time, and
//! serve its next request without a call (R39). Where tokens are missing, it waits for them in the same way (R37).

use std::time::Duration;

use super::state::GroupState;
use crate::lease::FencingToken;
use crate::moment::Moment;
use crate::session::context::Context;
use crate::session::ids::AcquisitionId;

impl GroupState {
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
