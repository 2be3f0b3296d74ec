//! One process's side of all its groups: what it holds, what it waits for, what it has asked and not heard about yet.
//!
//! Pure: no I/O, no clock, no thread. What happens comes in through `submit`, `release`, `cancel`, … and `handle_*`, with
//! the moment as an argument; what is to be done comes out of [`Session::poll_output`] and [`Session::poll_deadline`].
//! Who may hold is not decided here: that is `group`'s. Kept here: R10 (the local verdict), R12 (unclear outcomes), R20
//! (confirming), R21 (the look), R23 (leaving), R28 (renewing together), R29 (asking again), R30 (settling).
//!
//! `acquisition` is one request's life, `line` one group's share of it; `ask` makes calls, `answer` reads replies, `tend`
//! is everything that time does, `link` is the connection's coming and going, `question` is what people ask.

mod acquisition;
mod answer;
mod ask;
mod histogram;
mod hold;
mod line;
mod link;
mod question;
mod tend;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use self::acquisition::{Acquisition, State};
use self::ask::Flight;
use self::line::Line;
use self::link::Link;
use self::question::Questions;
use crate::error::{Error, Loss};
use crate::lease::{FencingToken, Key, LeaseId, SessionId, Slot};
use crate::moment::Moment;
use crate::protocol::{Call, Caller, Terms};

pub use self::histogram::Histogram;
pub use self::question::{Answer, Question};

/// One user of a session, for instance one `Limiter` object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// What the client calls one of its requests; unique within the client.
pub type Tag = u64;

/// What a session must know of its options.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its id.
    pub id: SessionId,
    /// Where the groups are, for errors; without password.
    pub address: String,
    /// How long an answer may take.
    pub command_timeout: Duration,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long after its start a server is asked for nothing new (R30).
    pub settle: Duration,
    /// Whether requests rather fail than wait for a connection: somebody stands in for Redis then.
    pub impatient: bool,
}

/// A request for a lease.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose.
    pub client: ClientId,
    /// What the client calls it.
    pub tag: Tag,
    /// The group.
    pub key: Key,
    /// The terms; `claim_ms` is set by the session.
    pub terms: Terms,
    /// How long to wait in line; zero tries once, `None` waits for ever.
    pub timeout: Option<Duration>,
    /// How often to look where push isn't to be had.
    pub interval: Duration,
    /// Whether the lease is renewed.
    pub renew: bool,
    /// The longest hold.
    pub hold: Option<Duration>,
}

/// What there is to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Tell a client.
    Event(Event),
    /// Open a connection; answer with `handle_connected` or `handle_connect_failed`.
    Connect,
    /// Drop the connection; don't answer.
    Disconnect,
    /// Send a call; answer with `handle_reply`.
    Call {
        /// Comes back with the reply.
        number: u64,
        /// Who calls.
        caller: Caller,
        /// What.
        call: Call,
    },
    /// Ask for a page of keys; answer with `handle_keys`.
    Keys {
        /// Comes back with the reply.
        number: u64,
        /// The glob.
        pattern: String,
        /// Where to begin.
        cursor: String,
    },
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It has a lease.
    Granted {
        /// Who is told.
        client: ClientId,
        /// About which request.
        tag: Tag,
        /// The lease.
        lease: Granted,
    },
    /// The request is over without a lease.
    Failed {
        /// Who is told.
        client: ClientId,
        /// About which request.
        tag: Tag,
        /// Why; `None` when the client cancelled it.
        error: Option<Error>,
    },
    /// The lease is given back.
    Released {
        /// Who is told.
        client: ClientId,
        /// About which request.
        tag: Tag,
        /// Whether it was still held, by Redis's answer and by the local verdict.
        was_held: bool,
    },
    /// The lease is lost.
    Lost {
        /// Who is told.
        client: ClientId,
        /// About which request.
        tag: Tag,
        /// The group.
        key: Key,
        /// The lowest slot.
        slot: Slot,
        /// Why.
        why: Loss,
    },
    /// The lease was renewed.
    Renewed {
        /// Who is told.
        client: ClientId,
        /// About which request.
        tag: Tag,
        /// The new local deadline.
        deadline: Moment,
    },
    /// A question is answered.
    Answered {
        /// Who is told.
        client: ClientId,
        /// About which question.
        tag: Tag,
        /// The answer.
        answer: Result<Answer, Error>,
    },
    /// Everything of the client is given back, as far as that could be had.
    Closed {
        /// Who is told.
        client: ClientId,
        /// About which close.
        tag: Tag,
    },
    /// The connection was lost, and why. For every client.
    Disconnected(String),
    /// The connection is back. For every client.
    Reconnected,
    /// Something that an operator should know. For every client.
    Warning(String),
    /// Pushes can't be had; waiters look again every `limitInterval`. For every client.
    PushUnavailable,
}

