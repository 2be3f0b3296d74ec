//! The safety poll: a call that finds out whether a push went missing (R21).
//!
//! It asks how many waiters of this session are in line. Only when that differs from what the session believes, the
//! next poll asks about them one by one.

use std::time::Duration;

use crate::moment::Moment;
use crate::session::ids::AcquisitionId;
use crate::session::jitter::Jitter;

/// How often a session polls that pushes reach.
const SAFETY_POLL: Duration = Duration::from_secs(1);

/// Where pushes don't arrive, a grant in its claim window must be found in time, however long the interval is.
const LONGEST_INTERVAL: Duration = Duration::from_millis(1_500);

#[derive(Debug, Default)]
pub(super) struct SafetyPoll {
    at: Option<Moment>,
    pending: bool,
    /// The shortest `limitInterval` of those who wait.
    interval: Option<Duration>,
    /// When the last poll was sent that found everyone still waiting.
    all_waiting_at: Moment,
    /// Waiters to be asked about one by one, because the counts differed.
    doubtful: Vec<AcquisitionId>,
    /// The pending poll asks about them.
    one_by_one: bool,
}

impl SafetyPoll {
    /// A waiter with this interval is in line.
    pub(super) fn joined(&mut self, interval: Duration) {
        self.interval = Some(self.interval.map_or(interval, |shortest| shortest.min(interval)));
    }

    /// The next poll comes at `at` at the latest.
    pub(super) fn by(&mut self, at: Moment) {
        self.at = Some(self.at.map_or(at, |planned| planned.min(at)));
    }

    /// The next poll comes in the usual rhythm.
    pub(super) fn in_turn(&mut self, now: Moment, anybody_waits: bool, listens: bool, jitter: &mut Jitter) {
        if !anybody_waits {
            self.interval = None;
            self.at = None;
            return;
        }
        let every = match self.interval {
            Some(interval) if !listens => interval.min(LONGEST_INTERVAL),
            _ => SAFETY_POLL,
        };
        self.by(now + jitter.around(every));
    }

    pub(super) fn next_at(&self) -> Option<Moment> {
        self.at.filter(|_| !self.pending)
    }

    /// A poll is due, and begins now if anybody waits. Those that it asks about one by one.
    pub(super) fn begin(&mut self, now: Moment, anybody_waits: bool) -> Option<Vec<AcquisitionId>> {
        self.next_at().filter(|at| *at <= now)?;
        self.at = None;
        self.pending = anybody_waits;
        if !anybody_waits {
            return None;
        }
        let doubtful = std::mem::take(&mut self.doubtful);
        self.one_by_one = !doubtful.is_empty();
        Some(doubtful)
    }

    pub(super) fn answered(&mut self) {
        self.pending = false;
    }

    /// A poll that was sent at `at` found everyone still waiting.
    pub(super) fn all_wait(&mut self, at: Moment) {
        self.one_by_one = false;
        self.all_waiting_at = at;
    }

    pub(super) fn all_waiting_at(&self) -> Moment {
        self.all_waiting_at
    }

    /// The counts differ. True when the poll had asked one by one already.
    pub(super) fn doubt(&mut self, waiters: Vec<AcquisitionId>) -> bool {
        self.doubtful = waiters;
        std::mem::take(&mut self.one_by_one)
    }

    /// The connection is lost, and a pending poll with it.
    pub(super) fn lose(&mut self) {
        self.pending = false;
        self.doubtful.clear();
        self.one_by_one = false;
    }

    /// The clock had stopped for `length`.
    pub(super) fn age(&mut self, length: Duration) {
        self.all_waiting_at = self.all_waiting_at - length;
    }
}
