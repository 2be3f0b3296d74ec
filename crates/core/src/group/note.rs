//! The note: one session serves its own requests on one limit from the slots that it has, until somebody else asks.
//!
//! Keeps R32, R34, R37, the interval of R38, and of R39 what other sessions meet. How long a session may rely on its
//! note is not known here: it measures that by its own clock (R33).

use super::Receivers;
use super::hand_off::Turn;
use super::state::State;
use crate::lease::{FencingToken, SessionId, Ticket};
use crate::protocol::{Acquired, Ask, Caller, JoinAsk, News, NoteAsk, Noted};

/// A note that wasn't confirmed for so long has ended. Its session relies on it for less.
const LIFE_MS: u64 = 3_000;

/// After a note has ended none is written for so long; when that recurs, for twice as long.
const LEAST_COOL_MS: u64 = 3_000;
const LONGEST_COOL_MS: u64 = 60_000;

/// Within which time it recurs.
const RECURS_MS: u64 = 600_000;

/// The note, and what is remembered of the last one that was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sole {
    pub(super) note: Option<Note>,
    /// When a note was wanted last.
    pub(super) wanted_ms: u64,
    /// For how long none was written from then on.
    pub(super) cool_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) session: SessionId,
    pub(super) limit: u32,
    pub(super) number: FencingToken,
    /// The last ticket when it was written.
    pub(super) begun: Ticket,
    pub(super) confirmed_ms: u64,
    /// Its session may have slots that nobody holds.
    pub(super) keeps: bool,
    /// It has ended: somebody else has asked.
    pub(super) wanted: Option<Wanted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The ticket of the request that ended it, or the next one then.
    pub(super) ticket: Ticket,
    /// Its session knows.
    pub(super) heard: bool,
}

impl Sole {
    /// How long until a note may be written for this session.
    fn wait_ms(&self, session: SessionId, now_ms: u64) -> u64 {
        let cool_ms = (self.wanted_ms + self.cool_ms).saturating_sub(now_ms);
        let others = self.note.filter(|note| note.session != session && note.wanted.is_none());
        let lives_ms = others.map_or(0, |note| (note.confirmed_ms + LIFE_MS).saturating_sub(now_ms));
        cool_ms.max(lives_ms)
    }

    /// The note of this session with this number.
    fn mine(&mut self, session: SessionId, number: FencingToken) -> Option<&mut Note> {
        self.note.as_mut().filter(|note| note.session == session && note.number == number)
    }

    /// Whether the last note that was wanted is remembered.
    fn remembers(&self, now_ms: u64) -> bool {
        now_ms < self.wanted_ms + LIFE_MS
    }
}

impl State {
    /// The caller asks for the note, or confirms it.
    pub(super) fn note(&mut self, turn: &Turn<'_>, ask: NoteAsk) -> Noted {
        let (now, session) = (turn.now, turn.caller.session);
        let may = self.may_be_noted(turn.caller, ask.limit);
        let no = Noted::No { again_in_ms: self.sole.wait_ms(session, now.ms) };
        let remembers = self.sole.remembers(now.ms);
        let Some(number) = ask.number else {
            return if may && no == (Noted::No { again_in_ms: 0 }) { self.write(turn, ask) } else { no };
        };
        let after = self.last_token;
        let Some(note) = self.sole.mine(session, number) else { return no };
        if let Some(wanted) = &mut note.wanted {
            wanted.heard = true;
            return if remembers { Noted::Wanted { ticket: wanted.ticket } } else { no };
        }
        if !may || note.limit != ask.limit {
            self.sole.note = None;
            return no;
        }
        note.confirmed_ms = now.ms;
        note.keeps = ask.keeps;
        let begun = note.begun;
        self.last_token = after.max(FencingToken(now.us));
        Noted::Sole { number, begun, after, last: self.last_token }
    }

    fn write(&mut self, turn: &Turn<'_>, NoteAsk { limit, keeps, .. }: NoteAsk) -> Noted {
        let (number, begun) = (self.next_token(turn.now), self.last_ticket);
        let (session, confirmed_ms) = (turn.caller.session, turn.now.ms);
        self.sole.note = Some(Note { session, limit, number, begun, confirmed_ms, keeps, wanted: None });
        Noted::Sole { number, begun, after: number, last: number }
    }

    /// Whether nobody but the caller has asked for anything on another limit, or waits.
    fn may_be_noted(&self, caller: &Caller, limit: u32) -> bool {
        let only_own = self.line.len() == self.sessions.count(caller.session) && self.line.is_of(limit);
        let fits = self.limit_seen == limit && self.leases.held() <= u64::from(limit);
        caller.listens && !caller.settling && only_own && fits
    }

