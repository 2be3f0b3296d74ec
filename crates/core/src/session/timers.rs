//! The session's timers: at most one for each request and one for each group.

use std::collections::BTreeSet;

use super::ids::{AcquisitionId, GroupIndex};
use crate::moment::Moment;

/// What a timer is for. Of those due at the same moment, requests come first, the oldest of them first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Request(AcquisitionId, GroupIndex),
    Group(GroupIndex),
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    planned: BTreeSet<(Moment, Timer)>,
}

impl Timers {
    /// Moves a timer to `at`, or stops it. Its owner keeps in `planned` when it is due.
    pub(super) fn set(&mut self, timer: Timer, planned: &mut Option<Moment>, at: Option<Moment>) {
        if *planned == at {
            return;
        }
        if let Some(old) = std::mem::replace(planned, at) {
            self.planned.remove(&(old, timer));
        }
        if let Some(at) = at {
            self.planned.insert((at, timer));
        }
    }

    /// Takes out the first timer, if it is due. Its owner has to clear what it keeps of it.
    pub(super) fn pop_due(&mut self, now: Moment) -> Option<Timer> {
        let (at, _) = self.planned.first()?;
        if *at > now {
            return None;
        }
        self.planned.pop_first().map(|(_, timer)| timer)
    }

    pub(super) fn next(&self) -> Option<Moment> {
        self.planned.first().map(|(at, _)| *at)
    }
}
