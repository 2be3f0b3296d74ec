//! One request's life, from asking to its last trace.
//!
//! `wanted` says whether the requester still waits for an answer; the state says what Redis may know of the request.
//! They differ when a requester gives up before Redis has answered: then only the traces are cleared away (R12).

use std::sync::Arc;
use std::time::Duration;

use super::held::Held;
use crate::lease::{FencingToken, Ticket};
use crate::moment::{Moment, whole_ms};
use crate::protocol::Terms;
use crate::session::calls::NoteTerms;
use crate::session::input::{ClientId, Request, Tag};

/// The claim window: how long a grant that isn't in the caller's reply is good for until it's confirmed (R20). Three
/// times the longest time between two safety polls.
const CLAIM: Duration = Duration::from_secs(5);

/// How long a request that would be refused waits for a slot that another session keeps (R39).
const BRIEF_WAIT: Duration = Duration::from_millis(100);

/// How long, after its lease, a trace is kept that couldn't be cleared away: waiters are out of the line by then.
const TRACE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(in crate::session) struct Acquisition {
    pub(in crate::session) client: ClientId,
    pub(in crate::session) tag: Tag,
    pub(in crate::session) terms: Arc<Terms>,
    pub(in crate::session) interval: Duration,
    pub(in crate::session) asked_at: Moment,
    /// The end of its time in line; `None` waits for ever.
    pub(in crate::session) give_up_at: Option<Moment>,
    pub(in crate::session) renew: bool,
    /// The longest hold.
    pub(in crate::session) hold: Option<Duration>,
    /// For how long its slot is kept after its release (R39).
    pub(in crate::session) keep: Duration,
    pub(in crate::session) timer: Option<Moment>,
    /// Its requester waits for an answer.
    pub(in crate::session) wanted: bool,
    /// It was in line.
    pub(in crate::session) queued: bool,
    /// It waits in line for a short time instead of being refused.
    pub(in crate::session) brief: Option<Brief>,
    /// How late this process was to leave the line, or to read the answer, because it was suspended.
    pub(in crate::session) left_late: Duration,
    /// How many grants in a row came when they were nearly over.
    pub(in crate::session) late_grants: u32,
    /// Why the last grant was given back before its requester heard of it.
    pub(in crate::session) returned: Option<String>,
    /// It waited inside until the note ended, and has no place yet.
    pub(in crate::session) was_inside: bool,
    /// Its place in Redis's line, and the note under which it waited inside (R38).
    pub(in crate::session) place: Option<(FencingToken, Ticket)>,
    /// Changed only by `Members::set_state`.
    pub(super) state: State,
}

/// As what a request is refused that waited for a slot which another session keeps, and got none (R39).
#[derive(Debug, Clone, Copy)]
pub(in crate::session) enum Brief {
    TriesOnce,
    QueueFull { waiting: u64 },
}

#[derive(Debug)]
pub(in crate::session) enum State {
    /// Redis surely knows nothing of it.
    Pending,
    /// It waits in this process for a slot of its session's, and Redis knows nothing of it (R35).
    Inside,
    /// An acquire call is pending.
    Asked,
    /// What Redis has of it isn't known: for instance, the connection was lost with an acquire call pending.
    Unclear,
    /// In line; `since` is when the last call was sent that was answered "still waiting" for it.
    InLine { ticket: Ticket, since: Moment },
    /// Its time in line is over or it was cancelled, and Redis has to say whether it had just been granted.
    Leaving,
    /// Granted. Still wanted: its requester hears of it when enough replicas have it.
    Held(Held),
    /// Its holder has released it, and the session has its slot still: it's kept until then, or waits for a token to be
    /// passed with (R37, R39).
    Idle { held: Held, until: Moment },
    /// The holder was told that it's lost and hasn't released it yet.
    Lost,
    /// Being given back; by `answer_by` the holder is told, whatever happens.
    Releasing { answer_by: Option<Moment> },
}

impl Acquisition {
    pub(in crate::session) fn new(now: Moment, request: Request) -> Self {
        let mut terms = request.terms;
        if let Some(hold) = request.hold {
            terms.lease_ms = terms.lease_ms.min(whole_ms(hold)).max(1);
        }
        Self {
            client: request.client,
            tag: request.tag,
            terms: Arc::new(terms),
            interval: request.interval,
            asked_at: now,
            give_up_at: request.timeout.map(|timeout| now + timeout),
            renew: request.renew,
            hold: request.hold,
            keep: request.keep,
            timer: None,
            wanted: true,
            queued: false,
            brief: None,
            left_late: Duration::ZERO,
            late_grants: 0,
            returned: None,
            was_inside: false,
            place: None,
            state: State::Pending,
        }
    }

    /// A lease that this session doesn't ask for: it is held already.
    pub(in crate::session) fn already_held(now: Moment, request: Request, held: Held) -> Self {
        Self { wanted: false, state: State::Held(held), ..Self::new(now, request) }
    }

    /// The same request, to be asked again under another lease id, since its grant is given back.
    pub(in crate::session) fn again(&self, why: String) -> Self {
        Self {
            terms: Arc::clone(&self.terms),
            timer: None,
            wanted: true,
            queued: false,
            returned: Some(why),
            brief: None,
            place: None,
            state: State::Pending,
            ..*self
        }
    }

    /// Its lease goes to another request, which is told of it.
    pub(in crate::session) fn go_to(&mut self, newcomer: Self) {
        let lease = std::mem::replace(self, Self { wanted: false, timer: None, ..newcomer });
        self.state = lease.state;
    }

    /// The slot that Redis has for it, whether somebody holds it or not.
    pub(in crate::session) fn slot(&self) -> Option<&Held> {
        if let State::Held(held) | State::Idle { held, .. } = &self.state { Some(held) } else { None }
    }