    /// Whether slots that another session keeps come back now, so that a request which would be refused waits for them
    /// (R39): the note of that session is wanted by this call, and it was told.
    pub(super) fn recalls(&mut self, turn: &mut Turn<'_>) -> bool {
        if let Some(recalls) = turn.recalls {
            return recalls;
        }
        let kept = |note: &Note| note.wanted.is_none() && note.keeps && note.session != turn.caller.session;
        let recalls = self.sole.note.as_ref().is_some_and(kept)
            && matches!(self.end_note(turn, None), Receivers::Somebody | Receivers::Unknown);
        turn.recalls = Some(recalls);
        recalls
    }

    /// What these answers are to the note (R34).
    pub(super) fn note_asked(&mut self, turn: &mut Turn<'_>, asks: &[Ask], answers: &[Acquired]) {
        let Some(note) = self.sole.note.filter(|note| note.wanted.is_none()) else { return };
        let other_limit = asks.iter().any(|ask| ask.terms.limit != note.limit);
        if note.session == turn.caller.session {
            if other_limit {
                self.sole.note = None;
            }
            return;
        }
        if other_limit || answers.iter().any(|answer| !matches!(answer, Acquired::Granted(_))) {
            let first = answers.iter().filter_map(|answer| match answer {
                Acquired::Queued { ticket, .. } => Some(*ticket),
                _ => None,
            });
            self.end_note(turn, first.min());
        }
    }

    /// What a reconcile call is to the note: its own session isn't sure of what it has, another one has come back into
    /// the line or with a lease on another limit.
    pub(super) fn note_reconciled(&mut self, turn: &mut Turn<'_>, waits: Option<Ticket>, limits: &[u32]) {
        let Some(note) = self.sole.note.filter(|note| note.wanted.is_none()) else { return };
        if note.session == turn.caller.session {
            self.sole.note = None;
        } else if waits.is_some() || limits.iter().any(|limit| *limit != note.limit) {
            self.end_note(turn, waits);
        }
    }

    /// The caller has waiters and looks after them: what a lost push should have told is told again.
    pub(super) fn note_polled(&mut self, turn: &mut Turn<'_>) {
        let Some(note) = self.sole.note.filter(|note| note.session != turn.caller.session) else { return };
        match note.wanted {
            None => drop(self.end_note(turn, None)),
            Some(Wanted { ticket, heard: false }) if self.sole.remembers(turn.now.ms) => {
                self.tell(turn, note.session, News::Wanted { number: note.number, ticket });
            }
            Some(_) => {}
        }
    }

    /// Ends the note, and tells its session. Without a ticket the next one is told.
    fn end_note(&mut self, turn: &mut Turn<'_>, ticket: Option<Ticket>) -> Receivers {
        let now_ms = turn.now.ms;
        let recurs = self.sole.cool_ms > 0 && now_ms <= self.sole.wanted_ms + RECURS_MS;
        self.sole.cool_ms = if recurs { (2 * self.sole.cool_ms).min(LONGEST_COOL_MS) } else { LEAST_COOL_MS };
        self.sole.wanted_ms = now_ms;
        let ticket = ticket.unwrap_or_else(|| self.next_ticket(turn.now));
        let Some(note) = &mut self.sole.note else { return Receivers::Nobody };
        note.wanted = Some(Wanted { ticket, heard: false });
        let (session, number) = (note.session, note.number);
        self.tell(turn, session, News::Wanted { number, ticket })
    }

    /// The place of a request that has waited in the caller's process under the note of this number (R38).
    pub(super) fn place_of(&mut self, turn: &Turn<'_>, number: FencingToken, ask: &JoinAsk) -> Ticket {
        let remembers = self.sole.remembers(turn.now.ms);
        let note = self.sole.mine(turn.caller.session, number).filter(|_| remembers);
        let fits = note.and_then(|note| Some(note.begun < ask.ticket && ask.ticket < note.wanted?.ticket));
        if fits == Some(true) { ask.ticket } else { self.next_ticket(turn.now) }
    }

    /// Its session says that it has heard of its note's end.
    pub(super) fn note_heard(&mut self, turn: &Turn<'_>, number: FencingToken) {
        let note = self.sole.mine(turn.caller.session, number);
        if let Some(wanted) = note.and_then(|note| note.wanted.as_mut()) {
            wanted.heard = true;
        }
    }
}
