//! The connection's state: whether it is up, when to open it again, and whether the server settles (R30).
//!
//! What follows for requests and leases is not decided here.

use std::time::Duration;

use super::input::Settings;
use super::jitter::Jitter;
use crate::error::Error;
use crate::moment::Moment;

/// A late answer doesn't count as missing until the connection has had this long to deliver what has already arrived: a
/// process that was suspended finds its answers there.
pub(super) const GRACE: Duration = Duration::from_millis(50);

/// The first wait between two attempts to connect.
pub(super) const BACKOFF: Duration = Duration::from_millis(50);

/// The longest wait, where no settling time bounds it.
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_millis(500);

/// Why nothing new is asked of a server that has just started (R30).
const SETTLING: &str = "the server has just started and settles";

#[derive(Debug, Default)]
pub(super) struct Connection {
    state: State,
    /// The number of the present connection, or of the one that is being opened.
    number: u64,
    listens: bool,
    settled_at: Option<Moment>,
    overdue_since: Option<Moment>,
    failures: u32,
    opening_since: Moment,
    /// Opening it takes too long for requests that have a fallback.
    slow: bool,
    up_since: Moment,
    /// How many connections in a row were lost shortly after they were opened.
    brief: u32,
    last_error: Option<String>,
    /// The last error is what a server said.
    last_answered: bool,
    was_up: bool,
    down_since: Moment,
    /// Until when a lost connection is opened again although nothing is asked: groups that were used just before may
    /// have gone back to a state in which something of this session is left.
    reopened_until: Moment,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Down,
    Waiting(Moment),
    Opening,
    Up,
}

/// The error of a connection that is down, with what the server had said to the same request before that.
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

