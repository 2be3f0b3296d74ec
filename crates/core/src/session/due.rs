//! Until when each request is answered, in its present state, and the timers that see to it (R23).

use std::time::Duration;

use super::acquisition::{Acquisition, State};
use super::link::GRACE;
use super::{Event, Session, Timer};
use crate::moment::Moment;

/// So many that have been sent are left among those without a timer before they are cleared out.
const FORGOTTEN: usize = 64;

impl State {
    /// Redis has been asked, or is about to be, what becomes of it.
    fn awaits_answer(&self) -> bool {
        matches!(self, Self::Asked | Self::Unclear | Self::Leaving)
    }
}

impl Acquisition {
    /// The server isn't blamed for time in which this process couldn't ask or read.
    fn excuse(&mut self, now: Moment) {
        if let Some(give_up_at) = self.give_up_at {
            self.left_late = now.saturating_since(give_up_at);
        }
    }

    /// Until when the requester is told something, in its present state.
    fn due_at(&self, ready: bool, command: Duration) -> Option<Moment> {
        if let State::Releasing { answer_by } = self.state {
            return answer_by;
        }
        if !self.wanted {
            return None;
        }
        let give_up_at = self.give_up_at?;
        match self.state {
            State::InLine { .. } => Some(give_up_at),
            // While it could be asked, it will be: only then is the answer "full" rather than "not available".
            State::Pending if !ready && !self.tries_once() => Some(give_up_at),
            _ => Some(give_up_at + self.left_late + command),
        }
    }
}

impl Session {
    /// Whoever couldn't be sent since something stands in the way has a timer from now on. Who only waits until earlier
    /// calls are answered needs none: either they are, or the link is found dead.
    pub(super) fn arm_the_unsent(&mut self, now: Moment, line: usize) {
        let ready = self.ready(now);
        let Some(side) = self.lines[line].as_mut() else { return };
        let unsent = side.pending.len() + side.releases.len();
        if unsent == 0 {
            return side.unarmed.clear();
        }
        let held_up = !ready || side.is_held_up(now);
        if !held_up && side.unarmed.len() <= 2 * unsent + FORGOTTEN {
            return;
        }
        let unarmed = std::mem::take(&mut side.unarmed);
        for number in unarmed {
            match self.acquisitions.get(&number).map(|a| &a.state) {
                Some(State::Pending | State::Releasing { .. }) if held_up => self.arm(now, number),
                Some(State::Pending | State::Releasing { .. }) => self.line_mut(line).unarmed.push(number),
                _ => {}
            }
        }
    }

    /// Sets the request's timer to what its state asks for. Requests that leave at once over a living connection have
    /// none: their calls' own time-out covers them.
    pub(super) fn arm(&mut self, now: Moment, number: u64) {
        let ready = self.ready(now);
        let command = self.settings.command_timeout;
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        let due = acquisition.due_at(ready, command);
        if acquisition.timer == due {
            return;
        }
        if let Some(old) = std::mem::replace(&mut acquisition.timer, due) {
            self.timers.remove(&(old, Timer::Request(number)));
        }
        if let Some(due) = due {
            self.timers.insert((due, Timer::Request(number)));
        }
    }

    pub(super) fn disarm(&mut self, number: u64) {
        if let Some(acquisition) = self.acquisitions.get_mut(&number)
            && let Some(old) = acquisition.timer.take()
        {
            self.timers.remove(&(old, Timer::Request(number)));
        }
    }

    pub(super) fn handle_request_timer(&mut self, now: Moment, number: u64) {
        let ready = self.ready(now);
        let command = self.settings.command_timeout;
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        acquisition.timer = None;
        match acquisition.due_at(ready, command) {
            // The answer may lie in the socket of a process that stood still.
            Some(due) if due + GRACE < now && acquisition.state.awaits_answer() => {
                acquisition.left_late = acquisition.left_late + now.saturating_since(due) + GRACE;
                return self.arm(now, number);
            }
            Some(due) if due <= now => {}
            _ => return self.arm(now, number),
        }
        if let State::Releasing { answer_by } = &mut acquisition.state {
            *answer_by = None;
            let (client, tag) = (acquisition.client, acquisition.tag);
            return self.tell(Event::Released { client, tag, was_held: false });
        }
        if let State::InLine { .. } = acquisition.state {
            acquisition.state = State::Leaving;
            acquisition.excuse(now);
            let line = acquisition.line;
            self.line_mut(line).leaves.push(number);
            self.soil(line);
            return self.arm(now, number);
        }
        self.stats.refused += 1;
        let error = self.out_of_time(now, Some(number));
        self.unwant(number, Some(error));
    }
}
