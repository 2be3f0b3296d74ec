//! What time does: leases are renewed or lost, waiters are looked after, and whoever waits for an answer gets one.

use std::time::Duration;

use super::acquisition::{Acquisition, Held, State};
use super::ask::BATCH;
use super::{ClientId, Session, Timer};
use crate::error::Loss;
use crate::moment::Moment;

/// How often a listening session looks whether a push went missing (R21).
const SAFETY_LOOK: Duration = Duration::from_secs(1);

/// A renewal that the server refused is tried again after this long (R20), or a sixth of the lease if that's shorter.
const RENEW_AGAIN: Duration = Duration::from_millis(500);

/// Where push isn't to be had, a grant in its claim window must be found in time, however long the interval is.
const LONGEST_LOOK: Duration = Duration::from_millis(1_500);

impl Session {
    /// Time has passed: does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Moment) {
        while let Some((at, timer)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            match timer {
                Timer::Request(number) => self.handle_request_timer(now, number),
                Timer::Line(line) => self.tend(now, line),
            }
        }
        self.finish_closings(Some(now));
        self.handle_question_timeouts(now);
        self.handle_link_timeout(now);
    }

    /// The wall clock has got ahead of ours by `length` at once: our clock may have stood still that long. Everything
    /// that rests on when a call left is older by so much, and what is held counts only if Redis confirms it now (R10).
    pub fn handle_jump(&mut self, now: Moment, length: Duration) {
        self.age_flights(length);
        let bound = now + self.settings.command_timeout;
        for acquisition in self.acquisitions.values_mut() {
            match &mut acquisition.state {
                State::InLine { since, .. } => *since = *since - length,
                State::Held(held) => held.valid_until = held.valid_until.min(bound),
                _ => {}
            }
        }
        for line in 0..self.lines.len() {
            if let Some(side) = &mut self.lines[line] {
                side.all_waiting_at = side.all_waiting_at - length;
                side.unsettled.extend(&side.held);
                self.wake_for_lease(line, bound);
                self.soil(line);
            }
        }
    }

    /// The line's leases and waiters, as far as they are due.
    fn tend(&mut self, now: Moment, line: usize) {
        self.line_mut(line).timer = None;
        let due = self.line(line).held_due_at.is_some_and(|at| at <= now);
        if due {
            self.lose_overdue(now, line);
        }
        if self.link.up() {
            let settled = self.line(line).settling_calls == 0;
            let leases = if due && settled { self.take_due(now, line) } else { Vec::new() };
            let look = settled && self.line(line).unsettled.is_empty() && self.look_due(now, line);
            self.renew(now, line, leases, look);
            self.soil(line);
        }
        if due {
            self.line_mut(line).held_due_at = self.next_lease_due(line);
        }
        if let Some(next) = self.next_due(now, line) {
            self.wake(line, next);
        }
    }

    fn lose_overdue(&mut self, now: Moment, line: usize) {
        let mut lost = Vec::new();
        for number in &self.line(line).held {
            let Some(acquisition) = self.acquisitions.get(number) else { continue };
            if let State::Held(held) = &acquisition.state
                && held.valid_until <= now
            {
                lost.push((*number, self.loss_of(now, acquisition, held)));
            }
        }
        lost.sort_unstable_by_key(|(number, _)| *number);
        lost.into_iter().for_each(|(number, why)| self.lose(now, number, why));
    }

    fn loss_of(&self, now: Moment, acquisition: &Acquisition, held: &Held) -> Loss {
        // The last renewal asked for no more than was left of the longest hold; what is missing is the margin.
        let near_enough = held.valid_until + acquisition.lease() / 10;
        if acquisition.hold.is_some_and(|hold| near_enough >= held.since + hold) {
            Loss::HeldTooLong
        } else if !acquisition.renew {
            Loss::NotRenewed
        } else if self.stalled(now, acquisition.client) {
            Loss::Stalled
        } else {
            Loss::Expired
        }
    }

    /// The client is watched and wasn't heard of for too long: its leases are left to their end.
    pub(super) fn stalled(&self, now: Moment, client: ClientId) -> bool {
        self.watched.get(&client).is_some_and(|(heard_at, timeout)| *heard_at + *timeout <= now)
    }

    /// The leases to renew: when one is due, those that soon will be come along, so that one call does for all (R28).
    fn take_due(&mut self, now: Moment, line: usize) -> Vec<(u64, Duration)> {
        let (mut due, mut stalled) = (Vec::new(), Vec::new());
        let mut any = false;
        for number in &self.line(line).held {
            let Some(acquisition) = self.acquisitions.get(number) else { continue };
            let State::Held(held) = &acquisition.state else { continue };
            let Some(renew_at) = held.renew_at.filter(|_| !held.renewing) else { continue };
            let company = (acquisition.lease() / 6).min(Duration::from_secs(5));
            if renew_at > now + company {
                continue;
            }
            let length = acquisition.length_from(now, held).max(Duration::from_millis(1));
            if self.stalled(now, acquisition.client) {
                stalled.push((*number, length));
            } else {
                any |= renew_at <= now;
                due.push((*number, length));
            }
        }
        self.renew_later(now, stalled);
        if !any {
            return Vec::new();
        }
        due.sort_unstable();
        for (number, _) in &due {
            if let Some(Acquisition { state: State::Held(held), .. }) = self.acquisitions.get_mut(number) {
                held.renewing = true;
            }
        }
        due
    }

    fn look_due(&mut self, now: Moment, line: usize) -> bool {
        let side = self.line_mut(line);
        let due = side.look_at.is_some_and(|at| at <= now) && !side.looking;
        if due {
            side.look_at = None;
            side.looking = !side.waiting.is_empty();
        }
        due && side.looking
    }

    /// Sends the renewals and the look, the look with the last of them so that its count comes after all.
    fn renew(&mut self, now: Moment, line: usize, leases: Vec<(u64, Duration)>, look: bool) {
        let waiters = if look { std::mem::take(&mut self.line_mut(line).doubtful) } else { Vec::new() };
        if look {
            self.line_mut(line).doubted = !waiters.is_empty();
        }
        let (mut leases, mut waiters) = (leases.as_slice(), waiters.as_slice());
        while !(leases.is_empty() && waiters.is_empty()) || look {
            let (now_leases, later_leases) = leases.split_at(self.many(leases));
            let room = BATCH.saturating_sub(now_leases.len());
            let (now_waiters, later_waiters) = waiters.split_at(waiters.len().min(room));
            (leases, waiters) = (later_leases, later_waiters);
            let last = leases.is_empty() && waiters.is_empty();
            self.send_renew(now, line, now_leases.to_vec(), now_waiters.to_vec(), look && last);
            if last {
                break;
            }
        }
    }

    /// How many of these leases one call may touch (R26).
    fn many(&self, leases: &[(u64, Duration)]) -> usize {
        let mut touched = 0;
        let fits = leases.iter().take_while(|(number, _)| {
            let first = touched == 0;
            touched += self.acquisitions.get(number).map_or(1, |a| a.terms.weight as usize);
            first || touched <= BATCH
        });
        fits.count()
    }

    pub(super) fn renew_later(&mut self, now: Moment, leases: Vec<(u64, Duration)>) {
        for (number, length) in leases {
            let Some(acquisition) = self.acquisitions.get_mut(&number) else { continue };
            let line = acquisition.line;
            if let State::Held(held) = &mut acquisition.state {
                let at = now + RENEW_AGAIN.min(length / 6);
                held.renewing = false;
                held.renew_at = Some(at);
                self.wake_for_lease(line, at);
            }
        }
    }

    fn next_due(&self, now: Moment, line: usize) -> Option<Moment> {
        let side = self.line(line);
        let look = side.look_at.filter(|_| self.link.up() && !side.looking);
        let refused = Some(side.not_before).filter(|at| *at > now);
        let next = side.held_due_at.into_iter().chain(look).chain(refused).min();
        // Never in a tighter loop than the clock of the runtime resolves.
        next.map(|at| at.max(now + Duration::from_millis(1)))
    }

    fn next_lease_due(&self, line: usize) -> Option<Moment> {
        let up = self.link.up();
        let leases =
            self.line(line).held.iter().filter_map(|number| match &self.acquisitions.get(number)?.state {
                State::Held(held) => {
                    let renew_at = held.renew_at.filter(|_| up && !held.renewing);
                    Some(renew_at.map_or(held.valid_until, |at| at.min(held.valid_until)))
                }
                _ => None,
            });
        leases.min()
    }

    /// The next look of the line comes at `at` at the latest.
    pub(super) fn look_by(&mut self, line: usize, at: Moment) {
        let side = self.line_mut(line);
        side.look_at = Some(side.look_at.map_or(at, |planned| planned.min(at)));
        self.wake(line, at);
    }

    /// The line's next look in the usual rhythm.
    pub(super) fn look_in_turn(&mut self, now: Moment, line: usize) {
        let listens = self.link.listens;
        let side = self.line_mut(line);
        if side.waiting.is_empty() {
            side.interval = None;
            side.look_at = None;
            return;
        }
        let every = match side.interval {
            Some(interval) if !listens => interval.min(LONGEST_LOOK),
            _ => SAFETY_LOOK,
        };
        let every = self.jitter(every);
        self.look_by(line, now + every);
    }
}
