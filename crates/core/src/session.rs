//! One process's side of all its groups: what it holds, what it waits for, what it has asked and not heard about yet.
//!
//! Pure: no I/O, no clock, no thread. What happens comes in through `submit`, `release`, `cancel`, … and `handle_*`,
//! with the moment as an argument; what is to be done comes out of [`Session::poll_output`] and
//! [`Session::poll_deadline`]. Who may hold is not decided here: that is `group`'s. Kept here: R10 (the local verdict),
//! R12 (unclear outcomes), R20 (confirming), R21 (the look), R23 (leaving), R28 (renewing together), R29 (asking
//! again), R30 (settling).
//!
//! `input` and `output` are the nouns it exchanges with its driver. `acquisition` is one request's life and `due` its
//! time, `hold` one lease's life, `line` one group's share of all that; `ask` makes calls, `answer` reads replies,
//! `failure` is what doesn't come to a lease, `enter` takes in leases from elsewhere, `tend` is everything that time
//! does, `link` is the connection's coming and going and `unclear` what it leaves to be settled, `question` is what
//! people ask.

mod acquisition;
mod answer;
mod ask;
mod due;
mod enter;
mod failure;
mod histogram;
mod hold;
mod input;
mod line;
mod link;
mod output;
mod question;
mod tend;
#[cfg(test)]
mod tests;
mod unclear;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use self::acquisition::{Acquisition, State};
use self::ask::Flight;
use self::line::Line;
use self::link::Link;
use self::question::Questions;
use crate::error::Error;
use crate::lease::{Key, LeaseId, SessionId};
use crate::moment::Moment;
use crate::protocol::Caller;

pub use self::enter::Holding;
pub use self::histogram::Histogram;
pub use self::input::{ClientId, Request, Settings, Tag};
pub use self::output::{Check, Event, Granted, Output, Stats};
pub use self::question::{Answer, Question};

/// The session.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    link: Link,
    acquisitions: HashMap<u64, Acquisition>,
    by_tag: HashMap<(ClientId, Tag), u64>,
    /// Leases that were left to their ends when their client was closed, and when they have ended at the latest.
    left_to_end: HashMap<u64, Moment>,
    lines: Vec<Option<Line>>,
    free_lines: Vec<usize>,
    idle_lines: VecDeque<usize>,
    line_of: HashMap<Key, usize>,
    dirty: VecDeque<usize>,
    timers: BTreeSet<(Moment, Timer)>,
    flights: VecDeque<Flight>,
    questions: Questions,
    /// Clients whose leases are renewed only while they show that they live: since when, and how long that counts.
    watched: HashMap<ClientId, (Moment, Duration)>,
    closings: Vec<Closing>,
    closed: Vec<ClientId>,
    outputs: VecDeque<Output>,
    next_number: u64,
    next_call: u64,
    random: u64,
    stats: Stats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Request(u64),
    Line(usize),
}

#[derive(Debug)]
struct Closing {
    client: ClientId,
    tag: Tag,
    left: u64,
    until: Moment,
}

