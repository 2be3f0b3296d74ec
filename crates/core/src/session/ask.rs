//! What is asked: the calls of one group, made from what its line has gathered.
//!
//! All that gathered since the last flush goes out in one call of each verb, up to the bound of R26. A lone request
//! finds the window open and leaves at once; while [`WINDOW`] calls of a group are under way, later ones gather.

use std::sync::Arc;
use std::time::Duration;

use super::acquisition::{Acquisition, Held, State};
use super::{Output, Session};
use crate::moment::Moment;
use crate::protocol::{Ask, Call, CallId, Extend, Keep, MAX_TOUCHED, Outgoing, Renew, Settle, Target, Verb};

/// Most slots or waiters of one call: half of what it may touch (R26), so that no script keeps Redis from others for
/// more than about a millisecond, and Redis works on one while the replies of another are read.
pub(super) const BATCH: usize = MAX_TOUCHED / 2;

/// Calls of one group that may be under way before later requests gather.
const WINDOW: u32 = 8;

/// The claim window: how long a grant that isn't in the caller's reply is good for until it's confirmed (R20). Three
/// times the longest time between two looks.
const CLAIM: Duration = Duration::from_secs(5);

/// How long a session's waiters stay in line without a sign of life (R19): long enough for several looks to go missing.
const KEEP_ALIVE: Duration = Duration::from_secs(6);

/// A call under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) id: CallId,
    pub(super) sent_at: Moment,
    /// Of a group, or a question's number.
    pub(super) about: About,
}

#[derive(Debug)]
pub(super) enum About {
    Line { line: usize, items: Items },
    Question(u64),
}

/// What the call asked, by acquisition number, in the order of its items.
#[derive(Debug)]
pub(super) enum Items {
    Acquire(Vec<u64>),
    Release(Vec<u64>),
    /// Leases with the length asked for each; waiters; whether it's the group's look.
    Renew {
        leases: Vec<(u64, Duration)>,
        waiters: Vec<u64>,
        look: bool,
    },
    Leave(Vec<u64>),
    /// Ids to be settled, and the rank from which on the answer lists the session's own.
    Reconcile {
        numbers: Vec<u64>,
        own_from: Option<u64>,
    },
    Clean,
}

impl Items {
    /// Whether the window counts the call. Renewing and reconciling never wait for their turn.
    pub(super) fn counts(&self) -> bool {
        matches!(self, Self::Acquire(_) | Self::Release(_) | Self::Leave(_))
    }
}

impl Session {
    /// Sends what the line has gathered, as far as it may go now.
    pub(super) fn flush(&mut self, now: Moment, line: usize) {
        self.send_gathered(now, line);
        self.arm_the_unsent(now, line);
    }

    fn send_gathered(&mut self, now: Moment, line: usize) {
        if self.lines[line].as_ref().is_none_or(|side| now < side.not_before) || !self.link.up() {
            return;
        }
        if !self.reconcile(now, line) {
            return;
        }
        if std::mem::take(&mut self.line_mut(line).again) {
            self.send(now, line, Verb::Clean, Items::Clean);
        }
        self.send_releases(now, line);
        self.send_leaves(now, line);
        if self.ready(now) {
            self.send_asks(now, line);
        }
    }

    /// Settles what is unclear; true when nothing of it stands in the way of other calls.
    fn reconcile(&mut self, now: Moment, line: usize) -> bool {
        let settling = self.settling(now);
        let mut unsettled = std::mem::take(&mut self.line_mut(line).unsettled);
        // A server that has just started is told what is held and what isn't wanted; who waits comes when it has
        // settled, since coming back into the line may end in a grant (R30).
        let deferred =
            if settling { unsettled.extract_if(.., |n| self.is_wanted(*n)).collect() } else { Vec::new() };
        self.line_mut(line).unsettled = deferred;
        unsettled.sort_unstable();
        unsettled.dedup();
        let mut rest = unsettled.as_slice();
        while !rest.is_empty() {
            let batch = self.batch(&mut rest);
            self.line_mut(line).settling_calls += 1;
            self.send_reconcile(now, line, batch);
        }
        if self.line(line).own_from.is_some() {
            self.send_reconcile(now, line, Vec::new());
        }
        self.line_mut(line).settling_calls == 0
    }

    /// The first of several also asks for the ids of this session that it may not know.
    fn send_reconcile(&mut self, now: Moment, line: usize, batch: Vec<u64>) {
        let items = batch.iter().map(|number| self.settle_item(now, *number)).collect();
        let own_from = self.line_mut(line).own_from.take();
        let about = Items::Reconcile { numbers: batch, own_from };
        self.send(now, line, Verb::Reconcile { items, own_from }, about);
    }

    fn is_wanted(&self, number: u64) -> bool {
        let asks = |a: &Acquisition| a.wanted && !matches!(a.state, State::Leaving | State::Held(_));
        self.acquisitions.get(&number).is_some_and(asks)
    }

    fn settle_item(&self, now: Moment, number: u64) -> Settle {
        let id = self.lease_id(number);
        let Some(acquisition) = self.acquisitions.get(&number) else { return Settle::Drop(id) };
        let terms = Arc::clone(&acquisition.terms);
        match &acquisition.state {
            State::Held(held) => Settle::Keep(Keep {
                id,
                terms,
                epoch: held.epoch,
                token: held.token,
                slots: held.slots.clone(),
                end_at_ms: held.end_at_ms,
                extend_ms: self.extension(now, acquisition, held).map(|length| length.as_millis() as u64),
            }),
            State::InLine { ticket, .. } => Settle::Want { id, terms, ticket: Some(*ticket) },
            State::Unclear if acquisition.wanted => Settle::Want { id, terms, ticket: None },
            _ => Settle::Drop(id),
        }
    }

