//! The connection's coming and going, and what follows from it: settling (R30), backoff and asking again (R29). What a
//! lost connection leaves to be settled is `unclear`'s.

use std::time::Duration;

use super::acquisition::{Acquisition, State};
use super::ask::{About, Flight};
use super::line::Line;
use super::{Event, Output, Session};
use crate::error::Error;
use crate::lease::Key;
use crate::moment::Moment;

/// A late answer isn't held against the server before the link has had this long to bring in what lies in the socket: a
/// process that was frozen finds its answers there.
pub(super) const GRACE: Duration = Duration::from_millis(50);

/// Why nothing new is asked of a server that has just started (R30).
pub(super) const SETTLES: &str = "the server has just started and settles";

/// The first wait between two attempts to connect.
const BACKOFF: Duration = Duration::from_millis(50);

/// The longest, where no settling time bounds it.
const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) struct Link {
    state: LinkState,
    /// The number of the present connection, or of the one that is being opened.
    pub(super) number: u64,
    pub(super) listens: bool,
    settled_at: Option<Moment>,
    overdue_since: Option<Moment>,
    failures: u32,
    /// When the present attempt to connect began, and whether that has taken too long for those who have a fallback.
    connecting_since: Moment,
    slow: bool,
    /// Since when the connection stands or stood, and how many in a row ended as soon as they stood.
    up_since: Moment,
    brief: u32,
    last_error: Option<String>,
    /// It's what a server said.
    last_answered: bool,
    was_up: bool,
    pub(super) down_since: Moment,
    /// Until when a lost connection is made anew although nothing is asked: groups that were used just before may have
    /// gone back to a state in which something of this session is left.
    owed_until: Moment,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum LinkState {
    #[default]
    Down,
    Waiting(Moment),
    Connecting,
    Up,
}

impl Link {
    pub(super) fn up(&self) -> bool {
        self.state == LinkState::Up
    }
}

/// The error of a link that is down, with what the server had said to whoever asked before that.
pub(super) fn said_before(mut error: Error, refusal: &Error) -> Error {
    if let (
        Error::Unavailable { cause, answered: false, .. },
        Error::Unavailable { cause: words, answered: true, .. },
    ) = (&mut error, refusal)
    {
        *cause = format!("{cause}; before that it said: {words}");
    }
    error
}

impl Session {
    /// A request may be asked at once.
    pub(super) fn ready(&self, now: Moment) -> bool {
        self.link.up() && !self.settling(now)
    }

    pub(super) fn settling(&self, now: Moment) -> bool {
        self.link.up() && self.link.settled_at.is_some_and(|at| now < at)
    }

    /// The last attempt to connect failed, or this one takes too long: nobody who has a fallback waits for it.
    pub(super) fn out_of_reach(&self) -> bool {
        self.link.failures > 0 || self.link.slow
    }

    /// The error of a request whose time is over.
    pub(super) fn out_of_time(&self, now: Moment, number: Option<u64>) -> Error {
        let error = self.why_not_available(now);
        let acquisition = number.and_then(|number| self.acquisitions.get(&number));
        let refusal = acquisition.and_then(|a| self.line(a.line).refusal.clone());
        if !self.link.up() {
            return refusal.map_or(error.clone(), |refusal| said_before(error, &refusal));
        }
        let returned = acquisition.and_then(|a| a.returned.clone());
        match (returned, refusal) {
            _ if self.settling(now) => error,
            (Some(returned), _) => self.failure(returned, false, true),
            (None, Some(refusal)) => refusal,
            (None, None) => error,
        }
    }

    /// The error for what is asked of a link like this.
    pub(super) fn why_not_available(&self, now: Moment) -> Error {
        if self.settling(now) {
            return self.refused(SETTLES);
        }
        match &self.link.last_error {
            Some(error) if !self.link.up() => self.failure(error.as_str(), false, self.link.last_answered),
            _ => self.unavailable("no answer in time"),
        }
    }

    pub(super) fn wants_link(&self, now: Moment) -> bool {
        let may = match self.link.state {
            LinkState::Down => true,
            LinkState::Waiting(until) => until <= now,
            LinkState::Connecting | LinkState::Up => false,
        };
        may && (self.needs_link() || now < self.link.owed_until)
    }

    /// Somebody waits for Redis, or was turned away and would like to know when it's back.
    fn needs_link(&self) -> bool {
        let asked = !(self.acquisitions.is_empty() && self.questions.is_empty());
        asked || (self.settings.impatient && self.out_of_reach())
    }

    pub(super) fn begin_connecting(&mut self, now: Moment) -> Output {
        self.link.state = LinkState::Connecting;
        self.link.connecting_since = now;
        self.link.number += 1;
        Output::Connect
    }

    /// The connection stands. `uptime` is the server's, where it may be asked.
    pub fn handle_connected(&mut self, now: Moment, listens: bool, uptime: Option<Duration>) {
        let again = std::mem::replace(&mut self.link.was_up, true);
        let settle = self.settings.settle;
        // Without INFO, a session that had a connection before takes the server for a new one.
        let left = match uptime {
            Some(uptime) => settle.saturating_sub(uptime),
            None if again => settle,
            None => Duration::ZERO,
        };
        self.link.state = LinkState::Up;
        self.link.up_since = now;
        self.link.listens = listens;
        self.link.settled_at = (!left.is_zero()).then(|| now + left);
        self.link.overdue_since = None;
        self.link.failures = 0;
        self.link.slow = false;
        self.link.owed_until = Moment::default();
        if again {
            self.stats.reconnects += 1;
            self.tell(Event::Reconnected);
        }
        if !listens {
            self.tell(Event::PushUnavailable);
        }
        self.unsettle(|_| true, again);
        if self.settling(now) {
            let tries_once =
                |a: &Acquisition| a.wanted && a.tries_once() && matches!(a.state, State::Pending);
            self.refuse_all(tries_once, &self.refused(SETTLES));
        }
        self.soil_everything();
    }

    /// The connection couldn't be opened. `fatal`: trying again won't help those who ask.
    pub fn handle_connect_failed(&mut self, now: Moment, message: String, fatal: bool) {
        self.take_failed_connect(now, message, fatal, false);
    }

    /// The server answered, and refused the connection: its words are in the message. `fatal` as above.
    pub fn handle_connect_refused(&mut self, now: Moment, message: String, fatal: bool) {
        self.take_failed_connect(now, message, fatal, true);
    }

    fn take_failed_connect(&mut self, now: Moment, message: String, fatal: bool, answered: bool) {
        self.link.failures += 1;
        self.link.slow = false;
        self.link.last_error = Some(message);
        self.link.last_answered = answered;
        self.link.state = LinkState::Waiting(now + self.backoff(self.link.failures));
        let error = self.why_not_available(now);
        let all = fatal || self.settings.impatient;
        self.refuse_all(|a| a.wanted && (all || a.tries_once()), &error);
        self.fail_questions(&error);
        self.forget_ended_traces(now);
    }

    /// How long to wait before the next attempt to connect, after so many in vain.
    fn backoff(&mut self, attempts: u32) -> Duration {
        let longest = match self.settings.settle / 4 {
            Duration::ZERO => LONGEST_BACKOFF,
            longest => longest.min(LONGEST_BACKOFF),
        };
        let backoff = (BACKOFF * 2u32.saturating_pow(attempts.clamp(1, 10) - 1)).min(longest);
        self.jitter(backoff.mul_f64(0.9))
    }

    /// The connection is gone, and why. The next is opened at once, unless this one had only just been: a server that
    /// lets everybody in and hangs up at once isn't asked for hundreds of connections a second.
    pub fn handle_down(&mut self, now: Moment, reason: String) {
        if !self.link.up() {
            return;
        }
        let brief = now < self.link.up_since + LONGEST_BACKOFF;
        self.link.brief = if brief { self.link.brief + 1 } else { 0 };
        let wait = if self.link.brief > 1 { self.backoff(self.link.brief - 1) } else { Duration::ZERO };
        self.link.state = LinkState::Waiting(now + wait);
        self.link.down_since = now;
        if self.has_recent_lines(now) {
            self.link.owed_until = now + super::line::IDLE_FOR;
        }
        self.link.listens = false;
        self.link.settled_at = None;
        for flight in std::mem::take(&mut self.flights) {
            match flight.about {
                About::Question(question) => self.ask_question_again(question),
                About::Line { items, line } => self.lose_flight(line, items),
            }
        }
        self.lines.iter_mut().flatten().for_each(Line::lose_flights);
        for number in self.sorted(|a| a.wanted || matches!(a.state, State::Releasing { .. })) {
            self.arm(now, number);
        }
        self.tell(Event::Disconnected(reason.clone()));
        self.link.last_error = Some(reason);
        self.link.last_answered = false;
    }

    /// A part of the link is gone, and why. The groups there are settled anew over what counts as the next connection
    /// of the session (R12): what is still under way to them is unclear, and too late once they are. The other groups
    /// go on.
    pub fn handle_cut(&mut self, now: Moment, concerns: impl Fn(&Key) -> bool, reason: String) {
        if !self.link.up() {
            return;
        }
        self.link.number += 1;
        for flight in std::mem::take(&mut self.flights) {
            let cut = match &flight.about {
                About::Question(question) => self.questions.key_of(*question).is_some_and(&concerns),
                About::Line { line, .. } => concerns(&self.line(*line).key),
            };
            match flight.about {
                About::Question(question) if cut => self.ask_question_again(question),
                About::Line { items, line } if cut => self.lose_flight(line, items),
                about => self.flights.push_back(Flight { about, ..flight }),
            }
        }
        for line in 0..self.lines.len() {
            if let Some(side) = self.lines[line].as_mut().filter(|side| concerns(&side.key)) {
                side.lose_flights();
                self.soil(line);
            }
        }
        let here = |session: &Self, a: &Acquisition| concerns(&session.line(a.line).key);
        for number in
            self.sorted(|a| here(self, a) && (a.wanted || matches!(a.state, State::Releasing { .. })))
        {
            self.arm(now, number);
        }
        self.unsettle(concerns, true);
        self.tell(Event::Warning(reason));
    }

    /// Pushes don't arrive any more, though calls do.
    pub fn handle_push_lost(&mut self, now: Moment) {
        if std::mem::take(&mut self.link.listens) {
            self.tell(Event::PushUnavailable);
            for line in 0..self.lines.len() {
                if self.lines[line].as_ref().is_some_and(|side| !side.waiting.is_empty()) {
                    self.look_by(line, now);
                }
            }
        }
    }

    pub(super) fn link_deadline(&self) -> Option<Moment> {
        match self.link.state {
            LinkState::Waiting(until) => (self.needs_link() || until < self.link.owed_until).then_some(until),
            LinkState::Up => {
                let overdue = self.link.overdue_since.map(|since| since + GRACE);
                let due = self.flights.front().map(|flight| flight.sent_at + self.settings.command_timeout);
                [overdue.or(due), self.link.settled_at].into_iter().flatten().min()
            }
            LinkState::Connecting => {
                let waits = self.settings.impatient && !self.link.slow;
                waits.then(|| self.link.connecting_since + self.settings.command_timeout)
            }
            LinkState::Down => None,
        }
    }

    pub(super) fn handle_link_timeout(&mut self, now: Moment) {
        if self.link.settled_at.is_some_and(|at| at <= now) {
            self.link.settled_at = None;
            self.soil_everything();
        }
        let timeout = self.settings.command_timeout;
        if self.link.state == LinkState::Connecting && self.link_deadline().is_some_and(|at| at <= now) {
            self.link.slow = true;
            let cause = format!("no connection for {timeout:?}");
            self.refuse_all(|a| a.wanted, &self.unavailable(cause));
        }
        let overdue =
            self.link.up() && self.flights.front().is_some_and(|flight| flight.sent_at + timeout <= now);
        match (overdue, self.link.overdue_since) {
            (false, _) => self.link.overdue_since = None,
            (true, None) => self.link.overdue_since = Some(now),
            (true, Some(since)) if since + GRACE <= now => {
                self.drop_link(now, format!("no answer for {timeout:?}"));
                // Their one try has had its time; a lost connection alone would have left them another.
                let all = self.settings.impatient;
                let error = self.unavailable(format!("no answer for {timeout:?}"));
                self.refuse_all(|a| a.wanted && (all || a.tries_once()), &error);
            }
            (true, Some(_)) => {}
        }
    }

    fn drop_link(&mut self, now: Moment, reason: String) {
        self.outputs.push_back(Output::Disconnect);
        self.handle_down(now, reason);
    }

    /// The server has become a replica: whoever is the primary now may be found under the same address.
    pub(super) fn look_for_the_primary(&mut self, now: Moment, words: &str) {
        if self.link.up() {
            self.drop_link(now, format!("the server is a read-only replica: {words}"));
            self.link.last_answered = true;
            self.link.state = LinkState::Waiting(now + self.jitter(LONGEST_BACKOFF / 2));
        }
    }

    /// The server is still loading: its settling time counts from when it answers normally (R30).
    pub(super) fn settle_anew(&mut self, now: Moment) {
        if !self.settings.settle.is_zero() {
            self.link.settled_at = Some(now + self.settings.settle);
        }
    }

    /// An answer came: the server lives.
    pub(super) fn hear(&mut self) {
        self.link.overdue_since = None;
    }

    /// The server refuses the line's calls for now.
    pub(super) fn back_off(&mut self, now: Moment, line: usize, refusal: Error) {
        let refusals = self.line_mut(line).refusals;
        let wait = self.jitter((BACKOFF / 5 * 2u32.saturating_pow(refusals.min(10))).min(LONGEST_BACKOFF));
        let side = self.line_mut(line);
        side.refusals = refusals.saturating_add(1);
        side.refusal = Some(refusal);
        side.not_before = now + wait;
        self.wake(line, now + wait);
    }

    fn refuse_all(&mut self, which: impl Fn(&Acquisition) -> bool, error: &Error) {
        for number in self.sorted(which) {
            self.stats.refused += 1;
            self.unwant(number, Some(error.clone()));
        }
    }

    fn soil_everything(&mut self) {
        for line in 0..self.lines.len() {
            if self.lines[line].is_some() {
                self.soil(line);
            }
        }
    }

    pub(super) fn sorted(&self, of: impl Fn(&Acquisition) -> bool) -> Vec<u64> {
        let mut numbers: Vec<u64> =
            self.acquisitions.iter().filter(|(_, a)| of(a)).map(|(n, _)| *n).collect();
        numbers.sort_unstable();
        numbers
    }
}
