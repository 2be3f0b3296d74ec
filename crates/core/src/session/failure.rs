//! What doesn't come to a lease: calls that came back as errors, and requests that end with nothing.
//!
//! What was surely not executed is asked again, and nobody hears of it (R29). Any other error ends the requests that
//! the call was about; leases that it should have renewed stay held, and are renewed later (R28); what nobody wants is
//! asked to go until it has gone (R12). A connection that dies without an answer is `link`'s.

use std::time::Duration;

use super::acquisition::State;
use super::ask::Items;
use super::{Event, Session};
use crate::error::{Error, Loss};
use crate::moment::Moment;
use crate::protocol::CallError;

/// How full a group was.
#[derive(Clone, Copy)]
pub(super) struct Fullness {
    pub(super) held: u64,
    pub(super) waiting: u64,
    pub(super) next_end_in_ms: Option<u64>,
}

impl Session {
    pub(super) fn take_error(&mut self, now: Moment, line: usize, items: Items, error: CallError) {
        let key = self.line_mut(line).key.clone();
        match error {
            CallError::NotExecutedThere { why, answered } => {
                self.back_off(now, line, self.failure(why, true, answered));
                self.ask_all_again(now, line, items);
            }
            CallError::NotExecuted(text) => {
                self.back_off(now, line, self.refused(&*text));
                self.ask_all_again(now, line, items);
                if text.contains("READONLY") {
                    self.look_for_the_primary(now, &text);
                }
                if text.contains("LOADING") {
                    self.settle_anew(now);
                }
            }
            CallError::OutOfMemory(text) | CallError::Denied(text) => match items {
                Items::Acquire(_) | Items::Renew { .. } => {
                    self.fail_asks(now, line, items, self.refused(text));
                }
                // To forget what isn't cleared away would leave a waiter in line, or a lease held, that nobody knows
                // of.
                Items::Release(_) | Items::Leave(_) | Items::Reconcile { .. } | Items::Clean => {
                    self.back_off(now, line, self.refused(text));
                    self.ask_all_again(now, line, items);
                }
            },
            CallError::Stale => {
                let message = "a newer connection of this session exists".into();
                self.fail_all(now, line, items, Error::Protocol { key, message });
            }
            CallError::Unusable(message) => {
                self.fail_all(now, line, items, Error::Protocol { key, message });
            }
            CallError::Garbage(message) => {
                self.fail_unclear(now, line, items, Error::Protocol { key, message });
            }
        }
    }

    /// Surely not executed (R29): everything goes back to where it came from.
    fn ask_all_again(&mut self, now: Moment, line: usize, items: Items) {
        match items {
            Items::Acquire(numbers) => {
                for number in numbers {
                    match self.acquisitions.get(&number) {
                        Some(acquisition) if acquisition.wanted => self.ask_again(now, number),
                        _ => self.remove(number),
                    }
                }
            }
            Items::Release(numbers) => {
                numbers.iter().for_each(|number| self.arm(now, *number));
                self.line_mut(line).releases.extend(numbers);
            }
            Items::Leave(numbers) => self.line_mut(line).leaves.extend(numbers),
            Items::Reconcile { numbers, own_from } => {
                let side = self.line_mut(line);
                side.unsettled.extend(numbers);
                side.own_from = own_from.or(side.own_from);
            }
            Items::Renew { leases, look, .. } => {
                self.renew_later(now, leases);
                if look {
                    let at = self.line_mut(line).not_before;
                    self.look_by(line, at);
                }
            }
            Items::Clean => self.line_mut(line).again = true,
        }
    }

    /// Surely not executed, and those who asked hear of it: new requests, and waiters whose look was refused. Leases
    /// stay held, and are renewed later.
    fn fail_asks(&mut self, now: Moment, line: usize, items: Items, failure: Error) {
        match items {
            Items::Acquire(numbers) => {
                numbers.into_iter().for_each(|number| self.refuse(number, failure.clone()));
            }
            Items::Renew { leases, look, .. } => {
                self.renew_later(now, leases);
                if look {
                    self.refuse_waiters(line, &failure);
                }
            }
            Items::Release(_) | Items::Leave(_) | Items::Reconcile { .. } | Items::Clean => {}
        }
    }

