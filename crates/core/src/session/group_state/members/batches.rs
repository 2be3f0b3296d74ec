//! What is to be said to Redis about requests, beside what is asked for: lists of it, cut into calls.

use super::{Acquisition, Members, State};
use crate::protocol::MAX_TOUCHED;
use crate::session::ids::AcquisitionId;

/// Most slots or waiters of one call: half of what it may touch (R26), so that no script keeps Redis from others for
/// more than about a millisecond, and Redis works on one while the replies of another are read.
pub(in crate::session) const BATCH: usize = MAX_TOUCHED / 2;

impl Members {
    /// It has to be given back, though no state says so: for instance, Redis granted what nobody here knows (R12).
    pub(in crate::session) fn release(&mut self, ids: impl IntoIterator<Item = AcquisitionId>) {
        self.to_release.extend(ids);
    }

    /// They have to leave the line, and were to before.
    pub(in crate::session) fn leave_again(&mut self, ids: impl IntoIterator<Item = AcquisitionId>) {
        self.to_leave.extend(ids);
    }

    /// The same, if it isn't listed already.
    pub(in crate::session) fn leave_if_not_listed(&mut self, id: AcquisitionId) {
        if !self.to_leave.contains(&id) {
            self.to_leave.push(id);
        }
    }

    /// They have to be reconciled.
    pub(in crate::session) fn reconcile(&mut self, ids: impl IntoIterator<Item = AcquisitionId>) {
        self.unclear.extend(ids);
    }

    /// All that is held has to be reconciled.
    pub(in crate::session) fn reconcile_held(&mut self) {
        self.unclear.extend(&self.held);
    }

    /// The connection is lost: what is to leave is reconciled as unwanted.
    pub(in crate::session) fn forget_leaving(&mut self) {
        self.to_leave.clear();
    }

    /// Everything that Redis may know of these requests has to be reconciled.
    pub(in crate::session) fn reconcile_all(&mut self) {
        let mut known: Vec<AcquisitionId> = Vec::new();
        known.extend(
            self.iter().filter(|(_, a)| !matches!(a.state, State::Pending | State::Inside)).map(|(id, _)| id),
        );
        // What is to be released is reconciled as unwanted; strays have no request that would say so.
        let strays = std::mem::take(&mut self.to_release);
        known.extend(strays.into_iter().filter(|id| !self.contains(*id)));
        self.to_leave.clear();
        self.unclear.extend(known);
    }

    pub(in crate::session) fn has_unclear(&self) -> bool {
        !self.unclear.is_empty()
    }

    /// What is to be reconciled now, each once, in order; those for which `later` is true stay.
    pub(in crate::session) fn take_unclear(
        &mut self,
        later: impl Fn(&Acquisition) -> bool,
    ) -> Vec<AcquisitionId> {
        if self.unclear.is_empty() {
            return Vec::new();
        }
        let unclear = std::mem::take(&mut self.unclear);
        let later = |id: &AcquisitionId| self.get(*id).is_some_and(&later);
        let (later, mut now): (Vec<_>, Vec<_>) = unclear.into_iter().partition(later);
        self.unclear = later;
        now.sort_unstable();
        now.dedup();
        now
    }

    /// The next batch of releases.
    pub(in crate::session) fn next_releases(&mut self) -> Option<Vec<AcquisitionId>> {
        let mut queue = std::mem::take(&mut self.to_release);
        let batch = self.next_batch(&mut queue);
        self.to_release = queue;
        batch
    }

    /// The next batch of those who leave the line.
    pub(in crate::session) fn next_leaves(&mut self) -> Option<Vec<AcquisitionId>> {
        let mut queue = std::mem::take(&mut self.to_leave);
        let batch = self.next_batch(&mut queue);
        self.to_leave = queue;
        batch
    }

    /// The next batch of requests to ask for, without a place or under one note. Their states have to be set.
    pub(in crate::session) fn next_pending(&self) -> Option<Vec<AcquisitionId>> {
        let note = |id: &AcquisitionId| self.get(*id).and_then(|acquisition| Some(acquisition.place?.0));
        let first = note(self.pending.front()?);
        let many = self.touchable(self.pending.iter().take_while(|id| note(id) == first));
        (many > 0).then(|| self.pending.iter().take(many).copied().collect())
    }

    /// The next batch of them, if it's of those that have a place.
    pub(in crate::session) fn next_with_place(&self) -> Option<Vec<AcquisitionId>> {
        self.get(*self.pending.front()?)?.place?;
        self.next_pending()
    }

    /// Cuts off the front as many as one call may touch.
    pub(in crate::session) fn next_batch(
        &self,
        queue: &mut Vec<AcquisitionId>,
    ) -> Option<Vec<AcquisitionId>> {
        let many = self.touchable(queue.iter());
        match many {
            0 => None,
            many if many == queue.len() => Some(std::mem::take(queue)),
            many => Some(queue.drain(..many).collect()),
        }
    }

    /// How many of these, from the first, one call may touch (R26).
    pub(in crate::session) fn touchable<'a>(&self, ids: impl Iterator<Item = &'a AcquisitionId>) -> usize {
        let mut touched = 0;
        ids.take_while(|id| {
            let first = touched == 0;
            touched += self.get(**id).map_or(1, |acquisition| acquisition.terms.weight as usize);
            first || touched <= BATCH
        })
        .count()
    }
}
