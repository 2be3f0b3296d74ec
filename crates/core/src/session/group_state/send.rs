//! What is asked: the calls of one group, made from what has gathered.
//!
//! All that gathered since the last time goes out in one call of each verb, up to the bound of R26. A lone request
//! finds the window open and leaves at once; while that many calls of a group are pending, later ones gather.

use std::sync::Arc;
use std::time::Duration;

use super::members::{Acquisition, BATCH, Held, State};
use super::state::GroupState;
use crate::moment::{Moment, whole_ms};
use crate::protocol::{Ask, Call, Extend, Join, JoinAsk, Keep, Passed, ReconcileItem, Renew, Target, Verb};
use crate::session::calls::{About, Items};
use crate::session::context::Context;
use crate::session::ids::AcquisitionId;

/// How long a session's waiters stay in line without a sign of life (R19): long enough for several polls to go missing.
const KEEP_ALIVE: Duration = Duration::from_secs(6);

impl GroupState {
    /// Whether requests or releases have gathered of which calls can be made now.
    pub(in crate::session) fn has_gathered(&self, cx: &Context) -> bool {
        cx.connection.up() && self.flow.window_is_open() && self.members.unsent().0 > 0
    }

    /// Sends what has gathered, as far as it may go now.
    pub(in crate::session) fn flush(&mut self, cx: &mut Context, now: Moment) {
        self.keep_inside(cx, now);
        self.send_gathered(cx, now);
        self.arm_unsent(cx, now);
    }

    fn send_gathered(&mut self, cx: &mut Context, now: Moment) {
        if !cx.connection.up() || now < self.flow.not_before() || !self.reconcile(cx, now) {
            return;
        }
        if self.flow.take_clean() {
            self.send(cx, now, Verb::Clean, Items::Clean);
        }
        let may_ask = cx.connection.ready(now) && self.find_places();
        if may_ask && let Some(batch) = self.members.next_with_place() {
            // Before the next releases, whose slots would go to those behind; the rest in turn with them.
            self.send_asks(cx, now, batch);
        }
        while self.flow.window_is_open()
            && let Some(batch) = self.members.next_releases()
        {
            let targets = batch.iter().map(|id| Target::Lease(cx.lease_id(*id))).collect();
            self.send(cx, now, Verb::Release(targets), Items::Release(batch));
        }
        while self.flow.window_is_open()
            && let Some(batch) = self.members.next_leaves()
        {
            let ids = batch.iter().map(|id| cx.lease_id(*id)).collect();
            self.send(cx, now, Verb::Leave(ids), Items::Leave(batch));
        }
        while may_ask
            && self.flow.window_is_open()
            && let Some(batch) = self.members.next_pending()
        {
            self.send_asks(cx, now, batch);
        }
        self.send_note(cx, now);
    }

    /// Asks for new leases; those that waited inside, by joining the line in their places.
    fn send_asks(&mut self, cx: &mut Context, now: Moment, batch: Vec<AcquisitionId>) {
        let place = |id: &AcquisitionId| self.members.get(*id).and_then(|acquisition| acquisition.place);
        let places: Vec<_> = batch.iter().filter_map(place).collect();
        let asks: Vec<Ask> = batch.iter().filter_map(|id| self.ask(cx, now, *id)).collect();
        let verb = match places.first() {
            None => Verb::Acquire(asks),
            Some((number, _)) => {
                let join = |(Ask { id, terms, .. }, (_, ticket))| JoinAsk { id, terms, ticket };
                Verb::Join(Join {
                    number: *number,
                    items: asks.into_iter().zip(places.clone()).map(join).collect(),
                })
            }
        };
        self.send(cx, now, verb, Items::Acquire(batch));
    }

    /// Asks for the note, or confirms it.
    fn send_note(&mut self, cx: &mut Context, now: Moment) {
        let confirms = self.sole.terms().filter(|_| self.sole.is_due(now, self.uses_note()));
        if let Some(terms) = confirms.or_else(|| self.note_to_ask(cx, now)) {
            let asked = self.sole.ask(terms);
            self.sole.sent(now);
            self.send(cx, now, Verb::Note(asked), Items::Note { terms, asked });
        }
    }

    /// Reconciles what is unclear; true when nothing of it stands in the way of other calls.
    fn reconcile(&mut self, cx: &mut Context, now: Moment) -> bool {
        // A server that has just started is told what is held and what isn't wanted. Waiters follow when that
        // time is over, since coming back into the line may end in a grant (R30).
        let settling = cx.connection.settling(now);
        let asks = |a: &Acquisition| a.wanted && !matches!(a.state(), State::Leaving | State::Held(_));
        let mut rest = self.members.take_unclear(|acquisition| settling && asks(acquisition));
        while let Some(batch) = self.members.next_batch(&mut rest) {
            self.send_reconcile(cx, now, batch);
        }
        if self.flow.own_from().is_some() {
            self.send_reconcile(cx, now, Vec::new());
        }
        !self.flow.reconciling()
    }

