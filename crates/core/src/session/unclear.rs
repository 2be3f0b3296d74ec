//! What a lost connection leaves behind: whatever Redis may know of this session is settled over the next one, before
//! anything else is asked (R12).

use std::time::Duration;

use super::acquisition::{Acquisition, State};
use super::ask::Items;
use super::{Event, Session};
use crate::lease::Key;
use crate::moment::Moment;

/// How long, after its lease, a trace is kept that couldn't be cleared away: waiters are out of the line by then.
const TRACE: Duration = Duration::from_secs(60);

impl Session {
    pub(super) fn lose_flight(&mut self, line: usize, items: Items) {
        match items {
            Items::Acquire(numbers) => {
                for number in numbers {
                    if let Some(a) = self.acquisitions.get_mut(&number)
                        && matches!(a.state, State::Asked)
                    {
                        a.state = State::Unclear;
                    }
                }
            }
            // A number without an acquisition is a stray grant: it's given back again when the link stands.
            Items::Release(numbers) | Items::Reconcile { numbers, .. } => {
                self.line_mut(line).releases.extend(numbers);
            }
            Items::Renew { leases, .. } => {
                for (number, _) in leases {
                    if let Some(a) = self.acquisitions.get_mut(&number)
                        && let State::Held(held) = &mut a.state
                    {
                        held.renewing = false;
                    }
                }
            }
            Items::Leave(_) | Items::Clean => {}
        }
    }

    /// Everything that Redis may know of this session in these groups has to be settled, with `own` also what this
    /// session doesn't know of itself any more.
    pub(super) fn unsettle(&mut self, concerns: impl Fn(&Key) -> bool, own: bool) {
        for number in self.sorted(|a| !matches!(a.state, State::Pending) && concerns(&self.line(a.line).key))
        {
            let line = self.acquisitions[&number].line;
            self.line_mut(line).unsettled.push(number);
        }
        let known = &self.acquisitions;
        for side in self.lines.iter_mut().flatten().filter(|side| concerns(&side.key)) {
            // What is to be released is settled as unwanted; strays have no acquisition that would say so.
            let releases = std::mem::take(&mut side.releases);
            side.leaves.clear();
            side.own_from = own.then_some(0);
            side.unsettled.extend(releases.into_iter().filter(|number| !known.contains_key(number)));
        }
    }

    /// What isn't wanted and has ended in Redis since the connection was lost needs no connection any more.
    pub(super) fn forget_ended_traces(&mut self, now: Moment) {
        let down_since = self.link.down_since;
        let ended = |a: &Acquisition| {
            !(a.wanted || matches!(a.state, State::Held(_) | State::Lost))
                && now > down_since + a.lease() + TRACE
        };
        for number in self.sorted(ended) {
            let acquisition = &self.acquisitions[&number];
            if let State::Releasing { answer_by: Some(_) } = acquisition.state {
                let (client, tag) = (acquisition.client, acquisition.tag);
                self.tell(Event::Released { client, tag, was_held: false });
            }
            self.remove(number);
        }
    }
}