    pub(in crate::session) fn slot_mut(&mut self) -> Option<&mut Held> {
        if let State::Held(held) | State::Idle { held, .. } = &mut self.state { Some(held) } else { None }
    }

    pub(in crate::session) fn state(&self) -> &State {
        &self.state
    }

    /// The lease, if it is held.
    pub(in crate::session) fn held(&self) -> Option<&Held> {
        if let State::Held(held) = &self.state { Some(held) } else { None }
    }

    pub(in crate::session) fn held_mut(&mut self) -> Option<&mut Held> {
        if let State::Held(held) = &mut self.state { Some(held) } else { None }
    }

    /// A call that was sent at `at` was answered "still waiting".
    pub(in crate::session) fn is_still_in_line(&mut self, at: Moment) {
        if let State::InLine { since, .. } = &mut self.state {
            *since = at;
        }
    }

    /// Nobody has to hear any more of the release; whether somebody had.
    pub(in crate::session) fn take_answer_by(&mut self) -> bool {
        if let State::Releasing { answer_by } = &mut self.state { answer_by.take().is_some() } else { false }
    }

    /// Its requester waits for Redis: for a grant, or for the answer to a release.
    pub(in crate::session) fn waits_for_redis(&self) -> bool {
        self.wanted || matches!(self.state, State::Releasing { .. })
    }

    /// It isn't wanted, and has ended in Redis if nothing was heard of it since `down_since`.
    pub(in crate::session) fn is_ended_trace(&self, now: Moment, down_since: Moment) -> bool {
        let needed = self.wanted || matches!(self.state, State::Held(_) | State::Lost);
        !needed && now > down_since + self.lease() + TRACE
    }

    pub(in crate::session) fn tries_once(&self) -> bool {
        self.give_up_at == Some(self.asked_at)
    }

    /// It has joined the line, behind so many, with a call that was sent at `sent_at`. If it would have been refused
    /// but for a slot that another session keeps, it waits for that only for a short time (R39); at `latest` it has to
    /// be answered.
    pub(in crate::session) fn wait_briefly(
        &mut self,
        now: Moment,
        sent_at: Moment,
        latest: Moment,
        ahead: u64,
    ) {
        let end = (now + BRIEF_WAIT).min(latest);
        if self.give_up_at.is_some_and(|at| at <= sent_at) {
            self.brief = Some(Brief::TriesOnce);
            self.give_up_at = Some(end);
        } else if self.terms.max_waiting.is_some_and(|most| ahead >= most) {
            self.brief = Some(Brief::QueueFull { waiting: ahead });
            self.give_up_at = Some(self.give_up_at.map_or(end, |at| at.min(end)));
        }
    }

    pub(in crate::session) fn lease(&self) -> Duration {
        Duration::from_millis(self.terms.lease_ms)
    }

    /// The length of a renewal now.
    pub(in crate::session) fn length_from(&self, now: Moment, held: &Held) -> Duration {
        let rest = held.ends_by.map(|ends_by| ends_by.saturating_since(now));
        rest.map_or(self.lease(), |rest| rest.min(self.lease()))
    }

    /// Its terms, if a note may be for them (R32).
    pub(in crate::session) fn note_terms(&self) -> Option<NoteTerms> {
        let terms = &self.terms;
        let plain = terms.weight == 1 && terms.priority == 0 && terms.holder.is_none();
        let lasts = self.renew && self.hold.is_none();
        (plain && lasts).then_some(NoteTerms { limit: terms.limit, lease_ms: terms.lease_ms })
    }

    pub(in crate::session) fn set_claim(&mut self) {
        let claim_ms = self.terms.lease_ms.min(whole_ms(CLAIM));
        if self.terms.claim_ms != claim_ms {
            Arc::make_mut(&mut self.terms).claim_ms = claim_ms;
        }
    }

    /// The server isn't blamed for time in which this process couldn't ask or read.
    pub(in crate::session) fn excuse(&mut self, now: Moment) {
        if let Some(give_up_at) = self.give_up_at {
            self.left_late = now.saturating_since(give_up_at);
        }
    }

    /// Until when the requester is told something, in its present state.
    pub(in crate::session) fn due_at(&self, ready: bool, command_timeout: Duration) -> Option<Moment> {
        if let State::Releasing { answer_by } = self.state {
            return answer_by;
        }
        if !self.wanted {
            return None;
        }
        let give_up_at = self.give_up_at?;
        match self.state {
            State::InLine { .. } => Some(give_up_at),
            State::Inside if !self.tries_once() => Some(give_up_at),
            // While it could be asked, it will be: only then is the answer "full" rather than "not available".
            State::Pending if !ready && !self.tries_once() => Some(give_up_at),
            _ => Some(self.own_time(give_up_at) + self.left_late + command_timeout),
        }
    }

    /// The end of its own time: what it takes beyond, its calls take (R23).
    fn own_time(&self, give_up_at: Moment) -> Moment {
        match self.brief {
            Some(Brief::TriesOnce) => give_up_at.min(self.asked_at + BRIEF_WAIT),
            _ => give_up_at,
        }
    }

    /// Redis has been asked, or is about to be, what becomes of it.
    pub(in crate::session) fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Asked | State::Unclear | State::Leaving)
    }

    /// The clock had stopped for `length`: what was computed from when a call was sent is older, and what is held
    /// counts only if Redis confirms it by `bound` (R10).
    pub(in crate::session) fn age(&mut self, length: Duration, bound: Moment) {
        match &mut self.state {
            State::InLine { since, .. } => *since = *since - length,
            State::Held(held) => held.valid_until = held.valid_until.min(bound),
            _ => {}
        }
    }
}