    /// The first of several also asks for the ids of this session that it may not know.
    fn send_reconcile(&mut self, cx: &mut Context, now: Moment, ids: Vec<AcquisitionId>) {
        // Who isn't sure of what it has has no note (R33).
        let ended = self.sole.end(None);
        self.leave_inside(cx, now, ended);
        let items = ids.iter().map(|id| self.reconcile_item(cx, now, *id)).collect();
        let own_from = self.flow.take_own_from();
        self.send(cx, now, Verb::Reconcile { items, own_from }, Items::Reconcile { ids, own_from });
    }

    fn reconcile_item(&self, cx: &Context, now: Moment, number: AcquisitionId) -> ReconcileItem {
        let id = cx.lease_id(number);
        let Some(acquisition) = self.members.get(number) else { return ReconcileItem::Drop(id) };
        let terms = Arc::clone(&acquisition.terms);
        match acquisition.state() {
            State::Held(held) => ReconcileItem::Keep(Keep {
                id,
                terms,
                epoch: held.epoch,
                token: held.granted,
                current: held.token,
                slots: held.slots.clone(),
                end_at_ms: held.end_at_ms,
                extend_ms: extension(cx, now, acquisition, held).map(whole_ms),
            }),
            State::InLine { ticket, .. } => ReconcileItem::Want { id, terms, ticket: Some(*ticket) },
            State::Unclear if acquisition.wanted => ReconcileItem::Want { id, terms, ticket: None },
            _ => ReconcileItem::Drop(id),
        }
    }

    fn ask(&mut self, cx: &Context, now: Moment, id: AcquisitionId) -> Option<Ask> {
        self.members.set_state(id, State::Asked);
        let acquisition = self.members.get_mut(id)?;
        acquisition.set_claim();
        let wait = acquisition.give_up_at.is_none_or(|give_up_at| give_up_at > now);
        Some(Ask { id: cx.lease_id(id), terms: Arc::clone(&acquisition.terms), wait })
    }

    /// Sends the renewals and the safety poll. The poll comes with the last of them, so that its count comes after all;
    /// `poll` has the waiters that it asks about one by one.
    pub(super) fn renew(
        &mut self,
        cx: &mut Context,
        now: Moment,
        mut leases: Vec<(AcquisitionId, Duration)>,
        poll: Option<Vec<AcquisitionId>>,
    ) {
        let polls = poll.is_some();
        let mut waiters = poll.unwrap_or_default();
        while polls || !leases.is_empty() {
            let later_leases = leases.split_off(self.members.touchable(leases.iter().map(|(id, _)| id)));
            let room = BATCH.saturating_sub(leases.len()).min(waiters.len());
            let later_waiters = waiters.split_off(room);
            let last = later_leases.is_empty() && later_waiters.is_empty();
            self.send_renew(cx, now, leases, waiters, polls && last);
            (leases, waiters) = (later_leases, later_waiters);
            if last {
                break;
            }
        }
    }

    fn send_renew(
        &mut self,
        cx: &mut Context,
        now: Moment,
        leases: Vec<(AcquisitionId, Duration)>,
        waiters: Vec<AcquisitionId>,
        poll: bool,
    ) {
        let extend = |(id, length): &(AcquisitionId, Duration)| {
            let acquisition = self.members.get(*id);
            let holder = acquisition.and_then(|acquisition| acquisition.terms.holder.clone());
            let passed = acquisition.and_then(passed);
            Extend { id: cx.lease_id(*id), lease_ms: whole_ms(*length), holder, passed }
        };
        let renew = Renew {
            leases: leases.iter().map(extend).collect(),
            waiters: waiters.iter().map(|id| cx.lease_id(*id)).collect(),
        };
        self.send(cx, now, Verb::Renew(renew), Items::Renew { leases, waiters, poll });
    }

    fn send(&mut self, cx: &mut Context, now: Moment, verb: Verb, items: Items) {
        self.flow.sent(&items);
        let introduction = self.introduced.due(cx.settings.identity.as_ref(), now, &verb);
        let call = Call { key: self.key.clone(), verb, introduction };
        cx.call(now, KEEP_ALIVE, call, About::Group(self.index, items));
    }
}

/// For how long a kept lease goes on from now; nothing for one that isn't renewed (R12).
fn extension(cx: &Context, now: Moment, acquisition: &Acquisition, held: &Held) -> Option<Duration> {
    let goes_on = acquisition.wanted || !held.confirmed || acquisition.renew;
    if !goes_on || cx.clients.stalled(now, acquisition.client) {
        return None;
    }
    Some(acquisition.length_from(now, held)).filter(|length| !length.is_zero())
}

/// Who has a lease by a pass.
fn passed(acquisition: &Acquisition) -> Option<Passed> {
    let held = acquisition.held().filter(|held| held.token != held.granted)?;
    Some(Passed { token: held.token, label: acquisition.terms.label.clone() })
}