impl Session {
    /// A session that has done nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            random: settings.id.0,
            settings,
            link: Link::default(),
            acquisitions: HashMap::new(),
            by_tag: HashMap::new(),
            left_to_end: HashMap::new(),
            lines: Vec::new(),
            free_lines: Vec::new(),
            idle_lines: VecDeque::new(),
            line_of: HashMap::new(),
            dirty: VecDeque::new(),
            timers: BTreeSet::new(),
            flights: VecDeque::new(),
            questions: Questions::default(),
            watched: HashMap::new(),
            closings: Vec::new(),
            closed: Vec::new(),
            outputs: VecDeque::new(),
            next_number: 1,
            next_call: 1,
            stats: Stats::default(),
        }
    }

    /// Its id.
    pub fn id(&self) -> SessionId {
        self.settings.id
    }

    /// Whether it has a connection.
    pub fn connected(&self) -> bool {
        self.link.up()
    }

    /// Asks for a lease.
    pub fn submit(&mut self, now: Moment, request: Request) {
        let try_once = request.timeout == Some(Duration::ZERO);
        if try_once && self.settling(now) {
            self.stats.refused += 1;
            let error = Some(self.refused(link::SETTLES));
            return self.tell(Event::Failed { client: request.client, tag: request.tag, error });
        }
        if self.settings.impatient && self.out_of_reach() {
            self.stats.refused += 1;
            let error = Some(self.out_of_time(now, None));
            return self.tell(Event::Failed { client: request.client, tag: request.tag, error });
        }
        let line = self.line_for(&request.key);
        self.enlist(Acquisition::new(now, line, request));
    }

    /// Gives a lease back. A request that isn't granted yet is cancelled.
    pub fn release(&mut self, now: Moment, client: ClientId, tag: Tag) {
        let Some((number, acquisition)) = self.by_tag(client, tag) else {
            return self.tell(Event::Released { client, tag, was_held: false });
        };
        if acquisition.wanted {
            return self.cancel(client, tag);
        }
        let (was_held, held_for) = match &acquisition.state {
            State::Held(held) => (now < held.valid_until, Some(now.saturating_since(held.since))),
            State::Lost => (false, None),
            _ => return,
        };
        let line = acquisition.line;
        if let Some(held_for) = held_for {
            self.stats.holds.record(held_for);
        }
        // A lease that is lost by the local clock is told at once: Redis's answer can't make it true again (R10).
        if !was_held {
            self.tell(Event::Released { client, tag, was_held: false });
        }
        let answer_by = was_held.then(|| now + self.settings.command_timeout);
        self.give_back(number, answer_by);
        if was_held {
            self.line_mut(line).unarmed.push(number);
        }
    }

    /// The client doesn't want the request any more. Exactly one event ends each request: if the grant was told
    /// already, that one stands and the lease is given back silently.
    pub fn cancel(&mut self, client: ClientId, tag: Tag) {
        let Some((number, acquisition)) = self.by_tag(client, tag) else { return };
        if !acquisition.wanted {
            if matches!(acquisition.state, State::Held(_) | State::Lost) {
                self.give_back(number, None);
            }
            return;
        }
        self.stats.aborted += 1;
        self.unwant(number, None);
    }

    /// From now on the client's leases are renewed only while it was heard of within `timeout`.
    pub fn watch(&mut self, now: Moment, client: ClientId, timeout: Duration) {
        self.watched.insert(client, (now, timeout));
    }

    /// A watched client lives.
    pub fn beat(&mut self, now: Moment, client: ClientId) {
        if let Some((heard_at, _)) = self.watched.get_mut(&client) {
            *heard_at = now;
        }
    }

    /// Ends a client: what waits fails as closed, what is held is given back (or left to its end), then the event
    /// follows.
    pub fn close(&mut self, now: Moment, client: ClientId, tag: Tag, release: bool) {
        self.left_to_end.retain(|_, ended_by| *ended_by > now);
        let mut numbers: Vec<u64> =
            self.acquisitions.iter().filter(|(_, a)| a.client == client).map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        for number in numbers {
            let acquisition = &self.acquisitions[&number];
            if acquisition.wanted {
                self.unwant(number, Some(Error::Closed));
            } else {
                self.let_go(now, number, release);
            }
        }
        for (tag, error) in self.questions.close(client) {
            self.tell(Event::Answered { client, tag, answer: Err(error) });
        }
        let left = self.acquisitions.values().filter(|a| a.client == client).count() as u64;
        self.watched.remove(&client);
        self.closings.push(Closing { client, tag, left, until: now + self.settings.command_timeout });
        self.finish_closings(None);
    }

    /// The clients whose end has been told since the last call.
    pub fn take_closed(&mut self) -> Vec<ClientId> {
        std::mem::take(&mut self.closed)
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        for line in self.lines.iter().flatten() {
            stats.held += line.held.len() as u64;
            stats.waiting += line.waiting.len() as u64 + line.pending.len() as u64;
        }
        stats
    }

    /// The next thing to do, if there is one.
    pub fn poll_output(&mut self, now: Moment) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if self.wants_link(now) {
                return Some(self.begin_connecting(now));
            }
            self.ask_questions(now);
            if !self.outputs.is_empty() {
                continue;
            }
            let line = self.dirty.pop_front()?;
            if let Some(line) = self.lines[line].as_mut() {
                line.dirty = false;
            }
            self.flush(now, line);
            self.sweep(now, line);
        }
    }

    /// When `handle_timeout` wants to be called next.
    pub fn poll_deadline(&self) -> Option<Moment> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let closing = self.closings.iter().map(|closing| closing.until).min();
        [timer, closing, self.link_deadline(), self.questions.deadline(self.link.up())]
            .into_iter()
            .flatten()
            .min()
    }

    /// Nothing is held, asked or waited for: the connection isn't needed.
    pub fn idle(&self) -> bool {
        self.acquisitions.is_empty() && self.questions.is_empty() && self.outputs.is_empty()
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn by_tag(&self, client: ClientId, tag: Tag) -> Option<(u64, &Acquisition)> {
        let number = *self.by_tag.get(&(client, tag))?;
        Some((number, self.acquisitions.get(&number)?))
    }

    fn lease_id(&self, number: u64) -> LeaseId {
        LeaseId { session: self.settings.id, number }
    }

    /// Redis gives no answer.
    fn unavailable(&self, cause: impl Into<String>) -> Error {
        self.failure(cause, false, false)
    }

    /// Redis answers, but refuses.
    fn refused(&self, cause: impl Into<String>) -> Error {
        self.failure(cause, true, true)
    }

    fn failure(&self, cause: impl Into<String>, reached: bool, answered: bool) -> Error {
        Error::Unavailable { address: self.settings.address.clone(), cause: cause.into(), reached, answered }
    }

    fn caller(&self, now: Moment, keep_alive: Duration) -> Caller {
        Caller {
            session: self.settings.id,
            connection: self.link.number,
            listens: self.link.listens,
            settling: self.settling(now),
            keep_alive_ms: keep_alive.as_millis() as u64,
        }
    }

    /// A length that differs by up to a tenth, so that processes don't act in step.
    fn jitter(&mut self, length: Duration) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let share = (mixed >> 40) as f64 / (1u64 << 24) as f64;
        length.mul_f64(0.9 + 0.2 * share)
    }
}
