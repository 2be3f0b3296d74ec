//! Whether the group knows which process the session is (R40).
//!
//! It is told with the first call and then hardly ever: a call costs nothing more in between.

use std::sync::Arc;
use std::time::Duration;

use crate::lease::{Epoch, Identity};
use crate::moment::{Moment, whole_ms};
use crate::protocol::{Introduction, Verb};

/// How long the group keeps it beyond what leases need.
const KEPT: Duration = Duration::from_secs(3_600);

#[derive(Debug, Default)]
pub(super) struct Introduced {
    /// Until when the group keeps it at least.
    until: Option<Moment>,
    /// The epoch of the state that was told, once a reply says it.
    epoch: Option<Epoch>,
    /// The longest lease that was asked for.
    longest: Duration,
}

impl Introduced {
    /// What a call of this verb is to say of the session, because the group doesn't know it, or would forget it before
    /// a lease ends.
    pub(super) fn due(
        &mut self,
        identity: Option<&Arc<Identity>>,
        now: Moment,
        verb: &Verb,
    ) -> Option<Introduction> {
        let identity = identity?;
        match verb {
            Verb::Acquire(asks) => {
                let longest = asks.iter().map(|ask| ask.terms.lease_ms).max().unwrap_or(0);
                self.longest = self.longest.max(Duration::from_millis(longest));
            }
            Verb::Renew(_) | Verb::Join(_) => {}
            Verb::Reconcile { items, .. } if !items.is_empty() => {}
            _ => return None,
        }
        if self.until.is_some_and(|until| until >= now + self.longest) {
            return None;
        }
        let keep = KEPT + 2 * self.longest;
        *self = Self { until: Some(now + keep), epoch: None, longest: self.longest };
        Some(Introduction { identity: Arc::clone(identity), keep_ms: whole_ms(keep) })
    }

    /// A call was carried out in a state of this epoch. Another one than before doesn't know it.
    pub(super) fn heard(&mut self, epoch: Epoch) {
        if self.epoch.is_some_and(|told| told != epoch) {
            self.until = None;
        }
        self.epoch = Some(epoch);
    }

    /// What was told last may not have arrived.
    pub(super) fn doubt(&mut self) {
        if self.epoch.is_none() {
            self.until = None;
        }
    }
}