    /// For how long a kept lease goes on from now; nothing for one that isn't renewed (R12).
    fn extension(&self, now: Moment, acquisition: &Acquisition, held: &Held) -> Option<Duration> {
        let goes_on = acquisition.wanted || !held.confirmed || acquisition.renew;
        if !goes_on || self.stalled(now, acquisition.client) {
            return None;
        }
        Some(acquisition.length_from(now, held)).filter(|length| !length.is_zero())
    }

    /// Cuts as many numbers off the front as one call may touch (R26).
    fn batch(&self, rest: &mut &[u64]) -> Vec<u64> {
        let mut touched = 0;
        let weight = |number: &u64| self.acquisitions.get(number).map_or(1, |a| a.terms.weight as usize);
        let many = rest.iter().take_while(|number| {
            let first = touched == 0;
            touched += weight(number);
            first || touched <= BATCH
        });
        let (batch, later) = rest.split_at(many.count());
        *rest = later;
        batch.to_vec()
    }

    fn window_open(&mut self, line: usize) -> bool {
        self.line_mut(line).under_way < WINDOW
    }

    fn send_releases(&mut self, now: Moment, line: usize) {
        let gathered = std::mem::take(&mut self.line_mut(line).releases);
        let mut rest = gathered.as_slice();
        while !rest.is_empty() && self.window_open(line) {
            let batch = self.batch(&mut rest);
            let targets = batch.iter().map(|number| Target::Lease(self.lease_id(*number))).collect();
            self.send(now, line, Verb::Release(targets), Items::Release(batch));
        }
        self.line_mut(line).releases = rest.to_vec();
    }

    fn send_leaves(&mut self, now: Moment, line: usize) {
        let gathered = std::mem::take(&mut self.line_mut(line).leaves);
        let mut rest = gathered.as_slice();
        while !rest.is_empty() && self.window_open(line) {
            let batch = self.batch(&mut rest);
            let ids = batch.iter().map(|number| self.lease_id(*number)).collect();
            self.send(now, line, Verb::Leave(ids), Items::Leave(batch));
        }
        self.line_mut(line).leaves = rest.to_vec();
    }

    fn send_asks(&mut self, now: Moment, line: usize) {
        while self.window_open(line) && !self.line_mut(line).pending.is_empty() {
            let gathered: Vec<u64> = self.line_mut(line).pending.iter().take(BATCH).copied().collect();
            let batch = self.batch(&mut gathered.as_slice());
            let asks = batch.iter().map(|number| self.ask_item(now, line, *number)).collect();
            self.send(now, line, Verb::Acquire(asks), Items::Acquire(batch));
        }
    }

    fn ask_item(&mut self, now: Moment, line: usize, number: u64) -> Ask {
        self.line_mut(line).pending.remove(&number);
        let id = self.lease_id(number);
        let acquisition = self.acquisitions.get_mut(&number).expect("what is pending is known");
        acquisition.set_claim();
        acquisition.state = State::Asked;
        let wait = acquisition.give_up_at.is_none_or(|give_up_at| give_up_at > now);
        Ask { id, terms: Arc::clone(&acquisition.terms), wait }
    }

    /// Extends the leases and looks after the waiters; `look` when it's the line's one look (R21).
    pub(super) fn send_renew(
        &mut self,
        now: Moment,
        line: usize,
        leases: Vec<(u64, Duration)>,
        waiters: Vec<u64>,
        look: bool,
    ) {
        let extend = |(number, length): &(u64, Duration)| {
            let holder = self.acquisitions.get(number).and_then(|a| a.terms.holder.clone());
            Extend { id: self.lease_id(*number), lease_ms: length.as_millis() as u64, holder }
        };
        let renew = Renew {
            leases: leases.iter().map(extend).collect(),
            waiters: waiters.iter().map(|number| self.lease_id(*number)).collect(),
        };
        self.send(now, line, Verb::Renew(renew), Items::Renew { leases, waiters, look });
    }

    fn send(&mut self, now: Moment, line: usize, verb: Verb, items: Items) {
        let side = self.line_mut(line);
        side.flights += 1;
        if items.counts() {
            side.under_way += 1;
        }
        let call = Call { key: side.key.clone(), verb };
        self.send_call(now, KEEP_ALIVE, call, About::Line { line, items });
    }

    pub(super) fn send_call(&mut self, now: Moment, keep_alive: Duration, call: Call, about: About) {
        let id = self.take_off(now, about);
        let caller = self.caller(now, keep_alive);
        self.outputs.push_back(Output::Send(Outgoing::Call { id, caller, call }));
    }

    /// Books a call that leaves now; its number.
    pub(super) fn take_off(&mut self, now: Moment, about: About) -> CallId {
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.stats.calls += 1;
        self.flights.push_back(Flight { id, sent_at: now, about });
        id
    }

    /// The calls under way left longer ago than our clock says.
    pub(super) fn age_flights(&mut self, length: Duration) {
        for flight in &mut self.flights {
            flight.sent_at = flight.sent_at - length;
        }
    }
}

impl Acquisition {
    fn set_claim(&mut self) {
        let claim_ms = self.terms.lease_ms.min(CLAIM.as_millis() as u64);
        if self.terms.claim_ms != claim_ms {
            Arc::make_mut(&mut self.terms).claim_ms = claim_ms;
        }
    }
}
