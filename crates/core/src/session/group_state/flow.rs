//! What may be sent for a group now: how many calls are pending, and whether the server refuses them.

use std::time::Duration;

use crate::error::Error;
use crate::moment::Moment;
use crate::session::calls::Items;
use crate::session::connection::{BACKOFF, LONGEST_BACKOFF};
use crate::session::jitter::Jitter;

/// Calls of one group that may be pending before later requests gather.
const WINDOW: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Pending calls.
    calls: u32,
    /// Those of them that the window counts.
    in_window: u32,
    /// Reconcile calls that stand in the way of others.
    reconciling: u32,
    /// A clean call has to follow: a bounded step stopped half-way (R17).
    clean: bool,
    /// The rank from which on the group is asked for ids of this session that it doesn't know.
    own_from: Option<u64>,
    /// Nothing is sent before this moment: the server refused for now (R29).
    not_before: Moment,
    /// How often in a row, and the error with its words of the last time.
    refusals: u32,
    refusal: Option<Error>,
}

/// Renewing and reconciling never wait for their turn.
fn counts(items: &Items) -> bool {
    matches!(items, Items::Acquire(_) | Items::Release(_) | Items::Leave(_))
}

fn blocks(items: &Items) -> bool {
    matches!(items, Items::Reconcile { ids, .. } if !ids.is_empty())
}

impl Flow {
    pub(super) fn sent(&mut self, items: &Items) {
        self.calls += 1;
        self.in_window += u32::from(counts(items));
        self.reconciling += u32::from(blocks(items));
    }

    pub(super) fn answered(&mut self, items: &Items) {
        self.calls -= 1;
        self.in_window -= u32::from(counts(items));
        self.reconciling -= u32::from(blocks(items));
    }

    /// The connection is lost: nothing that is pending will be answered.
    pub(super) fn lose_calls(&mut self) {
        self.calls = 0;
        self.in_window = 0;
        self.reconciling = 0;
        self.clean = false;
    }

    /// Later requests needn't gather.
    pub(super) fn window_is_open(&self) -> bool {
        self.in_window < WINDOW
    }

    pub(super) fn reconciling(&self) -> bool {
        self.reconciling > 0
    }

    pub(super) fn want_clean(&mut self, wanted: bool) {
        self.clean |= wanted;
    }

    pub(super) fn take_clean(&mut self) -> bool {
        std::mem::take(&mut self.clean)
    }

    pub(super) fn ask_for_own(&mut self, from: Option<u64>) {
        self.own_from = from;
    }

    pub(super) fn own_from(&self) -> Option<u64> {
        self.own_from
    }

    pub(super) fn take_own_from(&mut self) -> Option<u64> {
        self.own_from.take()
    }

    /// The server carried a call out.
    pub(super) fn accepted(&mut self) {
        self.refusals = 0;
        self.refusal = None;
    }

    /// The server refuses the group's calls for now.
    pub(super) fn refused(&mut self, now: Moment, refusal: Error, jitter: &mut Jitter) {
        let wait = (BACKOFF / 5 * 2u32.saturating_pow(self.refusals.min(10))).min(LONGEST_BACKOFF);
        self.not_before = now + jitter.around(wait);
        self.refusals = self.refusals.saturating_add(1);
        self.refusal = Some(refusal);
    }

    pub(super) fn refusal(&self) -> Option<&Error> {
        self.refusal.as_ref()
    }

    pub(super) fn not_before(&self) -> Moment {
        self.not_before
    }

    /// When calls may be sent again, if the server refuses them now.
    pub(super) fn refused_until(&self, now: Moment) -> Option<Moment> {
        Some(self.not_before).filter(|at| *at > now)
    }

    /// Something is still to be asked, or heard.
    pub(super) fn in_use(&self) -> bool {
        self.clean || self.calls > 0 || self.own_from.is_some()
    }
}

/// Never in a tighter loop than the clock of the runtime resolves.
pub(super) const LEAST_WAIT: Duration = Duration::from_millis(1);