impl Connection {
    pub(super) fn up(&self) -> bool {
        self.state == State::Up
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Pushes reach this session.
    pub(super) fn listens(&self) -> bool {
        self.listens
    }

    /// The server has just started: nothing new may be granted (R30).
    pub(super) fn settling(&self, now: Moment) -> bool {
        self.up() && self.settled_at.is_some_and(|at| now < at)
    }

    /// New requests may be sent at once.
    pub(super) fn ready(&self, now: Moment) -> bool {
        self.up() && !self.settling(now)
    }

    /// The last attempt to connect failed, or this one takes too long: requests that have a fallback don't wait for it.
    pub(super) fn out_of_reach(&self) -> bool {
        self.failures > 0 || self.slow
    }

    pub(super) fn down_since(&self) -> Moment {
        self.down_since
    }

    /// The error for what isn't answered over a connection in this state.
    pub(super) fn why_unavailable(&self, now: Moment, settings: &Settings) -> Error {
        if self.settling(now) {
            return settings.refused(SETTLING);
        }
        match &self.last_error {
            Some(error) if !self.up() => settings.failure(error.as_str(), false, self.last_answered),
            _ => settings.unavailable("no answer in time"),
        }
    }

    /// Whether it is to be opened now; `needed` when somebody waits for it.
    pub(super) fn wants_opening(&self, now: Moment, needed: bool) -> bool {
        let may = match self.state {
            State::Down => true,
            State::Waiting(until) => until <= now,
            State::Opening | State::Up => false,
        };
        may && (needed || now < self.reopened_until)
    }

    pub(super) fn open(&mut self, now: Moment) {
        self.state = State::Opening;
        self.opening_since = now;
        self.number += 1;
    }

    /// It is up. True when there was one before.
    pub(super) fn opened(
        &mut self,
        now: Moment,
        settle: Duration,
        listens: bool,
        uptime: Option<Duration>,
    ) -> bool {
        let again = std::mem::replace(&mut self.was_up, true);
        // Without INFO, a session that had a connection before assumes that the server has restarted.
        let left = match uptime {
            Some(uptime) => settle.saturating_sub(uptime),
            None if again => settle,
            None => Duration::ZERO,
        };
        self.state = State::Up;
        self.up_since = now;
        self.listens = listens;
        self.settled_at = (!left.is_zero()).then(|| now + left);
        self.overdue_since = None;
        self.failures = 0;
        self.slow = false;
        self.reopened_until = Moment::default();
        again
    }

    /// It couldn't be opened; `answered` when a server said so.
    pub(super) fn failed(
        &mut self,
        now: Moment,
        settle: Duration,
        message: String,
        answered: bool,
        jitter: &mut Jitter,
    ) {
        self.failures += 1;
        self.slow = false;
        self.last_error = Some(message);
        self.last_answered = answered;
        self.state = State::Waiting(now + backoff(settle, self.failures, jitter));
    }

    /// It is lost. The next is opened at once, unless this one was lost shortly after it was opened: a server that
    /// accepts connections and closes them at once isn't asked for hundreds of them a second.
    pub(super) fn lost(&mut self, now: Moment, settle: Duration, reason: String, jitter: &mut Jitter) {
        let brief = now < self.up_since + LONGEST_BACKOFF;
        self.brief = if brief { self.brief + 1 } else { 0 };
        let wait = if self.brief > 1 { backoff(settle, self.brief - 1, jitter) } else { Duration::ZERO };
        self.state = State::Waiting(now + wait);
        self.down_since = now;
        self.listens = false;
        self.settled_at = None;
        self.last_error = Some(reason);
        self.last_answered = false;
    }

    /// Until then it is opened again although nothing is asked.
    pub(super) fn reopen_until(&mut self, until: Moment) {
        self.reopened_until = until;
    }

    /// A server said that the primary is elsewhere, and the connection was dropped: look again a little later.
    pub(super) fn look_for_the_primary(&mut self, now: Moment, jitter: &mut Jitter) {
        self.last_answered = true;
        self.state = State::Waiting(now + jitter.around(LONGEST_BACKOFF / 2));
    }

    /// What follows counts as the next connection, though a part of this one goes on.
    pub(super) fn renumber(&mut self) {
        self.number += 1;
    }

    /// Pushes don't reach the session any more; whether they did.
    pub(super) fn stop_listening(&mut self) -> bool {
        std::mem::take(&mut self.listens)
    }

    /// An answer came: the server lives.
    pub(super) fn heard(&mut self) {
        self.overdue_since = None;
    }

    /// The server is still loading: its settling time counts from when it answers normally (R30).
    pub(super) fn restart_settling(&mut self, now: Moment, settle: Duration) {
        if !settle.is_zero() {
            self.settled_at = Some(now + settle);
        }
    }

    /// When one of the checks below is due; `oldest` is when the oldest pending call was sent.
    pub(super) fn deadline(
        &self,
        settings: &Settings,
        needed: bool,
        oldest: Option<Moment>,
    ) -> Option<Moment> {
        match self.state {
            State::Waiting(until) => (needed || until < self.reopened_until).then_some(until),
            State::Up => {
                let overdue = self.overdue_since.map(|since| since + GRACE);
                let due = oldest.map(|sent_at| sent_at + settings.command_timeout);
                [overdue.or(due), self.settled_at].into_iter().flatten().min()
            }
            State::Opening => {
                (settings.impatient && !self.slow).then(|| self.opening_since + settings.command_timeout)
            }
            State::Down => None,
        }
    }

    /// The settling time is over: true once.
    pub(super) fn has_settled(&mut self, now: Moment) -> bool {
        self.settled_at.take_if(|at| *at <= now).is_some()
    }

    /// Opening it takes too long for those who have a fallback: true once.
    pub(super) fn is_too_slow(&mut self, now: Moment, settings: &Settings) -> bool {
        let due = self.opening_since + settings.command_timeout <= now;
        let slow = self.state == State::Opening && settings.impatient && !self.slow && due;
        self.slow |= slow;
        slow
    }

    /// The oldest pending call has no answer for so long that the connection counts as dead.
    pub(super) fn is_dead(&mut self, now: Moment, timeout: Duration, oldest: Option<Moment>) -> bool {
        let overdue = self.up() && oldest.is_some_and(|sent_at| sent_at + timeout <= now);
        match (overdue, self.overdue_since) {
            (false, _) => self.overdue_since = None,
            (true, None) => self.overdue_since = Some(now),
            (true, Some(since)) => return since + GRACE <= now,
        }
        false
    }
}

/// How long to wait before the next attempt to connect, after so many in vain.
fn backoff(settle: Duration, attempts: u32, jitter: &mut Jitter) -> Duration {
    let longest = match settle / 4 {
        Duration::ZERO => LONGEST_BACKOFF,
        longest => longest.min(LONGEST_BACKOFF),
    };
    let backoff = (BACKOFF * 2u32.saturating_pow(attempts.clamp(1, 10) - 1)).min(longest);
    jitter.around(backoff.mul_f64(0.9))
}