/// A lease as its client gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    /// Its id.
    pub id: LeaseId,
    /// Its slots, ascending.
    pub slots: Vec<Slot>,
    /// Its fencing token.
    pub token: FencingToken,
    /// The local deadline; renewals move it.
    pub deadline: Moment,
    /// How long the request took.
    pub waited: Duration,
    /// Granted without Redis, which couldn't be reached.
    pub stood_in: bool,
}

/// Counters since the session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Leases granted without waiting in line.
    pub granted_at_once: u64,
    /// Leases granted after waiting in line.
    pub granted_after_waiting: u64,
    /// Requests refused: full, queue full, or not available.
    pub refused: u64,
    /// Requests whose time in line was over.
    pub timed_out: u64,
    /// Requests that were cancelled.
    pub aborted: u64,
    /// Leases lost.
    pub lost: u64,
    /// Leases granted by a push.
    pub handed_off: u64,
    /// Calls sent.
    pub calls: u64,
    /// Connections opened after the first.
    pub reconnects: u64,
    /// Leases held now.
    pub held: u64,
    /// Requests that wait now.
    pub waiting: u64,
    /// How long the leases that were granted had been waited for.
    pub waits: Histogram,
    /// How long the leases that were given back had been held.
    pub holds: Histogram,
}

/// The session.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    link: Link,
    acquisitions: HashMap<u64, Acquisition>,
    by_tag: HashMap<(ClientId, Tag), u64>,
    lines: Vec<Option<Line>>,
    free_lines: Vec<usize>,
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
            lines: Vec::new(),
            free_lines: Vec::new(),
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

    /// Asks for a lease.
    pub fn submit(&mut self, now: Moment, request: Request) {
        let try_once = request.timeout == Some(Duration::ZERO);
        if try_once && self.settling(now) {
            self.stats.refused += 1;
            let error = Some(self.unavailable(link::SETTLES));
            return self.tell(Event::Failed { client: request.client, tag: request.tag, error });
        }
        if self.settings.impatient && self.out_of_reach() {
            self.stats.refused += 1;
            let error = Some(self.unavailable(self.why_not_available(now)));
            return self.tell(Event::Failed { client: request.client, tag: request.tag, error });
        }
        let number = self.next_number;
        self.next_number += 1;
        let line = self.line_for(&request.key);
        self.by_tag.insert((request.client, request.tag), number);
        self.acquisitions.insert(number, Acquisition::new(now, line, request));
        let side = self.line_mut(line);
        side.members += 1;
        side.pending.insert(number);
        self.soil(line);
        if !self.ready(now) {
            self.arm(now, number);
        }
    }

    /// Gives a lease back. A request that isn't granted yet is cancelled.
    pub fn release(&mut self, now: Moment, client: ClientId, tag: Tag) {
        let Some((number, acquisition)) = self.by_tag(client, tag) else {
            return self.tell(Event::Released { client, tag, was_held: false });
        };
        let (was_held, held_for) = match &acquisition.state {
            State::Held(held) => (now < held.valid_until, Some(now.saturating_since(held.since))),
            State::Lost => (false, None),
            State::Releasing { .. } => return,
            _ => return self.cancel(client, tag),
        };
        if let Some(held_for) = held_for {
            self.stats.holds.record(held_for);
        }
        // A lease that is lost by the local clock is told at once: Redis's answer can't make it true again (R10).
        if !was_held {
            self.tell(Event::Released { client, tag, was_held: false });
        }
        let answer_by = was_held.then(|| now + self.settings.command_timeout);
        self.give_back(number, answer_by);
        if was_held && !self.ready(now) {
            self.arm(now, number);
        }
    }

    /// The client doesn't want the request any more. Exactly one event ends each request: if the grant was told already,
    /// that one stands and the lease is given back silently.
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

    /// Ends a client: what waits fails as closed, what is held is given back (or left to its end), then the event follows.
    pub fn close(&mut self, now: Moment, client: ClientId, tag: Tag, release: bool) {
        let mut numbers: Vec<u64> =
            self.acquisitions.iter().filter(|(_, a)| a.client == client).map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        for number in numbers {
            let acquisition = &self.acquisitions[&number];
            if acquisition.wanted {
                self.unwant(number, Some(Error::Closed));
            } else if matches!(acquisition.state, State::Held(_) | State::Lost) {
                if release { self.give_back(number, None) } else { self.forget(number) }
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
                return Some(self.begin_connecting());
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
            self.sweep(line);
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

    fn unavailable(&self, cause: impl Into<String>) -> Error {
        Error::Unavailable { address: self.settings.address.clone(), cause: cause.into() }
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