    /// The group can't be used: nothing of what was asked is there.
    fn fail_all(&mut self, now: Moment, line: usize, items: Items, failure: Error) {
        match items {
            Items::Leave(numbers) => {
                numbers.into_iter().for_each(|number| self.refuse(number, failure.clone()));
            }
            Items::Release(numbers) => {
                numbers.into_iter().for_each(|number| self.take_released(number, false))
            }
            Items::Reconcile { numbers, .. } => {
                numbers.into_iter().for_each(|number| self.settle_without(now, number, failure.clone()));
            }
            Items::Clean => {}
            items => self.fail_asks(now, line, items, failure),
        }
    }

    /// Nobody knows what was carried out: those who asked hear of it, and what Redis has of it is cleared away (R12).
    fn fail_unclear(&mut self, now: Moment, line: usize, items: Items, failure: Error) {
        match items {
            Items::Acquire(numbers) | Items::Leave(numbers) => {
                for number in numbers {
                    let Some(acquisition) = self.acquisitions.get_mut(&number) else { continue };
                    acquisition.state = State::Unclear;
                    if acquisition.wanted {
                        self.stats.refused += 1;
                        self.unwant(number, Some(failure.clone()));
                    }
                    self.line_mut(line).unsettled.push(number);
                }
            }
            Items::Release(numbers) => {
                numbers.iter().for_each(|number| self.arm(now, *number));
                self.line_mut(line).unsettled.extend(numbers);
            }
            items => self.fail_all(now, line, items, failure),
        }
    }

    /// The group can't be used: what was to be settled there is lost or fails.
    fn settle_without(&mut self, now: Moment, number: u64, failure: Error) {
        match self.acquisitions.get(&number).map(|a| &a.state) {
            Some(State::Held(_)) => self.lose(now, number, Loss::Gone),
            Some(State::Releasing { .. }) => self.take_released(number, false),
            Some(State::Lost) | None => {}
            Some(_) => self.refuse(number, failure),
        }
    }

    /// Those in line hear that Redis refuses, and leave it.
    fn refuse_waiters(&mut self, line: usize, failure: &Error) {
        let mut waiters: Vec<u64> = self.line_mut(line).waiting.iter().copied().collect();
        waiters.sort_unstable();
        for number in waiters {
            if self.acquisitions.get(&number).is_some_and(|a| a.wanted) {
                self.stats.refused += 1;
                self.unwant(number, Some(failure.clone()));
            }
        }
    }

    /// Redis doesn't know the request: it's asked anew.
    pub(super) fn ask_again(&mut self, now: Moment, number: u64) {
        let Some(acquisition) = self.acquisitions.get_mut(&number) else { return };
        acquisition.state = State::Pending;
        let line = acquisition.line;
        let side = self.line_mut(line);
        side.waiting.remove(&number);
        side.held.remove(&number);
        side.pending.insert(number);
        self.soil(line);
        self.arm(now, number);
    }

    /// It has left the line: its requester, if it still waits, hears how full the group was.
    pub(super) fn time_out(&mut self, now: Moment, number: u64, fullness: Fullness) {
        let Some(acquisition) = self.acquisitions.get(&number) else { return };
        if acquisition.wanted {
            let (client, tag) = (acquisition.client, acquisition.tag);
            self.stats.timed_out += 1;
            let error = Some(self.limit_exceeded(now, number, fullness));
            self.tell(Event::Failed { client, tag, error });
        }
        self.remove(number);
    }

    /// The request fails and leaves nothing behind.
    pub(super) fn refuse(&mut self, number: u64, error: Error) {
        let Some(acquisition) = self.acquisitions.get(&number) else { return };
        if acquisition.wanted {
            let (client, tag) = (acquisition.client, acquisition.tag);
            self.stats.refused += 1;
            self.tell(Event::Failed { client, tag, error: Some(error) });
        }
        self.remove(number);
    }

    pub(super) fn limit_exceeded(&self, now: Moment, number: u64, fullness: Fullness) -> Error {
        let acquisition = &self.acquisitions[&number];
        Error::LimitExceeded {
            key: self.key_of(number),
            limit: acquisition.terms.limit,
            waited: now.saturating_since(acquisition.asked_at),
            held: fullness.held,
            waiting: fullness.waiting,
            retry_after: fullness.next_end_in_ms.map(Duration::from_millis),
        }
    }
}
