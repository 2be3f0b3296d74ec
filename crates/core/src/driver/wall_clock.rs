//! Notices when a machine was stopped as a whole (a thaw, a migration): our clock may have stood still meanwhile, but
//! the wall clock is set to the real time afterwards.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::moment::Moment;

/// A smaller jump ahead is a correction of the clock.
const LEAST_JUMP: Duration = Duration::from_millis(500);

/// How far the wall clock is ahead of ours.
#[derive(Default)]
pub(super) struct WallClock {
    ahead: Option<Duration>,
}

impl WallClock {
    /// How far it has jumped ahead since the last call, if that is more than a correction.
    pub(super) fn jump(&mut self, now: Moment) -> Option<Duration> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let ahead = wall.saturating_sub(now.since_start());
        let before = self.ahead.replace(ahead)?;
        Some(ahead.saturating_sub(before)).filter(|jump| *jump >= LEAST_JUMP)
    }
}
